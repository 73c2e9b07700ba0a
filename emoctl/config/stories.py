"""Where an experiment's stories come from: a file, or a model that writes them.

Which emotions and topics the built-in corpus has is not known here.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from emoctl.config.sections import Fraction, Name, Section, Whole, refuse_repeats

BUILTIN = "builtin"


class WritingConfig(Section):
    """What a model is asked to write, and how."""

    writer: Name | None = Field(default=None, examples=["smollm2-135m-instruct"])
    """The model that writes, on the device and in the dtype of `model`; by default `model`
    itself."""

    revision: Name | None = Field(default=None, examples=["main"])
    """Branch, tag or commit of a writer that is a hub id."""

    emotions: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        default="all", examples=[["desperate", "calm", "happy"]]
    )
    """`all` of the built-in corpus, or a list of words."""

    topics: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        default="all", examples=[["a lost dog", "a late train", "a job interview"]]
    )
    """`all` of the built-in corpus, or a list."""

    per_cell: Whole = Field(default=1, ge=1, le=1000)
    """Stories of each emotion on each topic."""

    attempts: Whole = Field(default=3, ge=1, le=100)
    """How often a story is asked for, until one passes the lint."""

    max_new_tokens: Whole = Field(default=256, ge=64, le=1_000_000)
    """Tokens after which a story is cut off, behind its last whole sentence."""

    temperature: Fraction = Field(default=0.8, ge=0)
    top_p: Fraction = Field(default=0.95, gt=0, le=1)
    """Draw from the most likely tokens that together have this probability."""

    seed: Whole = Field(default=0, ge=0, lt=2**63)
    """Decides the noise of every story, so that another `seed` of the experiment keeps them."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.revision and not self.writer:
            raise ValueError("revision is that of a writer, and no writer is named")
        if self.temperature == 0 and (self.per_cell > 1 or self.attempts > 1):
            raise ValueError(
                "temperature 0 writes the same story each time, so per_cell and attempts must be 1"
            )
        for key, labels in (("emotions", self.emotions), ("topics", self.topics)):
            if isinstance(labels, str):
                continue
            refuse_repeats(**{key: labels})
            hidden = next((label for label in labels if not label.isprintable()), None)
            if hidden is not None:
                raise ValueError(f"{key} lists {hidden!a}, which cannot be printed")
        if len(self.emotions) == 1:
            raise ValueError(
                f"emotions lists {self.emotions[0]} alone, and a vector is a difference between "
                "emotions: needs at least two"
            )
        return self


class StoriesConfig(Section):
    """Which corpus. `stories: FILE` is short for `stories: {emotional: FILE}`."""

    source: Literal["file", "model"] = "file"
    """`file`: `emotional` is read. `model`: a model writes the stories, once, into the cache."""

    emotional: Name = BUILTIN
    """`builtin`, or a JSONL file of {emotion, topic, text}."""

    neutral: Name = BUILTIN
    """`builtin`, or a JSONL file of {topic, text}."""

    emotions: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=2)] = Field(
        default="all", examples=[["desperate", "calm", "happy"]]
    )
    """`all` of the corpus, or some. Vectors are differences from the mean of these, so that other
    emotions beside a word make another vector of it."""

    writing: WritingConfig | None = None
    """How a model writes them; there with `source: model`, and only then."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("source") == "model":
            return {**data, "writing": data.get("writing", {})}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.source == "file" and self.writing:
            raise ValueError("writing says how a model writes, and source is file, not model")
        if self.source == "model" and self.emotional != BUILTIN:
            raise ValueError("emotional names a file to read, and source is model")
        if self.source == "model" and self.emotions != "all":
            raise ValueError("source is model: name the emotions in writing.emotions")
        refuse_repeats(emotions=() if self.emotions == "all" else self.emotions)
        return self
