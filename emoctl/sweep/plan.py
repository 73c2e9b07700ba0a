"""What a sweep will do, before it does it: scenarios × variants × conditions × rollouts or items.

A plan holds prompts and conditions; `tasks` subtracts what a store already has. Equal configs,
vectors and scenarios give equal plans, on every machine.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from emoctl.config.schema import ExperimentConfig
from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Probe
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import Prompt
from emoctl.scenarios import ReadoutName, Scenario, pick_scenario
from emoctl.store.database import RolloutKey, ScoreKey
from emoctl.sweep.conditions import Condition, make_conditions
from emoctl.sweep.probe import make_probe
from emoctl.sweep.readouts import (
    ScoreQuestion,
    choice_question,
    likelihood_question,
    sample_prompt,
)
from emoctl.sweep.tasks import SampleTask, ScoreTask, Task
from emoctl.sweep.wanted import variants_of, wanted_readouts
from emoctl.vectors.files import EmotionVectors

T = TypeVar("T")

CONDITIONS_TOGETHER = 12
"""Conditions of one scoring task. Fixed, so that a resumed run forms the same groups."""

ROUNDS = 4
"""Batches' worth of rollouts in a sampling task: in the last round, slots run empty."""

QUESTIONS = {"likelihood": likelihood_question, "choice": choice_question}


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a sweep asks, as token ids and conditions."""

    config: ExperimentConfig
    scenarios: dict[str, Scenario]
    conditions: dict[str, Condition]
    """By id: those of all readouts."""

    conditions_of: dict[ReadoutName, tuple[str, ...]]
    prompts: dict[tuple[str, str], Prompt]
    """(scenario, variant) → what rollouts go on from."""

    questions: tuple[ScoreQuestion, ...]
    probe: Probe | None = None
    """What is read of every token of the rollouts."""

    @property
    def steerings(self) -> dict[str, Steering]:
        """Condition id → what the engine adds."""
        return {name: condition.steering for name, condition in self.conditions.items()}

    @property
    def n_rollouts(self) -> int:
        """Rollouts in all."""
        n = self.config.readouts.sample.n if self.config.readouts.sample else 0
        return len(self.prompts) * len(self.conditions_of.get("sample", ())) * n

    @property
    def n_scores(self) -> int:
        """Exact scores in all."""
        return sum(
            sum(map(len, q.names)) * len(self.conditions_of[q.readout]) for q in self.questions
        )


def make_plan(config: ExperimentConfig, model: LoadedModel, vectors: EmotionVectors) -> Plan:
    """Resolve every name in the config, and turn everything that will be asked into tokens.

    Raises:
        ConfigError: a variant or readout that a scenario lacks, or a layer the model lacks.
        ScenarioError: a scenario is unknown or malformed.
        UnknownEmotionError: the config names an emotion that the vectors do not hold.
        PromptError: something does not fit the model.
    """
    scenarios = {name: pick_scenario(name) for name in config.scenarios}
    conditions: dict[str, Condition] = {}
    conditions_of: dict[ReadoutName, tuple[str, ...]] = {}
    for readout, section in wanted_readouts(config):
        n_controls = config.controls.sample if readout == "sample" else config.controls.exact
        positions = section.positions or config.steering.positions
        made = make_conditions(vectors, config, positions, n_controls)
        conditions.update({c.record.id: c for c in made})
        conditions_of[readout] = tuple(c.record.id for c in made)
    prompts: dict[tuple[str, str], Prompt] = {}
    questions: list[ScoreQuestion] = []
    for scenario in scenarios.values():
        for readout, section in wanted_readouts(config):
            for variant in variants_of(scenario, readout, section):
                if readout == "sample":
                    prompts[scenario.name, variant] = sample_prompt(
                        model, scenario, variant, config.sampling.max_new_tokens
                    )
                else:
                    questions.append(QUESTIONS[readout](model, scenario, variant))
    return Plan(
        config,
        scenarios,
        conditions,
        conditions_of,
        prompts,
        tuple(questions),
        make_probe(vectors, config),
    )


def tasks(
    plan: Plan,
    done_rollouts: set[RolloutKey],
    done_scores: set[ScoreKey],
    limit: int | None,
    n_workers: int = 1,
) -> list[Task]:
    """The work that is left, in the order in which it should be done, so that `n_workers` share
    it evenly.

    `limit` keeps only so many rollouts of each cell, and so many groups of conditions of each
    exact readout.
    """
    scoring = [t for q in plan.questions for t in _score_tasks(plan, q, done_scores, limit)]
    sampling = [
        t for key in plan.prompts for t in _sample_tasks(plan, key, done_rollouts, limit, n_workers)
    ]
    return [*scoring, *sampling]


def _score_tasks(
    plan: Plan, question: ScoreQuestion, done: set[ScoreKey], limit: int | None
) -> Iterator[ScoreTask]:
    item, order = question.names[-1][-1]
    for group in _groups(plan.conditions_of[question.readout], CONDITIONS_TOGETHER)[:limit]:
        key = (question.scenario, question.variant, group[-1], question.readout, item, order)
        if key not in done:
            yield ScoreTask(question, tuple(group))


def _sample_tasks(
    plan: Plan, key: tuple[str, str], done: set[RolloutKey], limit: int | None, n_workers: int
) -> Iterator[SampleTask]:
    config, prompt = plan.config, plan.prompts[key]
    assert config.readouts.sample is not None
    n = config.readouts.sample.n if limit is None else min(limit, config.readouts.sample.n)
    rows = [
        (condition, NoiseKey(config.seed, *key, rollout))
        for condition in plan.conditions_of["sample"]
        for rollout in range(n)
        if (*key, condition, rollout) not in done
    ]
    n_tasks = n_workers * math.ceil(len(rows) / (n_workers * ROUNDS * config.engine.rows))
    for group in _groups(rows, max(1, math.ceil(len(rows) / max(1, n_tasks)))):
        yield SampleTask(
            scenario=key[0],
            variant=key[1],
            prompt=prompt.token_ids,
            response_start=prompt.response_start,
            rows=tuple(group),
            sampling=config.sampling,
            stop=plan.scenarios[key[0]].variants[key[1]].stop,
        )


def _groups(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
