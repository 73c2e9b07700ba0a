"""A prompt's prefix under every condition, with what conditions share stored once.

    plain prefix   ████████████████████████████████   every layer, computed once a prompt
    steered at 19  ░░░░░░░░░░░░░░░░░░░░████████████   layers 0–19 are the plain one's own tensors;
    steered at 12  ░░░░░░░░░░░░░████████████████████  only what lies above is computed and kept
    response only  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░   nothing of its own

The prefix ends before the first position that response-only steering touches (the last token of
the template), so that what follows differs between conditions and what is here need not.

Every condition is run alone, from the plain residual stream that its own layer put out: the bits
of a prefix do not depend on which other conditions a sweep has. The pass goes through the model's
own forward, with its own masks and position embeddings; blocks below the steered layer are passed
over.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from emoctl.engine.generate import keys_and_values
from emoctl.engine.reader import reading
from emoctl.engine.readings import Probe, Readings
from emoctl.engine.steering import Steering, SteeringCount
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel

KV = Float[Tensor, "1 kv_heads pos d_head"]


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of a prompt's prefix under one condition, by layer."""

    n_tokens: int
    keys: tuple[KV, ...]
    values: tuple[KV, ...]
    """The same tensor objects as the plain prefix's, wherever the condition changes nothing."""

    added: SteeringCount
    """What the condition really added to it."""

    read: Readings | None = None
    """What was read of its tokens; None where the prompt is not read."""


class PrefixStore:
    """The prefixes of one prompt. The plain one is kept as long as the store; steered ones belong
    to the caller."""

    def __init__(
        self,
        model: LoadedModel,
        token_ids: Sequence[int],
        layers: Iterable[int],
        probe: Probe | None = None,
        plain: bool = True,
    ) -> None:
        """Compute the plain prefix, and keep the residual stream that `layers` put out; no layer
        above them where no `plain` prefix will be asked for."""
        self.model = model
        self.probe = probe if probe and probe.prompt else None
        self.token_ids, self.layers = tuple(token_ids), frozenset(layers)
        whole = plain or not self.layers or not self.token_ids
        self._depth = None if whole else max(self.layers) + 1
        self._resid: dict[int, Float[Tensor, "1 pos d_model"]] = {}
        self.plain = self._compute_plain()

    def serves(self, token_ids: Sequence[int], layers: Iterable[int], *, plain: bool) -> bool:
        """Whether this is the store of that prompt, for conditions that steer these layers."""
        return (
            self.token_ids == tuple(token_ids)
            and frozenset(layers) <= self.layers
            and not (plain and self._depth is not None)
        )

    @torch.inference_mode()
    def under(self, steering: Steering) -> Prefix:
        """The prefix under a condition.

        Raises:
            KeyError: the store was made without this condition's layer.
            ValueError: it was made without the plain prefix, which this condition needs.
        """
        if steering.is_zero or not steering.everywhere or not self.token_ids:
            if self._depth is not None:
                raise ValueError("the plain prefix was left unfinished, and is asked for")
            return self.plain
        resid = self._resid[steering.layer]
        steered = resid + steering.added.to(resid)
        norms = (steered - resid).double().norm(dim=-1)
        cache = DynamicCache()
        with _entered_after(self.model.blocks, steering.layer, steered):
            read = self._forward(cache)
        own = steering.layer + 1
        keys, values = keys_and_values(cache.layers[own:])
        return Prefix(
            n_tokens=self.plain.n_tokens,
            keys=self.plain.keys[:own] + keys,
            values=self.plain.values[:own] + values,
            added=SteeringCount(int((norms > 0).sum()), float(norms.mean())),
            read=self._read_above(steering.layer, read),
        )

    @torch.inference_mode()
    def _compute_plain(self) -> Prefix:
        cache, read = DynamicCache(), None
        if self.token_ids:
            with (
                _kept(self.model.blocks, self.layers, self._resid),
                _stopped_at(self.model.blocks, self._depth),
            ):
                read = self._forward(cache)
        keys, values = keys_and_values(cache.layers)
        return Prefix(
            n_tokens=len(self.token_ids),
            keys=keys,
            values=values,
            added=SteeringCount(0, 0.0),
            read=read,
        )

    def _forward(self, cache: DynamicCache) -> Readings | None:
        ids = torch.tensor([self.token_ids], device=self.model.device)
        with reading(self.probe, self.model.blocks) as seen, suppress(_Stopped):
            self.model.module(
                input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        return next(iter(seen.by_row()), None)

    def _read_above(self, layer: int, read: Readings | None) -> Readings | None:
        """What was read in a pass that began after `layer`, and below it what the plain pass
        gave."""
        if self.probe is None or read is None or self.plain.read is None:
            return None
        below = np.array([at < layer for at in self.probe.layers])
        return replace(
            read,
            cosines=np.where(below[:, None], self.plain.read.cosines, read.cosines),
            norms=np.where(below, self.plain.read.norms, read.norms),
        )


class _Stopped(Exception):
    """A pass went as far as was wanted."""


@contextmanager
def _stopped_at(blocks: Sequence[torch.nn.Module], depth: int | None) -> Iterator[None]:
    """End forward passes before block `depth`."""

    def stop(_module: Any, _inputs: Any) -> None:
        raise _Stopped

    here = depth is not None and depth < len(blocks)
    handles = [blocks[depth].register_forward_pre_hook(stop)] if here and depth else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _kept(
    blocks: Sequence[torch.nn.Module], layers: frozenset[int], into: dict[int, Tensor]
) -> Iterator[None]:
    """Keep the residual stream that some blocks put out.

    Raises:
        ModelError: a block puts out something else.
    """

    def keep(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ModelError(
                    f"block {layer} puts out a {type(output).__name__}, not its residual stream",
                    hint="engine.kind: reference",
                )
            into[layer] = output

        return hook

    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _entered_after(
    blocks: Sequence[torch.nn.Module], layer: int, resid: Float[Tensor, "1 pos d_model"]
) -> Iterator[None]:
    """Let forward passes begin with `resid` as the output of block `layer`: the blocks up to it
    hand it on instead of computing."""

    def hand_on(*_args: Any, **_kwargs: Any) -> Tensor:
        return resid

    below = blocks[: layer + 1]
    for block in below:
        block.forward = hand_on
    try:
        yield
    finally:
        for block in below:
            del block.forward
