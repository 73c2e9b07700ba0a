"""How long a plan will take: a short probe on the real model, times the work that is planned.

An estimate, not a promise: other programs on the machine, and responses that end early, change it.
"""

import time
from dataclasses import dataclass, replace
from statistics import median

import torch
from transformers import DynamicCache

from emoctl.models.loading import LoadedModel
from emoctl.sweep.executor import one_thread
from emoctl.sweep.plan import Plan
from emoctl.sweep.tasks import SampleTask, ScoreTask, Task

PROBE_TOKENS = 192
PROBE_STEPS = 3
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


def work_left(model: LoadedModel, plan: Plan, left: list[Task]) -> Work:
    """The tasks counted; seconds are left at 0."""
    rollouts = scores = steps = 0
    prefill = 0.0
    for task in left:
        if isinstance(task, SampleTask):
            rollouts += len(task.rows)
            prefill += len(task.prompt) * len({condition for condition, _ in task.rows})
            steps += task.max_new_tokens
        else:
            scores += len(task.condition_ids) * sum(map(len, task.question.names))
            prefill += _score_tokens(model, plan, task)
    return Work(rollouts, scores, round(prefill), steps, 0.0)


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


@torch.inference_mode()
def estimate(model: LoadedModel, plan: Plan, left: list[Task], n_workers: int) -> Work:
    """Probe the model for a second or two, and multiply."""
    work = work_left(model, plan, left)
    with one_thread():
        per_token, per_step = _probe(model, plan)
    seconds = (work.prefill_tokens * per_token + work.decode_steps * per_step) / n_workers
    start = WORKER_START_SECONDS if n_workers > 1 else 0.0
    return replace(work, seconds=seconds + start)


def _probe(model: LoadedModel, plan: Plan) -> tuple[float, float]:
    """Seconds a prefill token, and seconds a decode step of a full batch."""
    cache = DynamicCache()
    n_tokens = min(PROBE_TOKENS, model.context - PROBE_STEPS)
    ids = torch.arange(n_tokens, device=model.device)[None] % len(_embedding(model))
    start = time.perf_counter()
    model.module(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    prefill = (time.perf_counter() - start) / n_tokens
    if not plan.prompts:
        return prefill, 0.0
    longest = max(len(p.token_ids) for p in plan.prompts.values())
    cache.batch_repeat_interleave(plan.config.engine.rows)
    steps = []
    for _ in range(PROBE_STEPS):
        start = time.perf_counter()
        tokens = torch.zeros(plan.config.engine.rows, 1, dtype=torch.int64, device=model.device)
        model.module(tokens, past_key_values=cache, use_cache=True)
        steps.append(time.perf_counter() - start)
    attended = 1 + max(0, longest - n_tokens) / (4 * PROBE_TOKENS)
    return prefill, median(steps) * attended


def _embedding(model: LoadedModel) -> torch.Tensor:
    weight: torch.Tensor = model.module.get_input_embeddings().weight
    return weight
