"""The units of work of a sweep, as values that travel between processes, and how one is done.

A task carries token ids and vectors, no text and no emotion's name. Rows of different conditions
share a sampling task; a scoring task is done and stored whole.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from emoctl.engine.generate import (
    Completion,
    Prefill,
    RolloutRequest,
    SamplingParams,
    generate,
    prefill,
)
from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Probe
from emoctl.engine.score import BranchScore, Prefix, read_prefix, score
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel
from emoctl.sweep.readouts import ScoreQuestion

PREFILLS_KEPT = 12
"""Prompts under a condition that a worker keeps; about 46 kB a token each for the small model."""


@dataclass(frozen=True)
class SampleTask:
    """Rollouts of one variant, under any conditions, decoded together."""

    scenario: str
    variant: str
    prompt: tuple[int, ...]
    response_start: int
    rows: tuple[tuple[str, NoiseKey], ...]
    """(condition id, noise key)."""

    max_new_tokens: int
    temperature: float
    stop: str
    """Text that ends a response; empty for none."""


@dataclass(frozen=True)
class ScoreTask:
    """One exact readout of one variant under a group of conditions."""

    question: ScoreQuestion
    condition_ids: tuple[str, ...]


Task = SampleTask | ScoreTask


@dataclass(frozen=True)
class RolloutDone:
    """One row of a sampling task is finished."""

    task: SampleTask
    completion: Completion


@dataclass(frozen=True)
class ScoresDone:
    """A scoring task is finished: [condition][tree][branch]."""

    task: ScoreTask
    scores: list[list[list[BranchScore]]]


Done = RolloutDone | ScoresDone


def sampling_params(
    model: LoadedModel, max_new_tokens: int, temperature: float, stop: str
) -> SamplingParams:
    """How rows are drawn, with the stop text as a test on token ids."""
    if not stop:
        return SamplingParams(max_new_tokens, temperature)
    tail = len(stop) + 4  # a token is at least a byte, and a character at most four

    def ended(written: Sequence[int]) -> bool:
        return stop in model.tokenizer.decode(list(written[-tail:]))

    return SamplingParams(max_new_tokens, temperature, ended)


class Workbench:
    """A model and the conditions of a sweep; does tasks one after another."""

    def __init__(
        self, model: LoadedModel, steerings: Mapping[str, Steering], probe: Probe | None = None
    ) -> None:
        self.model = model
        self.probe = probe
        self.steerings = dict(steerings)
        self._plain: tuple[tuple[int, ...], Prefix] | None = None
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], Prefill] = OrderedDict()

    def do(self, task: Task) -> Iterator[Done]:
        """The results of a task, each as soon as it is there.

        Raises:
            SteeringError: something was not steered as its condition says.
        """
        if isinstance(task, ScoreTask):
            steerings = [self.steerings[i] for i in task.condition_ids]
            prefix = self._prefix(task, steerings)
            yield ScoresDone(task, score(self.model, prefix, task.question.trees, steerings))
            return
        requests = [RolloutRequest(self.steerings[i], noise) for i, noise in task.rows]
        completions = generate(
            self.model,
            task.prompt,
            task.response_start,
            requests,
            lambda steering: self._prefill(task, steering),
            sampling_params(self.model, task.max_new_tokens, task.temperature, task.stop),
            self.probe,
        )
        for completion in completions:
            yield RolloutDone(task, completion)

    def _prefix(self, task: ScoreTask, steerings: Sequence[Steering]) -> Prefix:
        """The question's prefix; one that no condition steers is kept for the next task."""
        token_ids = task.question.prefix
        if any(s.everywhere and not s.is_zero for s in steerings):
            return read_prefix(self.model, token_ids, steerings)
        if self._plain is None or self._plain[0] != token_ids:
            self._plain = (token_ids, read_prefix(self.model, token_ids, ()))
        return self._plain[1]

    def _prefill(self, task: SampleTask, steering: Steering) -> Prefill:
        key = (id(steering), task.prompt)
        if key not in self._kept:
            self._kept[key] = prefill(
                self.model, task.prompt, task.response_start, steering, self.probe
            )
        self._kept.move_to_end(key)
        while len(self._kept) > PREFILLS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
