"""What a vectors file says of itself: everything that decided what its vectors are.

No tensor is known here, so that a report can be made of it.
"""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from emoctl.models.fingerprint import ModelIdentity
from emoctl.stories.authorship import Authorship
from emoctl.vectors.cached import FORMAT, IMPORTED_FORMAT

LAYER_CONVENTION = "layer i is the output of block i, 0-based: blocks.i.hook_out"


class HeldOut(BaseModel):
    """Leave-one-topic-out accuracy, as it was when the vectors were made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by_layer: tuple[float, ...]
    """Share of stories nearest to their own emotion's vector, at each layer that has vectors."""

    nested: float
    """The same, with the layer chosen inside each fold."""

    nested_top5: float | None = None
    """Share whose own emotion is among the five nearest. None in files of earlier versions, as
    the next two are there, and where no halving of the topics leaves every emotion a story."""

    chosen_layers: tuple[int, ...]
    split_half: tuple[float, ...] | None = None
    """Median cosine of emotions' half vectors, at each layer that has vectors."""

    recommended_layer: int | None = None
    n_stories: int
    n_classes: int


class Imported(BaseModel):
    """Where vectors came from that emoctl did not extract into this file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_format: Literal["gguf", "lm-eval", "npz"]
    file_sha256: str
    layers: tuple[int, ...]
    """The layers that the file held. At any other the vectors are zeros, and never used."""

    names_weights: bool
    """Whether the file itself said which weights it was made with. Where it did not, the model is
    the one that the person named who imported it."""

    said: dict[str, JsonValue]
    """What the file said of itself, unproved."""


class Provenance(BaseModel):
    """Everything that decided what the vectors are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["emoctl-vectors/1", "emoctl-vectors/2"] = FORMAT
    """The second is the first with `imported`, which earlier versions refuse by its name."""

    emoctl_version: str
    model: ModelIdentity
    dtype: str
    n_layers: int
    d_model: int
    layer_convention: str = LAYER_CONVENTION
    default_layer: int
    corpus_sha256: str | None
    """None for imported vectors, as are the next and the recipe empty."""

    n_stories: int | None
    n_neutral: int
    written_by: Authorship | None = None
    """Who wrote the stories; None for imports, and in files that did not record it."""

    emotions: tuple[str, ...]
    recipe: dict[str, Any]
    neutral_components: tuple[int, ...]
    """How many components were projected out, by layer."""

    neutral_shares: tuple[float, ...]
    """Share of the neutral variance that they hold, by layer."""

    norm_text_set: str
    """Which texts the mean residual norms were taken over."""

    n_norm_tokens: int
    held_out: HeldOut | None
    """None for a corpus in which an emotion has fewer than three topics, and for imports."""

    imported: Imported | None = None
    """None for vectors that emoctl extracted."""

    only_layers: tuple[int, ...] | None = None
    """The layers that were extracted, where these are not all; at any other the vectors are
    zeros, and never used."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have vectors."""
        if self.imported:
            return self.imported.layers
        return self.only_layers or tuple(range(self.n_layers))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.format == IMPORTED_FORMAT) != (self.imported is not None):
            raise ValueError(f"imported goes with {IMPORTED_FORMAT!r}, got {self.format!r}")
        if self.imported is None and (self.corpus_sha256 is None or self.n_stories is None):
            raise ValueError("extracted vectors have a corpus")
        if not self.emotions or len(set(self.emotions)) < len(self.emotions):
            raise ValueError("emotions: each stands once, and there is one at least")
        if not self.layers or not set(self.layers) <= set(range(self.n_layers)):
            raise ValueError(f"layers: {self.layers} are not of {self.n_layers} layers")
        if list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers: {self.layers} are not in order, each once")
        if not 0 <= self.default_layer < self.n_layers:
            raise ValueError(f"default_layer: {self.default_layer} of {self.n_layers} layers")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Extracted vectors are written as they always were."""
        said = dump(self)
        absent = [key for key in ("imported", "only_layers") if said[key] is None]
        return {key: value for key, value in said.items() if key not in absent}
