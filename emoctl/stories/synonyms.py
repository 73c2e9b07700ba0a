"""An emotion word → the closest synonyms that its stories must not say either.

The table, `data/synonyms.tsv`, covers the words of the built-in corpus. One line is one group:
emotions that may stand for each other, a tab, further words. A story of one emotion of a group
names neither another emotion of it, in any form, nor one of the further words, as they are spelt.
Words with an everyday bodily sense (shake, hurt, cheer) are left out on purpose. An emotion that
the table does not hold has no synonyms.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources

from emoctl.stories.word_forms import WORD, find_mentions


@dataclass(frozen=True)
class SynonymGroup:
    """Emotions that may stand for each other, and further words that name any of them."""

    emotions: tuple[str, ...]
    words: frozenset[str]


@cache
def synonym_groups() -> tuple[SynonymGroup, ...]:
    """The groups of the table; each emotion is in at most one."""
    table = resources.files("emoctl.stories").joinpath("data", "synonyms.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("\t") for line in lines if line]
    return tuple(
        SynonymGroup(tuple(emotions.split(", ")), frozenset(words.split()))
        for emotions, _, words in pairs
    )


def find_synonyms(emotion: str, text: str) -> tuple[str, ...]:
    """The words of `text` that name a close synonym of `emotion`, each once, as they are spelt."""
    groups = [group for group in synonym_groups() if emotion in group.emotions]
    found: list[str] = []
    for group in groups:
        tokens = WORD.findall(text.replace("\u2019", "'"))
        found += [t for t in tokens if t.casefold().removesuffix("'s") in group.words]
        for other in group.emotions:
            if other != emotion:
                found += find_mentions(other, text)
    return tuple(dict.fromkeys(found))
