"""`emoctl extract`: stories → emotion vectors."""

from json import dumps as json_text
from pathlib import Path
from typing import Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.options import ConfigFile, Json, ModelName, Overrides, configured
from emoctl.config import ExperimentConfig
from emoctl.errors import UsageError


def extract(
    config: ConfigFile = "default",
    model: ModelName = None,
    stories: Annotated[
        str | None, typer.Option("--stories", help="builtin, or a JSONL file of stories.")
    ] = None,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Extract again, cache or not.")] = False,
    json: Json = False,
) -> None:
    """Make emotion vectors from stories, and print how well they read held-out topics.

    A second call with the same model, corpus and recipe answers from the cache. Where the config
    says `stories.source: model`, stories that are missing are written first.

    Example: emoctl extract --model smollm2-135m-instruct
    """
    experiment = configured(
        config, model=model, flags=_stories_flags(stories), overrides=overrides or ()
    )
    if experiment.steering.file is not None:
        raise UsageError(
            f"steering.file is {experiment.steering.file!r}, so there is nothing to extract",
            hint="--set steering.file=null",
        )
    known = None if fresh else _from_cache(experiment)
    if known is None:
        from emoctl.cli.extraction import vectors_for
        from emoctl.cli.writing import written_first
        from emoctl.models.loading import load_model

        corpus = written_first(experiment)
        reader = load_model(experiment.model)
        extraction = vectors_for(experiment, reader, corpus=corpus, fresh=fresh)
        path, provenance = extraction.path, extraction.vectors.provenance
        cached = extraction.from_cache
    else:
        from emoctl.vectors.files import read_provenance

        path, provenance, cached = known, read_provenance(known), True
    if cached:
        note("from the cache: nothing was computed (--fresh extracts again)")
    if json:
        print_json({"path": str(path), "from_cache": cached, **provenance.model_dump(mode="json")})
    else:
        from emoctl.cli.vectors import describe

        for line in describe(provenance):
            print_line(line)
        print_line(f"vectors: {path}")
    next_step("emoctl sweep --vector desperate --scale 0.05")


def _stories_flags(stories: str | None) -> dict[str, str]:
    """A corpus that is named takes the place of one that a model was to write."""
    if stories is None:
        return {}
    changes = (f"emotional={json_text(stories)}", "source=null", "writing=null")
    return {f"stories.{change}": "--stories" for change in changes}


def _from_cache(experiment: ExperimentConfig) -> Path | None:
    """The vectors file, found without loading the model; None where that cannot be told."""
    from emoctl.cli.writing import find_corpus
    from emoctl.models.catalog import resolve
    from emoctl.models.remembered import remembered_identity
    from emoctl.vectors.cached import cached_vectors

    source = resolve(experiment.model.id, experiment.model.revision)
    identity = remembered_identity(source.cached_folder(), experiment.model.dtype)
    if identity is None:
        return None
    corpus = find_corpus(experiment)
    if corpus is None:
        return None
    path = cached_vectors(identity, corpus, experiment.recipe, experiment.model.dtype)
    return path if path.exists() else None
