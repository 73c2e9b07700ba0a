"""The movers are the largest paired differences at the primary strength, controls apart."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from emoctl.analysis.reading_means import reading_means
from emoctl.analysis.results import Results, analyse
from emoctl.report.markdown import summary_md
from emoctl.report.movers import movers
from emoctl.store.records import ProbeRecord, ReadingsRecord, RolloutRecord

EMOTIONS = ("a", "b|<b>", "c", "d", "e", "still")
MOVES = (0.5, 0.25, 0.125, 0.0625, -0.25, 0.0)


def record(rollout: RolloutRecord, levels: Any) -> ReadingsRecord:
    values = np.tile(np.asarray(levels, "<f2"), (3, 1, 1))
    norms = np.ones((3, 1), "<f4")
    return ReadingsRecord(
        rollout.id, -1, values.shape, values.tobytes(), norms.tobytes(), ("x",) * 3
    )


@pytest.fixture
def results(planted: ModuleType) -> Results:
    conditions = [
        planted.UNSTEERED,
        planted.condition("desperate", "0.05"),
        planted.condition("desperate", "0.1"),
        *planted.controls(1),
    ]
    scale = {"0": 0, "0.05": 1, "0.1": -1}
    rows, read = [], []
    for c in conditions:
        made = planted.rollouts(c, "bn")
        rows += made
        size = 9 if c.control != "none" else scale[c.strength]
        read += [record(r, np.clip(np.array(MOVES) * size, -1, 1)) for r in made]
    data = planted.run(conditions, rows=rows)
    probe = ProbeRecord(EMOTIONS, (20,), False, "sha256:00")
    return analyse(replace(data, readings=reading_means(probe, read)))


def test_the_three_that_moved_most_are_named(results: Results) -> None:
    (found,) = movers(results)
    assert found.condition == "desperate +0.05"
    assert found.layer == "20 (above the steered one)"
    names = [part.split()[0] for part in found.rose.split("; ")]
    assert names == ["a", "b|<b>", "c"]
    assert found.rose.startswith("a +0.500 [+.500, +.500]")
    assert found.fell == "e -0.250 [-.250, -.250]"
    assert "d " not in found.rose and "still" not in found.rose + found.fell


def test_names_are_escaped_and_the_figures_are_explained(results: Results) -> None:
    text = summary_md(results, run="r", title="t")
    section = text.split("## Readings")[1].split("\n## ")[0]
    assert r"b\|\<b\>" in section and "<b>" not in section.replace(r"\<b\>", "")
    assert "contains what was" in section


def test_a_strength_that_no_condition_has_moves_nothing(results: Results) -> None:
    assert list(movers(replace(results, primary_strength=0.2))) == []
    assert list(movers(replace(results, primary_strength=None))) == []
    assert list(movers(replace(results, readings=None))) == []
    text = summary_md(replace(results, readings=None), run="r", title="t")
    assert "## Readings" not in text
