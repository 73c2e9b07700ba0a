"""What `measure` found, as arrays that need no torch to be read.

Emotions are in alphabetical order, layers 0-based.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Reader:
    """One way of telling emotions apart, and its scores on left-out stories."""

    name: str
    scores: Array
    """float32 [stories, emotions]; the highest is what it says."""

    own: Array
    """int [stories]: the label that is to be found."""


@dataclass(frozen=True)
class LensRow:
    """One emotion's tokens under the logit lens at one layer."""

    layer: int
    emotion: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    own_percentile: float
    """Share of the vocabulary that gains less than the first token of the emotion's own word."""

    contrast_up: tuple[str, ...]
    """As `up`, of gains that are standardised over the emotions: what this one raises and others
    do not. Some tokens gain with every vector, since their unembedding is long."""

    contrast_down: tuple[str, ...]
    contrast_percentile: float


@dataclass(frozen=True, eq=False)
class Growth:
    """Ranks of further stories under vectors from `n_topics` topics, draw by draw."""

    n_topics: int
    ranks: Array
    """int [draws, stories]: 0 where a story's own emotion is nearest."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """Everything that one validation asked of a model."""

    emotions: tuple[str, ...]
    layer: int
    """The layer that further stories, messages, lens and geometry are read at."""

    recommended_layer: int
    chosen_layers: tuple[int, ...]
    """The layer that each fold chose, in the order of topics."""

    readers: tuple[Reader, ...]
    """The vectors first."""

    top1_by_layer: tuple[float, ...]
    top5_by_layer: tuple[float, ...]
    first_by_layer: Array
    """int [layers, stories]: the nearest emotion to each left-out story."""

    split_half: Array
    """float32 [splits, emotions, layers]: cosines of half vectors."""

    half_scores: Array
    """float32 [splits, emotions, emotions] at `layer`: one half's vectors (rows) against the
    other's."""

    vectors: Array
    """float32 [emotions, layers, d_model]."""

    growth: tuple[Growth, ...]
    message_cosines: dict[str, Array]
    """Position → float32 [messages, emotions, layers]."""

    lens: tuple[LensRow, ...]
    """Empty where it was not asked for."""
