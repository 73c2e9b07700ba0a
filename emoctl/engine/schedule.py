"""Which rollout sits in which slot: plain bookkeeping over numbers, no tensors.

waiting ──▶ slot ──▶ finished        a slot whose rollout is finished takes the next waiting one;
                                     with none waiting the last slot moves into the gap, so that
                                     live slots are always 0 … n − 1
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Admission:
    """A rollout begins in a slot."""

    slot: int
    request: int


@dataclass(frozen=True)
class Move:
    """What is in one slot goes on in another."""

    source: int
    target: int


class Schedule:
    """Requests 0 … n − 1, in order, over a number of slots."""

    def __init__(self, n_requests: int, slots: int) -> None:
        self._waiting = deque(range(n_requests))
        self.slots = slots
        self.live: list[int] = []
        """The request in each live slot."""

    def admit(self) -> list[Admission]:
        """Fill free slots from the queue."""
        admitted = []
        while self._waiting and len(self.live) < self.slots:
            admitted.append(Admission(len(self.live), self._waiting.popleft()))
            self.live.append(admitted[-1].request)
        return admitted

    def retire(self, slots: Iterable[int]) -> list[Admission | Move]:
        """Free some slots: what happens to each, in order."""
        events: list[Admission | Move] = []
        for slot in sorted(slots, reverse=True):
            if self._waiting:
                self.live[slot] = self._waiting.popleft()
                events.append(Admission(slot, self.live[slot]))
                continue
            last = self.live.pop()
            if slot < len(self.live):
                self.live[slot] = last
                events.append(Move(len(self.live), slot))
        return events
