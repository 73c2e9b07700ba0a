"""The peer's side of the conversation: a job a line on stdin, an outcome a line on stdout.

What a library prints goes to stderr, so that it cannot be taken for an answer. A refusal that a
peer foresees is an outcome; anything else ends the process, and the asker reports its last words.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.job import Job, Outcome

State = TypeVar("State")


class Refused(Exception):
    """The peer cannot do this job, for the reason given."""


def serve(load: Callable[[Job], State], run: Callable[[State, Job], Outcome]) -> None:
    """Answer jobs until stdin ends. The model is loaded for the first, and kept."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    state: State | None = None
    for line in sys.stdin:
        job = Job.from_json(line)
        try:
            state = state if state is not None else load(job)
            outcome = _measured(run, state, job)
        except Refused as reason:
            outcome = Outcome(refusal=str(reason))
        except MemoryError:
            outcome = Outcome(refusal="does not fit: out of memory")
        answers.write(outcome.to_json() + "\n")
        answers.flush()


def _measured(run: Callable[[State, Job], Outcome], state: State, job: Job) -> Outcome:
    from dataclasses import replace

    before = _status_bytes("VmRSS")
    reset_peak()
    outcome = run(state, job)
    return replace(
        outcome,
        peak_rss_bytes=_status_bytes("VmHWM"),
        rss_before_bytes=before,
        threads=job.threads,
    )


def reset_peak() -> None:
    """Let the peak of resident memory count from now on, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _status_bytes(field: str) -> int:
    """A line of /proc/self/status; elsewhere the peak since the start of the process."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in text.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def versions_of(*packages: str) -> dict[str, str]:
    """Installed versions."""
    from importlib.metadata import version

    return {package: version(package) for package in packages}
