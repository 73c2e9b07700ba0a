"""Peers as running processes: started once, asked many times, never trusted to survive.

    ask(job) ─▶ split over the layout's processes ─▶ all at once ─▶ merged outcome, load

A process that dies, hangs or cannot be installed is a refusal in words, not an error.
"""

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.environments import ROOT, Environment, NotInstalledError, make_environment
from benchmarks.job import Job, Outcome, merge_outcomes, split_job
from benchmarks.machine import Load, cores, load_between, read_clocks

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """How a peer uses the cores."""

    processes: int
    threads: int
    """Of each process."""

    def __str__(self) -> str:
        return f"{self.processes}x{self.threads}"


def layouts(n_cores: int) -> tuple[Layout, ...]:
    """The two that are tried: one process with all cores, or one with one thread on each core."""
    tried = {Layout(1, n_cores), Layout(n_cores, 1)}
    return tuple(sorted(tried, key=lambda layout: layout.processes))


class _Process:
    """One process of one peer."""

    def __init__(self, module: str, environment: Environment, threads: int, index: int) -> None:
        variables = {
            **quiet_variables(os.environ),
            **environment.variables,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "BENCHMARKS_FIRST_CORE": str(index * threads),
        }
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [str(environment.python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=variables,
            cwd=tempfile.gettempdir(),
        )
        _volunteer(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, job: Job) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(job.to_json().encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # `receive` says how it died

    def receive(self, seconds: float) -> Outcome:
        """Its answer, or why there is none."""
        assert self._process.stdout
        deadline, line = time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return Outcome(refusal=f"took longer than {seconds:.0f} s")
                piece = os.read(self._process.stdout.fileno(), READ_BYTES)
                if not piece:
                    return Outcome(refusal=self._last_words())
                line += piece
        return Outcome.from_record(json.loads(line))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            if stream:
                _close_quietly(stream)

    def _last_words(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "does not fit: killed by the system, out of memory"
        self._words.seek(0)
        said = [line for line in self._words.read().decode(errors="replace").splitlines() if line]
        return f"ended with code {code}: {said[-1] if said else 'no words'}"


class Peer:
    """A peer in one layout, running until the block ends."""

    def __init__(self, module: str, environment: Environment, layout: Layout) -> None:
        self._module, self._environment, self._layout = module, environment, layout
        self._processes: list[_Process] = []

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End its processes; the next job starts new ones."""
        for process in self._processes:
            process.close()
        self._processes = []

    def ask(self, job: Job, seconds: float, warm_up: Job | None = None) -> tuple[Outcome, Load]:
        """Run the job on all processes of the layout at once. A process that is new gets the small
        job `warm_up` first, so that loading is not timed."""
        parts = split_job(replace(job, threads=self._layout.threads), self._layout.processes)
        average = os.getloadavg()[0]
        try:
            self._start(len(parts), replace(warm_up or job, threads=self._layout.threads), seconds)
        except NotInstalledError as failure:
            return Outcome(refusal=f"cannot be installed: {failure}"), Load(average, 0.0)
        running = self._processes[: len(parts)]
        pids = [process.pid for process in running]
        before = read_clocks(pids)
        for process, part in zip(running, parts, strict=True):
            process.send(part)
        outcomes = tuple(process.receive(seconds) for process in running)
        load = load_between(before, read_clocks(pids), cores(), average)
        if any(outcome.refusal for outcome in outcomes):
            self.close()
        return merge_outcomes(outcomes), load

    def _start(self, n: int, first: Job, seconds: float) -> None:
        make_environment(self._environment)
        new = []
        for index in range(len(self._processes), n):
            threads = self._layout.threads
            new.append(_Process(self._module, self._environment, threads, index))
        self._processes += new
        for process in new:
            process.send(first)
        for process in new:
            process.receive(seconds)  # a refusal is said again by the job itself


def _volunteer(pid: int) -> None:
    """Where memory runs out, let the peer be what the system ends."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _close_quietly(stream: IO[Any]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return


def module_of(peer: str) -> str:
    """The module that is run for a peer's name: `fair-hf` is `benchmarks.peers.fair_hf`."""
    return f"benchmarks.peers.{peer.replace('-', '_')}"


def quiet_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of this process without those that steer threads."""
    steering = ("OMP_", "KMP_", "MKL_", "GOMP_")
    return {name: value for name, value in variables.items() if not name.startswith(steering)}
