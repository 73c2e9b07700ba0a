"""Can emoctl run this model exactly? Tried on the model itself, against independent references.

TransformerLens' bridge rewrites the module that it is given, so it gets one of its own, over the
same weights.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emoctl.config.schema import ModelConfig
from emoctl.models.hook_points import resid_post, two_thirds_layer
from emoctl.models.loading import LoadedModel, load_model
from emoctl.models.prompts import render
from emoctl.models.twin import twin_module
from emoctl.scenarios.scenario import Message

CheckResult = tuple[str, bool, str]
"""Name, whether it holds, and the figure or the words behind that."""

TOLERANCE = 1e-4
"""Largest difference of float32 logits, as a share of the largest logit. Wrong masks, layers or
positions differ by far more; summation order by far less."""


def check_model(id: str) -> list[CheckResult]:
    """Load a model in float32 and hold it against what emoctl relies on.

    Raises:
        ModelError: it cannot be loaded at all.
    """
    model = load_model(ModelConfig(id=id))
    prompt = render(model.tokenizer, [Message(role="user", content="What is the time in Oslo?")])
    ids = torch.tensor([prompt.token_ids], device=model.device)
    last = model.tokenizer.decode([prompt.token_ids[prompt.reading_position]])
    return [
        ("decoder blocks", True, f"{model.n_layers} of width {model.d_model}"),
        ("prompt", True, f"{prompt.n_bos} BOS; readings at {last!r}"),
        ("context", model.context >= 2048, f"{model.context} tokens"),
        *_against_transformer_lens(model, ids),
    ]


def bridge_of(model: LoadedModel) -> Any:
    """TransformerLens' bridge over a module of its own, whose weights are the model's: the same
    tensors, neither copied nor written to."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(
        model.identity.id,
        hf_model=twin_module(model.module),
        tokenizer=model.tokenizer,
        device=str(model.device),
        dtype=model.dtype,
    )


@torch.inference_mode()
def _against_transformer_lens(model: LoadedModel, ids: Int[Tensor, "1 pos"]) -> list[CheckResult]:
    """Plain and steered logits against TransformerLens, where it covers the architecture."""
    try:
        bridge = bridge_of(model)
    except (ValueError, NotImplementedError, KeyError, AttributeError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [("TransformerLens", False, f"its bridge refuses the architecture: {words}")]
    layer = two_thirds_layer(model.n_layers)
    direction = torch.linspace(-1, 1, model.d_model, dtype=model.dtype, device=model.device)

    def steer(resid: Tensor, hook: Any = None) -> Tensor:
        del hook
        return resid + direction

    def steer_module(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (steer(output[0]), *output[1:])
        return steer(output)

    plain = model.module(ids).logits
    handle = model.blocks[layer].register_forward_hook(steer_module)
    steered = model.module(ids).logits
    handle.remove()
    theirs = bridge.run_with_hooks(ids, fwd_hooks=[(resid_post(layer), steer)])
    return [
        _agree("logits equal TransformerLens'", plain, bridge(ids)),
        _agree(f"steered at {resid_post(layer)} equal TransformerLens'", steered, theirs),
        ("steering changes logits", not torch.equal(plain, steered), "the control of the above"),
    ]


def _agree(
    name: str, ours: Float[Tensor, "1 pos d_vocab"], theirs: Float[Tensor, "1 pos d_vocab"]
) -> CheckResult:
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    return name, error <= TOLERANCE, f"largest difference {error:.1e} of the largest logit"
