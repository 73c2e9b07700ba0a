"""`emoctl validate`: do the vectors read emotion, and how far is that more than words?"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, note, out, print_json
from emoctl.cli.options import ConfigFile, Json, ModelName, Overrides, configured
from emoctl.cli.progress import progress
from emoctl.config import ExperimentConfig
from emoctl.errors import UsageError

if TYPE_CHECKING:
    from emoctl.analysis.validation.frames import Validation
    from emoctl.models.loading import LoadedModel
    from emoctl.store.run_folder import RunFolder
    from emoctl.vectors.validation.material import Material
    from emoctl.vectors.validation.measurements import Measurements

BUILTIN = "builtin"


def validate(
    config: ConfigFile = "default",
    model: ModelName = None,
    layer: Annotated[
        int | None, typer.Option("--layer", help="Look at this layer, not at the advised one.")
    ] = None,
    norms: Annotated[
        Path | None,
        typer.Option("--norms", metavar="FILE", help="CSV of word, valence, arousal: ratings."),
    ] = None,
    held_out: Annotated[
        str, typer.Option("--held-out", metavar="FILE", help="Stories on other topics.")
    ] = BUILTIN,
    implicit: Annotated[
        str, typer.Option("--implicit", metavar="FILE", help="Messages: {emotion, text}.")
    ] = BUILTIN,
    intensity: Annotated[
        str, typer.Option("--intensity", metavar="FILE", help="Templates with a number.")
    ] = BUILTIN,
    severity: Annotated[
        str, typer.Option("--severity", metavar="FILE", help="Pairs of mild and severe.")
    ] = BUILTIN,
    logit_lens: Annotated[
        bool, typer.Option("--logit-lens/--no-logit-lens", help="Words that vectors point at.")
    ] = True,
    overrides: Overrides = None,
    out_folder: Annotated[
        Path, typer.Option("--out", help="The folder that holds run folders.")
    ] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Hold emotion vectors against stories, messages and words that they were not made from.

    Writes a folder with tables, pictures and a page. Activations are kept in the cache, so that
    after `emoctl extract` no story is read again.

    Example: emoctl validate --model smollm2-135m-instruct
    """
    from emoctl.cli.writing import corpus_for
    from emoctl.stories.corpus import load_held_out
    from emoctl.stories.items import load_implicit, load_intensity, load_severity
    from emoctl.stories.labels import label_stories
    from emoctl.vectors.validation.material import Material, restricted

    experiment = configured(config, model=model, overrides=overrides or ())
    _refuse_few_layers(experiment)
    corpus = corpus_for(experiment)
    material, dropped = restricted(
        Material(
            corpus=corpus,
            further=load_held_out(held_out),
            implicit=load_implicit(implicit),
            intensity=load_intensity(intensity),
            severity=load_severity(severity),
        )
    )
    for line in dropped:
        note(line)
    rated = _norms(norms, corpus.emotions)
    if not label_stories(corpus).can_be_held_out:
        raise UsageError(
            "validation leaves topics out, and an emotion has stories on fewer than three",
            hint="emoctl stories lint lists what is missing",
        )
    if dry_run:
        _show_plan(material, json=json)
        return
    from emoctl.models.loading import load_model

    loaded = load_model(experiment.model)
    if layer is not None and not 0 <= layer < loaded.n_layers:
        raise UsageError(f"--layer {layer}: the model has layers 0 to {loaded.n_layers - 1}")
    found = _measured(loaded, material, experiment, layer, logit_lens=logit_lens)
    _report(experiment, loaded, material, found, rated, out_folder, json=json)


def _refuse_few_layers(experiment: ExperimentConfig) -> None:
    if experiment.steering.file is not None:
        raise UsageError(
            f"steering.file is {experiment.steering.file!r}, and validation needs the stories",
            hint="--set steering.file=null",
        )
    if experiment.recipe.layers != "all":
        raise UsageError(
            "recipe.layers names some layers, and validation looks at all",
            hint="--set recipe.layers=all",
        )


def _norms(path: Path | None, emotions: Sequence[str]) -> dict[str, tuple[float, float]] | None:
    """Ratings of the corpus' emotions, checked before anything long begins."""
    if path is None:
        return None
    from emoctl.analysis.validation.geometry import read_norms

    return read_norms(path, emotions)


def _show_plan(material: "Material", *, json: bool) -> None:
    counts = {
        "stories": len(material.corpus.stories),
        "neutral texts": len(material.corpus.neutral),
        "further stories": len(material.further),
        "messages": len(material.messages),
    }
    if json:
        print_json({"emotions": len(material.corpus.emotions), **counts})
    else:
        from emoctl.cli.console import print_line

        print_line(
            f"{len(material.corpus.emotions)} emotions; to be read, each once: "
            + ", ".join(f"{n} {what}" for what, n in counts.items())
        )
        print_line("activations that the cache has are not computed again")
    next_step("the same command without --dry-run")


def _measured(
    loaded: "LoadedModel",
    material: "Material",
    experiment: ExperimentConfig,
    layer: int | None,
    *,
    logit_lens: bool,
) -> "Measurements":
    from emoctl.vectors.validation.measure import measure

    total = (
        len(material.corpus.stories)
        + len(material.corpus.neutral)
        + len(material.further)
        + len(material.messages)
    )
    note(f"reading up to {total} texts with {loaded.identity.id}")
    done = 0
    with progress("texts read") as show:

        def on_text(n: int) -> None:
            nonlocal done
            done += n
            show(done, total)

        return measure(
            loaded,
            material,
            experiment.recipe,
            layer=layer,
            logit_lens=logit_lens,
            on_text=on_text,
        )


def _report(
    experiment: ExperimentConfig,
    loaded: "LoadedModel",
    material: "Material",
    measured: "Measurements",
    norms: dict[str, tuple[float, float]] | None,
    out_folder: Path,
    *,
    json: bool,
) -> None:
    """Tables, pictures and the page, in a new folder; the figures on the screen."""
    from emoctl.analysis.validation.frames import validate as analysed
    from emoctl.report.validation_folder import write_validation
    from emoctl.stories.labels import label_stories
    from emoctl.stories.words_alone import read_further_words, read_words_alone
    from emoctl.vectors.validation.measurements import Reader

    note("words alone: learning from the words of the stories, on the same folds")
    stories = label_stories(material.corpus).stories
    alone, further = read_words_alone(stories), read_further_words(stories, material.further)
    words, further_words = (Reader("words alone", w.scores, w.own) for w in (alone, further))
    found = analysed(measured, material, words, further_words, norms)
    folder = _folder(experiment, loaded, material, measured, out_folder)
    note("drawing")
    write_validation(folder, found, _about(loaded, material))
    folder.mark_done("exit 0\n")
    if json:
        print_json(_document(folder, found))
    else:
        from emoctl.report.validation_text import terminal_view

        console = out()
        for part in terminal_view(found):
            console.print(part)
        console.print(f"folder: {folder.path}")
    next_step(f"open {folder.report}")


def _folder(
    experiment: ExperimentConfig,
    loaded: "LoadedModel",
    material: "Material",
    measured: "Measurements",
    parent: Path,
) -> "RunFolder":
    """A new folder with everything that decided what is in it."""
    import json
    import sys
    from dataclasses import asdict
    from hashlib import sha256

    from emoctl.store.environment import collect_environment
    from emoctl.store.manifest import portable_argv, without_paths
    from emoctl.store.run_folder import create_validation

    started = datetime.now(UTC)
    digest = sha256(
        f"{loaded.identity.weight_sha256} {material.corpus.digest}".encode()
    ).hexdigest()[:12]
    folder = create_validation(parent, digest, started)
    said = {
        "schema": "emoctl-validation/1",
        "argv": portable_argv(sys.argv, folder.path.parent),
        "started": started.isoformat(timespec="seconds"),
        "environment": collect_environment().model_dump(mode="json"),
        "model": asdict(loaded.identity),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "corpus_sha256": material.corpus.digest,
        "texts_sha256": material.digest,
        "recipe": experiment.recipe.model_dump(mode="json"),
        "vectors_sha256": "sha256:" + sha256(measured.vectors.tobytes()).hexdigest(),
        "layer": measured.layer,
        "recommended_layer": measured.recommended_layer,
    }
    folder.write_text_atomic(
        folder.path / "validation.json", json.dumps(without_paths(said), indent=2) + "\n"
    )
    return folder


def _about(loaded: "LoadedModel", material: "Material") -> dict[str, str]:
    corpus = material.corpus
    return {
        "model": f"{loaded.identity.id} ({loaded.identity.weight_sha256[:19]}…)",
        "corpus": f"{len(corpus.stories)} stories of {len(corpus.emotions)} emotions on "
        f"{len(corpus.topics)} topics, {len(corpus.neutral)} neutral texts "
        f"({corpus.digest[:19]}…)",
        "stories": corpus.written_by.in_words(),
        "tried on": f"{len(material.further)} further stories, {len(material.messages)} messages",
    }


def _document(folder: "RunFolder", found: "Validation") -> dict[str, object]:
    from emoctl.report.validation_text import sentences

    small = ("readers", "halves", "growth", "implicit_summary", "slopes", "explained", "norms")
    return {
        "folder": str(folder.path),
        "layer": found.layer,
        "recommended_layer": found.recommended_layer,
        "findings": list(sentences(found)),
        **{name: found.frames[name].to_dict("records") for name in small if name in found.frames},
    }
