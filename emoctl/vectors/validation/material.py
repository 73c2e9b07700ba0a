"""The texts that vectors are made from and tried on."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from emoctl.errors import StoriesError
from emoctl.stories import Corpus, Story
from emoctl.stories.items import ImplicitMessage, IntensityTemplate, SeverityPair

SPOKEN = {
    "further": "story on another topic",
    "implicit": "implicit message",
    "intensity": "intensity template",
    "severity": "severity pair",
}


@dataclass(frozen=True)
class Material:
    """A corpus, and whatever else its vectors are held against."""

    corpus: Corpus
    further: tuple[Story, ...]
    """Stories on topics that the corpus does not have."""

    implicit: tuple[ImplicitMessage, ...]
    intensity: tuple[IntensityTemplate, ...]
    severity: tuple[SeverityPair, ...]

    @property
    def messages(self) -> tuple[str, ...]:
        """Every short message, in a fixed order: implicit, numbers, controls, pairs."""
        numbers = [t.filled(v) for t in self.intensity for v in t.values]
        controls = [t.filled(v, control=True) for t in self.intensity for v in t.values]
        pairs = [text for pair in self.severity for text in (pair.mild, pair.severe)]
        return (*(m.text for m in self.implicit), *numbers, *controls, *pairs)

    @property
    def digest(self) -> str:
        """`sha256:…` over every text that vectors are tried on, in order."""
        texts = [*(f"{s.emotion}\n{s.topic}\n{s.text}" for s in self.further), *self.messages]
        return "sha256:" + sha256("\0".join(texts).encode()).hexdigest()

    @property
    def spans(self) -> dict[str, slice]:
        """Where each kind of message stands in `messages`."""
        n_numbers = sum(len(t.values) for t in self.intensity)
        lengths = {
            "implicit": len(self.implicit),
            "numbers": n_numbers,
            "controls": n_numbers,
            "pairs": 2 * len(self.severity),
        }
        spans, start = {}, 0
        for kind, length in lengths.items():
            spans[kind] = slice(start, start + length)
            start += length
        return spans


def restricted(material: Material) -> tuple[Material, tuple[str, ...]]:
    """The same, without stories and messages of emotions that the corpus does not hold; and what
    was left out, a line each.

    Raises:
        StoriesError: a story to be tried on is in the corpus, or on a topic of it; or no story, or
            no message, is left.
    """
    _refuse_seen(material)
    held = set(material.corpus.emotions)
    given: dict[str, tuple[Any, ...]] = {
        "further": material.further,
        "implicit": material.implicit,
        "intensity": material.intensity,
        "severity": material.severity,
    }
    left = {key: tuple(i for i in items if i.emotion in held) for key, items in given.items()}
    dropped = []
    for key, items in given.items():
        if not left[key]:
            raise StoriesError(
                f"validation: no {SPOKEN[key]} is of an emotion of the corpus",
                hint="name files of your own: --held-out, --implicit, --intensity, --severity",
            )
        alien = sorted({i.emotion for i in items} - held)
        if alien:
            n = len(items) - len(left[key])
            named = ", ".join(alien[:5]) + (", …" if len(alien) > 5 else "")
            dropped.append(f"the corpus lacks {named}: {n} × {SPOKEN[key]} left out")
    return Material(corpus=material.corpus, **left), tuple(dropped)


def _refuse_seen(material: Material) -> None:
    texts = {story.text for story in material.corpus.stories}
    topics = set(material.corpus.topics)
    for story in material.further:
        if story.text in texts or story.topic in topics:
            raise StoriesError(
                f"--held-out: the story {story.emotion} / {story.topic} is in the corpus, or on a "
                "topic of it",
                hint="stories that vectors are tried on must be on other topics",
            )
