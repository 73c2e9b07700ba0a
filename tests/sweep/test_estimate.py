"""The estimate is the work times what a token and a step take, whatever the engine keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import tiny_model

from emoctl.config.schema import SamplingConfig
from emoctl.engine.choice import EngineSetup
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import POLL
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import Prompt
from emoctl.sweep import estimate as estimating
from emoctl.sweep.estimate import PROBE_TOKENS, estimate
from emoctl.sweep.tasks import SampleTask

MODEL = tiny_model()
PROMPT = tuple(range(4, 4 + PROBE_TOKENS // 4)) * 4
WARM_UP, A_PREFILL_TOKEN, A_STEP_OF_A_ROW, A_PLAY = 30.0, 0.25, 0.5, 0.001
ROWS, STEPS = 4, 100


@dataclass
class Clock:
    """The time, and how much of it is lost to others by the n-th look."""

    now: float = 0.0
    lost: dict[int, float] = field(default_factory=dict)
    looks: int = 0

    def perf_counter(self) -> float:
        self.looks += 1
        self.now += self.lost.get(self.looks, 0.0)
        return self.now


@dataclass
class Engine:
    """Takes planted times; keeps the last prompt's prefix, as the real ones do."""

    clock: Clock
    poll: int = 1
    kept: tuple[int, ...] | None = None

    def play(self, requests: Sequence[RolloutRequest], params: SamplingParams) -> Iterator[None]:
        prompt = requests[0].prompt
        if self.kept is None:
            self.clock.now += WARM_UP
        if self.kept != prompt:
            self.clock.now += A_PREFILL_TOKEN * len(prompt)
        self.kept = prompt
        n_steps = -(-(params.max_new_tokens - 1) // self.poll) * self.poll
        self.clock.now += A_PLAY + n_steps * A_STEP_OF_A_ROW * len(requests)
        yield None


def plan_of_one_prompt() -> Any:
    record = SimpleNamespace(positions="response", strength="0", layer=0)
    conditions = {"c-0": SimpleNamespace(record=record)}
    prompts = {("s", "v"): Prompt("", PROMPT, PROBE_TOKENS, 0)}
    return SimpleNamespace(conditions=conditions, prompts=prompts)


def a_task() -> SampleTask:
    rows = tuple(("c-0", NoiseKey(0, "s", "v", n)) for n in range(ROWS))
    return SampleTask(
        "s", "v", PROMPT, PROBE_TOKENS, rows, SamplingConfig(max_new_tokens=STEPS), ""
    )


def estimated(
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    model: LoadedModel = MODEL,
    poll: int = 1,
) -> float:
    engine = Engine(clock, poll)
    monkeypatch.setattr(estimating, "make_engine", lambda _model, _setup: engine)
    monkeypatch.setattr(estimating, "time", clock)
    setup = EngineSetup("cascade", ROWS)
    return estimate(model, plan_of_one_prompt(), [a_task()], setup).seconds


TRUE_SECONDS = A_PREFILL_TOKEN * PROBE_TOKENS + STEPS * ROWS * A_STEP_OF_A_ROW


def test_the_estimate_is_what_the_work_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert estimated(monkeypatch, Clock()) == pytest.approx(TRUE_SECONDS, rel=1e-3)


def test_steps_that_are_done_several_at_a_time_are_all_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(POLL, "cpu", 8)
    seconds = estimated(monkeypatch, Clock(), poll=8)
    assert seconds == pytest.approx(TRUE_SECONDS, rel=1e-3)


@pytest.mark.parametrize("look", range(1, 9))
def test_a_busy_machine_makes_no_estimate_silly(monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """Half a minute lost anywhere in the probe, the play without steps included."""
    seconds = estimated(monkeypatch, Clock(lost={look: 30.0}))
    assert TRUE_SECONDS * 0.99 < seconds < TRUE_SECONDS + 30 * STEPS


@pytest.mark.parametrize("engine", ["cascade", "reference"])
def test_real_engines_take_some_time(engine: Any) -> None:
    seconds = estimate(MODEL, plan_of_one_prompt(), [a_task()], EngineSetup(engine, ROWS)).seconds
    assert 0 < seconds < 60
