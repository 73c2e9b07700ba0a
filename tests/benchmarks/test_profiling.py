"""The parts of a decode step, on planted times and on a random tiny Llama."""

import importlib
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

profiling = importlib.import_module("benchmarks.profiling")


def test_parts_add_up_and_a_part_inside_another_is_its_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now[0])

    def taking(seconds: float) -> None:
        now[0] += seconds

    clock = profiling.Clock()
    merging = clock.part("merging", taking)

    def over_prompt() -> None:
        taking(4.0)
        merging(1.0)

    attention = clock.part("attention", over_prompt)

    def forward() -> None:
        attention()
        merging(2.0)
        taking(3.0)

    feed = clock.around(profiling.FORWARD, forward)
    draw = clock.part(profiling.DRAWING, taking)

    def step() -> None:
        feed()
        draw(5.0)
        taking(0.5)

    whole = clock.around(profiling.WHOLE, step)
    merging(100.0)  # before the first step: nobody's
    for _ in range(3):
        whole()

    found = clock.medians()
    assert found == {
        profiling.WHOLE: 15.5,
        "attention": 5.0,
        "merging": 2.0,
        profiling.DRAWING: 5.0,
        profiling.BETWEEN: 3.0,
        profiling.BOOKKEEPING: 0.5,
    }
    assert sum(found.values()) == 2 * found[profiling.WHOLE]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no packed linear layers")
def test_every_part_of_a_real_step_is_seen(tiny: ModuleType, tmp_path: Path) -> None:
    folder = tiny.save_model(tmp_path / "tiny")

    before = time.perf_counter()
    profile = profiling.measure(str(folder), rows=4, prompt_tokens=20, new_tokens=6, threads=1)
    took = time.perf_counter() - before

    assert set(profile.step_seconds) == {
        profiling.WHOLE,
        profiling.LINEAR,
        profiling.BETWEEN,
        profiling.BOOKKEEPING,
        *profiling.PARTS.values(),
    }
    assert all(0 < seconds < took for seconds in profile.step_seconds.values())
    printed = profiling.table(profile).splitlines()
    assert printed[2].startswith(f"| {profiling.WHOLE} | ") and "100%" in printed[2]
    assert len(printed) == 2 + len(profile.step_seconds)
