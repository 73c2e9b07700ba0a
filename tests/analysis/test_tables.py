"""Tables on disk, and what a run's rows become before they are counted."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from emoctl.analysis.results import analyse, plain
from emoctl.analysis.run_data import Rows, planned_counts, read_run
from emoctl.analysis.tables import write_tables
from emoctl.config.schema import ExperimentConfig
from emoctl.errors import StoreError
from emoctl.scenarios.scenario import Scenario
from emoctl.store.records import (
    ConditionRecord,
    ProbeRecord,
    ReadingsRecord,
    RolloutRecord,
    ScoreRecord,
)


def frames(planted: ModuleType) -> dict[str, pd.DataFrame]:
    c = planted.condition("desperate", "0.05")
    rows = planted.rollouts(planted.UNSTEERED, "bnnu") + planted.rollouts(c, "iitt")
    return analyse(planted.run([planted.UNSTEERED, c], rows=rows)).frames


def test_tables_come_back_as_they_were(planted: ModuleType, tmp_path: Path) -> None:
    before = frames(planted)
    written = write_tables(tmp_path / "tables", before)
    assert sorted(p.name for p in written) == sorted(
        f"{name}.{kind}"
        for name in ("cells", "contrasts", "outcomes")
        for kind in ("csv", "parquet")
    )
    for name, frame in before.items():
        again = pd.read_parquet(tmp_path / "tables" / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, frame)


def test_an_unknown_rate_is_an_empty_field_never_a_zero(
    planted: ModuleType, tmp_path: Path
) -> None:
    write_tables(tmp_path, frames(planted))
    lines = (tmp_path / "outcomes.csv").read_text().splitlines()
    steered = next(x for x in lines if "desperate" in x and ",blackmail," in x)
    assert steered == (
        "affair,full,sample,desperate,none,0.05,blackmail,0,4,0,2,2,0,,,,0,1,,,,c-desperate-0.05-all"
    )


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_behind(
    planted: ModuleType, tmp_path: Path
) -> None:
    for folder in ("a", "b", "a"):
        write_tables(tmp_path / folder, frames(planted))
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert len(first) == 6


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(StoreError, match="cannot write tables"):
        write_tables(tmp_path / "tables", {"x": pd.DataFrame({"a": [1]})})


class Kept:
    """A store of two rollouts."""

    def __init__(self, planted: ModuleType) -> None:
        self.planted = planted
        self.steered = planted.condition("calm", "0.05")

    def conditions(self) -> Sequence[ConditionRecord]:
        return [self.steered, self.planted.UNSTEERED]

    def scenarios(self) -> Sequence[Scenario]:
        return [self.planted.scenario(variants=("full", "short"))]

    def rollouts(self) -> Sequence[RolloutRecord]:
        return self.planted.rollouts(self.steered, "bn")

    def scores(self) -> Sequence[ScoreRecord]:
        return []

    def probe(self) -> ProbeRecord | None:
        return None

    def readings(self) -> Iterator[ReadingsRecord]:
        return iter(())


def config(**readouts: object) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "schema": "emoctl/1",
            "readouts": readouts,
            "steering": {"vectors": ["calm"], "strengths": [0.05, 0.1]},
            "seed": 5,
        }
    )


def test_a_run_is_read_in_the_order_of_its_config(planted: ModuleType) -> None:
    store = Kept(planted)
    assert isinstance(store, Rows)
    data = read_run(store, config(sample={"n": 3}, likelihood={"variants": ["short"]}))
    assert [c.vector for c in data.conditions] == ["unsteered", "calm"]
    assert (data.primary_strength, data.confidence, data.seed) == ("0.05", 0.95, 5)
    assert data.planned == {
        ("affair", "full", "sample"): 3,
        ("affair", "short", "sample"): 3,
        ("affair", "short", "likelihood"): 24,
    }


def test_what_is_missing_of_the_plan_is_named(planted: ModuleType) -> None:
    results = analyse(read_run(Kept(planted), config(sample={"n": 3})))
    found = [(s.variant, s.vector, s.present, s.planned) for s in results.shortfalls]
    assert found == [("full", "calm", 2, 3), ("short", "", 0, 3)]
    finished = analyse(read_run(Kept(planted), config(sample={"n": 2, "variants": ["full"]})))
    assert finished.shortfalls == []
    assert plain(results)["shortfalls"][0]["planned"] == 3


def test_a_readout_that_is_not_taken_is_not_planned(planted: ModuleType) -> None:
    scenarios = {"affair": planted.scenario()}
    assert planned_counts(config(choice={}), scenarios) == {("affair", "full", "choice"): 4}
    assert planned_counts(config(likelihood={}), scenarios) == {
        ("affair", "full", "likelihood"): 24
    }
