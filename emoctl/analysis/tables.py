"""Tables on disk: CSV to read and diff, Parquet to compute with. Same rows, same order, always.

A file appears whole or not at all. Knows nothing of what the tables mean.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from emoctl.errors import StoreError

FLOATS = "%.10g"


def write_tables(folder: Path, frames: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write `NAME.csv` and `NAME.parquet` for every frame; returns the paths written.

    Raises:
        StoreError: the folder cannot be written to.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
            partial = folder / f".{name}.{os.getpid()}.partial"
            frame.to_csv(partial, index=False, float_format=FLOATS, lineterminator="\n")
            partial.replace(csv)
            frame.to_parquet(partial, index=False)
            partial.replace(parquet)
            written += [csv, parquet]
    except OSError as error:
        raise StoreError(
            f"cannot write tables to {folder}: {error.strerror or error}",
            hint="free some space, or check who owns the folder",
        ) from None
    return written
