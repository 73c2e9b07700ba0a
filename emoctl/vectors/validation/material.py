"""The texts that vectors are made from and tried on."""

from dataclasses import dataclass
from hashlib import sha256

from emoctl.errors import StoriesError
from emoctl.stories import Corpus, Story
from emoctl.stories.items import ImplicitMessage, IntensityTemplate, SeverityPair


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


def restricted(material: Material) -> Material:
    """The same, without stories and messages of emotions that the corpus does not hold.

    Raises:
        StoriesError: no story on another topic, or no message, is left.
    """
    held = set(material.corpus.emotions)
    left = Material(
        corpus=material.corpus,
        further=tuple(s for s in material.further if s.emotion in held),
        implicit=tuple(m for m in material.implicit if m.emotion in held),
        intensity=tuple(t for t in material.intensity if t.emotion in held),
        severity=tuple(p for p in material.severity if p.emotion in held),
    )
    for what, kept in (
        ("story on another topic", left.further),
        ("implicit message", left.implicit),
        ("intensity template", left.intensity),
        ("severity pair", left.severity),
    ):
        if not kept:
            raise StoriesError(
                f"validation: no {what} is of an emotion of the corpus",
                hint="name files of your own: --held-out, --implicit, --intensity, --severity",
            )
    return left
