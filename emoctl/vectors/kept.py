"""Activations of a corpus, kept in the cache, so that validation reads no text a second time.

A file's name is a hash over all that decides it: weights, tokenizer, arithmetic, texts, recipe.
One float32 mean a text and layer: 170 MB for the built-in corpus and 30 layers of width 576, 1.1 GB
for 32 layers of width 4,096. Deleting
the folder `activations` of the cache loses nothing but time.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from emoctl.errors import VectorError
from emoctl.models.cache import cache_root
from emoctl.models.loading import LoadedModel
from emoctl.vectors.activations import (
    N_NEUTRAL_TOKENS,
    SINK_POSITIONS,
    NeutralActivations,
    neutral_activations,
    text_means,
)
from emoctl.vectors.files import write_safetensors

FORMAT = "emoctl-activations/1"
OnText = Callable[[int], None]


def kept_text_means(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    on_text: OnText = lambda _n: None,
    *,
    layers: Sequence[int] | None = None,
    fresh: bool = False,
) -> Float[Tensor, "texts layers d_model"]:
    """`text_means`, from the cache where it is there. Raises as that does."""
    path = _place(model, "means", texts, from_token, layers)
    known = None if fresh else _read(path)
    if known is None:
        known = {"means": text_means(model, texts, from_token, on_text, layers=layers)}
        _keep(known, path)
    return known["means"]


def kept_neutral_activations(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    *,
    token_covariance: bool,
    layers: Sequence[int] | None = None,
    on_text: OnText = lambda _n: None,
    fresh: bool = False,
) -> NeutralActivations:
    """`neutral_activations`, from the cache where it is there. Raises as that does."""
    path = _place(model, f"neutral {token_covariance}", texts, from_token, layers)
    known = None if fresh else _read(path)
    if known is not None:
        return NeutralActivations(
            means=known["means"],
            mean_norm=known["mean_norm"],
            n_norm_tokens=int(known["n_norm_tokens"]),
            tokens=known["tokens"],
            token_covariance=known.get("token_covariance"),
        )
    made = neutral_activations(
        model,
        texts,
        from_token,
        token_covariance=token_covariance,
        layers=layers,
        on_batch=on_text,
    )
    tensors = {
        "means": made.means,
        "mean_norm": made.mean_norm,
        "n_norm_tokens": torch.tensor(made.n_norm_tokens),
        "tokens": made.tokens,
    }
    if made.token_covariance is not None:
        tensors["token_covariance"] = made.token_covariance
    _keep(tensors, path)
    return made


def _keep(tensors: dict[str, Tensor], path: Path) -> None:
    """Write the file, or go on without it where the disk does not take it.

    Raises:
        VectorError: a value is not finite.
    """
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise VectorError(
            "the model's activations hold a value that is not finite",
            hint="--set model.dtype=float32, if it is in half precision",
        )
    with suppress(VectorError):  # what is kept saves time and nothing else
        write_safetensors(tensors, {"emoctl": FORMAT}, path)


def _place(
    model: LoadedModel,
    what: str,
    texts: Sequence[str],
    from_token: int,
    layers: Sequence[int] | None,
) -> Path:
    content = {
        "format": FORMAT,
        "what": what,
        "weights": model.identity.weight_sha256,
        "tokenizer": model.identity.tokenizer_sha256,
        "dtype": str(model.dtype),
        "device": model.device.type,
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "constants": [SINK_POSITIONS, N_NEUTRAL_TOKENS],
        "from_token": from_token,
        "layers": None if layers is None else list(layers),
        "texts": list(texts),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache_root() / "activations" / f"{digest[:16]}.safetensors"


def _read(path: Path) -> dict[str, Tensor] | None:
    """None where there is no file, or a broken one: it will be written again."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, OSError, SafetensorError):
        return None
