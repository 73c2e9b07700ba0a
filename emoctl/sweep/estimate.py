"""How long a plan will take: a short probe on the real model, times the work that is planned.

An estimate, not a promise: other programs on the machine, and responses that end early, change it.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from emoctl.engine.choice import Engine, EngineSetup, make_engine
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import POLL
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel
from emoctl.sweep.executor import one_thread
from emoctl.sweep.plan import Plan
from emoctl.sweep.tasks import SampleTask, ScoreTask, Task

PROBE_TOKENS = 192
PROBE_STEPS = 4
"""Times what the engine does between two looks at what was drawn: it never does less."""

WORKER_START_SECONDS = 6.0
"""Importing torch and transformers, and loading a small model."""


@dataclass(frozen=True)
class Work:
    """What is left to do, in tokens of one thread's work."""

    n_rollouts: int
    n_scores: int
    prefill_tokens: int
    """Tokens through all layers in long passes: prompts, prefixes, continuations."""

    decode_steps: int
    """Steps of a full batch, were every response as long as allowed."""

    seconds: float
    """Wall time with `n_workers` processes."""


def work_left(model: LoadedModel, plan: Plan, left: list[Task], engine: EngineSetup) -> Work:
    """The tasks counted; seconds are left at 0."""
    rollouts = scores = steps = 0
    prefill = 0.0
    for task in left:
        if isinstance(task, SampleTask):
            rollouts += len(task.rows)
            prefill += len(task.prompt) * _prompt_passes(model, plan, task, engine)
            steps += math.ceil(len(task.rows) / engine.rows) * task.sampling.max_new_tokens
        elif isinstance(task, ScoreTask):
            scores += len(task.condition_ids) * sum(map(len, task.question.names))
            prefill += _score_tokens(model, plan, task)
    return Work(rollouts, scores, round(prefill), steps, 0.0)


def _prompt_passes(model: LoadedModel, plan: Plan, task: SampleTask, engine: EngineSetup) -> float:
    """Passes over the prompt, in passes through all layers: the steered engine runs it once, and
    once more above each condition's layer."""
    records = [plan.conditions[c].record for c in dict.fromkeys(c for c, _ in task.rows)]
    if engine.name == "reference":
        return len(records)
    steered = [r for r in records if r.positions == "all" and float(r.strength)]
    return 1 + sum(1 - (r.layer + 1) / model.n_layers for r in steered)


def _score_tokens(model: LoadedModel, plan: Plan, task: ScoreTask) -> float:
    """Tokens of a scoring task, in passes through all layers: up to the steered layer one pass
    serves all conditions, above it there is one a condition, and so for the unembedding."""
    record, n = plan.conditions[task.condition_ids[-1]].record, len(task.condition_ids)
    below = (record.layer + 1) / model.n_layers
    blocks = sum(p.numel() for block in model.blocks for p in block.parameters())
    unembedding = model.module.get_output_embeddings().weight.numel() / blocks
    n_prefixes = n if record.positions == "all" else 1
    prefix = len(task.question.prefix) * (below + (1 - below) * n_prefixes)
    return prefix + task.question.n_packed_tokens * (below + (1 - below + unembedding) * n)


def estimate(model: LoadedModel, plan: Plan, left: list[Task], engine: EngineSetup) -> Work:
    """Probe the model for a second or two, and multiply."""
    work = work_left(model, plan, left, engine)
    with one_thread():
        per_token, per_step = _probe(model, plan, engine)
    seconds = (work.prefill_tokens * per_token + work.decode_steps * per_step) / engine.workers
    start = WORKER_START_SECONDS if engine.workers > 1 else 0.0
    return replace(work, seconds=seconds + start)


def _probe(model: LoadedModel, plan: Plan, setup: EngineSetup) -> tuple[float, float]:
    """Seconds a prefill token, and seconds a decode step of a full batch.

    Steps are timed on a prompt that was played before, whose prefix the engine kept; prefill on one
    that it has not seen.
    """
    n_steps = PROBE_STEPS * POLL.get(model.device.type, 1)
    n_tokens = min(PROBE_TOKENS, model.context - n_steps - 1)
    known, fresh = (_requests(model, n_tokens, first, setup.rows) for first in (0, 1))
    batch = known if plan.prompts else known[:1]
    engine = make_engine(model, setup)
    play_seconds(engine, batch, 1)
    per_step = seconds_per_step(
        play_seconds(engine, batch, 1), play_seconds(engine, batch, 1 + n_steps), n_steps
    )
    per_token = play_seconds(engine, fresh[:1], 1) / n_tokens
    longest = max((len(p.token_ids) for p in plan.prompts.values()), default=n_tokens)
    return per_token, per_step * _attended(model, n_tokens, longest)


def _requests(model: LoadedModel, n_tokens: int, first: int, rows: int) -> list[RolloutRequest]:
    """Unsteered rows of one prompt, whose tokens count up from `first`."""
    prompt = tuple((first + i) % len(_embedding(model)) for i in range(n_tokens))
    nothing = Steering(0, torch.zeros(model.d_model), everywhere=False)
    return [
        RolloutRequest(prompt, n_tokens, nothing, NoiseKey(0, "", "", row)) for row in range(rows)
    ]


def seconds_per_step(none: float, all_: float, n_steps: int) -> float:
    """Seconds a step, of plays without any and with all steps; where noise on the clock was larger
    than they, the most that a step can have taken."""
    return (all_ - none if all_ > none else all_) / n_steps


def play_seconds(engine: Engine, requests: Sequence[RolloutRequest], n_tokens: int) -> float:
    """Wall time of playing so many tokens of each request."""
    start = time.perf_counter()
    for _ in engine.play(requests, SamplingParams(n_tokens, temperature=1.0)):
        pass
    return time.perf_counter() - start


def _attended(model: LoadedModel, n_probed: int, n_prompt: int) -> float:
    """How much longer a step over a longer prompt takes, by operations."""
    weights = 2 * sum(p.numel() for block in model.blocks for p in block.parameters())
    token = 4 * model.n_layers * model.d_model
    return (weights + token * n_prompt) / (weights + token * n_probed)


def _embedding(model: LoadedModel) -> torch.Tensor:
    weight: torch.Tensor = model.module.get_input_embeddings().weight
    return weight
