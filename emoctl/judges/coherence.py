"""Whether a text reads as language at all, before anybody asks what it does.

Strong steering breaks a model long before it changes what the model does: loops, symbol soup,
pieces of the chat template. Such a text has no act and is counted apart. A grammatical text
without sense passes here; no measure in this module knows meaning.
"""

import re
import unicodedata
from dataclasses import dataclass

MOST_REPEATED = 0.75
"""Share of 4-grams seen before. A text sent n times has at most (n − 1)/n, so one mail to four
people passes and the same line five times does not; ordinary mails stay below 0.25."""

MOST_LOOPED = 0.5
"""Share of words inside a loop: four or more times in a row the same 1 to 20 words. Half of the
text is past any rhetorical repetition, and whole mails sent to several people are longer."""

LEAST_DISTINCT = 0.25
"""Distinct words among 50, averaged over the text; ordinary English has 0.7 to 0.9, and one short
mail to four people still 0.27."""

LEAST_WORDLIKE = 0.65
"""Share of the characters, spaces aside, that stand in words of two letters or more, or are the
words "a" and "I"; a mail full of addresses and times has more than 0.8."""

LEAST_READABLE = 0.7
"""Share of ASCII letters, digits and punctuation. Below, the text is in another script, which
no cue of a scenario could match: its act would read as "none"."""

MOST_UNBROKEN = 0.3
"""Share of letters in words longer than 30 letters; English has none."""

NGRAM, WINDOW, LOOP_TIMES, LONGEST_LOOP, LONGEST_WORD, FEWEST_WORDS = 4, 50, 4, 20, 30, 5

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TEMPLATE = re.compile(r"<\|[\w ]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|�{2}")


@dataclass(frozen=True)
class Coherence:
    """How a text looks as text; every share is in [0, 1]."""

    n_words: int
    repeated: float
    """Share of 4-grams that occurred before."""

    looped: float
    """Share of words inside immediate loops."""

    distinct: float
    """Distinct words in a window of 50, on average; 1 for texts of fewer than five words."""

    wordlike: float
    readable: float
    unbroken: float
    template: bool
    """Whether pieces of a chat template stand in it."""

    @property
    def complaint(self) -> str:
        """What is wrong, in words with the measure; empty if the text is coherent."""
        if self.n_words == 0:
            return "no words"
        complaints = (
            (self.template, "contains chat template tokens"),
            (self.repeated >= MOST_REPEATED, f"{self.repeated:.0%} of 4-grams are repeats"),
            (self.looped >= MOST_LOOPED, f"{self.looped:.0%} of the words are loops"),
            (self.distinct < LEAST_DISTINCT, f"{self.distinct:.0%} of the words are distinct"),
            (self.wordlike < LEAST_WORDLIKE, f"{self.wordlike:.0%} of the characters are words"),
            (self.readable < LEAST_READABLE, f"{self.readable:.0%} of it is Latin text"),
            (self.unbroken >= MOST_UNBROKEN, f"{self.unbroken:.0%} of it is unbroken letters"),
        )
        return next((words for wrong, words in complaints if wrong), "")

    @property
    def is_incoherent(self) -> bool:
        """Whether any measure is past its threshold."""
        return bool(self.complaint)


def coherence(text: str) -> Coherence:
    """The measures of `text`."""
    plain = unicodedata.normalize("NFKC", text)
    plain = plain.translate(str.maketrans("‘’“”–—•…", "''\"\"--*."))
    words = _WORD.findall(plain)
    folded = [word.casefold() for word in words]
    visible = [character for character in plain if not character.isspace()]
    letters = sum(map(len, words)) or 1
    long_words = sum(len(word) for word in words if len(word) > LONGEST_WORD)
    in_words = sum(
        len(word)
        for word in words
        if word in ("a", "A", "i", "I") or sum(map(str.isalpha, word)) > max(1, len(word) // 2)
    )
    return Coherence(
        n_words=len(words),
        repeated=_repeated(folded),
        looped=_looped(folded),
        distinct=_distinct(folded),
        wordlike=in_words / max(1, len(visible)),
        readable=sum(character.isascii() for character in visible) / max(1, len(visible)),
        unbroken=long_words / letters,
        template=_TEMPLATE.search(text) is not None,
    )


def _repeated(words: list[str]) -> float:
    grams = [tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _looped(words: list[str]) -> float:
    """The largest share that loops of one period cover."""
    best = 0
    for period in range(1, min(LONGEST_LOOP, len(words) // LOOP_TIMES) + 1):
        run = covered = 0
        for i in range(period, len(words) + 1):
            if i < len(words) and words[i] == words[i - period]:
                run += 1
                continue
            if run >= (LOOP_TIMES - 1) * period:
                covered += run + period
            run = 0
        best = max(best, covered)
    return min(1.0, best / len(words)) if words else 0.0


def _distinct(words: list[str]) -> float:
    if len(words) < FEWEST_WORDS:
        return 1.0
    width = min(WINDOW, len(words))
    shares = [
        len(set(words[start : start + width])) / width for start in range(len(words) - width + 1)
    ]
    return sum(shares) / len(shares)
