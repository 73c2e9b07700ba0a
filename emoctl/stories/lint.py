"""What is wrong with a corpus: stories that name their emotion, copies, gaps, odd lengths, and
whatever stories of one emotion share beside the emotion.

Nothing is removed and nothing is repaired; every finding is listed. Whether stories make good
vectors is not known here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from emoctl.stories.copies import find_copies
from emoctl.stories.corpus import Corpus, NeutralText, Story
from emoctl.stories.findings import Finding, finding_in
from emoctl.stories.synonyms import find_synonyms
from emoctl.stories.variety import find_off_topic, find_sameness
from emoctl.stories.word_forms import find_mentions

MIN_WORDS, MAX_WORDS = 40, 220


@dataclass(frozen=True)
class LintReport:
    """Everything that was found in one corpus."""

    n_stories: int
    n_neutral: int
    mean_words: float
    """Words of a story, on average."""

    mean_words_neutral: float
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
    """Check every text, every pair of texts, every emotion, and every emotion × topic."""
    texts: tuple[Story | NeutralText, ...] = (*corpus.stories, *corpus.neutral)
    findings = (
        *find_leaks(corpus.stories),
        *find_copies(texts),
        *find_lengths(texts),
        *find_sameness(corpus.stories),
        *find_off_topic(corpus.stories),
        *_missing_cells(corpus),
        *_unbalanced(corpus),
    )
    return LintReport(
        n_stories=len(corpus.stories),
        n_neutral=len(corpus.neutral),
        mean_words=_mean_words(corpus.stories),
        mean_words_neutral=_mean_words(corpus.neutral),
        findings=findings,
    )


def find_leaks(stories: Iterable[Story]) -> Iterator[Finding]:
    """Stories that name their emotion, or a close synonym of it."""
    for story in stories:
        words = find_mentions(story.emotion, story.text)
        if words:
            yield finding_in("leak", story, words, f"names its emotion: {_quoted(words)}")
        others = tuple(w for w in find_synonyms(story.emotion, story.text) if w not in words)
        if others:
            yield finding_in("synonym", story, others, f"names a close synonym: {_quoted(others)}")


def find_lengths(texts: Iterable[Story | NeutralText]) -> Iterator[Finding]:
    """Texts that are too short or too long."""
    for text in texts:
        n_words = len(text.text.split())
        if not MIN_WORDS <= n_words <= MAX_WORDS:
            said = f"has {n_words} words, not {MIN_WORDS} to {MAX_WORDS}"
            yield finding_in("length", text, (), said)


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


def _mean_words(texts: tuple[Story, ...] | tuple[NeutralText, ...]) -> float:
    return sum(len(t.text.split()) for t in texts) / len(texts) if texts else 0.0


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(repr(w) for w in words)
