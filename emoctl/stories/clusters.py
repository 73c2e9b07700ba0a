"""The ten clusters of the 171 emotions that the paper published, and which of them feel good.

Source: arXiv 2604.07729, k-means with k = 10 on a closed model's vectors; the names are the
paper's. A corpus may hold other emotions: those belong to no cluster.
"""

from functools import cache
from importlib import resources

POSITIVE = frozenset(
    (
        "Exuberant Joy",
        "Peaceful Contentment",
        "Compassionate Gratitude",
        "Competitive Pride",
        "Playful Amusement",
    )
)
"""Clusters of pleasant emotions; the other five are unpleasant."""

TWELVE = (
    "afraid",
    "angry",
    "calm",
    "desperate",
    "gloomy",
    "happy",
    "hopeful",
    "loving",
    "nervous",
    "proud",
    "sad",
    "surprised",
)
"""Emotions far apart: telling these from each other is the easy test."""


@cache
def published_clusters() -> dict[str, str]:
    """Emotion → the name of its cluster."""
    table = resources.files("emoctl.stories").joinpath("data", "clusters.tsv")
    pairs = [line.partition("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    return {emotion: name for name, _, emotions in pairs for emotion in emotions.split(", ")}
