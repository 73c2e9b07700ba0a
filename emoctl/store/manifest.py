"""manifest.json: what a run was, said so that somebody else can make it again.

It holds no absolute path and no name of a machine or a person: a run folder is passed on. It
does not know how any of its facts were found; `emoctl.store.environment` looks up the machine's.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from emoctl.errors import StoreError
from emoctl.store.run_folder import RunFolder
from emoctl.store.schema import disk_error

MANIFEST_SCHEMA: Literal["emoctl-manifest/1"] = "emoctl-manifest/1"
_WITHIN_TEXT = re.compile(
    r"""(?<![^\s='"(,;\[])(?:file://)?(?:/|~/|[A-Za-z]:[\\/])[^\s'"(),;\]]+"""
)


def portable_path(text: str, folder: Path) -> str:
    """A path as it may stand in a manifest: relative to `folder` where it lies in it, its last
    part otherwise. What is not an absolute path is given back as it is."""
    path = _absolute(text)
    if path is None:
        return text
    try:
        return PurePath(path).relative_to(folder).as_posix()
    except ValueError:
        return path.name


def portable_argv(argv: Sequence[str], folder: Path) -> tuple[str, ...]:
    """A command line without absolute paths, those in `--option=PATH` and `key=PATH` included."""
    portable = []
    for argument in argv:
        head, equals, tail = argument.partition("=")
        whole = not equals or _absolute(argument) is not None
        portable.append(
            portable_path(argument, folder) if whole else f"{head}={portable_path(tail, folder)}"
        )
    return tuple(portable)


def _absolute(text: str) -> PurePath | None:
    for path in (PurePosixPath(text), PureWindowsPath(text)):
        if path.is_absolute() or text.startswith("~/"):
            return path
    return None


def without_paths(value: Any) -> Any:
    """`value` with every absolute path in it, at any depth, reduced to its last part."""
    if isinstance(value, BaseModel):
        return without_paths(value.model_dump(mode="json", by_alias=True))
    if isinstance(value, dict):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    whole = _absolute(value)
    if whole is not None and "\n" not in value:
        return whole.name
    return _WITHIN_TEXT.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], value)


class Section(BaseModel):
    """Base of every section: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(Section):
    """The program and the machine; None for what could not be told."""

    emoctl: str
    git_revision: str | None
    """Of emoctl's own checkout; None where it is installed as a package."""

    git_dirty: bool | None
    python: str
    packages: dict[str, str | None]
    """Distribution → installed version."""

    platform: str
    cpu: str | None
    cores: int
    """Cores that this process may use."""


class ModelFacts(Section):
    """Which weights, exactly."""

    id: str
    revision: str | None
    source: str
    """Where they came from: `hub`, `package`, `folder`, …."""

    weight_sha256: str
    tokenizer_sha256: str | None
    template_sha256: str | None
    """Of the chat template; None for a model that has none."""


class Arithmetic(Section):
    """What decides the last bits of a logit."""

    device: str
    dtype: str
    attention: str
    engine: str
    """`cascade`, or `reference`."""

    engine_why: str = ""
    """Why it was this one."""

    packed_weights: bool | None = None
    """Whether linear layers computed with packed weights; None where that was not kept yet."""

    threads: int = Field(ge=1)
    """Threads of each worker."""

    workers: int = Field(default=1, ge=1)
    reproducible: Literal["exact", "rounding"]
    """`exact`: the start-up probe saw a row's logits equal in all bits whatever shares its batch.
    `rounding`: only the noise is promised."""

    probe: dict[str, JsonValue] = {}
    """What the probe saw."""


class Manifest(Section):
    """One run's manifest. Whatever absolute path is put in, its last part is what it holds."""

    schema_: Literal["emoctl-manifest/1"] = Field(default=MANIFEST_SCHEMA, alias="schema")
    name: str
    argv: tuple[str, ...]
    """The command line, after `portable_argv`."""

    started: AwareDatetime
    ended: AwareDatetime | None = None
    """None until the run ended."""

    environment: Environment
    arithmetic: Arithmetic
    model: ModelFacts
    vectors_sha256: str | None
    """Of vectors.safetensors; None for a run without one."""

    vectors: dict[str, JsonValue] = {}
    """How the vectors were made."""

    corpus_sha256: str | None
    scenarios: dict[str, str]
    """Name → digest of the content."""

    config_digest: str
    seed: int = Field(ge=0)
    counts: dict[str, dict[str, int]] = {}
    """Scenario → outcome (or status, where there is none) → rollouts."""

    @model_validator(mode="before")
    @classmethod
    def _portable(cls, value: Any) -> Any:
        return without_paths(value)

    def finished(self, ended: datetime, counts: dict[str, dict[str, int]]) -> Self:
        """This manifest, with its end and what came of it."""
        known = self.model_dump(by_alias=True)
        return type(self).model_validate({**known, "ended": ended, "counts": counts})


def write_manifest(folder: RunFolder, manifest: Manifest) -> None:
    """Write manifest.json, whole or not at all.

    Raises:
        StoreError: the disk is full, or the folder is not to be written to.
    """
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2)
    folder.write_text_atomic(folder.manifest, f"{text}\n")


def read_manifest(folder: RunFolder) -> Manifest:
    """The manifest of a run.

    Raises:
        StoreError: it is missing, broken, or of a schema that this program does not know.
    """
    what = f"manifest.json of {folder.name}"
    try:
        content = json.loads(folder.manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            f"{what} is missing", hint="the run was stopped before it began, or is no run"
        ) from None
    except OSError as e:
        raise disk_error(folder.manifest, e) from e
    except ValueError as e:
        raise StoreError(f"{what} is not JSON: {e}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != MANIFEST_SCHEMA:
        raise StoreError(
            f"{what} has schema {schema!r}; this emoctl reads {MANIFEST_SCHEMA!r}",
            hint="use the emoctl version that it names",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise StoreError(f"{what}: {key}: {first['msg'].lower()}") from None
