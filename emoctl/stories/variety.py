"""What stories of one emotion share, and others do not: openings, names, single words; and stories
that lost their topic.

A vector is what an emotion's stories have in common. Whatever they share beside the emotion goes
into it too, and held-out accuracy cannot tell the two apart.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from emoctl.stories.corpus import Story
from emoctl.stories.findings import Finding, finding_in
from emoctl.stories.word_forms import WORD

OPENING_WORDS = 2
SHARED_STORIES = 3
"""Fewest stories of one emotion that make a shared opening or name a defect."""

SHARED_SHARE = 0.25
"""… which must also be this share of the emotion's stories."""

CUE_STORIES, CUE_SHARE = 4, 0.5
"""As above, for any word."""

FEWEST_OTHERS = 100
"""Fewest stories of other emotions from which one can tell what belongs to no emotion."""

ELSEWHERE = 0.02
"""A word that more than this share of the other emotions' stories hold belongs to no emotion."""

TOPIC_STORIES = 20
"""Fewest stories of a topic from which its words can be told."""

TOPIC_SHARE, TOPIC_LIFT = 0.1, 5.0
"""A topic's words: in this share of its stories, and so many times more often than elsewhere."""

PREFIX = 4
"""Letters that two forms of one word share: swim, swimming."""

_SPACED_CAPITAL = re.compile(r"(?<=[a-z,;] )[A-Z][^\W\d_]+")


def find_sameness(stories: Sequence[Story]) -> Iterator[Finding]:
    """Openings, names and cue words that one emotion's stories share."""
    words = [_vocabulary(story.text) for story in stories]
    lower = {w for story in stories for w in WORD.findall(story.text) if w[0].islower()}
    by_emotion: dict[str, list[int]] = defaultdict(list)
    for index, story in enumerate(stories):
        by_emotion[story.emotion].append(index)
    holders = Counter(word for vocabulary in words for word in vocabulary)
    for emotion, members in by_emotion.items():
        yield from _openings(emotion, [stories[i] for i in members])
        here = Counter(word for i in members for word in words[i])
        n_others = len(stories) - len(members)
        own = {
            word: count
            for word, count in here.items()
            if n_others >= FEWEST_OTHERS and (holders[word] - count) / n_others <= ELSEWHERE
        }
        named = Counter(name for i in members for name in _names(stories[i].text, lower))
        yield from _names_and_cues(emotion, len(members), own, named)


def find_off_topic(stories: Sequence[Story]) -> Iterator[Finding]:
    """Stories that hold no word of their topic's name and none that its other stories use."""
    words = [_vocabulary(story.text) for story in stories]
    everywhere = Counter(word for vocabulary in words for word in vocabulary)
    by_topic: dict[str, list[int]] = defaultdict(list)
    for index, story in enumerate(stories):
        by_topic[story.topic].append(index)
    for topic, members in by_topic.items():
        n_others = len(stories) - len(members)
        if len(members) < TOPIC_STORIES or not n_others:
            continue
        here = Counter(word for i in members for word in words[i])
        typical = {
            word
            for word, count in here.items()
            if count / len(members) >= TOPIC_SHARE
            and count / len(members) >= TOPIC_LIFT * (everywhere[word] - count) / n_others
        }
        stems = {w[:PREFIX] for w in _vocabulary(topic) if len(w) >= PREFIX}
        for i in members:
            if not words[i] & typical and not stems & {w[:PREFIX] for w in words[i]}:
                yield finding_in("off-topic", stories[i], (), "holds no word of its topic")


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(w.casefold().removesuffix("'s") for w in WORD.findall(text))


def _names(text: str, lower: set[str]) -> set[str]:
    """Words with a capital inside a sentence that no story spells without one."""
    return {w for w in _SPACED_CAPITAL.findall(text) if w.casefold() not in lower}


def _openings(emotion: str, stories: Sequence[Story]) -> Iterator[Finding]:
    openings = Counter(
        tuple(w.casefold() for w in WORD.findall(story.text)[:OPENING_WORDS]) for story in stories
    )
    for opening, count in openings.items():
        if count >= SHARED_STORIES and count >= SHARED_SHARE * len(stories):
            said = f"{emotion}: {count} of {len(stories)} stories open with {' '.join(opening)!r}"
            yield Finding("opening", emotion, None, opening, said)


def _names_and_cues(
    emotion: str, n_stories: int, own: dict[str, int], named: Counter[str]
) -> Iterator[Finding]:
    names = {name.casefold() for name in named}
    for name, count in named.items():
        rare = name.casefold() in own
        if rare and count >= SHARED_STORIES and count >= SHARED_SHARE * n_stories:
            said = f"{emotion}: {count} of {n_stories} stories hold the name {name!r}"
            yield Finding("name", emotion, None, (name,), said)
    for word, count in own.items():
        if word not in names and count >= CUE_STORIES and count >= CUE_SHARE * n_stories:
            said = (
                f"{emotion}: {count} of {n_stories} stories hold {word!r}, and hardly any other "
                "emotion's do"
            )
            yield Finding("cue", emotion, None, (word,), said)
