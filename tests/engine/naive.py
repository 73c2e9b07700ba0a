"""The slow and obvious versions: one sequence, no cache, a plain additive hook."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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


def close_enough(ours: Tensor, reference: Tensor) -> bool:
    """Within 1e-9 of the largest logit, in float64."""
    return bool((ours - reference).abs().max() <= 1e-9 * reference.abs().max())
