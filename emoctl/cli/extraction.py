"""Vectors for a config, from the cache where they are there; what `extract` and `sweep` share."""

from dataclasses import dataclass
from pathlib import Path

from emoctl.cli.console import note
from emoctl.cli.progress import progress
from emoctl.cli.writing import corpus_for
from emoctl.config import ExperimentConfig
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus
from emoctl.vectors.cached import cached_vectors, find_vectors
from emoctl.vectors.extraction import extract
from emoctl.vectors.files import (
    EmotionVectors,
    check_made_for,
    check_shape_of,
    load_vectors,
)


@dataclass(frozen=True, eq=False)
class Extraction:
    """A vectors file, and whether it was there already."""

    vectors: EmotionVectors
    path: Path
    from_cache: bool


def vectors_for(
    config: ExperimentConfig,
    model: LoadedModel,
    *,
    corpus: Corpus | None = None,
    fresh: bool = False,
) -> Extraction:
    """Load the vectors that `config` asks for, extracting them first if need be. `corpus` is that
    of the config, where it is there already.

    Raises:
        StoriesError: the corpus is malformed, a text too short, or too few stories were written.
        VectorError: the file is broken, another model's, or cannot be written.
    """
    if config.steering.file is not None:
        path = find_vectors(config.steering.file)
        given = load_vectors(path)
        check_made_for(given.provenance, model.identity, str(path))
        check_shape_of(given.provenance, model.n_layers, model.d_model, str(path))
        if given.provenance.imported:
            note("imported vectors: every control is a random direction, none has shuffled labels")
        return Extraction(given, path, from_cache=True)
    corpus = corpus or corpus_for(config, model)
    path = cached_vectors(model.identity, corpus, config.recipe, config.model.dtype)
    if path.exists() and not fresh:
        return Extraction(load_vectors(path), path, from_cache=True)
    return Extraction(_extract(config, model, corpus, path, fresh), path, from_cache=False)


def _extract(
    config: ExperimentConfig, model: LoadedModel, corpus: Corpus, path: Path, fresh: bool
) -> EmotionVectors:
    total = len(corpus.stories) + len(corpus.neutral)
    note(
        f"extracting {len(corpus.emotions)} vectors from {len(corpus.stories)} stories "
        f"and {len(corpus.neutral)} neutral texts with {model.identity.id}"
    )
    done = 0
    with progress("texts read") as show:

        def on_text(n: int) -> None:
            nonlocal done
            done += n
            show(done, total)

        return extract(model, corpus, config.recipe, path, on_text, fresh=fresh)
