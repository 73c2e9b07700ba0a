"""llama.cpp's control vectors: one emotion in a GGUF file, `direction.k` for layer k.

`direction.k` is added to the output of block k, 0-based (llama.cpp numbers its tensors from 1 and
looks them up from 1: the two shifts cancel), so k is emoctl's layer. There is no `direction.0`.
repeng reads and writes the same container with the same numbers.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emoctl.errors import UsageError, VectorError
from emoctl.models.block_names import BlockNames
from emoctl.vectors.files import write_whole
from emoctl.vectors.interchange.bundle import Bundle, first_line, parse_statement

ARCHITECTURE = "controlvector"
PREFIX = "direction."
STATED = "emoctl.statement"
UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError)
"""What the reader of the gguf package lets escape on a file that is cut or made up."""


def write_gguf(bundle: Bundle, names: BlockNames | None, path: Path) -> None:
    """Write one emotion's vectors, each times its factor.

    Raises:
        UsageError: more than one emotion, or layer 0, which the format cannot hold.
        VectorError: the disk does not take it.
    """
    import gguf

    assert bundle.emotions and bundle.statement and names, "a bundle that emoctl made"
    if len(bundle.emotions) > 1:
        raise UsageError(
            f"{path.name}: a control vector file holds one emotion, not {len(bundle.emotions)}",
            hint="choose it with --emotion",
        )
    if 0 in bundle.layers:
        raise UsageError(
            f"{path.name}: a control vector file numbers layers from 1, so emoctl's layer 0 has "
            "no place in it",
            hint="leave layer 0 out, or write .npz",
        )
    made = bundle.statement.provenance
    words = {
        f"{ARCHITECTURE}.model_hint": names.model_type,
        "general.name": bundle.emotions[0],
        "emoctl.emotion": bundle.emotions[0],
        "emoctl.model": made.model.id,
        "emoctl.weights": made.model.weight_sha256,
        "emoctl.length": bundle.statement.length,
        "emoctl.strength": bundle.statement.strength or "none",
        "emoctl.convention": made.layer_convention,
        STATED: bundle.statement.model_dump_json(),
    }

    def write(unfinished: Path) -> None:
        logging.getLogger("gguf").setLevel(logging.WARNING)
        writer = gguf.GGUFWriter(unfinished, ARCHITECTURE)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(bundle.layers))
        for key, value in words.items():
            writer.add_string(key, value)
        for layer, vector in zip(bundle.layers, bundle.added[0], strict=True):
            writer.add_tensor(f"{PREFIX}{layer}", vector.float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    write_whole(path, write)


def read_gguf(path: Path) -> Bundle:
    """Read a control vector, whichever program wrote it.

    Raises:
        VectorError: the file is cut off, is no control vector, or has a layer that is none.
    """
    import gguf

    try:
        reader: Any = gguf.GGUFReader(path)
        words = {
            key: str(field.contents())
            for key, field in reader.fields.items()
            if field.types[:1] == [gguf.GGUFValueType.STRING]
        }
        tensors = {t.name: (t.tensor_type.name, np.array(t.data)) for t in reader.tensors}
    except UNREADABLE as error:
        raise VectorError(
            f"{path} cannot be read as GGUF: {first_line(error)}",
            hint="it may be cut off",
        ) from None
    architecture = words.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise VectorError(f"{path} is a GGUF file of {architecture!r}, not of a control vector")
    directions = {name: found for name, found in tensors.items() if name.startswith(PREFIX)}
    by_layer = {_layer(name, path): name for name in directions}
    if not by_layer or len(by_layer) < len(directions):
        raise VectorError(f"{path} holds {len(directions)} directions, for {len(by_layer)} layers")
    layers = tuple(sorted(by_layer))
    rows = [_vector(by_layer[layer], *directions[by_layer[layer]], path) for layer in layers]
    if len({len(row) for row in rows}) > 1:
        raise VectorError(f"{path}: its directions have different widths")
    statement = parse_statement(words[STATED], str(path)) if STATED in words else None
    return Bundle(
        vectors=torch.stack(rows)[None],
        layers=layers,
        factors=(1.0,) * len(layers),
        emotions=statement.emotions if statement else None,
        statement=statement,
        said={"model_hint": words.get(f"{ARCHITECTURE}.model_hint")},
    )


def _layer(name: str, path: Path) -> int:
    number = name.removeprefix(PREFIX)
    if not (number.isascii() and number.isdigit() and len(number) < 6 and int(number) > 0):
        raise VectorError(
            f"{path}: {name!r} names no layer: directions are numbered from 1",
            hint="programs do not agree on what another number means",
        )
    return int(number)


def _vector(name: str, kind: str, values: Any, path: Path) -> torch.Tensor:
    if kind != "F32" or values.ndim != 1:
        raise VectorError(
            f"{path}: {name} is {values.ndim}-D {kind}; a direction is 1-D F32",
            hint="llama.cpp refuses it too",
        )
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
