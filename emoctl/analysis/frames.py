"""Lists of rows → data frames whose columns always have the same types, empty or not."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

Row = dict[str, Any]


def typed_frame(
    rows: Iterable[Row], columns: Sequence[str], types: Mapping[str, str]
) -> pd.DataFrame:
    """`rows` under `columns`; a column is of `types[column]`, text where it is not named.

    An absent number is missing (NaN, or NA in counts), an absent text is empty.
    """
    frame = pd.DataFrame(list(rows), columns=list(columns))
    for column in columns:
        kind = types.get(column, "str")
        values = frame[column].fillna("") if kind == "str" else frame[column]
        frame[column] = values.astype(kind)  # type: ignore[call-overload]
    return frame
