"""How long a model will write: a short probe on the real prompts, times the texts that are missing.

An estimate of the first attempts; how many of them fail the lint is not known before.
"""

import math
from dataclasses import dataclass

import torch

from emoctl.engine.choice import EngineSetup, make_engine
from emoctl.engine.rollout import RolloutRequest
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel
from emoctl.stories.choosing import Choice
from emoctl.sweep.commission import Commission
from emoctl.sweep.estimate import (
    PROBE_STEPS,
    WORKER_START_SECONDS,
    play_seconds,
    seconds_per_step,
)
from emoctl.sweep.executor import one_thread
from emoctl.sweep.story_writing import write_rows


@dataclass(frozen=True)
class WritingWork:
    """What is left to write, before anything of it fails."""

    n_stories: int
    """That are asked for."""

    n_kept: int
    """That are there already."""

    n_texts: int
    """To be written next."""

    prompt_tokens: int
    new_tokens: int
    """Were every text as long as allowed."""

    seconds: float
    """Wall time of that."""


def estimate_writing(
    commission: Commission, model: LoadedModel, choice: Choice, setup: EngineSetup
) -> WritingWork:
    """Probe the model for a second or two, and multiply.

    Raises:
        PromptError: a prompt and its story do not fit the model.
    """
    rows = write_rows(commission, model, choice.wanted)
    longest = commission.sampling.max_new_tokens
    nothing = Steering(0, torch.zeros(model.d_model), everywhere=False)
    first = [
        RolloutRequest(row.prompt, row.response_start, nothing, row.noise)
        for row in rows[: setup.rows]
    ]
    seconds = _seconds(model, first, setup, longest) if rows else 0.0
    batches = math.ceil(len(rows) / setup.rows)
    workers = min(setup.workers, batches)
    start = WORKER_START_SECONDS if setup.workers > 1 and rows else 0.0
    return WritingWork(
        n_stories=len(commission.cells),
        n_kept=len(choice.kept),
        n_texts=len(rows),
        prompt_tokens=sum(len(row.prompt) for row in rows),
        new_tokens=len(rows) * longest,
        seconds=seconds * batches / max(1, workers) + start,
    )


def _seconds(
    model: LoadedModel, requests: list[RolloutRequest], setup: EngineSetup, n_tokens: int
) -> float:
    """Wall time of one batch on one thread."""
    engine = make_engine(model, setup)
    with one_thread():
        play_seconds(engine, requests[:1], 1)
        opening = play_seconds(engine, requests, 1)
        both = play_seconds(engine, requests, 1 + PROBE_STEPS)
    return opening + n_tokens * seconds_per_step(opening, both, PROBE_STEPS)
