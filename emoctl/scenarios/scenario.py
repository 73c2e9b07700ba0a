"""What a scenario is: a situation in which a model acts, as data.

A scenario opens a conversation, names a closed set of outcomes, and says how each readout
measures them. It does not know how text is generated, which model speaks, or that anything is
steered.

    scenarios/<name>/scenario.yaml     this module's `Scenario`; long texts stand in files beside it
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
ReadoutName = Literal["sample", "choice", "likelihood"]
Register = Literal["flat", "emotional"]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

REGISTERS: tuple[Register, ...] = ("flat", "emotional")
SET_ASIDE = ("incoherent", "truncated")
"""Outcomes that every judged scenario has and that no rate counts as a "no"."""


class Section(BaseModel):
    """Base of every section: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Section):
    """One turn of a conversation."""

    role: Role
    content: str = Field(min_length=1)


class Variant(Section):
    """One wording of the situation."""

    about: str = ""
    messages: tuple[Message, ...] = Field(min_length=1)
    """In the file, `content: …` or `file: NAME` (a text file beside scenario.yaml)."""

    lead: str = ""
    """The assistant's first words, written for it; sampling goes on from there. Empty for none."""

    stop: str = ""
    """Text that ends the response where the model writes it, as an end of turn does. Empty for
    none. For small models, which rarely end a turn by themselves."""


class OutcomeDefinition(Section):
    """One label of the closed set."""

    definition: str = Field(min_length=1)
    examples: tuple[str, ...] = ()
    near_misses: tuple[str, ...] = ()


class JudgeRule(Section):
    """How one outcome is recognised: `check` names a test that the judge kind offers."""

    outcome: Label
    check: str = Field(min_length=1)


class JudgeSpec(Section):
    """Which judge reads the transcripts, and what it must know of the story."""

    kind: Literal["mail"]
    rules: tuple[JudgeRule, ...] = Field(min_length=1)
    """In order of severity: the first rule that holds decides."""

    people: dict[str, tuple[str, ...]] = {}
    """Role in the story → the names and addresses that mean that person."""

    terms: dict[str, tuple[str, ...]] = {}
    """Name of a cue (`secret`, `condition`, …) → regular expressions, matched case-blind."""


class ChoiceSpec(Section):
    """The `choice` readout: the probability of each of a few fixed options."""

    question: str = Field(min_length=1)
    """Appended to the last user message; `{options}` is where the lettered options go."""

    prefill: str = "("
    options: dict[Label, str] = Field(min_length=2, max_length=4)
    """Outcome → the option's text."""


class ContinuationSet(Section):
    """One item of the `likelihood` readout: every act in every register, about equally long."""

    id: Label
    acts: dict[Label, dict[Register, str]]


class LikelihoodSpec(Section):
    """The `likelihood` readout: per-token log-probability of written continuations."""

    lead: str = ""
    """Text that opens every answer before the continuation; it is conditioned on, not scored."""

    target: Label
    """The act whose tendency is measured, e.g. `threat`."""

    foils: tuple[Label, ...] = Field(min_length=1)
    """Acts it is compared with: one shares the tone but not the act, one neither."""

    outcome: Label
    """The outcome that the target act would be, were it played."""

    sets: tuple[ContinuationSet, ...] = Field(min_length=1)


class Scenario(Section):
    """A situation in which a model acts, its outcomes, and how they are measured."""

    schema_: Literal["emoctl-scenario/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: str
    about: str
    primary: Label
    """The outcome that tests and gates are about unless they name another."""

    variants: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], Variant] = Field(
        min_length=1
    )
    outcomes: dict[Label, OutcomeDefinition] = Field(min_length=2)
    judge: JudgeSpec | None = None
    choice: ChoiceSpec | None = None
    likelihood: LikelihoodSpec | None = None

    @property
    def readouts(self) -> tuple[ReadoutName, ...]:
        """The readouts that this scenario offers."""
        offered: dict[ReadoutName, object] = {
            "sample": self.judge,
            "choice": self.choice,
            "likelihood": self.likelihood,
        }
        return tuple(name for name, spec in offered.items() if spec is not None)
