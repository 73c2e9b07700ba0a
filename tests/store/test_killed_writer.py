"""A writer that is killed at any instant loses nothing that it had committed, nor the lock."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

import emoctl.store.run_folder
from emoctl.errors import StoreError
from emoctl.store.database import RunStore
from emoctl.store.run_folder import RunFolder, create_run

BATCH = 3
WRITER = f"""
import sys
from pathlib import Path
import sample_run
from emoctl.store.database import RunStore
from emoctl.store.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
with folder.owned(), RunStore.open(folder.path, write=True) as store:
    sample_run.begin(store)
    first = store.n_rollouts()
    while True:
        batch = range(first, first + {BATCH})
        store.add_rollouts([sample_run.make_rollout("c-1", n, "x" * 5000) for n in batch])
        first += {BATCH}
        print(first, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """A process that owns the run and prints how many rollouts it has committed."""
    package = Path(emoctl.store.run_folder.__file__).parents[2]
    places = [str(package), str(Path(__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_whatever_a_killed_writer_committed_is_there(sample: ModuleType, tmp_path: Path) -> None:
    folder = create_run(tmp_path, "sweep", "0123456789ab", sample.NOW)
    random = Random(7)
    promised = 0
    for attempt in range(5):
        with start(folder.path) as writer:
            assert writer.stdout is not None
            if attempt:  # the first is killed as soon as it may be, the others in mid-stream
                promised = int(writer.stdout.readline())
            time.sleep(random.uniform(0, 0.15))
            writer.kill()
            promised = max([promised, *map(int, writer.stdout.read().split())])
        with RunStore.open(folder.path, write=True) as store:
            kept = [r.rollout for r in store.rollouts()]
            assert store.done_rollouts() == {("locked-out", "base", "c-1", n) for n in kept}
        assert kept == list(range(len(kept)))
        assert len(kept) >= promised
        assert len(kept) % BATCH == 0
        with closing(sqlite3.connect(folder.rollouts)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert promised > BATCH  # or nothing was under test


def test_one_process_owns_a_run_until_it_is_killed(sample: ModuleType, tmp_path: Path) -> None:
    folder = create_run(tmp_path, "sweep", "0123456789ab", sample.NOW)
    with start(folder.path) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert folder.is_owned
        with pytest.raises(StoreError, match=rf"owned by another process \(pid {writer.pid}\)"):
            own(folder)
        with RunStore.open(folder.path, write=False) as store:  # reading needs no ownership
            assert store.n_rollouts() >= BATCH
        writer.kill()
        writer.stdout.read()
    assert not folder.is_owned
    own(folder)


def own(folder: RunFolder) -> None:
    with folder.owned():
        assert folder.is_owned


def test_one_process_cannot_own_a_run_twice(run: RunFolder) -> None:
    assert not run.is_owned
    with run.owned(), pytest.raises(StoreError, match="owned by another process"):
        own(run)
    own(run)
