"""What every section of an experiment file is built from: a closed base, and kinds of value."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S(.*\S)?$")]
Whole = Annotated[int, Field(strict=True)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of every section: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def refuse_repeats(**lists: Sequence[object]) -> None:
    """Refuse a list that holds a value twice.

    Raises:
        ValueError: it names the key and the value.
    """
    for key, values in lists.items():
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"{key} lists {twice} twice")
