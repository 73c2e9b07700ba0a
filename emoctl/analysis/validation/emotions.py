"""Emotion by emotion: how reliable a vector is, how well it reads, and whom it is taken for."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoctl.analysis.validation.readers import ranks
from emoctl.vectors.validation.measurements import Array, Measurements


def spearman_brown(half: Array) -> Array:
    """Reliability of the whole from the correlation of its halves: 2 r / (1 + r).

    Source: Spearman and Brown, British Journal of Psychology 3 (1910). A negative r stays what it
    is: the formula has no meaning there.
    """
    return np.where(half > 0, 2 * half / (1 + np.maximum(half, 0)), half)


def emotion_table(found: Measurements, clusters: Mapping[str, str]) -> pd.DataFrame:
    """One row an emotion, at the layer that was used; readings at the layers folds chose."""
    half = found.split_half[:, :, found.layer]
    raw = half.mean(0)
    reader = found.readers[0]
    rank, first = ranks(reader.scores, reader.own), reader.scores.argmax(1)
    near = _nearest(found.vectors[:, found.layer])
    rows = []
    for index, emotion in enumerate(found.emotions):
        here = reader.own == index
        missed = Counter(found.emotions[i] for i in first[here] if i != index)
        rows.append(
            {
                "emotion": emotion,
                "cluster": clusters.get(emotion, ""),
                "n_stories": int(here.sum()),
                "top1": float((rank[here] < 1).mean()),
                "top5": float((rank[here] < 5).mean()),
                "taken_for": ", ".join(f"{e} {n}" for e, n in missed.most_common(3)),
                "split_half": float(raw[index]),
                "split_half_low": float(np.quantile(half[:, index], 0.025)),
                "split_half_high": float(np.quantile(half[:, index], 0.975)),
                "reliability": float(spearman_brown(raw)[index]),
                "nearest": found.emotions[near[index][0]],
                "nearest_cosine": float(near[index][1]),
                "norm": float(np.linalg.norm(found.vectors[index, found.layer])),
            }
        )
    return pd.DataFrame(rows)


def lens_table(found: Measurements) -> pd.DataFrame:
    """One row a layer and emotion: the tokens that its vector raises and lowers."""

    def told(tokens: Sequence[str]) -> str:
        return " ".join(repr(token) for token in tokens)

    return pd.DataFrame(
        {
            "layer": row.layer,
            "emotion": row.emotion,
            "up": told(row.up),
            "down": told(row.down),
            "own_percentile": row.own_percentile,
            "contrast_up": told(row.contrast_up),
            "contrast_down": told(row.contrast_down),
            "contrast_percentile": row.contrast_percentile,
        }
        for row in found.lens
    )


def halves_table(found: Measurements, clusters: Mapping[str, str]) -> pd.DataFrame:
    """Vectors of one half of the topics, each held against those of the other half."""
    rows = []
    n = len(found.emotions)
    cluster_of = np.array([clusters.get(e, "") for e in found.emotions])
    own = np.arange(n)
    shares: dict[str, list[float]] = {"top-1": [], "top-5": [], "cluster": []}
    for scores in found.half_scores:
        rank = ranks(scores, own)
        shares["top-1"].append(float((rank < 1).mean()))
        shares["top-5"].append(float((rank < 5).mean()))
        placed = cluster_of != ""
        if placed.any():
            right = cluster_of[scores.argmax(1)] == cluster_of
            shares["cluster"].append(float(right[placed].mean()))
    for task, values in shares.items():
        if values:
            low, high = np.quantile(values, [0.025, 0.975])
            rows.append(
                {
                    "task": task,
                    "share": float(np.mean(values)),
                    "low": float(low),
                    "high": float(high),
                    "n_splits": len(values),
                    "n_emotions": n,
                }
            )
    return pd.DataFrame(rows)


def _nearest(vectors: Array) -> Sequence[tuple[int, float]]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return [(int(row.argmax()), float(row.max())) for row in cosine]
