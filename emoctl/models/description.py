"""What the catalog and a config.json say of a model; its weights are not loaded. No torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from emoctl.errors import ModelError
from emoctl.models.catalog import EMBEDDED, ModelSource, SourceKind

TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
DEPTH = ("num_hidden_layers", "n_layer", "num_layers")
WIDTH = ("hidden_size", "n_embd", "d_model")
CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx")


@dataclass(frozen=True)
class ModelDescription:
    """A model as its files describe it; None is what they do not say, or not on this machine."""

    id: str
    source: SourceKind
    revision: str | None
    origin: str
    """Where the weights come from, in words."""

    licence: str | None
    note: str | None
    architecture: str | None
    n_layers: int | None
    d_model: int | None
    d_vocab: int | None
    context: int | None
    """Tokens, prompt and response together."""

    chat_template: bool | None
    folder: str | None
    """Where the weights are on this machine."""


def describe(source: ModelSource) -> ModelDescription:
    """Describe a model; nothing is fetched.

    Raises:
        ModelError: its config.json is not JSON.
    """
    folder = source.cached_folder()
    config = _read(folder / "config.json") if folder else {}
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else config
    spec = EMBEDDED.get(source.id)
    return ModelDescription(
        id=source.id,
        source=source.kind,
        revision=source.revision,
        origin=_origin(source),
        licence=spec.licence if spec else None,
        note=_note(source),
        architecture=_architecture(config),
        n_layers=_whole(text, DEPTH),
        d_model=_whole(text, WIDTH),
        d_vocab=_whole(text, ("vocab_size",)),
        context=_whole(text, CONTEXT),
        chat_template=_has_template(folder) if folder else None,
        folder=str(folder) if folder else None,
    )


def _origin(source: ModelSource) -> str:
    if source.kind == "embedded":
        spec = EMBEDDED[source.id]
        return f"{spec.file} in the package {spec.requirement}"
    return "the Hugging Face hub" if source.kind == "hub" else f"the {source.kind} {source.path}"


def _note(source: ModelSource) -> str | None:
    if source.kind == "embedded":
        return f"weights: {EMBEDDED[source.id].note}"
    return "weights: the GGUF file dequantised to float32" if source.kind == "gguf" else None


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in TEMPLATE_FILES):
        return True
    return bool(_read(folder / "tokenizer_config.json").get("chat_template"))


def _architecture(config: dict[str, object]) -> str | None:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def _whole(config: dict[str, object], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool)), None)
