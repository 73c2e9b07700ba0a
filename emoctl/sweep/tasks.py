"""The units of work of a sweep, as values that travel between processes, and how one is done.

A task carries token ids and vectors, no text and no emotion's name. Rows of different conditions
share a sampling task; a scoring task is done and stored whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from emoctl.config.schema import SamplingConfig
from emoctl.engine.choice import EngineSetup, make_engine
from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Probe
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams
from emoctl.engine.score import BranchScore, Prefix, read_prefix, score
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel
from emoctl.sweep.readouts import ScoreQuestion

UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""What a part of a character is decoded to; some tokenizers do so to whole characters beside it."""


@dataclass(frozen=True)
class SampleTask:
    """Rollouts of one variant, under any conditions: more than are decoded together, so that a
    finished row can make room for the next."""

    scenario: str
    variant: str
    prompt: tuple[int, ...]
    response_start: int
    rows: tuple[tuple[str, NoiseKey], ...]
    """(condition id, noise key)."""

    sampling: SamplingConfig
    stop: str
    """Text that ends a response; empty for none."""


@dataclass(frozen=True)
class ScoreTask:
    """One exact readout of one variant under a group of conditions."""

    question: ScoreQuestion
    condition_ids: tuple[str, ...]


@dataclass(frozen=True)
class WriteRow:
    """One unsteered text to be written."""

    prompt: tuple[int, ...]
    response_start: int
    noise: NoiseKey


@dataclass(frozen=True)
class WriteTask:
    """Unsteered texts, each behind a prompt of its own."""

    rows: tuple[WriteRow, ...]
    sampling: SamplingConfig


Task = SampleTask | ScoreTask | WriteTask


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


@dataclass(frozen=True)
class WritingDone:
    """One row of a writing task is finished."""

    noise: NoiseKey
    """Which one."""

    completion: Completion


Done = RolloutDone | ScoresDone | WritingDone


def sampling_params(model: LoadedModel, sampling: SamplingConfig, stop: str) -> SamplingParams:
    """How rows are drawn, with the stop text as a test on token ids."""
    params = SamplingParams(sampling.max_new_tokens, sampling.temperature, sampling.top_p)
    if not stop:
        return params
    tail = 4 * len(stop) + 4  # a token is at least a byte, and a character at most four

    def ended(written: Sequence[int]) -> bool:
        said = model.tokenizer.decode(list(written[-tail:]))
        if stop in said or UNDECODABLE not in said:
            return stop in said
        return stop in model.tokenizer.decode(list(written))  # the tail may begin in a character

    return replace(params, ended=ended)


class Workbench:
    """A model, an engine on it and the conditions of a sweep; does tasks one after another."""

    def __init__(
        self,
        model: LoadedModel,
        engine: EngineSetup,
        steerings: Mapping[str, Steering],
        probe: Probe | None = None,
    ) -> None:
        self.model = model
        self.engine = make_engine(model, engine, probe)
        self.steerings = dict(steerings)
        self._plain: tuple[tuple[int, ...], Prefix] | None = None

    def do(self, task: Task) -> Iterator[Done]:
        """The results of a task, each as soon as it is there.

        Raises:
            SteeringError: something was not steered as its condition says.
        """
        if isinstance(task, ScoreTask):
            steerings = [self.steerings[i] for i in task.condition_ids]
            prefix = self._prefix(task, steerings)
            yield ScoresDone(task, score(self.engine.model, prefix, task.question.trees, steerings))
            return
        if isinstance(task, WriteTask):
            yield from self._write(task)
            return
        requests = [
            RolloutRequest(task.prompt, task.response_start, self.steerings[condition], noise)
            for condition, noise in task.rows
        ]
        params = sampling_params(self.model, task.sampling, task.stop)
        for completion in self.engine.play(requests, params):
            yield RolloutDone(task, completion)

    def _write(self, task: WriteTask) -> Iterator[WritingDone]:
        nothing = Steering(0, torch.zeros(self.model.d_model), everywhere=False)
        requests = [
            RolloutRequest(row.prompt, row.response_start, nothing, row.noise) for row in task.rows
        ]
        for completion in self.engine.play(
            requests, sampling_params(self.model, task.sampling, "")
        ):
            yield WritingDone(task.rows[completion.index].noise, completion)

    def _prefix(self, task: ScoreTask, steerings: Sequence[Steering]) -> Prefix:
        """The question's prefix; one that no condition steers is kept for the next task."""
        token_ids = task.question.prefix
        if any(s.everywhere and not s.is_zero for s in steerings):
            return read_prefix(self.engine.model, token_ids, steerings)
        if self._plain is None or self._plain[0] != token_ids:
            self._plain = (token_ids, read_prefix(self.engine.model, token_ids, ()))
        return self._plain[1]
