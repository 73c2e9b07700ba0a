"""A name → weights, tokenizer, chat template and decoder blocks, ready to run.

What is loaded is transformers' own module, unchanged; TransformerLens' names for its parts are in
`hook_points`, and its bridge, the independent reference, in `check`. This module does not know
scenarios, runs, or that anything will be steered.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emoctl.config.schema import ModelConfig
from emoctl.errors import ModelError
from emoctl.models.catalog import ModelSource, resolve
from emoctl.models.fingerprint import ModelIdentity, identify
from emoctl.models.remembered import remember, remembered_identity, renamed

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model, and what the rest of emoctl may ask of it."""

    module: Any
    """transformers' PreTrainedModel, in evaluation mode."""

    tokenizer: Any
    blocks: tuple[nn.Module, ...]
    """Decoder blocks in order; the output of block i is `blocks.{i}.hook_out`, its resid_post."""

    d_model: int
    context: int
    """Most tokens, prompt and response together, that the positions reach."""

    eos_ids: frozenset[int]
    """Tokens that end a turn."""

    identity: ModelIdentity

    @property
    def n_layers(self) -> int:
        """How many decoder blocks there are."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The arithmetic of the residual stream."""
        return next(self.module.parameters()).dtype


def load_model(config: ModelConfig, identity: ModelIdentity | None = None) -> LoadedModel:
    """Load what `config` names, quietly. A caller that knows its identity saves hashing it.

    Raises:
        ModelError: it cannot be found, fetched or loaded, or is not a decoder-only model.
    """
    source = resolve(config.id, config.revision)
    folder = source.local_folder()
    module, tokenizer = _load(source, folder, config)
    known = identity or remembered_identity(folder, config.dtype)
    if known is None:
        known = remember(folder, config.dtype, identify(module, tokenizer, source))
    return wrap_model(module, tokenizer, renamed(known, source.id, source.revision, source.kind))


def wrap_model(module: Any, tokenizer: Any, identity: ModelIdentity) -> LoadedModel:
    """A transformers module that is already in memory, as a LoadedModel."""
    text_config = module.config.get_text_config()
    return LoadedModel(
        module=module.eval().requires_grad_(False),
        tokenizer=tokenizer,
        blocks=decoder_blocks(module),
        d_model=text_config.hidden_size,
        context=int(getattr(text_config, "max_position_embeddings", 0) or 2**31),
        eos_ids=_eos_ids(module, tokenizer),
        identity=identity,
    )


def decoder_blocks(module: Any) -> tuple[nn.Module, ...]:
    """The decoder blocks of a transformers module, in order.

    They are the one ModuleList that is as long as the config says the model is deep.

    Raises:
        ModelError: there is no such list, or more than one.
    """
    depth = module.config.get_text_config().num_hidden_layers
    lists = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == depth
    }
    outermost = [n for n in lists if not any(n.startswith(f"{other}.") for other in lists)]
    if len(outermost) != 1:
        raise ModelError(
            f"{type(module).__name__} has {len(outermost)} module lists of length {depth}, "
            "so its decoder blocks cannot be told",
            hint="emoctl runs decoder-only language models",
        )
    return tuple(lists[outermost[0]])


def pick_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        ModelError: CUDA was asked for by name and is absent.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda': this machine shows no CUDA device", hint="device: cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def _load(source: ModelSource, folder: Path | None, config: ModelConfig) -> tuple[Any, Any]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where = str(folder or source.id)
    device = pick_device(config.device)
    revision = {"revision": source.revision} if source.revision else {}
    try:
        shape = AutoConfig.from_pretrained(where, **revision)
        module: Any = AutoModelForCausalLM.from_pretrained(
            where,
            dtype=DTYPES[config.dtype],
            attn_implementation=exact_attention(shape),
            **revision,
        )
        tokenizer = AutoTokenizer.from_pretrained(where, **revision)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model {config.id!r} cannot be loaded: {first}", hint=source.remedy
        ) from error
    return module.to(device), tokenizer


def exact_attention(shape: Any) -> str:
    """The attention implementation of transformers that computes what the config says.

    `sdpa` has no place for a soft cap on attention logits, nor for attention sinks, where
    transformers refuses it; such a model runs `eager`.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    capped = getattr(shape.get_text_config(), "attn_logit_softcapping", None)
    served = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(shape), None)
    return "eager" if capped or not getattr(served, "_supports_sdpa", True) else "sdpa"


def _eos_ids(module: Any, tokenizer: Any) -> frozenset[int]:
    generation = getattr(module, "generation_config", None)
    declared = getattr(generation, "eos_token_id", None)
    listed = declared if isinstance(declared, list) else [declared]
    own = getattr(tokenizer, "eos_token_id", None)
    return frozenset(int(i) for i in (*listed, own) if i is not None)
