"""Stories that a model wrote → a corpus file, and beside it the record of who wrote it and what
failed."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from emoctl.errors import StoriesError
from emoctl.stories.authorship import RECORD_FORMAT, Writer, record_path
from emoctl.stories.choosing import Cell, Choice
from emoctl.stories.corpus import Corpus


@dataclass(frozen=True)
class Count:
    """What became of one emotion's stories."""

    emotion: str
    n_asked: int
    n_kept: int

    @property
    def n_failed(self) -> int:
        """Stories of which no attempt passed."""
        return self.n_asked - self.n_kept


def counts_of(choice: Choice, cells: Sequence[Cell]) -> list[Count]:
    """A count for each emotion, in the order of the cells."""
    emotions = dict.fromkeys(cell.emotion for cell in cells)
    return [
        Count(
            emotion,
            sum(cell.emotion == emotion for cell in cells),
            sum(cell.emotion == emotion for cell in choice.kept),
        )
        for emotion in emotions
    ]


def publish(path: Path, choice: Choice, writer: Writer, cells: Sequence[Cell]) -> None:
    """Write corpus and record, each whole or not at all.

    Raises:
        StoriesError: the disk does not take them.
    """
    stories = "".join(
        json.dumps(asdict(story), ensure_ascii=False) + "\n" for story in choice.stories
    )
    failed = [{**asdict(cell), "reasons": list(why)} for cell, why in choice.failed.items()]
    record = {
        "format": RECORD_FORMAT,
        "stories": Corpus(choice.stories, ()).digest,
        "writer": asdict(writer),
        "counts": [asdict(count) for count in counts_of(choice, cells)],
        "failed": failed,
    }
    _write(record_path(path), json.dumps(record, indent=2) + "\n")
    _write(path, stories)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoriesError(f"{path}: cannot be written: {error.strerror or error}") from error
