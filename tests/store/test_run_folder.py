"""Run folders are named, found and finished; a file in one is whole or absent."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import pytest

from emoctl.errors import StoreError
from emoctl.store.run_folder import RunFolder, create_run, find_run, find_unfinished, list_runs

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ONE, TWO = "0123456789ab", "fedcba987654"


def make(parent: Path, digest: str = ONE, minutes: int = 0, name: str = "sweep") -> RunFolder:
    return create_run(parent, name, digest, NOON + timedelta(minutes=minutes))


def test_a_name_tells_the_utc_start_the_name_and_the_digest(tmp_path: Path) -> None:
    local = datetime(2026, 11, 21, 11, 15, tzinfo=timezone(timedelta(hours=1)))
    run = create_run(tmp_path / "a" / "runs", "my-run", ONE, local)
    assert run.name == f"20261121T101500Z-my-run-{ONE}"
    assert run.digest == ONE
    assert run.started == local
    assert not run.is_done


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    runs = [make(tmp_path) for _ in range(11)]
    assert [run.name.removeprefix(runs[0].name) for run in runs[1:4]] == ["-2", "-3", "-4"]
    assert {run.digest for run in runs} == {ONE}
    assert [run.name for run in list_runs(tmp_path)] == [run.name for run in runs]


@pytest.mark.parametrize(("name", "digest"), [("../up", ONE), ("sweep", "not-hex"), ("a/b", ONE)])
def test_a_name_that_leaves_the_folder_is_a_bug(tmp_path: Path, name: str, digest: str) -> None:
    with pytest.raises(ValueError, match="not a run's name"):
        create_run(tmp_path, name, digest, NOON)
    with pytest.raises(ValueError, match="aware time"):
        create_run(tmp_path, "sweep", ONE, datetime(2026, 1, 1))


def test_a_file_in_the_place_of_the_parent_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(StoreError, match="is a file"):
        make(tmp_path / "runs")


def test_the_newest_unfinished_run_of_a_digest_is_found(tmp_path: Path) -> None:
    assert find_unfinished(tmp_path / "none", ONE) is None
    older, newer, done = (make(tmp_path, minutes=m) for m in (0, 1, 2))
    make(tmp_path, TWO, minutes=3)
    done.mark_done("ok")
    assert find_unfinished(tmp_path, ONE) == newer
    newer.mark_done("ok")
    assert find_unfinished(tmp_path, ONE) == older
    older.mark_done("ok")
    assert find_unfinished(tmp_path, ONE) is None


def test_a_run_is_found_by_path_name_beginning_digest_or_latest(tmp_path: Path) -> None:
    one, two = make(tmp_path, ONE), make(tmp_path, TWO, minutes=1)
    (tmp_path / "notes").mkdir()
    for text in (one.name, str(one.path), one.name[:13] + "00", ONE, ONE[:5], ONE[-4:]):
        if text == ONE[-4:]:
            with pytest.raises(StoreError, match="no run is called"):
                find_run(tmp_path, text)
        else:
            assert find_run(tmp_path, text).name == one.name
    assert find_run(tmp_path, "latest") == two
    with pytest.raises(StoreError, match="several runs fit '2026'"):
        find_run(tmp_path, "2026")
    for nothing in ("", "notes", "2027", str(tmp_path)):
        with pytest.raises(StoreError, match="no run is called"):
            find_run(tmp_path, nothing)
    with pytest.raises(StoreError) as caught:
        find_run(tmp_path, one.name[:-1] + "c")
    assert caught.value.hint == f"did you mean {one.name!r}?"
    with pytest.raises(StoreError, match="there is no run"):
        find_run(tmp_path / "none", "latest")


def test_a_renamed_run_is_still_a_run(run: RunFolder, tmp_path: Path) -> None:
    renamed = run.path.rename(tmp_path / "the one of Friday")
    assert find_run(Path("runs"), str(renamed)).is_done
    assert [found.path for found in list_runs(tmp_path)] == [renamed]


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_text_atomic(run.summary, "old")
    before = sorted(p.name for p in run.path.iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="no space left") as caught:
        run.write_text_atomic(run.summary, "new")
    assert "free some disk space" in (caught.value.hint or "")
    assert run.summary.read_text() == "old"
    assert sorted(p.name for p in run.path.iterdir()) == before


def test_text_is_written_as_it_is(run: RunFolder) -> None:
    text = "line\n\u202e𝄞 two\r\n"
    run.write_text_atomic(run.summary, text)
    assert run.summary.read_bytes() == text.encode()


def test_a_sample_run_is_done(run: RunFolder, sample: ModuleType) -> None:
    assert run.is_done and run.started == sample.NOW
