"""Every table of a validation, from its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emoctl.analysis.validation.emotions import (
    emotion_table,
    halves_table,
    lens_table,
    spearman_brown,
)
from emoctl.analysis.validation.geometry import (
    Geometry,
    apart,
    apart_by_luck,
    cluster_agreement,
    geometry,
    norms_table,
    pca_table,
    principal_components,
    separation,
    unit_rows,
    valence_axis,
)
from emoctl.analysis.validation.messages import (
    implicit_messages,
    implicit_ranks,
    sign_test,
    slopes,
)
from emoctl.analysis.validation.readers import ranks, reader_table, resampled
from emoctl.stories.clusters import POSITIVE, TWELVE, published_clusters
from emoctl.vectors.validation.material import Material
from emoctl.vectors.validation.measurements import Measurements, Reader

CONFIDENCE = 0.95
Norms = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Validation:
    """What was found, as tables."""

    emotions: tuple[str, ...]
    layer: int
    recommended_layer: int
    n_layers: int
    geometry: Geometry
    frames: dict[str, pd.DataFrame]
    """Name → table; each is written as CSV and Parquet."""


def validate(
    found: Measurements,
    material: Material,
    words: Reader,
    further_words: Reader,
    norms: Norms | None,
) -> Validation:
    """Tables, intervals and tests of one validation. `words` and `further_words` are what words
    alone say of left-out and of further stories.

    Raises:
        StoriesError: the norms hold too few of the emotions.
    """
    clusters = published_clusters()
    pleasant = {emotion: name in POSITIVE for emotion, name in clusters.items()}
    unit = unit_rows(found.vectors[:, found.layer].astype(np.float64))
    shape = geometry(found.vectors[:, found.layer], found.emotions, pleasant)
    axis = dict(zip(found.emotions, valence_axis(unit, found.emotions, pleasant), strict=True))
    luck = apart_by_luck(shape.components, shape.emotions, pleasant)
    _, kmeans = cluster_agreement(unit, found.emotions, clusters)
    pca = pca_table(shape, clusters, pleasant, np.array([axis[e] for e in shape.emotions]))
    pca["kmeans"] = [int(kmeans[found.emotions.index(e)]) for e in shape.emotions]
    frames = {
        "readers": reader_table(
            _all_readers(found, words), found.emotions, clusters, TWELVE, CONFIDENCE
        ),
        "layers": _layers(found, material, clusters, pleasant),
        "emotions": emotion_table(found, clusters),
        "halves": halves_table(found, clusters),
        "growth": _growth(found, material, further_words),
        "pca": pca,
        "explained": pd.DataFrame(
            {
                "component": [f"pc{k + 1}" for k in range(len(shape.explained))],
                "share": shape.explained,
                "auc_pleasant": [
                    apart(separation(shape.components[:, k], shape.emotions, pleasant))
                    for k in range(len(shape.explained))
                ],
                "auc_by_luck": luck[0],
                "best_auc_by_luck": luck[1],
            }
        ),
        "cosines": _pairs(shape.emotions, shape.emotions, shape.cosines, ("emotion", "other")),
        **_messages(found, material),
    }
    if found.lens:
        frames["lens"] = lens_table(found)
    if norms is not None:
        frames["norms"] = norms_table(shape, norms)
    return Validation(
        emotions=found.emotions,
        layer=found.layer,
        recommended_layer=found.recommended_layer,
        n_layers=found.vectors.shape[1],
        geometry=shape,
        frames=frames,
    )


def _all_readers(found: Measurements, words: Reader) -> list[Reader]:
    """The vectors, words alone, and the rest; draws of shuffled labels stay rows of their own."""
    return [found.readers[0], words, *found.readers[1:]]


def _layers(
    found: Measurements,
    material: Material,
    clusters: Mapping[str, str],
    pleasant: Mapping[str, bool],
) -> pd.DataFrame:
    """One row a layer: the curves of everything that has one."""
    own = found.readers[0].own
    cluster_of = np.array([clusters.get(e, "") for e in found.emotions])
    placed = cluster_of[own] != ""
    writers = [m.emotion for m in material.implicit]
    span = material.spans["implicit"]
    rows = []
    for layer in range(found.vectors.shape[1]):
        half = found.split_half[:, :, layer].mean(0)
        unit = unit_rows(found.vectors[:, layer].astype(np.float64))
        scores, explained = principal_components(unit)
        aucs = [separation(scores[:, k], found.emotions, pleasant) for k in range(scores.shape[1])]
        axis = valence_axis(unit, found.emotions, pleasant)
        right = cluster_of[found.first_by_layer[layer]] == cluster_of[own]
        row = {
            "layer": layer,
            "top1": found.top1_by_layer[layer],
            "top5": found.top5_by_layer[layer],
            "cluster": float(right[placed].mean()) if placed.any() else np.nan,
            "split_half": float(np.median(half)),
            "reliability": float(np.median(spearman_brown(half))),
            "pc1_share": float(explained[0]),
            "pc1_auc": apart(aucs[0]),
            "best_pc_auc": max(map(apart, aucs)),
            "valence_axis_auc": separation(axis, found.emotions, pleasant),
            "rand_index": cluster_agreement(unit, found.emotions, clusters)[0],
            "chosen_by_folds": found.chosen_layers.count(layer),
        }
        for position, cosines in found.message_cosines.items():
            rank = implicit_ranks(cosines[span, :, layer], writers, found.emotions)
            row[f"implicit_top3_{position.replace(' ', '_')}"] = float((rank < 3).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def _pairs(
    rows: Sequence[str], columns: Sequence[str], values: np.ndarray, names: tuple[str, str]
) -> pd.DataFrame:
    """A matrix as one row a pair: a column may be called anything then."""
    return pd.DataFrame(
        {
            names[0]: [row for row in rows for _ in columns],
            names[1]: [column for _ in rows for column in columns],
            "cosine": values.reshape(-1),
        }
    )


def _growth(found: Measurements, material: Material, words: Reader) -> pd.DataFrame:
    """How many further stories are read rightly, by the topics that vectors were made from; and
    what words alone read in them."""
    own = np.array([found.emotions.index(s.emotion) for s in material.further])
    everything = max(grown.n_topics for grown in found.growth)
    readers = [("emotion vectors", g.n_topics, g.ranks) for g in found.growth]
    readers.append(("words alone", everything, ranks(words.scores, words.own)[None]))
    rows = []
    for reader, n_topics, rank in readers:
        for task, k in (("top-1", 1), ("top-5", 5)):
            right = (rank < k).mean(0)
            low, high = resampled(right, own, CONFIDENCE)
            rows.append(
                {
                    "reader": reader,
                    "n_topics": n_topics,
                    "task": task,
                    "share": float(right.mean()),
                    "low": low,
                    "high": high,
                    "n_stories": len(own),
                    "n_draws": len(rank),
                    "n_emotions": len(found.emotions),
                }
            )
    return pd.DataFrame(rows)


def _messages(found: Measurements, material: Material) -> dict[str, pd.DataFrame]:
    """Implicit messages, intensity templates and severity pairs, at both positions."""
    parts: dict[str, list[pd.DataFrame]] = {}
    writers = [m.emotion for m in material.implicit]
    for position, cosines in found.message_cosines.items():
        at_layer = {kind: cosines[span, :, found.layer] for kind, span in material.spans.items()}
        implicit = implicit_messages(at_layer["implicit"], writers, found.emotions, CONFIDENCE)
        intensity = _intensity(at_layer["numbers"], at_layer["controls"], found, material)
        severity = _severity(at_layer["pairs"], found, material)
        made = {
            "implicit": implicit.table,
            "implicit_confusion": _pairs(
                implicit.emotions, implicit.emotions, implicit.confusion, ("writer", "vector")
            ),
            "implicit_summary": implicit.summary,
            "intensity": intensity,
            "severity": severity,
            "slopes": _sign_tests(intensity, severity),
        }
        for name, frame in made.items():
            frame.insert(0, "position", position)
            parts.setdefault(name, []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _intensity(
    numbers: np.ndarray, controls: np.ndarray, found: Measurements, material: Material
) -> pd.DataFrame:
    rows, start = [], 0
    for template in material.intensity:
        here = slice(start, start + len(template.values))
        start = here.stop
        column = found.emotions.index(template.emotion)
        slope, rho = slopes(numbers[here, column], template.values, template.sign)
        flat, flat_rho = slopes(controls[here, column], template.values, template.sign)
        rows.append(
            {
                "name": template.name,
                "emotion": template.emotion,
                "sign": template.sign,
                "slope": slope,
                "rho": rho,
                "control_slope": flat,
                "control_rho": flat_rho,
                "right": slope > 0,
                "above_control": slope > flat,
            }
        )
    return pd.DataFrame(rows)


def _severity(pairs: np.ndarray, found: Measurements, material: Material) -> pd.DataFrame:
    rows = []
    for index, pair in enumerate(material.severity):
        column = found.emotions.index(pair.emotion)
        mild, severe = pairs[2 * index, column], pairs[2 * index + 1, column]
        rows.append(
            {
                "name": pair.name,
                "emotion": pair.emotion,
                "sign": pair.sign,
                "change": float(pair.sign * (severe - mild)),
                "right": bool(pair.sign * (severe - mild) > 0),
            }
        )
    return pd.DataFrame(rows)


def _sign_tests(intensity: pd.DataFrame, severity: pd.DataFrame) -> pd.DataFrame:
    kinds: dict[str, Sequence[float]] = {
        "numbers": intensity["slope"].tolist(),
        "controls": intensity["control_slope"].tolist(),
        "numbers above their controls": (intensity["slope"] - intensity["control_slope"]).tolist(),
        "severity pairs": severity["change"].tolist(),
    }
    return pd.DataFrame({"kind": k, **sign_test(v, CONFIDENCE)} for k, v in kinds.items())
