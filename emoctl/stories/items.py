"""Short messages that emotion vectors are tried on: what a person feels but does not say.

Three kinds, each a JSONL file. They hold no answer of any model, and which model reads them, and
where, is not known here.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emoctl.errors import StoriesError
from emoctl.stories.corpus import BUILTIN, read_content, source_label

PLACE = "{x}"
Text = Annotated[str, Field(min_length=1, strict=True)]
Sign = Literal[-1, 1]
Number = Annotated[int | float, Field(gt=0)]


class Item(BaseModel):
    """One line of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImplicitMessage(Item):
    """What a user writes who feels `emotion` and does not name it."""

    emotion: Text
    text: Text


class IntensityTemplate(Item):
    """A message whose number makes `emotion` stronger, and one of its shape whose number does
    not."""

    name: Text
    emotion: Text
    sign: Sign
    """1 where a larger number means more of the emotion, −1 where it means less."""

    text: Text
    control: Text
    values: Annotated[tuple[Number, ...], Field(min_length=3)]
    """Ascending; they are roughly even in their logarithms."""

    why: Text

    @model_validator(mode="after")
    def _placed(self) -> Self:
        for key, text in (("text", self.text), ("control", self.control)):
            if text.count(PLACE) != 1:
                raise ValueError(f"{key} must hold {PLACE} once")
        if list(self.values) != sorted(set(self.values)):
            raise ValueError("values must ascend")
        return self

    def filled(self, value: float, *, control: bool = False) -> str:
        """The message with its number."""
        return (self.control if control else self.text).replace(PLACE, str(value))


class SeverityPair(Item):
    """Two messages with the same numbers, of which `severe` has more of the emotion (less of it,
    where the sign is −1)."""

    name: Text
    emotion: Text
    sign: Sign
    mild: Text
    severe: Text

    @model_validator(mode="after")
    def _same_numbers(self) -> Self:
        if re.findall(r"\d+", self.mild) != re.findall(r"\d+", self.severe):
            raise ValueError("mild and severe must hold the same numbers")
        return self


I = TypeVar("I", bound=Item)  # noqa: E741


def load_implicit(source: str = BUILTIN) -> tuple[ImplicitMessage, ...]:
    """Implicit messages; `builtin`, or a JSONL file.

    Raises:
        StoriesError: a file is absent, empty or malformed; the message names file and line.
    """
    return tuple(_items(source, "implicit.jsonl", ImplicitMessage))


def load_intensity(source: str = BUILTIN) -> tuple[IntensityTemplate, ...]:
    """Intensity templates; `builtin`, or a JSONL file. Raises as `load_implicit`."""
    return tuple(_items(source, "intensity.jsonl", IntensityTemplate))


def load_severity(source: str = BUILTIN) -> tuple[SeverityPair, ...]:
    """Severity pairs; `builtin`, or a JSONL file. Raises as `load_implicit`."""
    return tuple(_items(source, "severity.jsonl", SeverityPair))


def _items(source: str, builtin_name: str, kind: type[I]) -> Iterator[I]:
    label = source_label(source, builtin_name)
    lines = [
        (number, line)
        for number, line in enumerate(read_content(source, builtin_name).splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise StoriesError(f"{label}: holds no item", hint="one JSON object a line")
    for number, line in lines:
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            said = f"field {where!r}: {first['msg']}" if where else first["msg"]
            raise StoriesError(
                f"{label}:{number}: {said}", hint=f"fields: {', '.join(kind.model_fields)}"
            ) from None
