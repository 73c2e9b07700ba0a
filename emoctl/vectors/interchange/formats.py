"""Which program's format a file is in: its ending says so."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoctl.errors import UsageError, VectorError
from emoctl.models.block_names import BlockNames
from emoctl.vectors.interchange.bundle import Bundle, check_bundle
from emoctl.vectors.interchange.gguf_file import read_gguf, write_gguf
from emoctl.vectors.interchange.lm_eval_file import read_lm_eval, write_lm_eval
from emoctl.vectors.interchange.npz_file import read_npz, write_npz

FormatName = Literal["gguf", "lm-eval", "npz"]


@dataclass(frozen=True)
class Format:
    """How one kind of file is written and read."""

    name: FormatName
    readers: str
    """The programs that read it."""

    usage: str
    """How one of them takes it; `{}` stands for the file."""

    write: Callable[[Bundle, BlockNames | None, Path], None]
    read: Callable[[Path], Bundle]
    many: bool
    """Whether a file holds many emotions, at all layers by default."""

    names_blocks: bool
    """Whether a file holds names that are the model's own."""


FORMATS = {
    ".gguf": Format(
        name="gguf",
        readers="llama.cpp and repeng",
        usage="llama-cli -m MODEL.gguf --control-vector {}",
        write=write_gguf,
        read=read_gguf,
        many=False,
        names_blocks=True,
    ),
    ".pt": Format(
        name="lm-eval",
        readers="lm-eval",
        usage="lm_eval --model steered --model_args pretrained=MODEL,steer_path={}",
        write=write_lm_eval,
        read=read_lm_eval,
        many=False,
        names_blocks=True,
    ),
    ".npz": Format(
        name="npz",
        readers="numpy",
        usage="numpy.load({!r})",
        write=write_npz,
        read=read_npz,
        many=True,
        names_blocks=False,
    ),
}


def is_foreign(path: Path) -> bool:
    """Whether the ending is that of another program's format."""
    return path.suffix in FORMATS


def format_of(path: Path) -> Format:
    """The format that a file's ending names.

    Raises:
        UsageError: it names none.
    """
    if not is_foreign(path):
        known = ", ".join(f"{suffix} ({each.readers})" for suffix, each in FORMATS.items())
        raise UsageError(f"{path}: the ending {path.suffix!r} names no format", hint=known)
    return FORMATS[path.suffix]


def read_foreign(path: Path) -> Bundle:
    """Read a file of another program, and check all that can be checked without a model.

    Raises:
        UsageError: the ending names no format.
        VectorError: the file is absent, broken, not finite, zero, or contradicts itself.
    """
    how = format_of(path)
    if not path.is_file():
        raise VectorError(f"no file at {path}")
    bundle = how.read(path)
    check_bundle(bundle, str(path))
    return bundle


def file_sha256(path: Path) -> str:
    """`sha256:…` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
