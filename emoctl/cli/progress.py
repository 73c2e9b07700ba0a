"""How long work shows that it goes on: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emoctl.cli.console import err, note

SECONDS_BETWEEN_LINES = 15.0


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told (done, total), as often as one likes."""
    if not sys.stderr.isatty():
        yield _Lines(label)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """`label: done/total`, at most every few seconds, and at the end."""

    def __init__(self, label: str) -> None:
        self.label, self.last = label, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self.last >= SECONDS_BETWEEN_LINES:
            note(f"{self.label}: {done}/{total}")
            self.last = now


def duration(seconds: float) -> str:
    """`about 40 s`, `about 3.2 min`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.1f} min"
