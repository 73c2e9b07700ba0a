"""What is wrong with a corpus: stories that name their emotion, copies, gaps, odd lengths.

Nothing is removed and nothing is repaired; every finding is listed. Whether stories make good
vectors is not known here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from emoctl.stories.corpus import Corpus, NeutralText, Story
from emoctl.stories.word_forms import WORD, find_mentions

FindingKind = Literal["leak", "duplicate", "near-duplicate", "length", "missing", "unbalanced"]
MIN_WORDS, MAX_WORDS = 40, 220
SHINGLE = 5
NEAR = 0.5
"""Jaccard similarity of two texts' word 5-grams from which on they count as one text."""


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


@dataclass(frozen=True)
class LintReport:
    """Everything that was found in one corpus."""

    n_stories: int
    n_neutral: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind that occurs."""
        return dict(Counter(f.kind for f in self.findings))


def lint_corpus(corpus: Corpus) -> LintReport:
    """Check every text, every pair of texts, and every emotion × topic."""
    texts: tuple[Story | NeutralText, ...] = (*corpus.stories, *corpus.neutral)
    findings = (
        *_leaks(corpus.stories),
        *_copies(texts),
        *_lengths(texts),
        *_missing_cells(corpus),
        *_unbalanced(corpus),
    )
    return LintReport(len(corpus.stories), len(corpus.neutral), findings)


def _leaks(stories: Iterable[Story]) -> Iterator[Finding]:
    for story in stories:
        words = find_mentions(story.emotion, story.text)
        if words:
            said = ", ".join(repr(w) for w in words)
            yield _finding("leak", story, words, f"names its emotion: {said}")


def _copies(texts: Iterable[Story | NeutralText]) -> Iterator[Finding]:
    """Each text against the earlier ones; an inverted index keeps it near linear."""
    exact: dict[tuple[str, ...], Story | NeutralText] = {}
    kept: list[tuple[Story | NeutralText, frozenset[tuple[str, ...]]]] = []
    holders: dict[tuple[str, ...], list[int]] = {}
    for text in texts:
        words = tuple(WORD.findall(text.text.casefold()))
        if words in exact:
            said = f"is the same text as {_place(exact[words])}"
            yield _finding("duplicate", text, words[:SHINGLE], said)
            continue
        exact[words] = text
        shingles = frozenset(
            words[i : i + SHINGLE] for i in range(max(1, len(words) - SHINGLE + 1))
        )
        shared = Counter(i for shingle in shingles for i in holders.get(shingle, ()))
        for index, n_shared in shared.most_common(1):
            other, other_shingles = kept[index]
            similarity = n_shared / (len(shingles) + len(other_shingles) - n_shared)
            if similarity >= NEAR:
                first = min(shingles & other_shingles)
                said = f"shares {similarity:.0%} of its 5-word sequences with {_place(other)}"
                yield _finding("near-duplicate", text, first, said)
        for shingle in shingles:
            holders.setdefault(shingle, []).append(len(kept))
        kept.append((text, shingles))


def _lengths(texts: Iterable[Story | NeutralText]) -> Iterator[Finding]:
    for text in texts:
        n_words = len(text.text.split())
        if not MIN_WORDS <= n_words <= MAX_WORDS:
            said = f"has {n_words} words, not {MIN_WORDS} to {MAX_WORDS}"
            yield _finding("length", text, (), said)


def _missing_cells(corpus: Corpus) -> Iterator[Finding]:
    present = {(s.emotion, s.topic) for s in corpus.stories}
    for emotion in corpus.emotions:
        for topic in corpus.topics:
            if (emotion, topic) not in present:
                said = f"{emotion} / {topic}: no story"
                yield Finding("missing", emotion, topic, (), said)


def _unbalanced(corpus: Corpus) -> Iterator[Finding]:
    counts = Counter(s.emotion for s in corpus.stories)
    if not counts:
        return
    usual = max(Counter(counts.values()).items(), key=lambda item: (item[1], item[0]))[0]
    for emotion, count in counts.items():
        if count != usual:
            said = f"{emotion}: {count} stories where most emotions have {usual}"
            yield Finding("unbalanced", emotion, None, (), said)


def _finding(
    kind: FindingKind, text: Story | NeutralText, words: tuple[str, ...], said: str
) -> Finding:
    emotion = text.emotion if isinstance(text, Story) else None
    return Finding(kind, emotion, text.topic, words, f"{_place(text)}: {said}")


def _place(text: Story | NeutralText) -> str:
    return f"{text.emotion if isinstance(text, Story) else 'neutral'} / {text.topic}"
