"""What an experiment file may say, and what each line means.

A config is data: it opens no file, loads no model and touches no device. Unknown keys are errors,
so that a misspelt key can never be a silently ignored one. Which scenarios, emotions and variants
exist is not known here; whoever uses a name checks it.
"""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emoctl.config.gates import Gate
from emoctl.config.sections import Fraction, Name, Section, Whole, refuse_repeats
from emoctl.config.stories import StoriesConfig
from emoctl.config.strengths import Strength
from emoctl.config.strengths import strength_text as strength_text

SCHEMA = "emoctl/1"


Positions = Literal["all", "response"]


class ModelConfig(Section):
    """Which weights, and in which arithmetic. `model: NAME` is short for `model: {id: NAME}`."""

    id: Name = "smollm2-135m-instruct"
    """The embedded model, a hub id, a folder, or a GGUF file."""

    revision: Name | None = Field(default=None, examples=["main"])
    """Branch, tag or commit of a hub id."""

    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class RecipeConfig(Section):
    """How stories become emotion vectors."""

    from_token: Whole = Field(default=50, ge=0)
    """0-based index of the first token that enters a story's mean; a story no longer than this
    is an error. Source: arXiv 2604.07729, methods: "from the 50th token"."""

    neutral_variance: Fraction = Field(default=0.5, ge=0, lt=1)
    """Share of the neutral texts' variance whose principal components are projected out; 0 for
    none. Source: arXiv 2604.07729, methods: 50 %."""

    neutral_level: Literal["token", "text"] = "text"
    """Whether one neutral observation is a token or the mean of a text."""

    neutral_components: Annotated[Whole, Field(ge=0)] | None = Field(default=None, examples=[5])
    """Project out exactly so many components instead of a variance share."""

    layers: (
        Literal["all"] | Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1)]
    ) = Field(default="all", examples=[[19]])
    """0-based layers to make vectors for. Blocks above the highest are not run, so that few low
    layers are made sooner; a sweep at another layer is refused."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        refuse_repeats(layers=() if self.layers == "all" else self.layers)
        return self


class SteeringConfig(Section):
    """Which vectors are added to the residual stream, where, and how strongly."""

    file: Name | None = None
    """A vectors file that `emoctl extract` wrote, or the name that `emoctl vectors ls` shows; by
    default they are extracted from `stories` and cached."""

    vectors: tuple[Name, ...] = Field(default=("desperate", "calm"), min_length=1)
    """Emotions to steer with; each must be in the corpus."""

    strengths: tuple[Strength, ...] = Field(
        default=tuple(Decimal(s) for s in ("-0.1", "-0.05", "0.05", "0.1")), min_length=1
    )
    """Length of what is added, as a signed fraction of the layer's mean residual norm. Strength 0
    need not be listed: every sweep has it once, shared by all vectors."""

    layer: Literal["two-thirds"] | Annotated[Whole, Field(ge=0)] = "two-thirds"
    """0-based layer whose resid_post is steered; `two-thirds` is round(2/3 · (n_layers − 1))."""

    positions: Positions = "all"
    """`all`: every token of prompt and response. `response`: the positions whose logits choose
    the response, from the last prompt token on."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        strengths = [strength_text(strength) for strength in self.strengths]
        refuse_repeats(vectors=self.vectors, strengths=strengths)
        return self


class ControlsConfig(Section):
    """Conditions that should do nothing special, at one strength, so that an effect has a scale.

    Each set of controls holds shuffled-label vectors and random directions outside the emotion
    subspace, isotropic and drawn from the covariance of neutral activations, in equal shares.
    """

    sample: Whole = Field(default=6, ge=0, le=10_000)
    """Controls in sampled readouts."""

    exact: Whole = Field(default=99, ge=0, le=10_000)
    """Controls in exact readouts (`choice`, `likelihood`)."""

    primary_strength: Strength | None = Field(default=None, examples=[0.05])
    """The strength at which controls run and claims are tested. Default: of the sweep's positive
    strengths, the one nearest to 0.05, the paper's."""


class ReadoutConfig(Section):
    """One way of measuring a scenario."""

    variants: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] = "all"
    positions: Positions | None = Field(default=None, examples=["response"])
    """Overrides `steering.positions` for this readout."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        refuse_repeats(variants=() if self.variants == "all" else self.variants)
        return self


class SampleConfig(ReadoutConfig):
    """Rollouts, each judged."""

    n: Whole = Field(default=20, ge=1, le=100_000)
    """Rollouts a cell; rollout i draws the same noise under every condition."""


class ReadoutsConfig(Section):
    """The readouts to take. A key that is absent is not taken."""

    sample: SampleConfig | None = None
    choice: ReadoutConfig | None = None
    likelihood: ReadoutConfig | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.sample or self.choice or self.likelihood):
            raise ValueError("needs at least one of sample, choice, likelihood")
        return self


class ReadingsConfig(Section):
    """What is read of every token of a rollout: cosines of its activation with emotion
    directions. `{}` takes them with these defaults."""

    layers: (
        Literal["two-thirds"]
        | Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1)]
    ) = Field(default="two-thirds", examples=[[19, 24]])
    """0-based layers whose resid_post is read, with what was added to it; `two-thirds` is the layer
    that `steering.layer` means by it."""

    emotions: Literal["all"] | Annotated[tuple[Name, ...], Field(min_length=1)] = "all"
    """`all` that the vectors hold, or some of them."""

    prompt: Annotated[bool, Field(strict=True)] = False
    """Whether every token of the prompt is read too; its last one always is."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        refuse_repeats(
            layers=() if self.layers == "two-thirds" else self.layers,
            emotions=() if self.emotions == "all" else self.emotions,
        )
        return self


class SamplingConfig(Section):
    """How tokens are drawn."""

    max_new_tokens: Whole = Field(default=96, ge=1, le=1_000_000)
    temperature: Fraction = Field(default=1.0, ge=0)
    """0 takes the most likely token, whatever the noise."""

    top_p: Fraction = Field(default=1.0, gt=0, le=1)
    """Draw from the most likely tokens that together have this probability."""


class EngineConfig(Section):
    """How the forward passes run; none of it changes what is measured, beyond rounding."""

    kind: Literal["auto", "reference"] = "auto"
    """`reference` is transformers' own attention and cache; `auto` is the steered engine where it
    is tried and found exact for the model, else `reference`, which the run says."""

    workers: Annotated[Whole, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Processes, one thread each; `auto` is one a core, at most 4."""

    rows: Whole = Field(default=32, ge=4, le=1024)
    """Most rollouts decoded together by a worker; fewer where memory is short."""


class StatisticsConfig(Section):
    """How sure the intervals are."""

    confidence: Fraction = Field(default=0.95, gt=0.5, lt=1)
    resamples: Whole = Field(default=2000, ge=100, le=100_000)
    """Bootstrap resamples, for exact readouts."""


SHORTHANDS = {"model": "id", "stories": "emotional"}
"""Section → the key that a plain word in its place stands for."""


def _named(section: str, model: type[Section]) -> BeforeValidator:
    key = SHORTHANDS[section]
    return BeforeValidator(
        lambda value: {key: value} if isinstance(value, str) else value,
        json_schema_input_type=str | model,
    )


class ExperimentConfig(Section):
    """One experiment: scenarios × variants × conditions × rollouts or items."""

    schema_: Literal["emoctl/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)] = "sweep"
    """Names the run folder."""

    model: Annotated[ModelConfig, _named("model", ModelConfig)] = ModelConfig()
    stories: Annotated[StoriesConfig, _named("stories", StoriesConfig)] = StoriesConfig()
    recipe: RecipeConfig = RecipeConfig()
    steering: SteeringConfig = SteeringConfig()
    controls: ControlsConfig = ControlsConfig()
    scenarios: tuple[Name, ...] = Field(default=("replacement-affair",), min_length=1)
    readouts: ReadoutsConfig
    readings: ReadingsConfig | None = Field(default=None, examples=[{"layers": [19]}])
    """Taken of sampled rollouts where this section is present."""

    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    statistics: StatisticsConfig = StatisticsConfig()
    gates: tuple[Gate, ...] = ()
    seed: Whole = Field(default=0, ge=0, lt=2**63)
    """Everything random follows from it: noise, controls, bootstrap."""

    @property
    def primary_strength(self) -> Decimal | None:
        """The strength at which controls run; None where the sweep has only strength 0."""
        if self.controls.primary_strength is not None:
            return self.controls.primary_strength
        nonzero = [s for s in self.steering.strengths if s]
        positive = [s for s in nonzero if s > 0]
        return min(
            positive or nonzero, key=lambda s: (abs(abs(s) - Decimal("0.05")), s), default=None
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse_repeats(scenarios=self.scenarios, gates=[gate.text for gate in self.gates])
        if self.readings and not self.readouts.sample:
            raise ValueError("readings are of sampled rollouts, and readouts.sample is not taken")
        if self.steering.file is not None and self.stories.source == "model":
            raise ValueError("steering.file gives the vectors, and stories.source is model")
        primary = self.controls.primary_strength
        if primary is not None and (not primary or primary not in self.steering.strengths):
            raise ValueError(
                f"controls.primary_strength {strength_text(primary)} is not a non-zero strength of "
                "steering.strengths"
            )
        return self

    def canonical(self) -> dict[str, Any]:
        """The config as plain JSON values, every default filled in."""
        return self.model_dump(mode="json", by_alias=True)

    def digest(self) -> str:
        """Identity of what is measured: 12 hex digits, equal for configs that differ only in
        name, gates, workers, or spelling."""
        content = self.canonical()
        for key in ("name", "gates"):
            del content[key]
        del content["engine"]["workers"]
        if self.readings is None:
            del content["readings"]  # a config that takes none is the one it was before there were
        if self.stories.source == "file":
            del content["stories"]["source"], content["stories"]["writing"]
        for section, key in (("stories", "emotions"), ("recipe", "layers")):
            if content[section][key] == "all":
                del content[section][key]  # as before there was a choice
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
