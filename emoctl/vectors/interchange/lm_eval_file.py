"""lm-evaluation-harness' `--model steered`: a torch file of what is added at which module.

    {"layers.19": {"steering_vector": [d_model], "steering_coefficient": float, "action": "add",
                   "bias": None, "head_index": None}}

A hook point is a module's name within `base_model`; what is added goes to that module's output, at
every position of prompt and response.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from emoctl.errors import UsageError, VectorError
from emoctl.models.block_names import BlockNames
from emoctl.vectors.files import write_whole
from emoctl.vectors.interchange.bundle import Bundle, first_line, parse_statement

STATED = "emoctl"
HOOK_POINT = re.compile(r"([A-Za-z_][\w.]*)\.(0|[1-9][0-9]{0,4})", re.ASCII)
UNREADABLE = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, EOFError, AttributeError),
    *(RuntimeError, pickle.UnpicklingError, MemoryError),
)
"""What torch lets escape on a file that is cut, made up, or holds more than tensors."""


def write_lm_eval(bundle: Bundle, names: BlockNames | None, path: Path) -> None:
    """Write one emotion's vectors, their factors beside them as coefficients.

    Raises:
        UsageError: more than one emotion.
        VectorError: the disk does not take it.
    """
    assert bundle.emotions and bundle.statement and names, "a bundle that emoctl made"
    if len(bundle.emotions) > 1:
        raise UsageError(
            f"{path.name}: a steering file holds one emotion, not {len(bundle.emotions)}",
            hint="choose it with --emotion",
        )
    content = {
        names.block(layer): {
            "steering_vector": vector.clone(),
            "steering_coefficient": factor,
            "action": "add",
            "bias": None,
            "head_index": None,
            STATED: bundle.statement.model_dump_json(),
        }
        for layer, vector, factor in zip(
            bundle.layers, bundle.vectors[0], bundle.factors, strict=True
        )
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, lambda unfinished: _write(unfinished, buffer.getvalue()))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read_lm_eval(path: Path) -> Bundle:
    """Read a steering file, whichever program wrote it. Tensors and numbers are all that is read.

    Raises:
        VectorError: the file is cut off, holds more than tensors, is no steering file, or does
            something else than add to the output of blocks.
    """
    content = _load(path)
    if not isinstance(content, dict) or not content:
        raise VectorError(f"{path} is no steering file: it holds no hook point")
    points = {_hook_point(name, path): (name, entry) for name, entry in content.items()}
    paths = {where for where, _ in points}
    if len(paths) > 1:
        raise VectorError(f"{path} steers blocks of several lists: {', '.join(sorted(paths))}")
    layers = tuple(sorted(layer for _, layer in points))
    (block_path,) = paths
    entries = [points[block_path, layer] for layer in layers]
    rows = [_vector(name, entry, path) for name, entry in entries]
    if len({len(row) for row in rows}) > 1:
        raise VectorError(f"{path}: its vectors have different widths")
    stated = entries[0][1].get(STATED)
    statement = parse_statement(stated, str(path)) if isinstance(stated, str) else None
    return Bundle(
        vectors=torch.stack(rows)[None],
        layers=layers,
        factors=tuple(_factor(name, entry, path) for name, entry in entries),
        emotions=statement.emotions if statement else None,
        statement=statement,
        block_path=block_path,
        said={"hook_points": [name for name, _ in entries]},
    )


def _load(path: Path) -> Any:
    try:
        # the format is a torch file; weights_only keeps it from running code
        return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except UNREADABLE as error:
        raise VectorError(
            f"{path} cannot be read as a torch file of tensors: {first_line(error)}",
            hint="it may be cut off, or hold objects that would have to run code",
        ) from None


def _hook_point(name: object, path: Path) -> tuple[str, int]:
    found = HOOK_POINT.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise VectorError(
            f"{path}: the hook point {name!r} is not the output of a block",
            hint="emoctl steers blocks' outputs alone, such as layers.19",
        )
    return found[1], int(found[2])


def _vector(name: str, entry: object, path: Path) -> torch.Tensor:
    if not isinstance(entry, dict) or not isinstance(entry.get("steering_vector"), torch.Tensor):
        raise VectorError(f"{path}: {name} has no steering_vector")
    others = [key for key in ("bias", "head_index") if entry.get(key) is not None]
    if entry.get("action") != "add" or others:
        what = others[0] if others else f"the action {str(entry.get('action'))[:40]!r}"
        raise VectorError(
            f"{path}: {name} has {what}; emoctl only adds a vector to a block's whole output",
            hint="this has no counterpart in emoctl",
        )
    vector: torch.Tensor = entry["steering_vector"]
    if vector.dim() != 1 or vector.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise VectorError(
            f"{path}: {name} has a steering_vector of {vector.dtype}, shape {tuple(vector.shape)}",
            hint="emoctl reads 1-D vectors of float32, bfloat16 or float16",
        )
    return vector.detach().float()


def _factor(name: str, entry: dict[str, Any], path: Path) -> float:
    found = entry.get("steering_coefficient", 1.0)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise VectorError(f"{path}: {name} has the steering_coefficient {str(found)[:40]!r}")
    return float(found)
