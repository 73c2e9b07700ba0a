"""Texts that are the same text: equal but for case and punctuation, or in most of their words."""

from collections import Counter
from collections.abc import Iterable, Iterator

from emoctl.stories.corpus import NeutralText, Story
from emoctl.stories.findings import Finding, finding_in, place
from emoctl.stories.word_forms import WORD

SHINGLE = 5
NEAR = 0.5
"""Jaccard similarity of two texts' word 5-grams from which on they count as one text."""


def find_copies(texts: Iterable[Story | NeutralText]) -> Iterator[Finding]:
    """Each text against the earlier ones; an inverted index keeps it near linear."""
    exact: dict[tuple[str, ...], Story | NeutralText] = {}
    kept: list[tuple[Story | NeutralText, frozenset[tuple[str, ...]]]] = []
    holders: dict[tuple[str, ...], list[int]] = {}
    for text in texts:
        words = tuple(WORD.findall(text.text.casefold()))
        if not words:  # figures and signs alone are compared by nothing here
            continue
        if words in exact:
            said = f"is the same text as {place(exact[words])}"
            yield finding_in("duplicate", text, words[:SHINGLE], said)
            continue
        exact[words] = text
        shingles = frozenset(
            words[i : i + SHINGLE] for i in range(max(1, len(words) - SHINGLE + 1))
        )
        shared = Counter(i for shingle in shingles for i in holders.get(shingle, ()))
        nearest = max(
            ((n / (len(shingles) + len(kept[i][1]) - n), -i) for i, n in shared.items()),
            default=(0.0, 0),
        )
        similarity, index = nearest[0], -nearest[1]
        if similarity >= NEAR:
            other, other_shingles = kept[index]
            first = min(shingles & other_shingles)
            said = f"shares {similarity:.0%} of its 5-word sequences with {place(other)}"
            yield finding_in("near-duplicate", text, first, said)
        for shingle in shingles:
            holders.setdefault(shingle, []).append(len(kept))
        kept.append((text, shingles))
