"""Memory is told before it is taken, and rows are fewer where it is short."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model

from emoctl.engine import memory, play
from emoctl.engine.memory import MemoryPlan, ModelSize, available_bytes, fit, plan_memory
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import SteeredEngine
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.slots import MIN_ROWS
from emoctl.engine.steering import Steering
from emoctl.engine.suffix import BLOCK, CacheShape
from emoctl.errors import ModelError

SHAPE = CacheShape(10, 2, 16, torch.float32, torch.device("cpu"))
SIZE = ModelSize(SHAPE, d_model=64, d_mlp=256, n_heads=4, d_vocab=1000, writes_scores=False)
TOKEN = 2 * 10 * 2 * 16 * 4


def steering(layer: int = 3, size: float = 1.0, everywhere: bool = True) -> Steering:
    return Steering(layer, torch.full((32,), size), everywhere)


def requests(conditions: list[Steering], each: int, tokens: int = 101) -> list[RolloutRequest]:
    prompt = tuple(range(tokens))
    return [
        RolloutRequest(prompt, tokens, condition, NoiseKey(0, "s", "v", rollout))
        for condition in conditions
        for rollout in range(each)
    ]


def planned(
    asked: list[RolloutRequest],
    rows: int = 8,
    new_tokens: int = 20,
    size: ModelSize = SIZE,
    top_p: float = 1.0,
) -> MemoryPlan:
    return plan_memory(asked, SamplingParams(new_tokens, 1.0, top_p), size, rows)


def test_shares_are_counted_once_and_copies_above_the_steered_layer() -> None:
    plain = planned(requests([steering(size=0.0)], 8)).prefix_bytes
    response = planned(requests([steering(everywhere=False)], 8)).prefix_bytes
    one = planned(requests([steering()], 8)).prefix_bytes
    three = planned(requests([steering(), steering(), steering()], 4)).prefix_bytes

    assert response == plain
    own_layers = SHAPE.n_layers - 1 - 3
    assert one - plain == 101 * TOKEN // 10 * own_layers
    assert three - plain == 3 * (one - plain)


def test_no_more_copies_are_counted_than_rows_that_could_hold_them() -> None:
    many = [steering() for _ in range(50)]

    assert planned(requests(many, 1), rows=8) == planned(requests(many[:8], 1), rows=8)


def test_suffixes_are_whole_blocks_of_every_slot() -> None:
    asked = requests([steering(size=0.0)], 8)

    assert planned(asked, new_tokens=20).suffix_bytes == 8 * BLOCK * TOKEN
    assert planned(asked, new_tokens=BLOCK).suffix_bytes == 8 * 2 * BLOCK * TOKEN


def test_work_is_the_larger_of_a_step_and_the_prefill() -> None:
    asked = requests([steering(size=0.0)], 8, tokens=2)
    eager = replace(SIZE, writes_scores=True)

    assert planned(asked).work_bytes == 8 * 1000 * memory.DRAWN_ROW_BY_ROW
    assert planned(asked, top_p=0.9).work_bytes == 8 * 1000 * memory.DRAWN_TOGETHER
    long = requests([steering(size=0.0)], 8, tokens=4000)
    flash, written = planned(long).work_bytes, planned(long, size=eager).work_bytes
    assert flash == 4000 * (4 * 64 + 3 * 256) * 4
    assert written - flash == memory.SCORE_COPIES * 4 * 4 * 4000**2


def test_rows_are_halved_until_they_fit() -> None:
    def plan_at(rows: int) -> MemoryPlan:
        return MemoryPlan(rows, BLOCK, 100, 10 * rows, 0)

    assert fit(plan_at, 64, 10_000).rows == 64
    assert fit(plan_at, 64, 500).rows == 32
    assert fit(plan_at, 64, 160).rows == MIN_ROWS
    with pytest.raises(ModelError, match="4 rows need"):
        fit(plan_at, 64, 150)


def test_a_container_may_have_less_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    everything = available_bytes(cpu)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)

    assert available_bytes(cpu) == 3000
    assert available_bytes(cpu, 0.5) == 1500
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 700\nactive_file 1\n")
    assert available_bytes(cpu) == 3700, "files that may go count as free"
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(cpu) > everything // 2


def test_an_engine_with_little_memory_plays_the_same_with_fewer_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, seen = SteeredEngine(tiny_model(), rows=16), []
    asked = requests([steering(2), steering(2, -1.0), steering(2, 0.0)], 6, tokens=30)
    params = SamplingParams(8, 1.0)
    real = play.Slots

    def watched(*args: object, **kwargs: object) -> object:
        seen.append(args[4])
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(play, "Slots", watched)
    plenty = {c.index: c.token_ids for c in engine.play(asked, params)}
    tight = engine.memory_for(asked, params).n_bytes // 2
    monkeypatch.setattr(play, "available_bytes", lambda *_: tight)
    scarce = {c.index: c.token_ids for c in engine.play(asked, params)}

    assert scarce == plenty
    assert seen[0] == 16
    assert MIN_ROWS <= seen[1] < 16
