"""A writer's answers on disk: a line for each, appended as soon as it is there.

Kill it at any instant: a line that was cut off counts as never written, and is taken off before
the next one. One process writes at a time; another waits. What an answer is worth is not known.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import BaseFileLock, FileLock, Timeout

from emoctl.errors import StoriesError
from emoctl.stories.choosing import Answer, Cell

FIELDS = {"emotion": str, "topic": str, "index": int, "attempt": int, "cut_off": bool, "text": str}


def read_answers(path: Path) -> dict[tuple[Cell, int], Answer]:
    """Every answer that is there, the first of each cell and attempt.

    Raises:
        StoriesError: a line other than the last is no answer.
    """
    answers: dict[tuple[Cell, int], Answer] = {}
    for number, line in enumerate(_whole_lines(path), start=1):
        key, answer = _answer(line, f"{path}:{number}")
        answers.setdefault(key, answer)
    return answers


@dataclass(frozen=True)
class AnswersFile:
    """The file, open for more."""

    stream: IO[bytes]
    answers: dict[tuple[Cell, int], Answer]
    """Everything that it holds."""

    def add(self, cell: Cell, attempt: int, answer: Answer) -> None:
        """Keep one more answer."""
        record = {
            "emotion": cell.emotion,
            "topic": cell.topic,
            "index": cell.index,
            "attempt": attempt,
            "cut_off": answer.cut_off,
            "text": answer.text,
        }
        self.stream.write(json.dumps(record).encode() + b"\n")
        self.stream.flush()
        self.answers[cell, attempt] = answer


@contextmanager
def open_answers(path: Path, on_wait: Callable[[], None]) -> Iterator[AnswersFile]:
    """The file at `path`, owned by this process; `on_wait` is called where another owns it.

    Raises:
        StoriesError: a line other than the last is no answer, or the disk does not take it.
    """
    lock = _owned(path, on_wait)
    try:
        _cut_torn_line(path)
        answers = read_answers(path)
        with path.open("ab") as stream:
            yield AnswersFile(stream, answers)
    finally:
        lock.release()


def _owned(path: Path, on_wait: Callable[[], None]) -> BaseFileLock:
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    return lock


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        whole = b"".join(line + b"\n" for line in _whole_lines(path))
        with path.open("r+b") as stream:
            stream.truncate(len(whole))


def _whole_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoriesError(f"{path}: cannot be read: {error.strerror}") from error


def _answer(line: bytes, where: str) -> tuple[tuple[Cell, int], Answer]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or {k: type(v) for k, v in found.items()} != FIELDS:
        raise StoriesError(f"{where}: is no answer of a writer", hint="take that line out")
    cell = Cell(found["emotion"], found["topic"], found["index"])
    return (cell, found["attempt"]), Answer(found["text"], found["cut_off"])


def _unwritable(path: Path, error: OSError) -> StoriesError:
    return StoriesError(
        f"{path}: cannot be written: {error.strerror or error}",
        hint="free some disk space there, or name another folder in EMOCTL_CACHE",
    )
