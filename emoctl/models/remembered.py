"""Identities of models that were loaded before, so that asking again needs no weights.

A folder is known by its path and by the name, size and modification time of every file in it; a
file that was touched makes it unknown. Hub ids are never remembered: a branch moves.
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from emoctl.models.cache import cache_root
from emoctl.models.fingerprint import ModelIdentity


def remembered_identity(folder: Path | None, dtype: str) -> ModelIdentity | None:
    """What the model in `folder` was when it was last loaded as `dtype`, or None."""
    if folder is None:
        return None
    try:
        return ModelIdentity(**json.loads(_note(folder, dtype).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def remember(folder: Path | None, dtype: str, identity: ModelIdentity) -> ModelIdentity:
    """Keep an identity for next time; a cache that cannot be written is no error."""
    if folder is not None:
        note = _note(folder, dtype)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            unfinished = note.with_suffix(".new")
            unfinished.write_text(json.dumps(asdict(identity)), encoding="utf-8")
            unfinished.replace(note)
        except OSError:
            return identity
    return identity


def renamed(identity: ModelIdentity, id: str, revision: str | None, source: str) -> ModelIdentity:
    """The same weights, called as the user calls them now."""
    return replace(identity, id=id, revision=revision, source=source)


def _note(folder: Path, dtype: str) -> Path:
    files = sorted(p for p in folder.iterdir() if p.is_file())
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    content = f"identity 2\n{folder.resolve()}\n{dtype}\n{stats}"
    name = hashlib.sha256(content.encode()).hexdigest()[:24]
    return cache_root() / "identities" / f"{name}.json"
