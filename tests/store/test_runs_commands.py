"""`emoctl runs` lists and shows runs, and what a model wrote does nothing to the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import emoctl.store.run_folder
from emoctl.cli.runs import list_, show
from emoctl.errors import StoreError, UsageError
from emoctl.store.database import RunStore
from emoctl.store.run_folder import RunFolder, create_run

CELL = "locked-out/base/desperate/0.05"


def shown(capsys: pytest.CaptureFixture[str], run: RunFolder, **options: Any) -> tuple[str, str]:
    show(run.name, out=run.path.parent, **options)
    return tuple(capsys.readouterr())  # type: ignore[return-value]


def test_ls_tells_the_state_of_each_run(
    capsys: pytest.CaptureFixture[str], run: RunFolder, sample: ModuleType
) -> None:
    parent = run.path.parent
    broken = create_run(parent, "broken", "aaaaaaaaaaaa", sample.NOW)
    owned = create_run(parent, "owned", "bbbbbbbbbbbb", sample.NOW)
    with owned.owned(), RunStore.create(owned.path):
        list_(out=parent)
        said = capsys.readouterr()
        list_(out=parent, json=True)
        listed = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    lines = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()[1:]}
    assert lines[run.name][:4] == ["done", "5", "1", "tiny"]
    assert lines[broken.name][:4] == ["unfinished", "?", "?", "?"]
    assert lines[owned.name][:4] == ["owned", "0", "0", "?"]
    assert "next: emoctl runs show latest --out" in said.err
    assert listed[run.name]["rollouts"] == 5
    assert listed[broken.name]["rollouts"] is None


def test_show_sums_up_and_names_the_next_step(
    capsys: pytest.CaptureFixture[str], run: RunFolder
) -> None:
    out, err = shown(capsys, run)
    assert "locked-out: threat 4, unscored 1" in out
    assert "outcomes.csv" in out
    assert f"--cell {CELL}" in err
    run.done.unlink()
    _, err = shown(capsys, run)
    assert "next: emoctl sweep --vector calm --resume" in err
    out, _ = shown(capsys, run, json=True)
    assert json.loads(out)["manifest"]["model"]["id"] == "tiny"


def test_a_cell_leads_to_its_rollouts(
    capsys: pytest.CaptureFixture[str], run: RunFolder, sample: ModuleType
) -> None:
    out, err = shown(capsys, run, cell=CELL)
    ids = [sample.make_rollout("c-1", n).id for n in range(3)]
    assert [line.split()[0] for line in out.splitlines()] == ids
    assert f"--rollout {ids[0]}" in err
    out, _ = shown(capsys, run, cell=f"{CELL}/unscored", json=True)
    assert [row["id"] for row in json.loads(out)["rollouts"]] == ids[2:]
    out, _ = shown(capsys, run, cell="locked-out/base/desperate/-0.050")
    assert out == ""
    out, _ = shown(capsys, run, cell="locked-out/base/desperate/0")
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("locked-out/base/desperate", "is not SCENARIO/VARIANT"),
        ("locked-out/base/desperate/x", "strength 'x' is not a number"),
        ("locked-out/base/desperate/nan", "strength 'nan' is not a number"),
        ("locked-out/base/desperate/0.3", "no strength 0.3"),
        ("locked-out/base/desparate/0.05", "no vector 'desparate'"),
        ("locked-out/bass/desperate/0.05", "no variant 'bass'"),
        ("lockedout/base/desperate/0.05", "no scenario 'lockedout'"),
        (f"{CELL}/threats", "no outcome 'threats'"),
    ],
)
def test_a_cell_that_the_run_lacks_is_refused(run: RunFolder, cell: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        show(run.name, out=run.path.parent, cell=cell)
    if message.startswith("no") and "strength" not in message:
        assert "did you mean" in (caught.value.hint or "")


def test_what_a_model_wrote_is_shown_inert(
    capsys: pytest.CaptureFixture[str], run: RunFolder, sample: ModuleType
) -> None:
    wanted = sample.make_rollout("c-1", 1)
    out, err = shown(capsys, run, rollout=wanted.id)
    assert "\x1b" in sample.HOSTILE
    assert not set(out + err) & set("\x1b\x07\r\u202e\x9b")
    assert "  | \\x1b[2J\\x1b]0;owned\\x07[bold red]hi[/bold red] <script>alert(1)</script>" in out
    assert [line for line in out.splitlines() if line.startswith("status")] == [
        "status       scored"
    ]  # the one that the model forged is quoted
    assert "  | status       scored\\x0d\\u202egnp.exe\\x9b31m" in out
    assert "9 positions" in out and "user:\n  | Write." in out
    out, _ = shown(capsys, run, cell=CELL)
    assert not set(out) & set("\x1b\x07\r\u202e\x9b")
    out, _ = shown(capsys, run, rollout=wanted.id, json=True)
    assert out.isascii() and "\x1b" not in out
    assert json.loads(out)["text"] == sample.HOSTILE


def test_a_number_that_could_not_be_told_is_null(
    capsys: pytest.CaptureFixture[str], run: RunFolder, sample: ModuleType
) -> None:
    out, _ = shown(capsys, run, rollout=sample.make_rollout("c-1", 2).id[:9], json=True)
    assert json.loads(out)["mean_logprob"] is None
    assert json.loads(out)["condition"]["strength"] == "0.05"


def test_unknown_runs_and_contradicting_flags_are_refused(run: RunFolder) -> None:
    with pytest.raises(StoreError, match="no run is called"):
        show("elsewhere", out=run.path.parent)
    with pytest.raises(UsageError, match="exclude each other"):
        show(run.name, out=run.path.parent, cell=CELL, rollout="r-1")


def test_reading_a_run_imports_neither_torch_nor_pandas(run: RunFolder) -> None:
    package = Path(emoctl.store.run_folder.__file__).parents[2]
    code = (
        "import sys; from pathlib import Path; from emoctl.cli.runs import show, list_\n"
        f"show('latest', out=Path({str(run.path.parent)!r}))\n"
        f"list_(out=Path({str(run.path.parent)!r}))\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
