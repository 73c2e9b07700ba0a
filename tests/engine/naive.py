"""The slow and obvious versions: one sequence, no cache, a plain additive hook."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel


@torch.inference_mode()
def steered_logits(
    model: LoadedModel, token_ids: Sequence[int], steering: Steering, steer_from: int
) -> Tensor:
    """Logits at every position of one sequence, [pos, d_vocab]."""

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        resid = output[0] if isinstance(output, tuple) else output
        change = torch.zeros_like(resid)
        change[:, steer_from:] = steering.added.to(resid.dtype)
        return (resid + change, *output[1:]) if isinstance(output, tuple) else resid + change

    handle = model.blocks[steering.layer].register_forward_hook(add)
    logits = model.module(torch.tensor([list(token_ids)]), use_cache=False).logits[0]
    handle.remove()
    return logits


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Let eager softmax and Llama's norm keep float64, in transformers and in TransformerLens.

    Both take them in float32 whatever the dtype: an error of 4e-7 of the largest logit, and a step
    at which differences in the last bit of a float64 jump to the last bit of a float32. Much finer
    things are to be told apart here.
    """
    softmax, norm = torch.nn.functional.softmax, LlamaRMSNorm.forward

    def keeping(values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if values.dtype == torch.float64:
            kwargs["dtype"] = torch.float64
        return softmax(values, *args, **kwargs)

    def normed(self: LlamaRMSNorm, resid: Tensor) -> Tensor:
        variance = resid.pow(2).mean(-1, keepdim=True)
        return self.weight * (resid * torch.rsqrt(variance + self.variance_epsilon))

    torch.nn.functional.softmax, LlamaRMSNorm.forward = keeping, normed
    try:
        yield
    finally:
        torch.nn.functional.softmax, LlamaRMSNorm.forward = softmax, norm


def close_enough(ours: Tensor, reference: Tensor) -> bool:
    """Within 1e-9 of the largest logit, in float64."""
    return bool((ours - reference).abs().max() <= 1e-9 * reference.abs().max())
