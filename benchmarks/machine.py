"""The machine that a benchmark ran on, and who else was using it meanwhile.

    before ── processes of ours run ── after
       └────── busy cores − ours = others' share of the machine

It does not know what is measured.
"""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STOLEN_LIMIT = 0.10
"""A run is flagged when others took more than this share of all cores."""


@dataclass(frozen=True)
class Load:
    """Who used the processor during one measurement."""

    load_average: float
    """One minute's, when the measurement began."""

    others_share: float
    """CPU time of other processes and of the hypervisor, as a share of all cores."""

    @property
    def flagged(self) -> bool:
        """Whether others took so much that the figure is doubtful."""
        return self.others_share > STOLEN_LIMIT


@dataclass(frozen=True)
class Clocks:
    """CPU seconds used so far."""

    wall: float
    busy: float
    """All cores, all processes, stolen time included."""

    ours: float
    """The watched processes with their children, and this one."""


def read_clocks(pids: Sequence[int]) -> Clocks:
    """Now. Processes that are gone count as nothing."""
    import psutil

    machine = psutil.cpu_times()
    used = 0.0
    for pid in (os.getpid(), *pids):
        try:
            process = psutil.Process(pid)
            children = process.children(recursive=True) if pid != os.getpid() else []
            times = [p.cpu_times() for p in (process, *children)]
        except psutil.NoSuchProcess:
            continue
        used += sum(t.user + t.system for t in times)
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
    return Clocks(time.monotonic(), sum(machine) - idle - guests, used)


def load_between(before: Clocks, after: Clocks, cores: int, load_average: float) -> Load:
    """Who used the machine between two readings."""
    elapsed = max(after.wall - before.wall, 1e-9)
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return Load(load_average, max(0.0, others / (elapsed * cores)))


def describe_machine() -> dict[str, Any]:
    """What a reader must know to compare figures with those of another machine."""
    import psutil
    import torch

    lines = torch.__config__.show().replace(", ", "\n").splitlines()
    build = [line.strip(" -").removeprefix("Build settings: ") for line in lines]
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": [word for word in build if word.startswith(("BLAS_INFO", "Intel(R)"))],
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a stored file
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
