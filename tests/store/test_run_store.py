"""The store gives back what it was given, and nothing tears it."""

import os
import shutil
import sqlite3
import tempfile
from dataclasses import astuple, replace
from math import isnan, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoctl.errors import StoreError
from emoctl.store.database import RunStore
from emoctl.store.records import ConditionRecord, Receipt, RolloutRecord, ScoreRecord, VariantRecord
from emoctl.store.run_folder import RunFolder

TEXT = st.text(max_size=60)
FLOAT = st.floats(allow_nan=False)
COUNT = st.integers(0, 2**40)


def same(left: Any, right: Any) -> bool:
    """Equal, with NaN equal to NaN."""
    return len(left) == len(right) and all(
        a == b or (isinstance(a, float) and isnan(a) and isnan(b))
        for a, b in zip(flat(left), flat(right), strict=True)
    )


def flat(records: Any) -> list[Any]:
    values = [astuple(r) for r in records]
    return [v for row in values for cell in row for v in (cell if type(cell) is tuple else [cell])]


@settings(max_examples=25, deadline=None)
@given(
    text=TEXT,
    content=TEXT,
    tokens=st.lists(st.integers(0, 2**31), max_size=5),
    outcome=st.none() | TEXT,
    norm=FLOAT,
    logprob=FLOAT | st.just(nan),
    count=COUNT,
)
def test_every_record_comes_back_as_it_went_in(
    sample: ModuleType,
    text: str,
    content: str,
    tokens: list[int],
    outcome: str | None,
    norm: float,
    logprob: float,
    count: int,
) -> None:
    scenario = sample.SCENARIO.name
    messages = (("system", content), ("user", text))
    variants = [VariantRecord(scenario, "base", messages, content, text, count)]
    conditions = [ConditionRecord("c-1", f"at ease{text}", "random", "-0.05", 3, "response", norm)]
    rollouts = [
        RolloutRecord(
            *(scenario, "base", "c-1", count, count, tuple(tokens), text, "length", "unscored"),
            *(outcome, content, text, Receipt(count, norm, norm), logprob),
        )
    ]
    scores = [ScoreRecord(scenario, "base", "c-1", "choice", text, content, count, logprob, count)]
    with tempfile.TemporaryDirectory() as folder:
        with RunStore.create(Path(folder)) as store:
            store.add_scenarios([sample.SCENARIO])
            store.add_variants(variants)
            store.add_conditions(conditions)
            store.add_rollouts(rollouts)
            store.add_scores(scores)
        with RunStore.open(Path(folder), write=False) as store:
            assert store.scenarios() == [sample.SCENARIO]
            assert same(store.variants(), variants)
            assert same(store.conditions(), conditions)
            assert same(store.rollouts(), rollouts)
            assert same(store.scores(), scores)
            assert store.done_rollouts() == {(scenario, "base", "c-1", count)}
            assert store.done_scores() == {(scenario, "base", "c-1", "choice", text, content)}


def test_the_comparison_used_above_tells_records_apart(sample: ModuleType) -> None:
    one = sample.make_rollout()
    assert same([one], [replace(one)])
    assert not same([one], [replace(one, token_ids=(1, 2, 4))])
    assert not same([one], [replace(one, mean_logprob=nan)])


@pytest.fixture
def store(sample: ModuleType, tmp_path: Path) -> Any:
    with RunStore.create(tmp_path) as opened:
        sample.begin(opened)
        yield opened


def test_an_equal_row_is_left_alone_and_another_content_is_refused(
    sample: ModuleType, store: RunStore
) -> None:
    first = replace(sample.make_rollout(), mean_logprob=nan)
    store.add_rollouts([first])
    store.add_rollouts([first, first])
    store.add_scores([sample.make_score()] * 2)
    sample.begin(store)
    assert (store.n_rollouts(), store.n_scores()) == (1, 1)
    with pytest.raises(StoreError, match=r"locked-out/base/c-1/0 is kept already"):
        store.add_rollouts([replace(first, text="other")])
    with pytest.raises(StoreError, match="kept already"):
        store.add_scores([replace(sample.make_score(), logprob=-1.0)])
    with pytest.raises(StoreError, match="kept already"):
        store.add_scenarios([sample.make_scenario("another title")])


def test_a_call_that_fails_leaves_no_row_of_its_batch(sample: ModuleType, store: RunStore) -> None:
    store.add_rollouts([sample.make_rollout(rollout=0)])
    with pytest.raises(StoreError):
        store.add_rollouts(
            [sample.make_rollout(rollout=1), sample.make_rollout(rollout=0, text="other")]
        )
    assert [r.rollout for r in store.rollouts()] == [0]
    with pytest.raises(StoreError, match="lone surrogate"):
        store.add_rollouts([sample.make_rollout(rollout=1, text="\ud800")])
    store.add_rollouts([sample.make_rollout(rollout=1)])
    assert [r.rollout for r in store.rollouts()] == [0, 1]


def test_a_rollout_of_an_unknown_condition_or_variant_is_refused(
    sample: ModuleType, store: RunStore
) -> None:
    with pytest.raises(StoreError, match="does not hold"):
        store.add_rollouts([sample.make_rollout("c-9")])
    with pytest.raises(StoreError, match="does not hold"):
        store.add_scores([replace(sample.make_score(), variant="unknown")])
    with pytest.raises(StoreError, match="does not hold"):
        store.add_variants([replace(sample.VARIANT, scenario="unknown")])


def test_filters_take_what_they_name_in_the_order_of_the_key(
    sample: ModuleType, store: RunStore
) -> None:
    store.add_rollouts([sample.make_rollout("c-1", n) for n in (10, 9)])
    store.add_rollouts([sample.make_rollout("c-0", 0)])
    store.add_scores([sample.make_score()])
    keys = [(r.condition_id, r.rollout) for r in store.rollouts()]
    assert keys == [("c-0", 0), ("c-1", 9), ("c-1", 10)]
    assert len(store.rollouts(condition_ids=["c-1"])) == 2
    assert store.rollouts(condition_ids=[]) == []
    assert store.rollouts(variant="none") == store.rollouts(scenario="none") == []
    assert len(store.scores(readout="likelihood")) == 1
    assert store.scores(readout="choice") == []
    assert [c.id for c in store.conditions(ids=["c-2", "c-0"])] == ["c-0", "c-2"]
    assert store.outcome_counts() == {"locked-out": {"threat": 3}}


def test_a_rollout_is_found_by_any_unique_beginning_of_its_id(
    sample: ModuleType, store: RunStore
) -> None:
    rollouts = [sample.make_rollout(rollout=n) for n in range(40)]
    store.add_rollouts(rollouts)
    wanted = rollouts[7]
    assert store.rollout(wanted.id) == store.rollout(wanted.id[2:]) == wanted
    assert store.rollout(wanted.id[:10]) == wanted
    with pytest.raises(StoreError, match="several rollouts"):
        first_digits = [r.id[2] for r in rollouts]  # 40 ids over 16 digits
        store.rollout(next(d for d in first_digits if first_digits.count(d) > 1))
    swapped = wanted.id[:-1] + ("0" if wanted.id[-1] != "0" else "1")
    with pytest.raises(StoreError, match="no rollout") as caught:
        store.rollout(swapped)
    assert caught.value.hint == f"did you mean {wanted.id!r}?"
    for nothing in ("", "r-", "%", "_"):
        with pytest.raises(StoreError, match="no rollout"):
            store.rollout(nothing)


def test_a_full_disk_is_one_line_and_keeps_what_was_committed(
    sample: ModuleType, store: RunStore
) -> None:
    store.add_rollouts([sample.make_rollout(rollout=0)])
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    long = "x" * 100_000
    with pytest.raises(StoreError, match="database or disk is full") as caught:
        store.add_rollouts([sample.make_rollout(rollout=1, text=long)])
    assert "\n" not in str(caught.value) and caught.value.hint
    assert [r.rollout for r in store.rollouts()] == [0]
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.add_rollouts([sample.make_rollout(rollout=1, text=long)])
    assert store.n_rollouts() == 2


def test_a_store_of_another_version_or_no_store_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no rollouts\.sqlite"):
        RunStore.open(tmp_path, write=False)
    with sqlite3.connect(run.rollouts) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="store version 99"):
        RunStore.open(run.path, write=False)
    run.rollouts.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        RunStore.open(run.path, write=False)


def test_a_store_is_created_once_and_a_done_run_is_not_written_to(
    sample: ModuleType, run: RunFolder
) -> None:
    with pytest.raises(StoreError, match="done"):
        RunStore.open(run.path, write=True)
    with RunStore.open(run.path, write=False) as store, pytest.raises(ValueError, match="reading"):
        store.add_rollouts([sample.make_rollout()])
    run.done.unlink()
    with pytest.raises(StoreError, match="already"):
        RunStore.create(run.path)
    with RunStore.open(run.path, write=True) as store:
        assert store.n_rollouts() == 5


def test_a_run_killed_before_its_first_table_can_be_opened_again(tmp_path: Path) -> None:
    (tmp_path / "rollouts.sqlite").touch()
    with pytest.raises(StoreError, match="before its first row"):
        RunStore.open(tmp_path, write=False)
    with RunStore.open(tmp_path, write=True) as store:
        assert store.n_rollouts() == 0


def test_every_commit_is_flushed_to_the_disk(store: RunStore) -> None:
    told = [
        store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert told == ["wal", 2, 1]


def test_reading_a_done_run_leaves_nothing_behind(run: RunFolder) -> None:
    before = sorted(p.name for p in run.path.iterdir())
    with RunStore.open(run.path, write=False) as store:
        assert store.n_rollouts() == 5
    assert sorted(p.name for p in run.path.iterdir()) == before


def test_a_moved_run_reads_the_same(run: RunFolder, tmp_path: Path) -> None:
    with RunStore.open(run.path, write=False) as store:
        before = store.scores(), [r.id for r in store.rollouts()]
    moved = tmp_path / "else where?#%20"
    shutil.move(run.path, moved)
    with RunStore.open(moved, write=False) as store:
        assert (store.scores(), [r.id for r in store.rollouts()]) == before


@pytest.mark.skipif(os.name != "posix", reason="permissions are tested where chmod denies")
def test_a_done_run_is_readable_in_a_read_only_folder(sample: ModuleType) -> None:
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        run = sample.finished_run(Path(parent))
        run.path.chmod(0o555)
        superuser = os.geteuid() == 0
        if superuser:
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                (run.path / "new").touch()
            with RunStore.open(run.path, write=False) as store:
                assert store.n_rollouts() == 5
            with pytest.raises(StoreError), run.owned():
                pass
        finally:
            if superuser:
                os.seteuid(0)
            run.path.chmod(0o755)
