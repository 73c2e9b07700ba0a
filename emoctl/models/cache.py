"""The folder of converted weights, and how one entry comes into being: once, whole, or not at all.

    lock ─► entry complete? ─► build in .tmp-… ─► marker, written last ─► rename into place

Two processes may ask at once; one builds, the other waits. Nothing here knows what is built.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

from emoctl.errors import ModelError

MARKER = "emoctl.json"


def cache_root() -> Path:
    """Where emoctl keeps what it can fetch or make again; the variable EMOCTL_CACHE moves it."""
    return Path(os.environ.get("EMOCTL_CACHE") or user_cache_dir("emoctl"))


def cached_entry(key: str) -> Path | None:
    """The entry `key` if it is complete: its marker lists every file with its present size."""
    folder = _entries() / key
    try:
        marker = json.loads((folder / MARKER).read_bytes())
        complete = marker["key"] == key and marker["files"] == _sizes(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if complete else None


def make_entry(key: str, build: Callable[[Path], None]) -> Path:
    """The entry `key`, made by `build(folder)` unless it is there already.

    Raises:
        ModelError: the cache cannot be written, or whatever `build` raises; no part stays behind.
    """
    ready = cached_entry(key)
    if ready:
        return ready
    try:
        _entries().mkdir(parents=True, exist_ok=True)
        with FileLock(_entries() / f"{key}.lock"):
            return cached_entry(key) or _make(key, build)
    except OSError as error:
        raise ModelError(
            f"the model cache {cache_root()} cannot be written: {error.strerror or error}",
            hint="free some disk space there, or name another folder in EMOCTL_CACHE",
        ) from error


def _make(key: str, build: Callable[[Path], None]) -> Path:
    folder = _entries() / key
    prefix = f".tmp-{key}-"
    for leftover in (folder, *_entries().glob(f"{prefix}*")):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix=prefix, dir=_entries()))
    try:
        build(unfinished)
        marker = {"key": key, "files": _sizes(unfinished)}
        (unfinished / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _entries() -> Path:
    return cache_root() / "models"


def _sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file but the marker."""
    return {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.name != MARKER}
