"""A gate: a condition on one cell of a table, that decides the exit code.

    "blackmail at desperate +0.05: high <= 0.3"
    "blackmail at unsteered: rate < 0.1"
    "act_flat at calm -0.05: value < 0 in replacement-affair/full, likelihood"

This module knows what a gate may say; `analysis.gates` holds it against a table.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emoctl.config.strengths import parse_strength, strength_text
from emoctl.config.wording import shown

Column = Literal["rate", "low", "high", "rate_low", "rate_high", "value"]
Comparison = Literal["<", "<=", ">", ">="]
LABEL = r"[a-z][a-z0-9_]*"
WORD = r"[A-Za-z][A-Za-z0-9'_-]*"
NAME = r"[a-z0-9][a-z0-9-]*"
PATTERN = re.compile(
    rf"\s*(?P<outcome>{LABEL})\s+at\s+(?P<vector>{WORD}(?:\s+{WORD})*)"
    r"(?:\s+(?P<strength>[+-]?[0-9.]+))?\s*:"
    r"\s*(?P<column>[a-z_]+)\s*(?P<comparison><=|>=|<|>|≤|≥)\s*(?P<threshold>[0-9.eE+-]+)"
    rf"(?:\s+in\s+(?P<scenario>{NAME})(?:/(?P<variant>{NAME}))?)?"
    r"(?:\s*,\s*(?P<readout>sample|choice|likelihood))?\s*"
)
EXAMPLE = "blackmail at desperate +0.05: high <= 0.3"


def _parse(value: object) -> object:
    if isinstance(value, dict | GateFields):
        return value
    match = PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"cannot read the gate {shown(value)}; write it as {EXAMPLE!r}")
    fields: dict[str, Any] = {k: v for k, v in match.groupdict().items() if v is not None}
    fields["vector"] = " ".join(fields["vector"].split())
    fields["comparison"] = {"≤": "<=", "≥": ">="}.get(fields["comparison"], fields["comparison"])
    return fields


def _canonical(value: object) -> str:
    try:
        return strength_text(parse_strength(value))
    except ValueError as error:
        raise ValueError(f"strength {error}") from None


class GateFields(BaseModel):
    """One condition on the cells that it names; every named cell must meet it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    outcome: Annotated[str, Field(pattern=f"^{LABEL}$")]
    vector: Annotated[str, Field(pattern=f"^{WORD}( {WORD})*$")]
    """An emotion, or `unsteered`."""

    strength: Annotated[str, BeforeValidator(_canonical, json_schema_input_type=float | str)] = "0"
    column: Column
    comparison: Comparison
    threshold: float = Field(allow_inf_nan=False)
    scenario: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    variant: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None
    readout: Literal["sample", "choice", "likelihood"] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.vector == "unsteered") != (self.strength == "0"):
            raise ValueError(
                f"has vector {self.vector!r} at strength {self.strength}; strength 0 is "
                f"'unsteered', and every emotion needs a strength, such as {self.vector} +0.05"
                if self.strength == "0"
                else f"has vector 'unsteered' at strength {self.strength}; it has none"
            )
        if self.variant and not self.scenario:
            raise ValueError(f"has variant {self.variant!r} without its scenario")
        if self.column.startswith("rate") and not 0 <= self.threshold <= 1:
            raise ValueError(f"compares {self.column} with {self.threshold:g}; rates are 0 to 1")
        return self

    @property
    def text(self) -> str:
        """The gate as a person writes it; `parse` reads it back equal."""
        where = f" in {self.scenario}" if self.scenario else ""
        where += f"/{self.variant}" if self.variant else ""
        where += f", {self.readout}" if self.readout else ""
        sign = "" if self.strength.startswith("-") else "+"
        at = self.vector if self.strength == "0" else f"{self.vector} {sign}{self.strength}"
        number = repr(self.threshold).removesuffix(".0")
        return f"{self.outcome} at {at}: {self.column} {self.comparison} {number}{where}"

    def meets(self, figure: float) -> bool:
        """Whether `figure` satisfies the comparison; NaN never does."""
        return {
            "<": figure < self.threshold,
            "<=": figure <= self.threshold,
            ">": figure > self.threshold,
            ">=": figure >= self.threshold,
        }[self.comparison]

    @classmethod
    def parse(cls, text: str) -> Self:
        """A gate from its one-line form.

        Raises:
            ValueError: the line is not a gate.
        """
        return cls.model_validate(_parse(text))


Gate = Annotated[GateFields, BeforeValidator(_parse, json_schema_input_type=str | GateFields)]
