"""Kill a sweep at any instant; what resume finishes equals what was never broken."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [pytest.mark.model, pytest.mark.slow]
N_KILLS = 10
SWEEP = (
    "sweep -c demo --readout sample --vector desperate --vector calm --scale 0.05 --n 10",
    "--controls 3",
    "--set sampling.max_new_tokens=24 --set engine.rows=8",
)


def start(out: Path, workers: int, *flags: str) -> subprocess.Popen[bytes]:
    """Begin a sweep as a user would, in a process group of its own."""
    out.parent.joinpath("stderr").touch()
    with out.parent.joinpath("stderr").open("ab") as stderr:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "emoctl",
                *" ".join(SWEEP).split(),
                "--out",
                str(out),
                "--set",
                f"engine.workers={workers}",
                *flags,
            ],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )


def only_run(out: Path) -> Path:
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


def rows(folder: Path) -> dict[str, tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{folder / 'rollouts.sqlite'}?mode=ro", uri=True)) as store:
        found = store.execute("SELECT * FROM rollouts").fetchall()
    return {str(row[0]): tuple(row) for row in found}


def wait_for_first_row(process: subprocess.Popen[bytes], folder: Path | None, out: Path) -> None:
    """Until the run has more rows than before, or the process ends."""
    before = len(rows(folder)) if folder else 0
    while process.poll() is None:
        time.sleep(0.1)
        try:
            if out.exists() and len(rows(only_run(out))) > before:
                return
        except (ValueError, sqlite3.Error):
            continue


def test_ten_kills_leave_no_trace(tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    process = start(unbroken, 2)
    assert process.wait() == 0, (tmp_path / "stderr").read_text()
    draw = random.Random(7)

    killed_at = []
    for number in range(N_KILLS):
        folder = only_run(broken) if broken.exists() and any(broken.iterdir()) else None
        process = start(broken, 1 + number % 2, "--resume")
        if number % 3 == 2:  # some before the first row of this attempt, at any moment
            time.sleep(draw.uniform(0.5, 9))
        else:
            wait_for_first_row(process, folder, broken)
            time.sleep(draw.uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if broken.exists() and any(broken.iterdir()):
            folder = only_run(broken)
            done = len(rows(folder)) if (folder / "rollouts.sqlite").exists() else 0
            killed_at.append(done)
            if (folder / "DONE").exists():
                break
    process = start(broken, 1, "--resume")
    assert process.wait() == 0, (tmp_path / "stderr").read_text()

    one, other = only_run(unbroken), only_run(broken)
    assert rows(one) == rows(other)
    for name in ("outcomes", "contrasts", "cells"):
        pd.testing.assert_frame_equal(
            pd.read_csv(one / "tables" / f"{name}.csv"),
            pd.read_csv(other / "tables" / f"{name}.csv"),
            check_exact=True,
        )
    assert len(set(killed_at)) > 2, f"control: kills came at different moments, {killed_at}"
    assert 0 < max(killed_at[:-1]) < len(rows(one)), "control: some came in the middle"
