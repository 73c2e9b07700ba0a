"""A run folder: its name, its files, its owner, and how one is found again.

    runs/20261121T101500Z-sweep-0123456789ab/     UTC start, experiment name, config digest

It does not know what stands in the files, except that DONE is the last one written.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import FileLock, Timeout

from emoctl.errors import StoreError, did_you_mean
from emoctl.store.schema import DATABASE, DONE, disk_error

LATEST = "latest"
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(\d{8}T\d{6}Z)-(.+)-([0-9a-f]{6,64})(?:-(\d+))?")
_PROBE_SECONDS = 0.3


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; it may be moved, copied or renamed, and is still readable."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        """The experiment file as it was given."""
        return self.path / "config.yaml"

    @property
    def resolved_config(self) -> Path:
        """The experiment file with every default filled in."""
        return self.path / "config.resolved.yaml"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def vectors(self) -> Path:
        return self.path / "vectors.safetensors"

    @property
    def rollouts(self) -> Path:
        return self.path / DATABASE

    @property
    def tables(self) -> Path:
        """The folder of the CSV and Parquet tables."""
        return self.path / "tables"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        return self.path / "summary.md"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def done(self) -> Path:
        """Written last: where it stands, nothing else is written any more."""
        return self.path / DONE

    @property
    def is_done(self) -> bool:
        return self.done.is_file()

    @property
    def started(self) -> datetime | None:
        """UTC start as the name tells it; None for a renamed folder."""
        named = _NAME.fullmatch(self.name)
        return datetime.strptime(named[1], _STAMP).replace(tzinfo=UTC) if named else None

    @property
    def digest(self) -> str | None:
        """The config's digest as the name tells it; None for a renamed folder."""
        named = _NAME.fullmatch(self.name)
        return named[3] if named else None

    @property
    def is_owned(self) -> bool:
        """Whether a living process owns the run now; False where that cannot be looked up."""
        if not self._owner.exists():
            return False
        try:
            with FileLock(self._lock, timeout=_PROBE_SECONDS, poll_interval=0.02):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def write_text_atomic(self, path: Path, text: str) -> None:
        """Write a file of this folder so that no reader, and no kill, ever sees half of it.

        Raises:
            StoreError: the disk is full, or the folder is not to be written to.
        """
        self.write_bytes_atomic(path, text.encode("utf-8"))

    def write_bytes_atomic(self, path: Path, content: bytes) -> None:
        """As `write_text_atomic`, for what is no text."""
        try:
            path.parent.mkdir(exist_ok=True)
            _replace(path, content)
        except OSError as e:
            raise disk_error(path, e) from e

    def log(self, line: str) -> None:
        """Append one line to log.txt, with the time in UTC.

        Raises:
            StoreError: the disk is full, or the folder is not to be written to.
        """
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with (self.path / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {line}\n")
        except OSError as e:
            raise disk_error(self.path / "log.txt", e) from e

    def mark_done(self, text: str) -> None:
        """Write DONE; call it last, when the store is closed and the tables are written.

        Raises:
            StoreError: the disk is full, or the folder is not to be written to.
        """
        self.write_text_atomic(self.done, text)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the run for the length of the block. A killed process owns nothing.

        Raises:
            StoreError: another process, or another part of this one, owns it.
        """
        lock = FileLock(self._lock, timeout=_PROBE_SECONDS, poll_interval=0.02)
        try:
            lock.acquire()
        except Timeout:
            raise self._owned_by_another() from None
        except OSError as e:
            raise disk_error(self._lock, e) from e
        try:
            self.write_text_atomic(self._owner, f"{os.getpid()}\n")
            yield
        finally:
            with suppress(OSError):
                self._owner.unlink()
            lock.release()

    def _owned_by_another(self) -> StoreError:
        try:
            process = f" (pid {int(self._owner.read_text())})"
        except (OSError, ValueError):
            process = ""
        return StoreError(
            f"run {self.name} is owned by another process{process}",
            hint="wait for it to end, or stop it; then run the same command again",
        )

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    @property
    def _owner(self) -> Path:
        return self.path / ".owner"

    @property
    def _age_key(self) -> tuple[str, int, str]:
        named = _NAME.fullmatch(self.name)
        return (named[1], int(named[4] or 1), self.name) if named else ("", 0, self.name)

    @property
    def _looks_like_a_run(self) -> bool:
        marks = (self.rollouts, self.manifest, self.resolved_config)
        return self.path.is_dir() and (
            _NAME.fullmatch(self.name) is not None or any(mark.is_file() for mark in marks)
        )


def _replace(path: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as new:
        made = Path(new.name)
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        except BaseException:
            made.unlink(missing_ok=True)
            raise
    made.chmod(0o644)
    made.replace(path)
    if os.name == "posix":  # so that the new name, too, survives a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def create_run(parent: Path, name: str, digest: str, now: datetime) -> RunFolder:
    """A new, empty folder `<UTC time>-<name>-<digest>`, with a number where that is taken.

    Raises:
        StoreError: the parent cannot be written to.
    """
    stem = f"{now.astimezone(UTC).strftime(_STAMP)}-{name}-{digest}"
    if now.tzinfo is None or not _NAME.fullmatch(stem) or "/" in stem:
        raise ValueError(f"{stem!r} is not a run's name: it takes an aware time and a hex digest")
    return _new_folder(parent, stem)


def _new_folder(parent: Path, stem: str) -> RunFolder:
    """With a number behind `stem` where that is taken."""
    number = 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not parent.is_dir():
                raise StoreError(f"{parent.name} is a file, not a folder for runs") from None
            number += 1
        except OSError as e:
            raise disk_error(path, e) from e
        else:
            return RunFolder(path)


def create_validation(parent: Path, digest: str, now: datetime) -> RunFolder:
    """A new, empty folder `validation-<UTC time>-<digest>`, which no list of runs holds.

    Raises:
        StoreError: the parent cannot be written to.
    """
    stem = f"validation-{now.astimezone(UTC).strftime(_STAMP)}-{digest}"
    return _new_folder(parent, stem)


def list_runs(parent: Path) -> list[RunFolder]:
    """The runs in `parent`, oldest first; renamed ones come before all others.

    Raises:
        StoreError: the parent cannot be read. One that does not exist holds no runs.
    """
    if not parent.is_dir():
        return []
    try:
        runs = [RunFolder(path) for path in parent.iterdir()]
    except OSError as e:
        raise disk_error(parent, e) from e
    return sorted((run for run in runs if run._looks_like_a_run), key=lambda run: run._age_key)


def find_unfinished(parent: Path, digest: str) -> RunFolder | None:
    """The newest run of this digest without DONE: the one to resume. Somebody may own it."""
    unfinished = [run for run in list_runs(parent) if run.digest == digest and not run.is_done]
    return unfinished[-1] if unfinished else None


def find_run(parent: Path, text: str) -> RunFolder:
    """The run that `text` means: a path, a folder name, a unique beginning of a name or of its
    digest, or `latest`.

    Raises:
        StoreError: none, or more than one.
    """
    runs = list_runs(parent)
    listing = "list runs with: emoctl runs ls"
    if text == LATEST:
        if not runs:
            raise StoreError(f"there is no run in {parent.name}", hint="make one: emoctl sweep")
        return runs[-1]
    for path in (Path(text), parent / text):
        if text and RunFolder(path.resolve())._looks_like_a_run:
            return RunFolder(path.resolve())
    fitting = [
        run for run in runs if text and (run.name.startswith(text) or _digest_fits(run, text))
    ]
    if len(fitting) > 1:
        several = ", ".join(run.name for run in fitting[:3])
        raise StoreError(f"several runs fit {text!r}: {several}", hint="give more of the name")
    if not fitting:
        names = [run.name for run in runs]
        raise StoreError(
            f"no run is called {text!r}", hint=did_you_mean(text, names, listing=listing)
        )
    return fitting[0]


def _digest_fits(run: RunFolder, text: str) -> bool:
    return (run.digest or "").startswith(text) or run.name.endswith(f"-{text}")
