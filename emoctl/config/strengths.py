"""A strength: a signed fraction of the residual norm, exact as written.

0.05 stays 0.05 and not the nearest binary fraction, because ids are made of strengths and files
of different machines are compared by them. What a strength is applied to is not known here.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from emoctl.config.wording import shown
from emoctl.errors import UsageError

LARGEST = Decimal(10)
MAX_DECIMALS = 9
MAX_SCALES = 101
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?", re.ASCII)


def parse_strength(value: object) -> Decimal:
    """The strength that `value`, a number or its text, spells; -0 is 0.

    Raises:
        ValueError: no number, with a unit, beyond ±10, or finer than nine decimals.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"needs a number, such as 0.05; got {shown(value)}")
    if NUMBER.fullmatch(str(value)) is None:
        raise ValueError(f"needs a number, such as 0.05; got {shown(value)}")
    number = Decimal(str(value))
    if abs(number) > LARGEST:
        raise ValueError(f"is a fraction of the residual norm, -10 to 10; got {shown(value)}")
    if number != round(number, MAX_DECIMALS):
        raise ValueError(f"has more than {MAX_DECIMALS} decimals: {shown(value)}")
    return Decimal(strength_text(number))


def strength_text(strength: Decimal) -> str:
    """A strength in its one canonical spelling, `-0.05`: what ids are made of and tables show."""
    return format(strength.normalize(), "f") if strength else "0"


Strength = Annotated[
    Decimal,
    BeforeValidator(parse_strength),
    PlainSerializer(strength_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]


def parse_scales(text: str) -> tuple[Decimal, ...]:
    """The strengths that a `--scale` flag lists, in its order.

    `0.05`, or `-0.05,0,0.05`, or `-0.1:0.1:0.05` (first, last and step; both ends included).

    Raises:
        UsageError: no number, a step that does not lead to the last one, one strength twice, or
            more than 101 of them.
    """
    scales: list[Decimal] = []
    for part in text.split(","):
        scales += _range(part, text) if ":" in part else [_number(part, text)]
        if len(scales) > MAX_SCALES:
            raise _refused(text, f"lists more than {MAX_SCALES} strengths")
    for strength in scales:
        if scales.count(strength) > 1:
            raise _refused(text, f"lists {strength_text(strength)} twice")
    return tuple(scales)


def _range(part: str, text: str) -> list[Decimal]:
    bounds = part.split(":")
    if len(bounds) != 3:
        raise _refused(text, f"has the range {part.strip()!r}, which is not FIRST:LAST:STEP")
    first, last, step = (_number(bound, text) for bound in bounds)
    if not step:
        raise _refused(text, "has the step 0")
    n_steps, rest = divmod(last - first, step)
    if rest or n_steps < 0:
        where = f"from {strength_text(first)} to {strength_text(last)}"
        raise _refused(text, f"has the step {strength_text(step)}, which does not lead {where}")
    if n_steps >= MAX_SCALES:
        raise _refused(text, f"lists more than {MAX_SCALES} strengths")
    return [Decimal(strength_text(first + i * step)) for i in range(int(n_steps) + 1)]


def _number(part: str, text: str) -> Decimal:
    try:
        return parse_strength(part.strip())
    except ValueError as error:
        raise _refused(text, str(error)) from None


def _refused(text: str, what: str) -> UsageError:
    return UsageError(
        f"--scale {shown(text)} {what}",
        hint="write --scale 0.05, --scale -0.05,0,0.05 or --scale -0.1:0.1:0.05",
    )
