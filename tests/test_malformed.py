"""Whatever a person gives emoctl, the answer is one line, some advice, and the documented code.

Each row of malformed.yaml is run as a command, in a folder of its own, beside a finished run whose
bytes must not change. In a row,

    below, config, bytes    is what `f.yaml` holds: below the sound `head`, whole, or as raw bytes
    stories, replace        is what `s.jsonl` holds; what is changed in the sound `scenario`
    run, sweep              is the command; or the flags of `emoctl sweep -c base.yaml`
    code, says, hint        is the exit code (2), and what the two lines must hold
"""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from emoctl.__main__ import run
from emoctl.errors import IncompleteError
from emoctl.store.database import RunStore
from emoctl.store.run_folder import RunFolder, list_runs
from emoctl.store.schema import connect_to_write

TABLE = yaml.safe_load(Path(__file__).with_name("malformed.yaml").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = TABLE["rows"]
OWNER = """
import sys
from pathlib import Path
from emoctl.store.run_folder import RunFolder

with RunFolder(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    sys.stdin.read()
"""
Said = Callable[[list[str]], "tuple[int, str, list[str]]"]


@pytest.fixture(scope="module")
def prepared(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with a finished run in it."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(world / "cache"))
        patch.chdir(folder)
        write_base(folder, world)
        assert run(["sweep", "-c", "base.yaml", "--out", str(world / "runs")]) in (0, 4)
    return world


@pytest.fixture
def bench(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder; afterwards the finished run is what it was, and there is no other."""
    monkeypatch.setenv("EMOCTL_CACHE", str(prepared / "cache"))
    monkeypatch.chdir(tmp_path)
    write_base(tmp_path, prepared)
    before = content(prepared / "runs")
    assert len(before) > 8
    yield tmp_path
    assert content(prepared / "runs") == before


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    """Runs a command; gives its exit code, stdout, and the lines of stderr."""

    def call(arguments: list[str]) -> tuple[int, str, list[str]]:
        capfd.readouterr()
        code = run(arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_base(folder: Path, world: Path) -> None:
    (folder / "base.yaml").write_text(
        TABLE["base"].replace("{world}", str(world)), encoding="utf-8"
    )


def write_scenario(name: str, old: str, new: str) -> None:
    assert old in TABLE["scenario"]
    path = Path("scenarios", name, "scenario.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(TABLE["scenario"].replace(old, new), encoding="utf-8")


def prepare(row: dict[str, Any]) -> list[str]:
    """Write what the row says, and give its command."""
    command = ["config", "validate", "f.yaml"]
    if "below" in row or "config" in row:
        text = row["config"] if "config" in row else TABLE["head"] + row["below"]
        Path("f.yaml").write_text(text, encoding="utf-8")
    if "bytes" in row:
        Path(row.get("as", "f.yaml")).write_bytes(row["bytes"].encode("latin-1"))
    if "stories" in row:
        Path("s.jsonl").write_text(row["stories"], encoding="utf-8")
        command = ["stories", "lint", "s.jsonl"]
    if "replace" in row:
        write_scenario("mine", *row["replace"])
        command = ["scenarios", "show", "mine"]
    if row.get("twin"):
        write_scenario("mine-twin", *row["replace"])
    if "sweep" in row:
        command = ["sweep", "-c", "base.yaml", *row["sweep"]]
    return list(row.get("run", command))


def assert_refused(
    result: tuple[int, str, list[str]], code: int, says: list[str], hint: str, chatter: int = 0
) -> None:
    found, out, lines = result
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint:  ")]
    assert found == code, lines
    assert out == ""
    assert len(errors) == 1 and len(hints) <= 1, lines
    assert len(lines) - len(errors) - len(hints) <= chatter, lines
    for fragment in says:
        assert fragment in errors[0]
    if hint:
        assert hint in hints[0]


@pytest.mark.parametrize("row", [pytest.param(row, id=row["title"]) for row in ROWS])
def test_one_line_says_what_is_wrong(
    row: dict[str, Any], bench: Path, prepared: Path, said: Said
) -> None:
    command = [part.replace("{world}", str(prepared)) for part in prepare(row)]
    result = said(command)
    if row.get("code") == 0:
        assert result[0] == 0 and result[1]
    else:
        fragments = list(map(str, row["says"]))
        hint, chatter = row.get("hint", ""), row.get("chatter", 0)
        assert_refused(result, row.get("code", 2), fragments, hint, chatter)
    assert list_runs(bench / "runs") == []


def test_the_table_is_long_and_has_controls() -> None:
    assert len(ROWS) >= 150
    assert len({row["title"] for row in ROWS}) == len(ROWS)
    assert sum(row.get("code") == 0 for row in ROWS) >= 5


@pytest.mark.usefixtures("bench")
def test_a_broken_scenario_hides_no_other(said: Said) -> None:
    write_scenario("mine", "kind: mail", "kind: [mail")
    code, out, lines = said(["scenarios", "ls"])
    assert code == 0
    assert "mine (local): unusable" in out and "replacement-affair (bundled)" in out
    assert any("mine cannot be used" in line and "not YAML" in line for line in lines)
    assert said(["scenarios", "show", "replacement-affair"])[0] == 0
    assert said(["scenarios", "show", "mine"])[0] == 2


SWEEP = ["sweep", "-c", "base.yaml", "--set", "sampling.max_new_tokens=400"]


@pytest.fixture
def unfinished(bench: Path, said: Said) -> RunFolder:
    """A run that a limit stopped."""
    code, _, lines = said([*SWEEP, "--limit", "1"])
    assert code == IncompleteError.exit_code, lines
    return list_runs(bench / "runs")[0]


def texts(folder: RunFolder) -> list[tuple[str, str]]:
    with RunStore.open(folder.path, write=False) as store:
        return [(r.id, r.text) for r in store.rollouts()]


def assert_resumes(folder: RunFolder, before: list[tuple[str, str]], said: Said) -> None:
    """`--resume` ends the run, and leaves what it had."""
    assert said([*SWEEP, "--resume"])[0] in (0, IncompleteError.exit_code)
    after = texts(folder)
    assert len(after) == 4 and set(before) < set(after)
    assert folder.is_done


def test_a_run_that_another_process_owns_is_refused_and_kept(
    unfinished: RunFolder, said: Said
) -> None:
    before = texts(unfinished)
    command = [sys.executable, "-c", OWNER, str(unfinished.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdin is not None and owner.stdout is not None
        owner.stdout.readline()
        result = said([*SWEEP, "--resume"])
        owner.stdin.close()
    says = [unfinished.name, "owned by another process", f"pid {owner.pid}"]
    assert_refused(result, 3, says, "wait for it to end", chatter=2)
    assert texts(unfinished) == before
    assert_resumes(unfinished, before, said)


def test_a_disk_that_fills_in_mid_run_is_told_and_what_was_stored_is_kept(
    unfinished: RunFolder, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nearly_full(folder: Path, *, new: bool) -> sqlite3.Connection:
        connection = connect_to_write(folder, new=new)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    before = texts(unfinished)
    with monkeypatch.context() as patch:
        patch.setattr("emoctl.store.database.connect_to_write", nearly_full)
        result = said([*SWEEP, "--resume"])
    assert_refused(result, 3, ["rollouts.sqlite", "disk is full"], "free some disk space", 3)
    assert set(before) <= set(texts(unfinished))
    assert_resumes(unfinished, before, said)


def test_a_disk_that_is_full_at_the_start_is_told(
    bench: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        result = said(SWEEP)
    assert_refused(result, 3, ["no space left"], "free some disk space", chatter=2)
    (begun,) = list_runs(bench / "runs")
    assert not begun.is_done
    assert_resumes(begun, [], said)
    assert [run.path for run in list_runs(bench / "runs")] == [begun.path]


def test_a_run_is_not_resumed_with_other_vectors_and_stays_as_it_was(
    bench: Path, prepared: Path, said: Said
) -> None:
    """The vectors file that the config names was written anew since."""
    good = prepared / "vectors" / "good.safetensors"
    shutil.copy(good, "v.safetensors")
    command = [*SWEEP, "--set", "steering.file=v.safetensors"]
    assert said([*command, "--limit", "1"])[0] == IncompleteError.exit_code
    (kept,) = list_runs(bench / "runs")
    before = texts(kept), kept.vectors.read_bytes(), kept.manifest.read_bytes()
    with safe_open(str(good), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(good)
    save_file({**tensors, "vectors": -tensors["vectors"]}, "v.safetensors", metadata)
    result = said([*command, "--resume"])
    assert_refused(result, 3, ["other conditions"], "start a new run", chatter=2)
    assert (texts(kept), kept.vectors.read_bytes(), kept.manifest.read_bytes()) == before
