"""What the rollouts of a prompt under a condition begin with: computed once, copied into each slot.

    prompt │ prefix: shared as prefix.py says │ tail: from the last token of the template on │

The tail is what every policy steers, so it lies in the row's own suffix. It is fed once a
condition, alone, so its bits do not depend on the batch, and then copied.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from emoctl.engine.prefix import Prefix, PrefixStore
from emoctl.engine.readings import Probe, Readings
from emoctl.engine.rollout import RolloutRequest
from emoctl.engine.slots import Slots
from emoctl.engine.steering import SteeringCount
from emoctl.engine.suffix import CacheShape
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class Opening:
    """A prompt under a condition."""

    prefix: Prefix
    tail: tuple[Float[Tensor, "layers blocks kv_heads block d_head"], ...]
    n_tail: int
    logits: Float[Tensor, "1 d_vocab"]
    """At the prompt's last token."""

    added: SteeringCount
    """To the tail."""

    read: Readings | None


class Openings:
    """The openings that are needed now, and the plain prefix of the last prompt."""

    def __init__(self, model: LoadedModel, probe: Probe | None = None) -> None:
        self.model, self.probe = model, probe
        self._store: PrefixStore | None = None
        self._shape: CacheShape | None = None
        self._layers: frozenset[int] = frozenset()
        self._plain = True
        self._open: dict[tuple[object, ...], Opening] = {}
        self._to_come: Counter[tuple[object, ...]] = Counter()

    def expect(self, requests: Sequence[RolloutRequest]) -> None:
        """Prepare for these requests, and no others."""
        everywhere = [r.steering for r in requests if r.steering.everywhere]
        self._layers = frozenset(s.layer for s in everywhere if not s.is_zero)
        self._plain = self.probe is not None or any(
            r.steering.is_zero or not r.steering.everywhere for r in requests
        )
        self._to_come = Counter(_key(request) for request in requests)
        self._open.clear()

    def cache_shape(self) -> CacheShape:
        """What a token takes in the model's cache, seen in that of one token.

        Raises:
            ModelError: layers differ.
        """
        if self._shape is None:
            keys = PrefixStore(self.model, (0,), ()).plain.keys
            first = keys[0]
            if any(layer.shape != first.shape for layer in keys):
                raise ModelError(
                    "layers keep keys of different shapes", hint="engine.kind: reference"
                )
            self._shape = CacheShape(
                len(keys), first.shape[1], first.shape[3], first.dtype, first.device
            )
        return self._shape

    def take(self, request: RolloutRequest, slots: Slots, slot: int) -> Opening:
        """Let a slot begin with a request's opening, which is kept until its last request."""
        key = _key(request)
        opening = self._open.get(key)
        if opening is None:
            opening = self._open[key] = self._make(request, slots, slot)
        else:
            slots.occupy(slot, opening.prefix, request.steering)
            slots.suffix.fill(slot, opening.tail)
            slots.set_length(slot, opening.n_tail)
        self._to_come[key] -= 1
        if not self._to_come[key]:
            del self._open[key]
        return opening

    def _make(self, request: RolloutRequest, slots: Slots, slot: int) -> Opening:
        prefix = self._prefixes(request).under(request.steering)
        tail = request.prompt[prefix.n_tokens :]
        slots.occupy(slot, prefix, request.steering)
        fed = slots.feed_one(slot, tail)
        copies = slots.suffix.read(slot, len(tail))
        return Opening(prefix, copies, len(tail), fed.logits, fed.added()[0], fed.read()[0])

    def _prefixes(self, request: RolloutRequest) -> PrefixStore:
        head = request.prompt[: request.response_start - 1]
        store = self._store
        if store is None or not store.serves(head, self._layers, plain=self._plain):
            self._store = store = None  # let go of the old one before the new one is made
            self._store = store = PrefixStore(
                self.model, head, self._layers, self.probe, self._plain
            )
        return store


def _key(request: RolloutRequest) -> tuple[object, ...]:
    return request.prompt, request.response_start, request.steering
