"""Readings are stored with their rollout or not at all, and come back as they went in."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from emoctl.errors import StoreError
from emoctl.store.database import RunStore
from emoctl.store.records import ProbeRecord, ReadingsRecord
from emoctl.store.schema import SCHEMA_VERSION

PROBE = ProbeRecord(("calm", "at ease", "</b>\x1b[31m"), (3, 7), False, "sha256:00")


def readings(rollout_id: str, n_tokens: int = 4, seed: int = 0) -> ReadingsRecord:
    drawn = np.random.default_rng(seed).uniform(-1, 1, (n_tokens, 2, 3))
    cosines, norms = drawn.astype("<f2"), (40 + drawn[:, :, 0]).astype("<f4")
    cosines[0, 0, 0] = np.nan
    tokens = ("\n", " To", "\ud800", "\x1b[2J")[:n_tokens]
    return ReadingsRecord(
        rollout_id, -1, (n_tokens, 2, 3), cosines.tobytes(), norms.tobytes(), tokens
    )


@pytest.fixture
def store(sample: ModuleType, tmp_path: Path) -> Any:
    with RunStore.create(tmp_path) as opened:
        sample.begin(opened)
        yield opened


def test_readings_come_back_as_they_went_in(sample: ModuleType, store: RunStore) -> None:
    rollouts = [sample.make_rollout("c-1", n) for n in (1, 0)]
    kept = [readings(r.id, seed=r.rollout) for r in rollouts]
    assert store.probe() is None
    store.add_probe(PROBE)
    store.add_rollouts(rollouts, kept)
    store.add_rollouts([sample.make_rollout("c-0", 0)])
    assert store.probe() == PROBE
    assert list(store.readings()) == kept[::-1], "in the order of the rollouts"
    assert list(store.readings(rollouts[0].id)) == kept[:1]
    assert list(store.readings(sample.make_rollout("c-0", 0).id)) == []
    assert kept[0] != kept[1], "control"


def test_a_rollout_and_its_readings_are_one_transaction(
    sample: ModuleType, store: RunStore
) -> None:
    rollout = sample.make_rollout()
    with pytest.raises(StoreError, match=r"readings row r-0+ cites .* rollout"):
        store.add_rollouts([rollout], [readings("r-000000000000")])
    assert store.n_rollouts() == 0
    store.add_rollouts([rollout], [readings(rollout.id)])
    assert store.n_rollouts() == len(list(store.readings())) == 1


def test_resuming_adds_nothing_twice_and_mixes_nothing(sample: ModuleType, store: RunStore) -> None:
    rollout = sample.make_rollout()
    for _ in range(2):
        store.add_probe(PROBE)
        store.add_rollouts([rollout], [readings(rollout.id)])
    with pytest.raises(StoreError, match="probe row 1 is kept already, with other content"):
        store.add_probe(replace(PROBE, directions_sha256="sha256:11"))
    with pytest.raises(StoreError, match="kept already, with other content"):
        store.add_rollouts([rollout], [readings(rollout.id, seed=1)])


def test_readings_whose_bytes_are_not_of_their_shape_are_refused() -> None:
    sound = readings("r-0")
    for wrong in (
        {"shape": (3, 2, 3)},
        {"cosines": sound.cosines[:-1]},
        {"norms": sound.norms * 2},
        {"tokens": ("a",)},
    ):
        with pytest.raises(ValueError, match="do not have the shape"):
            replace(sound, **wrong)  # type: ignore[arg-type]


def test_a_rollout_with_readings_of_171_emotions_takes_23_kb(
    sample: ModuleType, tmp_path: Path
) -> None:
    """64 tokens × 171 emotions × 1 layer × 2 bytes, their norms and their texts."""
    sizes = []
    for n_layers in (0, 1):
        folder = tmp_path / str(n_layers)
        folder.mkdir()
        with RunStore.create(folder) as store:
            sample.begin(store)
            for n in range(40):
                rollout = sample.make_rollout("c-1", n)
                shape = (64, n_layers, 171)
                noise = np.random.default_rng(n).bytes(64 * n_layers * 346)
                cosines, norms = noise[: 64 * n_layers * 342], noise[64 * n_layers * 342 :]
                record = ReadingsRecord(rollout.id, -1, shape, cosines, norms, (" word",) * 64)
                store.add_rollouts([rollout], [record])
        sizes.append((folder / "rollouts.sqlite").stat().st_size)
    per_rollout = (sizes[1] - sizes[0]) / 40
    assert 22_000 < per_rollout < 25_000


def test_a_run_of_the_version_before_readings_is_refused_in_a_line(
    sample: ModuleType, tmp_path: Path
) -> None:
    run = sample.finished_run(tmp_path / "runs")
    with sqlite3.connect(run.rollouts) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StoreError, match=f"store version 1; this emoctl reads {SCHEMA_VERSION}"):
        RunStore.open(run.path, write=False)
