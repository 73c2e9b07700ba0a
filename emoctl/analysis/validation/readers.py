"""How well each reader names the emotion of stories that it has not seen, and by how much the
vectors beat the others on the same stories.

An interval resamples emotions, all stories of one together: stories of one emotion stand or fall
together, so resampling single stories would promise too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emoctl.vectors.validation.measurements import Array, Reader

RESAMPLES, SEED = 2000, 171
FIRST = "emotion vectors"


@dataclass(frozen=True, eq=False)
class Task:
    """One question: which stories count, and what a right answer is."""

    name: str
    right: Array
    """bool [stories]: whether the reader answered rightly."""

    own: Array
    """int [stories]: the emotion, by which stories are resampled together."""

    chance: float


def reader_table(
    readers: Sequence[Reader],
    emotions: Sequence[str],
    clusters: Mapping[str, str],
    few: Sequence[str],
    confidence: float,
) -> pd.DataFrame:
    """One row a reader and task: share right, its interval, and the vectors' lead over it."""
    first = {task.name: task for task in _tasks(readers[0], emotions, clusters, few)}
    rows = []
    for reader in readers:
        for task in _tasks(reader, emotions, clusters, few):
            low, high = resampled(task.right.astype(float), task.own, confidence)
            lead = _lead(first[task.name], task, confidence) if reader is not readers[0] else None
            rows.append(
                {
                    "reader": reader.name,
                    "task": task.name,
                    "n": len(task.right),
                    "share": float(task.right.mean()),
                    "low": low,
                    "high": high,
                    "chance": task.chance,
                    "lead": lead[0] if lead else np.nan,
                    "lead_low": lead[1] if lead else np.nan,
                    "lead_high": lead[2] if lead else np.nan,
                }
            )
    return pd.DataFrame(rows)


def ranks(scores: Array, own: Array) -> Array:
    """How many emotions score at least as high as a story's own: a tie counts against it."""
    mine = scores[np.arange(len(own)), own]
    return np.asarray((scores >= mine[:, None]).sum(1) - 1)


def resampled(values: Array, groups: Array, confidence: float) -> tuple[float, float]:
    """Percentile interval of the mean of `values`, whole groups drawn with replacement."""
    sums, counts = np.bincount(groups, weights=values), np.bincount(groups)
    sums, counts = sums[counts > 0], counts[counts > 0]
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _tasks(
    reader: Reader, emotions: Sequence[str], clusters: Mapping[str, str], few: Sequence[str]
) -> list[Task]:
    own, scores, n = reader.own, reader.scores, len(emotions)
    rank = ranks(scores, own)
    tasks = [
        Task("top-1", rank < 1, own, 1 / n),
        Task("top-5", rank < 5, own, min(5 / n, 1.0)),
    ]
    cluster_of = np.array([clusters.get(e, "") for e in emotions])
    placed = cluster_of[own] != ""
    if len(set(cluster_of) - {""}) > 1:
        said = cluster_of[scores.argmax(1)]
        shares = np.array([np.mean(cluster_of == c) for c in cluster_of[own[placed]]])
        right = (said == cluster_of[own])[placed]
        tasks.append(Task("cluster", right, own[placed], float(shares.mean())))
    chosen = np.array([i for i, e in enumerate(emotions) if e in few])
    if 1 < len(chosen) < n:
        here = np.isin(own, chosen)
        right = chosen[scores[here][:, chosen].argmax(1)] == own[here]
        tasks.append(Task(f"{len(chosen)}-way", right, own[here], 1 / len(chosen)))
    return tasks


def _lead(first: Task, other: Task, confidence: float) -> tuple[float, float, float] | None:
    """The first reader's share minus the other's, paired by story; None where labels differ."""
    if not np.array_equal(first.own, other.own):
        return None
    gap = first.right.astype(float) - other.right.astype(float)
    return float(gap.mean()), *resampled(gap, first.own, confidence)
