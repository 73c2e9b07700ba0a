"""The reference engine: plain batches on transformers' own cache (`generate.py`), one by one.

It is the oracle of the steered engine and the way out for models that one does not serve. A row
that an environment answers is begun again, with everything so far as its prompt.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from emoctl.engine.generate import Prefill, generate, prefill
from emoctl.engine.readings import Probe
from emoctl.engine.rollout import Completion, Respond, RolloutRequest, SamplingParams, no_answer
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel

PREFILLS_KEPT = 12
"""Prompts under a condition that are kept; about 46 kB a token each for the small model."""


class ReferenceEngine:
    """Plays rollouts on a model, `rows` at a time."""

    name: Final = "reference"

    def __init__(self, model: LoadedModel, rows: int, probe: Probe | None = None) -> None:
        self.model, self.rows, self.probe = model, rows, probe
        self._kept: OrderedDict[tuple[object, ...], Prefill] = OrderedDict()

    def play(
        self,
        requests: Sequence[RolloutRequest],
        params: SamplingParams,
        respond: Respond = no_answer,
    ) -> Iterator[Completion]:
        """Play every request to its end, yielding each as soon as it is finished.

        Raises:
            SteeringError: a row was not steered as its condition says.
        """
        for batch in self._batches(range(len(requests)), requests):
            for done in self._batch([requests[i] for i in batch], params):
                first = replace(done, index=batch[done.index])
                yield self._go_on(requests[first.index], first, params, respond)

    def _batches(
        self, order: Sequence[int], requests: Sequence[RolloutRequest]
    ) -> Iterator[list[int]]:
        """Neighbours that answer one prompt, `rows` together."""
        for _, group in groupby(order, key=lambda i: requests[i].prompt):
            same = list(group)
            yield from (same[i : i + self.rows] for i in range(0, len(same), self.rows))

    def _batch(
        self, requests: Sequence[RolloutRequest], params: SamplingParams
    ) -> Iterator[Completion]:
        prompt, start = requests[0].prompt, requests[0].response_start
        return generate(
            self.model,
            requests,
            lambda steering: self._prefill(prompt, start, steering),
            params,
            self.probe,
        )

    def _prefill(self, prompt: tuple[int, ...], start: int, steering: Steering) -> Prefill:
        key = (steering, start, prompt)
        if key not in self._kept:
            self._kept[key] = prefill(self.model, prompt, start, steering, self.probe)
        self._kept.move_to_end(key)
        while len(self._kept) > PREFILLS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _go_on(
        self,
        request: RolloutRequest,
        done: Completion,
        params: SamplingParams,
        respond: Respond,
    ) -> Completion:
        """The same rollout after every turn that its environment asks for."""
        answer = respond(done.index, done.token_ids)
        said = done
        while answer is not None:
            prompt = (*request.prompt, *said.token_ids, *answer)
            room = self.model.context - len(prompt) + 1
            if room < 2:
                return replace(done, stop="length")
            noise = replace(request.noise, turn=request.noise.turn + 1)
            request = replace(request, prompt=prompt, noise=noise)
            fitting = replace(params, max_new_tokens=min(params.max_new_tokens, room))
            (said,) = self._batch([request], fitting)
            done = _joined(done, said)
            answer = respond(done.index, said.token_ids)
        return done


def _joined(before: Completion, turn: Completion) -> Completion:
    """A rollout with one more turn, whose counts and readings cover all that came before it."""
    tokens = before.token_ids + turn.token_ids
    total = before.mean_logprob * len(before.token_ids) + turn.mean_logprob * len(turn.token_ids)
    return replace(
        turn,
        index=before.index,
        token_ids=tokens,
        mean_logprob=total / len(tokens),
        turn_ends=(*before.turn_ends, len(tokens)),
    )
