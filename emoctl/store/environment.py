"""What a manifest says of the program and the machine, looked up without importing torch.

It never tells a host name, a user name or a path.
"""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from emoctl import __version__
from emoctl.store.manifest import Environment

PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "safetensors")
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def collect_environment() -> Environment:
    """The versions, the checkout and the processor that this process runs with."""
    revision = _git("rev-parse", "--verify", "HEAD") if _in_own_checkout() else None
    changes = _git("status", "--porcelain") if revision else None
    return Environment(
        emoctl=__version__,
        git_revision=revision,
        git_dirty=None if changes is None else bool(changes),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=_usable_cores(),
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _in_own_checkout() -> bool:
    """False for a package that merely lies inside somebody else's repository."""
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top).resolve() == _PACKAGE_PARENT


def _git(*arguments: str) -> str | None:
    """What git prints about emoctl's own folder; None where there is no git, or no answer."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ("git", *arguments),
            cwd=_PACKAGE_PARENT,
            env=outside,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
