"""A bag of words reads planted words on topics that it has not seen, and nothing without them."""

import numpy as np
import pytest

from emoctl.errors import StoriesError
from emoctl.stories import Story
from emoctl.stories.corpus import Corpus
from emoctl.stories.labels import label_stories
from emoctl.stories.words_alone import read_further_words, read_words_alone

EMOTIONS, TOPICS = ("calm", "glad", "mad", "sad"), tuple(f"topic {k}" for k in range(6))


def stories(*, telling: bool, seed: int = 1) -> list[Story]:
    drawn = np.random.default_rng(seed)
    made = []
    for emotion in EMOTIONS:
        for topic in TOPICS:
            words = [f"w{i}" for i in drawn.integers(0, 40, 30)]
            words += [f"{emotion}ish"] * 2 if telling else []
            made.append(Story(emotion, topic, " ".join(words)))
    return made


def test_words_that_tell_are_read_on_topics_left_out() -> None:
    told = read_words_alone(stories(telling=True))
    assert told.top(1) > 0.9
    assert told.scores.shape == (24, 4)
    silent = read_words_alone(stories(telling=False))
    assert silent.top(1) < 0.6, "control"
    assert silent.top(4) == 1.0


def test_words_of_the_left_out_topic_alone_tell_nothing() -> None:
    """The word of an emotion is another in each topic: seen, it would tell all."""
    made = [
        Story(s.emotion, s.topic, f"{s.text} {s.emotion}{s.topic[-1]}x")
        for s in stories(telling=False)
    ]
    assert read_words_alone(made).top(1) < 0.6


def test_further_stories_are_read_with_all_topics() -> None:
    further = [Story(e, "new", f"w1 w2 {e}ish") for e in EMOTIONS]
    assert read_further_words(stories(telling=True), further).top(1) == 1.0
    assert read_further_words(stories(telling=False), further).top(1) < 1.0, "control"


def test_an_emotion_of_one_topic_is_refused() -> None:
    lone = [s for s in stories(telling=True) if s.emotion != "mad" or s.topic == TOPICS[0]]
    with pytest.raises(StoriesError, match="no story of 'mad' is left"):
        read_words_alone(lone)


def test_labels_follow_the_alphabet_and_not_the_file() -> None:
    made = stories(telling=True)
    there, back = (label_stories(Corpus(tuple(s), ())) for s in (made, made[::-1]))
    assert there == back
    assert there.emotions == EMOTIONS
    assert [there.emotions[i] for i in there.emotion_of] == [s.emotion for s in there.stories]
    assert there.can_be_held_out
    few = label_stories(Corpus(tuple(s for s in made if s.topic in TOPICS[:2]), ()))
    assert not few.can_be_held_out
