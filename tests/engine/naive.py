"""The slow and obvious versions: one sequence, no cache, a plain additive hook.

Twice over, in transformers and in TransformerLens, because a mistake about where a block ends
would be the same in every engine built on one of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from emoctl.engine.steering import Steering
from emoctl.models.hook_points import resid_post
from emoctl.models.loading import LoadedModel

NARROW = (torch.float32, torch.float16, torch.bfloat16)


@torch.inference_mode()
def steered_logits(
    model: LoadedModel,
    token_ids: Sequence[int],
    steerings: Steering | Sequence[Steering],
    steer_from: int,
) -> Tensor:
    """Logits at every position of one sequence, [pos, d_vocab], with all `steerings` added from
    position `steer_from` on."""

    def hook_of(steering: Steering) -> Callable[..., Any]:
        def add(_module: Any, _inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (_added(output[0], steering, steer_from), *output[1:])
            return _added(output, steering, steer_from)

        return add

    with ExitStack() as hooked:
        for steering in _listed(steerings):
            handle = model.blocks[steering.layer].register_forward_hook(hook_of(steering))
            hooked.callback(handle.remove)
        return model.module(torch.tensor([list(token_ids)]), use_cache=False).logits[0]


@torch.inference_mode()
def tl_steered_logits(
    bridge: Any,
    token_ids: Sequence[int],
    steerings: Steering | Sequence[Steering],
    steer_from: int,
) -> Tensor:
    """The same from TransformerLens' bridge, with hook functions at its own hook points."""

    def hook_of(steering: Steering) -> Callable[..., Tensor]:
        def add(resid: Tensor, hook: Any) -> Tensor:
            assert hook.name == resid_post(steering.layer)
            return _added(resid, steering, steer_from)

        return add

    hooks = [(resid_post(steering.layer), hook_of(steering)) for steering in _listed(steerings)]
    return bridge.run_with_hooks(torch.tensor([list(token_ids)]), fwd_hooks=hooks)[0]


def _listed(steerings: Steering | Sequence[Steering]) -> Sequence[Steering]:
    return [steerings] if isinstance(steerings, Steering) else steerings


def _added(resid: Tensor, steering: Steering, steer_from: int) -> Tensor:
    change = torch.zeros_like(resid)
    change[:, steer_from:] = steering.added.to(resid.dtype)
    return resid + change


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Let what is float64 stay so, in transformers and in TransformerLens.

    Both take norms, softmaxes and rotations in float32 whatever the model's dtype: an error of
    4e-7 of the largest logit, and a step at which differences in the last bit of a float64 jump to
    the last bit of a float32. Much finer things are to be told apart here. Inside the block, in
    every thread, a float64 tensor that is asked for a narrower dtype stays as it is; integers and
    narrower tensors convert as ever, so rotary angles are computed from the same frequencies.
    """
    functional = torch.nn.functional
    with ExitStack() as patched:
        for owner, name in (
            (torch.Tensor, "to"),
            (torch.Tensor, "type"),
            (torch.Tensor, "softmax"),
            (torch.Tensor, "log_softmax"),
            (torch, "softmax"),
            (torch, "log_softmax"),
            (functional, "softmax"),
            (functional, "log_softmax"),
        ):
            patched.enter_context(patch.object(owner, name, _keeping(getattr(owner, name))))
        for name in ("float", "half", "bfloat16"):
            narrow = getattr(torch.Tensor, name)
            patched.enter_context(patch.object(torch.Tensor, name, _unless_float64(narrow)))
        yield


def _keeping(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of a tensor, with float64 put in the place of a narrower dtype it is passed."""

    def widened(value: Any) -> Any:
        return torch.float64 if isinstance(value, torch.dtype) and value in NARROW else value

    def kept(values: Tensor, *args: Any, **kwargs: Any) -> Any:
        if values.dtype == torch.float64:
            args = tuple(map(widened, args))
            kwargs = {key: widened(value) for key, value in kwargs.items()}
        return function(values, *args, **kwargs)

    return kept


def _unless_float64(narrow: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def kept(values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return values if values.dtype == torch.float64 else narrow(values, *args, **kwargs)

    return kept


def close_enough(ours: Tensor, reference: Tensor) -> bool:
    """Within 1e-9 of the largest logit, in float64."""
    return bool((ours - reference).abs().max() <= 1e-9 * reference.abs().max())
