"""The steered engine: rollouts of any prompts and conditions, played together.

    plan      schedule.py   which rollout sits in which slot
    prefill   opening.py    the prompt once, and once more above each condition's layer
    decode    slots.py      a token for every slot a step, attention by cascade.py
    collect   collect.py    what was written, when a row stops, what was added and read

It equals the reference engine (`generate.py`), which is the oracle of its tests, and knows no
emotion, no scenario and no judge.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.engine.bank import SteeringBank
from emoctl.engine.cascade import cascade_module
from emoctl.engine.collect import Row
from emoctl.engine.linear import PackedLinears
from emoctl.engine.memory import MemoryPlan, available_bytes, fit, plan_memory, size_of
from emoctl.engine.opening import Openings
from emoctl.engine.readings import Probe
from emoctl.engine.rollout import (
    Completion,
    Respond,
    RolloutRequest,
    SamplingParams,
    Stop,
    no_answer,
)
from emoctl.engine.sampling import draw, logprobs_of
from emoctl.engine.schedule import Admission, Move, Schedule
from emoctl.engine.slots import MIN_ROWS, Slots
from emoctl.models.loading import LoadedModel, decoder_blocks
from emoctl.models.twin import twin

POLL = {"cuda": 8}
"""Steps between two looks at what was drawn, where a look waits for the device; elsewhere 1."""


class SteeredEngine:
    """Plays rollouts on a model, up to `rows` at a time."""

    name: Final = "cascade"

    def __init__(
        self,
        model: LoadedModel,
        rows: int,
        probe: Probe | None = None,
        memory_share: float = 1.0,
    ) -> None:
        """`memory_share` of what is free is this engine's to take."""
        packed = PackedLinears(model.module)
        self.model = twin(model)
        packed.install(self.model.module)
        self.rows, self.memory_share = rows, memory_share
        self.probe = probe and probe.on(model.device)
        self.module = packed.install(cascade_module(model.module))
        self.blocks = decoder_blocks(self.module)
        self.openings = Openings(self.model, self.probe)
        self.packed = packed.in_use
        """Whether linear layers compute with packed weights."""

        self.poll = POLL.get(model.device.type, 1)

    def play(
        self,
        requests: Sequence[RolloutRequest],
        params: SamplingParams,
        respond: Respond = no_answer,
    ) -> Iterator[Completion]:
        """Play every request to its end, yielding each as soon as it is finished. One call must be
        played to its end before the next begins.

        Raises:
            ModelError: the architecture is not served exactly, or memory is short.
            SteeringError: a row was not steered as its condition says, or its logits are not
                numbers.
        """
        if requests:
            yield from _Play(self, requests, params, respond).run()

    def memory_for(self, requests: Sequence[RolloutRequest], params: SamplingParams) -> MemoryPlan:
        """What playing these would take, with as many rows as fit.

        Raises:
            ModelError: not even MIN_ROWS rows fit.
        """
        size = size_of(self.model, self.openings.cache_shape())

        def plan_at(rows: int) -> MemoryPlan:
            return plan_memory(requests, params, size, rows)

        return fit(plan_at, self.rows, available_bytes(self.model.device, self.memory_share))


class _Play:
    """One call of `SteeredEngine.play`."""

    def __init__(
        self,
        engine: SteeredEngine,
        requests: Sequence[RolloutRequest],
        params: SamplingParams,
        respond: Respond,
    ) -> None:
        self.engine, self.requests, self.params, self.respond = engine, requests, params, respond
        self.model, self.openings = engine.model, engine.openings
        plan = engine.memory_for(requests, params)
        n = max(MIN_ROWS, min(plan.rows, len(requests)))
        self.schedule = Schedule(len(requests), n)
        self.openings.expect(requests)
        self.slots = Slots(
            engine.module,
            engine.blocks,
            self.openings.cache_shape(),
            SteeringBank([r.steering for r in requests], n, self.model.device, self.model.dtype),
            n,
            plan.suffix_tokens,
            engine.probe,
        )
        self.rows: list[Row] = []
        """By live slot."""

    @torch.inference_mode()
    def run(self) -> Iterator[Completion]:
        """Every completion."""
        yield from self._settle(self._carry_out(self.schedule.admit()))
        while self.rows:
            yield from self._settle(self._steps())

    def _steps(self) -> dict[int, Stop]:
        """A few tokens for every live row: which rows stop, by slot, and how."""
        n = len(self.rows)
        room = self.model.context - max(row.n_positions for row in self.rows)
        taken = []
        for ahead in range(min(self.engine.poll, room)):
            fed = self.slots.feed_live(n)
            taken.append((fed, *self._draw(range(n), fed.logits[:n], ahead)))
        stops: dict[int, Stop] = {}
        for fed, tokens, logprobs in taken:
            drawn = zip(tokens.tolist(), logprobs.tolist(), fed.added(), fed.read(), strict=False)
            for row, (token, logprob, added, read) in zip(self.rows, drawn, strict=True):
                if row.slot not in stops:
                    row.feed(1, added, read)
                    stop = self._written(row, token, logprob)
                    stops.update({row.slot: stop} if stop else {})
        for slot in stops:
            self.slots.set_length(slot, self.rows[slot].n_fed)
        return stops

    def _draw(
        self, slots: range, logits: Float[Tensor, "rows d_vocab"], ahead: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The next token of some rows, and its log-probability."""
        rows = [self.rows[slot] for slot in slots]
        words = [row.noise.words(len(row.turn_tokens) + ahead) for row in rows]
        keys = torch.tensor(words, device=logits.device)
        tokens = draw(logits, keys, self.params.temperature, self.params.top_p)
        self.slots.next_ids[slots.start : slots.stop] = tokens
        return tokens, logprobs_of(logits, tokens)

    def _settle(self, stops: dict[int, Stop]) -> Iterator[Completion]:
        """Let rows that stopped go on to another turn, or end and make room."""
        while stops:
            done, going_on = [], {}
            for slot, stop in stops.items():
                row = self.rows[slot]
                answer = self.respond(row.index, row.turn_tokens)
                if answer is None or not self._fits(row, answer):
                    last = stop if answer is None else "length"
                    yield row.complete(last, self.engine.probe)
                    done.append(slot)
                    continue
                next_stop = self._extend(row, answer)
                if next_stop:
                    going_on[row.index] = next_stop
            stops = self._carry_out(self.schedule.retire(done))
            stops.update({r.slot: going_on[r.index] for r in self.rows if r.index in going_on})

    def _carry_out(self, events: Iterable[Admission | Move]) -> dict[int, Stop]:
        """Seat rows as the schedule says; rows that stop with their first token, by slot."""
        stops: dict[int, Stop] = {}
        for event in events:
            if isinstance(event, Move):
                self.slots.move(event.source, event.target)
                self.rows[event.target] = self.rows[event.source]
                self.rows[event.target].slot = event.target
                if event.source in stops:
                    stops[event.target] = stops.pop(event.source)
                continue
            row = Row(event.request, self.requests[event.request], event.slot)
            self.rows[event.slot : event.slot + 1] = [row]
            stop = self._open(row)
            if stop:
                stops[row.slot] = stop
        self.slots.free(range(len(self.schedule.live), len(self.rows)))
        del self.rows[len(self.schedule.live) :]
        return stops

    def _open(self, row: Row) -> Stop | None:
        """Seat a row behind its prompt, and draw its first token."""
        opening = self.openings.take(row.request, self.slots, row.slot)
        row.feed(0, opening.prefix.added, opening.prefix.read)
        row.feed(opening.n_tail, opening.added, opening.read)
        return self._write(row, opening.logits)

    def _extend(self, row: Row, answer: Sequence[int]) -> Stop | None:
        """Feed a row what its environment answers, and draw the next turn's first token."""
        self.slots.set_length(row.slot, row.n_fed)
        new = [row.written[-1], *answer]
        fed = self.slots.feed_one(row.slot, new)
        row.feed(len(new), fed.added()[0], fed.read()[0])
        row.turn_ends.append(len(row.written))
        return self._write(row, fed.logits)

    def _write(self, row: Row, logits: Float[Tensor, "1 d_vocab"]) -> Stop | None:
        tokens, logprobs = self._draw(range(row.slot, row.slot + 1), logits)
        return self._written(row, int(tokens), float(logprobs))

    def _written(self, row: Row, token: int, logprob: float) -> Stop | None:
        model = self.model
        return row.write(token, logprob, self.params, model.eos_ids, model.context)

    def _fits(self, row: Row, answer: Sequence[int]) -> bool:
        return row.n_positions + len(answer) + 2 <= self.model.context
