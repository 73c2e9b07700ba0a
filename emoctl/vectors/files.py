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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from emoctl.errors import UnknownEmotionError, VectorError, did_you_mean
from emoctl.models.fingerprint import ModelIdentity
from emoctl.vectors.cached import FORMAT, IMPORTED_FORMAT
from emoctl.vectors.provenance import Provenance


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

    def require_layer(self, layer: int, key: str = "layer") -> None:
        """Refuse a layer at which there are no vectors; `key` is what asked for it.

        Raises:
            VectorError: there are no vectors at this layer.
        """
        held = self.provenance.layers
        if layer not in held:
            imported = self.provenance.imported is not None
            made = "imported" if imported else "extracted"
            more = "import a file that holds" if imported else "name in recipe.layers"
            raise VectorError(
                f"{key} is {layer}; these vectors were {made}, for layer {ranges(held)} alone",
                hint=f"choose such a layer, --set steering.layer={held[0]}, or {more} "
                f"layer {layer}",
            )

    def vector(self, emotion: str, layer: int) -> Float[Tensor, " d_model"]:
        """One emotion's vector at one layer, at its own length.

        Raises:
            UnknownEmotionError: the vectors do not hold the emotion.
            VectorError: they do not hold the layer.
        """
        self.require_layer(layer)
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
    write_whole(path, lambda unfinished: save_file(tensors, unfinished, metadata=metadata))


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, and move it into place once it is whole.

    Raises:
        VectorError: the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            unfinished = Path(folder) / path.name
            write(unfinished)
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
        if isinstance(content, dict) and content.get("format") not in (FORMAT, IMPORTED_FORMAT):
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
            mean norm is 0 (or a vector is not, at a layer that the file does not hold).
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
        if not tensor.is_floating_point():
            raise VectorError(f"{where}: {name} holds {tensor.dtype}, not floating-point numbers")
        if not torch.isfinite(tensor).all():
            raise VectorError(f"{where}: {name} holds a value that is not finite")
    held = list(p.layers)
    if not (vectors.mean_norm[held] > 0).all():
        raise VectorError(f"{where}: mean_norm holds a norm that is not above 0")
    absent = torch.ones(p.n_layers, dtype=torch.bool)
    absent[held] = False
    for emotion, layer in ((vectors.vectors.norm(dim=-1) == 0) != absent).nonzero().tolist():
        what = "stands where the file held none" if absent[layer] else "is zero"
        raise VectorError(f"{where}: the vector of {p.emotions[emotion]} at layer {layer} {what}")


def check_usable(vectors: EmotionVectors, where: str) -> None:
    """Refuse vectors whose controls would fail in the middle of a sweep.

    Raises:
        VectorError: a shuffled-label vector is zero, or neutral tokens do not vary.
    """
    held = vectors.provenance.only_layers or tuple(range(vectors.provenance.n_layers))
    for layer in held:
        zero = (vectors.shuffled[:, layer].norm(dim=-1) == 0).nonzero().tolist()
        if zero:
            raise VectorError(f"{where}: shuffled vector {zero[0][0]} at layer {layer} is zero")
        tokens = vectors.neutral_tokens[:, layer]
        if (tokens == tokens[:1]).all():
            raise VectorError(f"{where}: neutral_tokens at layer {layer} do not vary")


def check_shape_of(provenance: Provenance, n_layers: int, d_model: int, where: str) -> None:
    """Refuse vectors that have not a model's shape, whatever they say of its weights.

    Raises:
        VectorError: the width or the number of layers differs.
    """
    for what, theirs, ours in (
        ("width", provenance.d_model, d_model),
        ("number of layers", provenance.n_layers, n_layers),
    ):
        if theirs != ours:
            raise VectorError(f"{where} has {what} {theirs}; the model has {ours}")


def ranges(layers: Sequence[int]) -> str:
    """Layers in few words: `3, 12–19`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)


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
