"""Readings → what a table needs of them: two cosines a rollout, layer and emotion.

One rollout's tokens are in memory at a time. Nothing here knows conditions or scenarios.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emoctl.store.records import ProbeRecord, ReadingsRecord

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RolloutMeans:
    """One rollout; every grid is [layers, emotions], NaN where nothing could be read."""

    at_prompt_end: Grid
    """Cosine at the last prompt token."""

    over_response: Grid
    """Mean cosine over the response's tokens."""

    n_tokens: npt.NDArray[np.int64]
    """[layers]: response tokens that have a reading."""


@dataclass(frozen=True, eq=False)
class ReadingMeans:
    """What was read in a run, by rollout id."""

    emotions: tuple[str, ...]
    layers: tuple[int, ...]
    rollouts: dict[str, RolloutMeans]


def reading_means(
    probe: ProbeRecord | None, records: Iterable[ReadingsRecord]
) -> ReadingMeans | None:
    """Every rollout's means; None where the run reads nothing."""
    if probe is None:
        return None
    return ReadingMeans(
        probe.emotions, probe.layers, {r.rollout_id: rollout_means(r) for r in records}
    )


def cosines_of(record: ReadingsRecord) -> npt.NDArray[np.float16]:
    """Cosines [tokens, layers, emotions] as they are stored."""
    return np.frombuffer(record.cosines, "<f2").reshape(record.shape)


def norms_of(record: ReadingsRecord) -> npt.NDArray[np.float32]:
    """Norms [tokens, layers] as they are stored."""
    return np.frombuffer(record.norms, "<f4").reshape(record.shape[:2])


def rollout_means(record: ReadingsRecord) -> RolloutMeans:
    """Means over one rollout's tokens. A token without a reading is left out, not counted as 0."""
    cosines = cosines_of(record).astype(np.float64)
    end = -1 - record.first
    response = cosines[end + 1 :]
    known = np.isfinite(response.sum(axis=2))
    n_tokens = known.sum(axis=0)
    total = np.where(known[:, :, None], response, 0.0).sum(axis=0)
    mean = np.full_like(total, np.nan)
    np.divide(total, n_tokens[:, None], out=mean, where=n_tokens[:, None] > 0)
    return RolloutMeans(cosines[end], mean, n_tokens)
