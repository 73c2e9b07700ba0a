"""The tables of rollouts.sqlite, and how a connection to them is opened.

It knows SQLite's modes and errors, and nothing of what a rollout or a score means.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emoctl.errors import StoreError

DATABASE = "rollouts.sqlite"
DONE = "DONE"
SCHEMA_VERSION = 2

_STATEMENTS = (
    """
    CREATE TABLE scenarios (
        name TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        json TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE variants (
        scenario TEXT NOT NULL REFERENCES scenarios (name),
        variant TEXT NOT NULL,
        messages TEXT NOT NULL,
        lead TEXT NOT NULL,
        rendered TEXT NOT NULL,
        n_tokens INTEGER NOT NULL,
        PRIMARY KEY (scenario, variant)
    ) STRICT
    """,
    """
    CREATE TABLE conditions (
        id TEXT PRIMARY KEY,
        vector TEXT NOT NULL,
        control TEXT NOT NULL CHECK (control IN ('none', 'shuffled', 'random')),
        strength TEXT NOT NULL,
        layer INTEGER NOT NULL,
        positions TEXT NOT NULL CHECK (positions IN ('all', 'response')),
        coefficient REAL NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE rollouts (
        rollout_id TEXT NOT NULL UNIQUE,
        scenario TEXT NOT NULL,
        variant TEXT NOT NULL,
        condition_id TEXT NOT NULL REFERENCES conditions (id),
        rollout INTEGER NOT NULL,
        n_prompt_tokens INTEGER NOT NULL,
        token_ids TEXT NOT NULL,
        text TEXT NOT NULL,
        stop TEXT NOT NULL CHECK (stop IN ('end', 'decided', 'length')),
        status TEXT NOT NULL
            CHECK (status IN ('scored', 'incoherent', 'truncated', 'unscored')),
        outcome TEXT,
        evidence TEXT NOT NULL,
        reason TEXT NOT NULL,
        n_steered INTEGER NOT NULL,
        mean_added_norm REAL,
        ratio REAL,
        mean_logprob REAL,
        PRIMARY KEY (scenario, variant, condition_id, rollout),
        FOREIGN KEY (scenario, variant) REFERENCES variants (scenario, variant)
    ) STRICT
    """,
    """
    CREATE TABLE scores (
        scenario TEXT NOT NULL,
        variant TEXT NOT NULL,
        condition_id TEXT NOT NULL REFERENCES conditions (id),
        readout TEXT NOT NULL CHECK (readout IN ('choice', 'likelihood')),
        item TEXT NOT NULL,
        item_order TEXT NOT NULL,
        n_tokens INTEGER NOT NULL,
        logprob REAL,
        n_steered INTEGER NOT NULL,
        PRIMARY KEY (scenario, variant, condition_id, readout, item, item_order),
        FOREIGN KEY (scenario, variant) REFERENCES variants (scenario, variant)
    ) STRICT
    """,
    """
    CREATE TABLE probe (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        emotions TEXT NOT NULL,
        layers TEXT NOT NULL,
        prompt INTEGER NOT NULL CHECK (prompt IN (0, 1)),
        directions_sha256 TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE readings (
        rollout_id TEXT PRIMARY KEY REFERENCES rollouts (rollout_id),
        first INTEGER NOT NULL,
        shape TEXT NOT NULL,
        cosines BLOB NOT NULL,
        norms BLOB NOT NULL,
        tokens TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_ELSEWHERE = "copy the run folder to a place that you may write to, and read it there"
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free some disk space and resume: every committed row is kept",
    sqlite3.SQLITE_IOERR: "check the disk, then resume: every committed row is kept",
    sqlite3.SQLITE_CORRUPT: "restore the file from a copy, or start a new run",
    sqlite3.SQLITE_NOTADB: "restore the file from a copy, or start a new run",
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again",
    sqlite3.SQLITE_READONLY: _ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: _ELSEWHERE,
    sqlite3.SQLITE_PERM: _ELSEWHERE,
}


@contextmanager
def mendable_errors(path: Path) -> Iterator[None]:
    """Whatever a disk or another process can do to `path` comes out as a one-line StoreError.

    Raises:
        StoreError: the file is full, locked, broken, or not to be opened. A mistake in a
            statement is a bug and stays an sqlite3 error.
    """
    try:
        yield
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", None)
        if code is None or (code & 0xFF) not in _REMEDIES:
            raise
        raise StoreError(
            f"{path.name} of {path.parent.name}: {e}", hint=_REMEDIES[code & 0xFF]
        ) from e
    except OSError as e:
        raise disk_error(path, e) from e


def disk_error(path: Path, error: OSError) -> StoreError:
    """The StoreError for what the operating system said about `path`."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = _REMEDIES[sqlite3.SQLITE_FULL] if full else "check that the folder exists and is yours"
    said = (error.strerror or str(error)).lower()
    return StoreError(f"{path.name} of {path.parent.name}: {said}", hint=hint)


def connect_to_write(folder: Path, *, new: bool) -> sqlite3.Connection:
    """A connection that writes; the tables are made where the file has none yet.

    Raises:
        StoreError: `new` and the tables are there already; the run is done; the file is of
            another schema version; the disk refuses.
    """
    path = folder / DATABASE
    if (folder / DONE).exists():
        raise StoreError(
            f"run {folder.name} is done, and a done run is never written to",
            hint="start a new run, or remove its DONE file if you know why",
        )
    with mendable_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _make_tables(connection, folder, new=new)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_tables(connection: sqlite3.Connection, folder: Path, *, new: bool) -> None:
    with transaction(connection):
        version = schema_version(connection)
        if version == 0:
            for statement in _STATEMENTS:
                connection.execute(statement)
            return
    if new:
        raise StoreError(
            f"run {folder.name} has a {DATABASE} already", hint="open it, or start a new run"
        )
    refuse_version(version, folder)


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    A done run is opened as immutable: that needs no write permission on the folder, leaves no
    files beside it, and works on file systems that cannot lock.

    Raises:
        StoreError: there is no such file, it is broken or of another schema version, or it is
            unfinished and the folder is read-only.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise StoreError(
            f"run {folder.name} has no {DATABASE}", hint="list runs with: emoctl runs ls"
        )
    log = path.with_name(f"{DATABASE}-wal")
    settled = (folder / DONE).exists() and not (log.exists() and log.stat().st_size)
    mode = "immutable=1" if settled else "mode=ro"
    with mendable_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=10
        )
        try:
            version = schema_version(connection)
            if version == 0:
                raise StoreError(
                    f"run {folder.name} was stopped before its first row",
                    hint="run the same sweep again with --resume",
                )
            refuse_version(version, folder)
        except BaseException:
            connection.close()
            raise
    return connection


def schema_version(connection: sqlite3.Connection) -> int:
    """The file's schema version; 0 where no table was made yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_version(version: int, folder: Path) -> None:
    """Raises StoreError unless this program can read `version`."""
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"run {folder.name} has store version {version}; this emoctl reads {SCHEMA_VERSION}",
            hint="use the emoctl version that its manifest.json names",
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block's statements, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise
