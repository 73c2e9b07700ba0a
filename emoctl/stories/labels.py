"""A corpus in a fixed order, its emotions and topics as numbers: what arithmetic wants of it."""

from dataclasses import dataclass

from emoctl.stories.corpus import Corpus, Story


@dataclass(frozen=True)
class LabelledStories:
    """Stories sorted by emotion, topic and text, whatever the order of their file."""

    stories: tuple[Story, ...]
    emotions: tuple[str, ...]
    topics: tuple[str, ...]
    emotion_of: tuple[int, ...]
    """For each story, an index into `emotions`."""

    topic_of: tuple[int, ...]
    """For each story, an index into `topics`."""

    @property
    def texts(self) -> list[str]:
        """The stories' texts, in order."""
        return [story.text for story in self.stories]

    @property
    def can_be_held_out(self) -> bool:
        """Whether every emotion keeps a story when two topics are left out: one, and one inside."""
        covered = set(zip(self.emotion_of, self.topic_of, strict=True))
        counts = [0] * len(self.emotions)
        for emotion, _topic in covered:
            counts[emotion] += 1
        return min(counts) >= 3


def label_stories(corpus: Corpus) -> LabelledStories:
    """The stories of a corpus, sorted and numbered."""
    stories = tuple(sorted(corpus.stories, key=lambda s: (s.emotion, s.topic, s.text)))
    emotions = tuple(sorted({s.emotion for s in stories}))
    topics = tuple(sorted({s.topic for s in stories}))
    return LabelledStories(
        stories=stories,
        emotions=emotions,
        topics=topics,
        emotion_of=tuple(emotions.index(s.emotion) for s in stories),
        topic_of=tuple(topics.index(s.topic) for s in stories),
    )
