"""Emotion vectors on disk: one safetensors file that says where it came from.

    vectors         [emotions, layers, d_model]   difference of means, neutral part projected out
    shuffled        [n, layers, d_model]          the same recipe on permuted labels
    neutral_tokens  [n, layers, d_model]          a sample of token activations on neutral texts
    mean_norm       [layers]                      mean L2 norm of resid_post on neutral texts

The metadata key `emoctl` holds the provenance as JSON. The file holds no clock, so that equal
inputs give equal bytes.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emoctl.errors import UnknownEmotionError, VectorError, did_you_mean
from emoctl.models.fingerprint import ModelIdentity
from emoctl.stories.authorship import Authorship
from emoctl.vectors.cached import FORMAT

LAYER_CONVENTION = "layer i is the output of block i, 0-based: blocks.i.hook_out"


class HeldOut(BaseModel):
    """Leave-one-topic-out accuracy, as it was when the vectors were made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by_layer: tuple[float, ...]
    nested: float
    chosen_layers: tuple[int, ...]
    n_stories: int
    n_classes: int


class Provenance(BaseModel):
    """Everything that decided what the vectors are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["emoctl-vectors/1"] = "emoctl-vectors/1"
    emoctl_version: str
    model: ModelIdentity
    dtype: str
    n_layers: int
    d_model: int
    layer_convention: str = LAYER_CONVENTION
    default_layer: int
    corpus_sha256: str
    n_stories: int
    n_neutral: int
    written_by: Authorship | None = None
    """Who wrote the stories; None in a file of an emoctl that did not record it."""

    emotions: tuple[str, ...]
    recipe: dict[str, Any]
    neutral_components: tuple[int, ...]
    """How many components were projected out, by layer."""

    neutral_shares: tuple[float, ...]
    """Share of the neutral variance that they hold, by layer."""

    norm_text_set: str
    """Which texts the mean residual norms were taken over."""

    n_norm_tokens: int
    held_out: HeldOut | None
    """None for a corpus in which an emotion has fewer than three topics."""


@dataclass(frozen=True, eq=False)
class EmotionVectors:
    """Emotion vectors of one model and one corpus, with what controls are made from."""

    vectors: Float[Tensor, "emotions layers d_model"]
    shuffled: Float[Tensor, "shuffled layers d_model"]
    neutral_tokens: Float[Tensor, "tokens layers d_model"]
    mean_norm: Float[Tensor, " layers"]
    provenance: Provenance

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions, in the order of `vectors`."""
        return self.provenance.emotions

    def vector(self, emotion: str, layer: int) -> Float[Tensor, " d_model"]:
        """One emotion's vector at one layer, at its own length.

        Raises:
            UnknownEmotionError: the vectors do not hold it.
        """
        if emotion not in self.emotions:
            raise UnknownEmotionError(
                f"no emotion is called {emotion!r} in these vectors",
                hint=did_you_mean(
                    emotion, list(self.emotions), listing=f"they hold {', '.join(self.emotions)}"
                ),
            )
        return self.vectors[self.emotions.index(emotion), layer]


def save_vectors(vectors: EmotionVectors, path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        VectorError: the disk does not take it.
    """
    tensors = {
        "vectors": vectors.vectors,
        "shuffled": vectors.shuffled,
        "neutral_tokens": vectors.neutral_tokens,
        "mean_norm": vectors.mean_norm,
    }
    metadata = {"emoctl": vectors.provenance.model_dump_json()}
    write_safetensors({k: v.contiguous() for k, v in tensors.items()}, metadata, path)


def write_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """A safetensors file, written beside and moved into place.

    Raises:
        VectorError: the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            unfinished = Path(folder) / path.name
            save_file(tensors, unfinished, metadata=metadata)
            unfinished.chmod(0o644)
            unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise VectorError(f"cannot write {path}: {error}", hint="is the disk full?") from error


def read_provenance(path: Path) -> Provenance:
    """The provenance alone; needs no tensor to be read.

    Raises:
        VectorError: the file is absent, truncated, or not emoctl's.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise VectorError(f"no vectors at {path}", hint="make them: emoctl extract") from None
    except (OSError, SafetensorError) as error:
        raise VectorError(
            f"{path} cannot be read as safetensors: {error}",
            hint="it may be cut off; extract again",
        ) from None
    if "emoctl" not in metadata:
        raise VectorError(
            f"{path} holds no emoctl provenance", hint="emoctl reads files that it has written"
        )
    try:
        content = json.loads(metadata["emoctl"])
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise VectorError(
                f"{path} has format {content.get('format')!r}, not {FORMAT!r}",
                hint="extract again with this version",
            )
        return Provenance.model_validate(content)
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise VectorError(f"{path}: its provenance is malformed: {first}") from None


def load_vectors(path: Path) -> EmotionVectors:
    """Read and check a vectors file.

    Raises:
        VectorError: the file is absent, truncated, not emoctl's, or inconsistent.
    """
    provenance = read_provenance(path)
    with safe_open(str(path), framework="pt") as file:
        names = set(file.keys())
        wanted = ("vectors", "shuffled", "neutral_tokens", "mean_norm")
        missing = [name for name in wanted if name not in names]
        if len(missing) == len(wanted):
            raise VectorError(
                f"{path} holds the directions of a run's conditions, not emotion vectors",
                hint="a run's own file is read by: emoctl replay; vectors stand in the cache: "
                "emoctl vectors ls",
            )
        if missing:
            raise VectorError(f"{path} lacks the tensor {missing[0]!r}", hint="extract again")
        tensors = {name: file.get_tensor(name) for name in wanted}
    loaded = EmotionVectors(**tensors, provenance=provenance)
    check_vectors(loaded, str(path))
    return loaded


def check_vectors(vectors: EmotionVectors, where: str) -> None:
    """Refuse vectors that contradict themselves.

    Raises:
        VectorError: a shape differs from the provenance, a value is not finite, or a vector or a
            mean norm is 0.
    """
    p = vectors.provenance
    shapes = {
        "vectors": (len(p.emotions), p.n_layers, p.d_model),
        "shuffled": (*vectors.shuffled.shape[:1], p.n_layers, p.d_model),
        "neutral_tokens": (*vectors.neutral_tokens.shape[:1], p.n_layers, p.d_model),
        "mean_norm": (p.n_layers,),
    }
    for name, shape in shapes.items():
        tensor: Tensor = getattr(vectors, name)
        if tuple(tensor.shape) != shape:
            raise VectorError(
                f"{where}: {name} has shape {tuple(tensor.shape)}, its provenance says {shape}",
                hint="extract again",
            )
        if not torch.isfinite(tensor).all():
            raise VectorError(f"{where}: {name} holds a value that is not finite")
    if not (vectors.mean_norm > 0).all():
        raise VectorError(f"{where}: mean_norm holds a norm that is not above 0")
    empty = (vectors.vectors.norm(dim=-1) == 0).nonzero()
    if len(empty):
        emotion, layer = (int(i) for i in empty[0])
        raise VectorError(f"{where}: the vector of {p.emotions[emotion]} at layer {layer} is zero")


def check_made_for(provenance: Provenance, identity: ModelIdentity, where: str) -> None:
    """Refuse vectors of another model.

    Raises:
        VectorError: weights or tokenizer are not those that the vectors were made with.
    """
    for what, theirs, ours in (
        ("weights", provenance.model.weight_sha256, identity.weight_sha256),
        ("tokenizer", provenance.model.tokenizer_sha256, identity.tokenizer_sha256),
    ):
        if theirs != ours:
            raise VectorError(
                f"{where} was made for {provenance.model.id}, with other {what} than "
                f"{identity.id}: {theirs[:19]}… is not {ours[:19]}…",
                hint="extract vectors with this model: emoctl extract",
            )
