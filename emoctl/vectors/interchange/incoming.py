"""What a file of another program holds + the model it is for → emotion vectors that can be swept.

Such a file lacks what a strength and a control are made of. Mean residual norms and neutral tokens
are measured on neutral texts here; shuffled-label vectors cannot be made without the stories, so
there are none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from emoctl import __version__
from emoctl.errors import UsageError, VectorError
from emoctl.models.block_names import names_of
from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.hook_points import two_thirds_layer
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus, NeutralText
from emoctl.vectors.activations import SINK_POSITIONS, neutral_activations
from emoctl.vectors.cached import IMPORTED_FORMAT
from emoctl.vectors.files import EmotionVectors, check_made_for, check_vectors
from emoctl.vectors.interchange.bundle import Bundle
from emoctl.vectors.interchange.formats import (
    FormatName,
    file_sha256,
    format_of,
    read_foreign,
)
from emoctl.vectors.provenance import Imported, Provenance

NORM_DRIFT = 0.01
"""Share by which a mean norm may differ from the stated one before a person is told."""


@dataclass(frozen=True, eq=False)
class ForeignFile:
    """A file of another program, read and checked."""

    path: str
    format: FormatName
    sha256: str
    bundle: Bundle

    @property
    def dtype(self) -> str:
        """The arithmetic in which the model's identity is what the file states."""
        return self.bundle.statement.provenance.dtype if self.bundle.statement else "float32"

    def emotions(self, named: str | None) -> tuple[str, ...]:
        """What the file's vectors are vectors of; `named` is what the person says.

        Raises:
            UsageError: nobody says it, or the file says otherwise.
        """
        said = self.bundle.emotions
        if said is None and named is None:
            raise UsageError(
                f"{self.path} does not say which emotion its vector is of", hint="--emotion WORD"
            )
        if said is not None and named is not None and said != (named,):
            raise UsageError(
                f"--emotion {named!r}: {self.path} says that it holds {', '.join(said)}",
                hint="leave --emotion out",
            )
        emotions = said or (named or "",)
        for word in emotions:
            if not word or word != word.strip() or not word.isprintable():
                raise UsageError(f"{self.path}: {word[:40]!r} cannot be the name of an emotion")
        return emotions


def open_file(path: Path) -> ForeignFile:
    """A file of another program, with all checked that can be checked without a model.

    Raises:
        UsageError: its ending names no format.
        VectorError: it is absent or broken, or its vectors cannot steer.
    """
    bundle = read_foreign(path)
    return ForeignFile(str(path), format_of(path).name, file_sha256(path), bundle)


def adopt(
    file: ForeignFile,
    model: LoadedModel,
    neutral: tuple[NeutralText, ...],
    emotions: tuple[str, ...],
    on_text: Callable[[int], None] = lambda _n: None,
) -> EmotionVectors:
    """The file's vectors, bit for bit what its own program adds, with measured norms and tokens.

    Raises:
        StoriesError: a neutral text is too short.
        VectorError: the file is not for this model.
    """
    check_fits(file, model)
    bundle = file.bundle
    texts = sorted(text.text for text in neutral)
    measured = neutral_activations(
        model, texts, SINK_POSITIONS, token_covariance=False, on_batch=on_text
    )
    layers = list(bundle.layers)
    whole = torch.zeros(len(emotions), model.n_layers, model.d_model)
    whole[:, layers] = bundle.added
    digest = Corpus((), neutral).digest
    vectors = EmotionVectors(
        vectors=whole,
        shuffled=torch.zeros(0, model.n_layers, model.d_model),
        neutral_tokens=measured.tokens,
        mean_norm=measured.mean_norm,
        provenance=Provenance(
            format=IMPORTED_FORMAT,
            emoctl_version=__version__,
            model=model.identity,
            dtype=str(model.dtype).removeprefix("torch."),
            n_layers=model.n_layers,
            d_model=model.d_model,
            default_layer=two_thirds_layer(model.n_layers),
            corpus_sha256=None,
            n_stories=None,
            n_neutral=len(texts),
            emotions=emotions,
            recipe={},
            neutral_components=(),
            neutral_shares=(),
            norm_text_set=f"{len(texts)} neutral texts read at import, {digest[:19]}…, "
            f"without the first {SINK_POSITIONS} tokens of each",
            n_norm_tokens=measured.n_norm_tokens,
            held_out=None,
            imported=Imported(
                file_format=file.format,
                file_sha256=file.sha256,
                layers=bundle.layers,
                names_weights=bundle.statement is not None,
                said=bundle.claims(),
            ),
        ),
    )
    check_vectors(vectors, file.path)
    return vectors


def check_fits(file: ForeignFile, model: LoadedModel) -> None:
    """Refuse a file that is not for this model, as far as the file can tell.

    Raises:
        VectorError: the file names other weights or blocks, or has another width or a layer that
            the model lacks.
    """
    bundle = file.bundle
    if bundle.statement:
        check_made_for(bundle.statement.provenance, model.identity, file.path)
    width = bundle.vectors.shape[-1]
    if width != model.d_model:
        raise _other_model(file, model.identity, f"width {width}", f"width {model.d_model}")
    if bundle.layers[-1] >= model.n_layers:
        beyond = f"a vector for layer {bundle.layers[-1]}"
        raise _other_model(file, model.identity, beyond, f"layers 0 to {model.n_layers - 1}")
    names = names_of(model.module)
    if bundle.block_path not in (None, names.path):
        theirs = f"hook points {bundle.block_path}.N"
        raise _other_model(file, model.identity, theirs, f"blocks {names.path}.N")


def _other_model(file: ForeignFile, identity: ModelIdentity, theirs: str, ours: str) -> VectorError:
    return VectorError(
        f"{file.path} is not for {identity.id}: it has {theirs[:80]}, the model has {ours}",
        hint="name the model that it was made for with --model",
    )


def doubts(file: ForeignFile, model: LoadedModel, vectors: EmotionVectors) -> Iterator[str]:
    """What a person should know before trusting the vectors, a sentence each."""
    bundle, ours = file.bundle, names_of(model.module).model_type
    if bundle.statement is None:
        yield f"the file names no weights: that it is for {model.identity.id} is your word"
        hint = bundle.said.get("model_hint")
        if hint is not None and hint != ours:
            yield f"the file says that it is for a {str(hint)[:80]!r}; the model is a {ours!r}"
        return
    for layer, stated in zip(bundle.layers, bundle.statement.mean_norm, strict=True):
        measured = float(vectors.mean_norm[layer])
        if abs(measured / stated - 1) > NORM_DRIFT:
            yield (
                f"at layer {layer} the mean residual norm was {stated:.4g} where the vectors were "
                f"made, and is {measured:.4g} on the neutral texts here: strengths differ by that"
            )
