"""Plain numpy: every emotion at every layer, in one npz file without pickles.

vectors    [emotions, layers, d_model]   float32
emotions   [emotions]                    text
layers     [layers]                      0-based
mean_norm  [layers]                      mean residual norm; may be absent in files of others
emoctl     []                            JSON; may be absent in files of others
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emoctl.errors import VectorError
from emoctl.models.block_names import BlockNames
from emoctl.vectors.files import write_whole
from emoctl.vectors.interchange.bundle import Bundle, first_line, parse_statement

WANTED = ("vectors", "emotions", "layers")
UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, MemoryError),
)
"""What numpy lets escape on a file that is cut, made up, or holds objects."""


def write_npz(bundle: Bundle, names: BlockNames | None, path: Path) -> None:
    """Write the vectors, each times its factor. `names` are not needed: layers are numbers.

    Raises:
        VectorError: the disk does not take it.
    """
    del names
    assert bundle.emotions and bundle.statement, "a bundle that emoctl made"
    arrays: dict[str, Any] = {
        "vectors": bundle.added.float().numpy(),
        "emotions": np.array(bundle.emotions, dtype=np.str_),
        "layers": np.array(bundle.layers, dtype=np.int64),
        "mean_norm": np.array(bundle.statement.mean_norm, dtype=np.float32),
        "emoctl": np.array(bundle.statement.model_dump_json(), dtype=np.str_),
    }
    write_whole(path, lambda unfinished: np.savez(unfinished, allow_pickle=False, **arrays))


def read_npz(path: Path) -> Bundle:
    """Read vectors, whichever program wrote them.

    Raises:
        VectorError: the file is cut off, holds objects, or lacks an array.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except UNREADABLE as error:
        raise VectorError(
            f"{path} cannot be read as npz: {first_line(error)}",
            hint="it may be cut off, or hold pickled objects",
        ) from None
    for name in WANTED:
        if name not in arrays:
            raise VectorError(f"{path} lacks the array {name!r}", hint=f"it needs {WANTED}")
    vectors, emotions, layers = (arrays[name] for name in WANTED)
    if vectors.dtype not in (np.float32, np.float16) or vectors.ndim != 3:
        raise VectorError(
            f"{path}: vectors are {vectors.ndim}-D {vectors.dtype}; they must be emotions × layers "
            "× d_model of float32 or float16"
        )
    if emotions.shape != vectors.shape[:1] or emotions.dtype.kind != "U":
        raise VectorError(f"{path}: emotions are not {vectors.shape[0]} texts")
    if layers.shape != vectors.shape[1:2] or layers.dtype.kind not in "iu":
        raise VectorError(f"{path}: layers are not {vectors.shape[1]} whole numbers")
    stated = arrays.get("emoctl")
    statement = None if stated is None else parse_statement(str(stated), str(path))
    return Bundle(
        vectors=torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)),
        layers=tuple(map(int, layers)),
        factors=(1.0,) * len(layers),
        emotions=tuple(map(str, emotions)),
        statement=statement,
    )
