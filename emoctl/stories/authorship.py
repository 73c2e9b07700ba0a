"""Who wrote the stories of a corpus, as vectors files and manifests record it.

Stories that a model wrote stand in two files: `NAME.jsonl`, a corpus like any other, and beside it
`NAME.written.json`, which says who wrote it and what failed. A corpus without the second file is
one of unrecorded hands.
"""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from emoctl.errors import StoriesError

RECORD_FORMAT = "emoctl-written/1"


@dataclass(frozen=True)
class Writer:
    """A model that wrote stories, and all that decided what it wrote."""

    model: str
    revision: str | None
    weight_sha256: str
    tokenizer_sha256: str
    template_sha256: str | None
    dtype: str
    wording_sha256: str
    """Of the request that it was given."""

    temperature: float
    top_p: float
    max_new_tokens: int
    attempts: int
    seed: int
    n_asked: int
    n_kept: int
    edited: bool = False
    """Whether the file holds other stories than it wrote."""


@dataclass(frozen=True)
class Authorship:
    """Whose the stories are."""

    source: Literal["builtin", "file", "model"]
    """`builtin`: they come with emoctl. `file`: a file that does not say who wrote it."""

    writer: Writer | None = None
    """Of stories that a model wrote."""

    def in_words(self) -> str:
        """One line for a person."""
        if self.writer is None:
            words = {
                "builtin": "the built-in corpus, written by Claude",
                "file": "a file; its writer is not recorded",
            }
            return words.get(self.source, self.source)
        w = self.writer
        revision = f" at {w.revision}" if w.revision else ""
        edited = "; edited since" if w.edited else ""
        return (
            f"written by {w.model}{revision}, weights {w.weight_sha256[:19]}…, "
            f"{w.n_kept} of {w.n_asked} stories kept, seed {w.seed}{edited}"
        )


def record_path(stories: Path) -> Path:
    """Where it is recorded who wrote the stories in a file."""
    return stories.with_suffix(".written.json")


def read_authorship(stories: Path, stories_sha256: str) -> Authorship:
    """Who wrote the stories in a file whose content has this hash.

    Raises:
        StoriesError: the record beside it is malformed.
    """
    path = record_path(stories)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Authorship("file")
    except (OSError, ValueError) as error:
        raise _malformed(path, str(error)) from None
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        raise _malformed(path, f"its format is not {RECORD_FORMAT!r}")
    writer = _writer(record.get("writer"), path)
    return Authorship("model", replace(writer, edited=record.get("stories") != stories_sha256))


def _writer(found: Any, path: Path) -> Writer:
    names = {field.name for field in fields(Writer)}
    if not isinstance(found, dict) or set(found) != names:
        raise _malformed(path, "its writer lacks a field, or has another")
    return Writer(**found)


def _malformed(path: Path, why: str) -> StoriesError:
    return StoriesError(
        f"{path}: {why}", hint="it says who wrote the stories beside it; move it away if it is lost"
    )
