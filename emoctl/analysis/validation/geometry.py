"""How the vectors lie to each other: cosines, an order in which neighbours stand together,
principal components, clusters, and what all that has to do with valence and arousal.

The ten clusters are the paper's; valence and arousal come from a file that the user names, and
without one nothing is said of them but which clusters are pleasant.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from emoctl.errors import StoriesError
from emoctl.vectors.validation.measurements import Array

N_COMPONENTS = 6
SEED, N_LUCK = 171, 400
FEWEST_RATED = 4
NORM_COLUMNS = ("word", "valence", "arousal")


@dataclass(frozen=True, eq=False)
class Geometry:
    """The vectors of one layer, as they lie to each other."""

    emotions: tuple[str, ...]
    """In hierarchical order: similar ones stand together."""

    cosines: Array
    """[emotions, emotions], in that order."""

    components: Array
    """[emotions, components], in that order: principal components of the directions. The sign of
    each is such that pleasant clusters lie higher on it."""

    explained: Array
    """Share of variance of each component."""


def unit_rows(vectors: Array) -> Array:
    """Directions: every vector at length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def geometry(vectors: Array, emotions: Sequence[str], pleasant: Mapping[str, bool]) -> Geometry:
    """Cosines and components of the directions of one layer."""
    unit = unit_rows(vectors.astype(np.float64))
    cosines = np.clip(unit @ unit.T, -1, 1)
    order = np.arange(len(emotions))
    if len(emotions) > 2:
        distance = squareform(1 - cosines, checks=False)
        order = leaves_list(linkage(distance, "average", optimal_ordering=True))
    components, explained = principal_components(unit)
    side = np.array([_side(pleasant, e) for e in emotions])
    for k in range(components.shape[1]):
        if side @ components[:, k] < 0:
            components[:, k] *= -1
    return Geometry(
        tuple(emotions[i] for i in order.tolist()),
        cosines[np.ix_(order, order)],
        components[order],
        explained,
    )


def principal_components(unit: Array) -> tuple[Array, Array]:
    """Scores on the first components, and the share of variance of each."""
    centred = unit - unit.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    shares = singular**2 / (singular**2).sum()
    k = min(N_COMPONENTS, int((shares > 1e-9).sum()))
    return left[:, :k] * singular[:k], shares[:k]


def separation(scores: Array, emotions: Sequence[str], pleasant: Mapping[str, bool]) -> float:
    """AUC: how often a pleasant emotion lies above an unpleasant one; NaN without both."""
    up = np.array([s for s, e in zip(scores, emotions, strict=True) if pleasant.get(e) is True])
    down = np.array([s for s, e in zip(scores, emotions, strict=True) if pleasant.get(e) is False])
    if not len(up) or not len(down):
        return float("nan")
    return float(stats.mannwhitneyu(up, down).statistic / (len(up) * len(down)))


def apart(auc: float) -> float:
    """An AUC whatever the sign of its axis: .5 at least."""
    return max(auc, 1 - auc)


def apart_by_luck(
    components: Array, emotions: Sequence[str], pleasant: Mapping[str, bool]
) -> tuple[float, float]:
    """What `apart` exceeds in one of twenty cases where it is dealt out anew which emotions are
    pleasant: for the first component, and for the best of them."""
    known = [e for e in emotions if e in pleasant]
    if len({pleasant[e] for e in known}) < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(SEED)
    first, best = [], []
    for _ in range(N_LUCK):
        order = generator.permutation(len(known))
        dealt = {known[i]: pleasant[known[j]] for i, j in enumerate(order)}
        found = [apart(separation(column, emotions, dealt)) for column in components.T]
        first.append(found[0])
        best.append(max(found))
    return float(np.quantile(first, 0.95)), float(np.quantile(best, 0.95))


def valence_axis(unit: Array, emotions: Sequence[str], pleasant: Mapping[str, bool]) -> Array:
    """Each emotion's place on an axis that was made without it: pleasant minus unpleasant mean."""
    up = np.array([pleasant.get(e) is True for e in emotions])
    down = np.array([pleasant.get(e) is False for e in emotions])
    places = np.full(len(emotions), np.nan)
    for i in range(len(emotions)):
        others = np.arange(len(emotions)) != i
        if (up & others).any() and (down & others).any():
            high, low = unit[up & others].mean(0), unit[down & others].mean(0)
            places[i] = (unit[i] - (high + low) / 2) @ (high - low)
    return places


def cluster_agreement(
    unit: Array, emotions: Sequence[str], clusters: Mapping[str, str]
) -> tuple[float, Array]:
    """Adjusted Rand index of k-means against the published clusters, and each emotion's cluster.

    NaN where fewer emotions are published than there are clusters.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    placed = [i for i, e in enumerate(emotions) if e in clusters]
    k = len({clusters[emotions[i]] for i in placed})
    if len(placed) <= k or k < 2:
        return float("nan"), np.zeros(len(emotions), dtype=int)
    found = KMeans(k, n_init=20, random_state=SEED).fit_predict(unit)
    said = [clusters[emotions[i]] for i in placed]
    return float(adjusted_rand_score(said, found[placed])), found


def pca_table(
    found: Geometry, clusters: Mapping[str, str], pleasant: Mapping[str, bool], axis: Array
) -> pd.DataFrame:
    """One row an emotion: its components, its cluster, its place on the valence axis."""
    frame = pd.DataFrame({"emotion": found.emotions})
    frame["cluster"] = [clusters.get(e, "") for e in found.emotions]
    frame["pleasant"] = pd.array([pleasant.get(e) for e in found.emotions], dtype="boolean")
    for k in range(found.components.shape[1]):
        frame[f"pc{k + 1}"] = found.components[:, k]
    frame["valence_axis"] = axis
    return frame


def read_norms(path: Path, emotions: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Emotion → (valence, arousal) from a CSV with the columns word, valence and arousal.

    Raises:
        StoriesError: the file is absent, lacks a column, holds a value that is no number, or has
            fewer than four of the emotions.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StoriesError(f"--norms {path}: cannot be read: {error}") from None
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in NORM_COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise StoriesError(
            f"--norms {path}: lacks the column {missing[0]!r}",
            hint="give a CSV file with the columns word, valence, arousal",
        )
    norms = {}
    for number, row in enumerate(reader, start=2):
        try:
            word, rated = row["word"].strip(), (float(row["valence"]), float(row["arousal"]))
        except (TypeError, ValueError, AttributeError):
            rated = (math.nan, math.nan)
        if not all(map(math.isfinite, rated)):
            raise StoriesError(f"--norms {path}:{number}: valence and arousal must be numbers")
        if word in emotions:
            norms[word] = rated
    if len(norms) < FEWEST_RATED:
        raise StoriesError(
            f"--norms {path}: {len(norms)} of {len(emotions)} emotions are in the file",
            hint="at least four must be; words are spelt as `emoctl stories ls` spells them",
        )
    return norms


def norms_table(found: Geometry, norms: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Correlation of each component with valence and arousal, over the words that are rated."""
    here = [i for i, e in enumerate(found.emotions) if e in norms]
    rows = []
    for k in range(found.components.shape[1]):
        for column, name in enumerate(("valence", "arousal")):
            rated = [norms[found.emotions[i]][column] for i in here]
            pearson = stats.pearsonr(found.components[here, k], rated)
            interval = pearson.confidence_interval()
            rows.append(
                {
                    "component": f"pc{k + 1}",
                    "rating": name,
                    "n": len(here),
                    "r": float(pearson.statistic),
                    "low": float(interval.low),
                    "high": float(interval.high),
                    "rho": float(stats.spearmanr(found.components[here, k], rated).statistic),
                }
            )
    return pd.DataFrame(rows)


def _side(pleasant: Mapping[str, bool], emotion: str) -> int:
    return {True: 1, False: -1, None: 0}[pleasant.get(emotion)]
