"""One defect of a corpus, and how it is told."""

from dataclasses import dataclass
from typing import Literal

from emoctl.stories.corpus import NeutralText, Story

FindingKind = Literal[
    "leak",
    "synonym",
    "duplicate",
    "near-duplicate",
    "length",
    "opening",
    "name",
    "cue",
    "off-topic",
    "missing",
    "unbalanced",
]


@dataclass(frozen=True)
class Finding:
    """One defect."""

    kind: FindingKind
    emotion: str | None
    """None for a neutral text."""

    topic: str | None
    """None where the defect is one of an emotion as a whole."""

    words: tuple[str, ...]
    """The words that show it: the leaked ones, or the first that two texts share."""

    message: str


def finding_in(
    kind: FindingKind, text: Story | NeutralText, words: tuple[str, ...], said: str
) -> Finding:
    """A defect of one text."""
    emotion = text.emotion if isinstance(text, Story) else None
    return Finding(kind, emotion, text.topic, words, f"{place(text)}: {said}")


def place(text: Story | NeutralText) -> str:
    """Where a text stands: `calm / a lost dog`."""
    return f"{text.emotion if isinstance(text, Story) else 'neutral'} / {text.topic}"
