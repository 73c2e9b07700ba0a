"""`emoctl vectors`: the vectors that are there, what made them, and whether they are sound."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.options import Json, ModelName

if TYPE_CHECKING:
    from emoctl.models.loading import LoadedModel
    from emoctl.vectors.provenance import HeldOut, Provenance

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Emotion vectors: ls, show, check, export, import, card.",
)
VectorsFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A path, or the name that `vectors ls` shows.")
]
BAR_WIDTH = 30
MOST_LISTED = 20


@app.command()
def ls(json: Json = False) -> None:
    """List the vectors in the cache.

    Example: emoctl vectors ls
    """
    from emoctl.vectors.cached import cached_files
    from emoctl.vectors.files import read_provenance

    files = [(path, read_provenance(path)) for path in cached_files()]
    if json:
        print_json([{"path": str(p), **v.model_dump(mode="json")} for p, v in files])
    for path, made in () if json else files:
        accuracy = f"{made.held_out.nested:.3f}" if made.held_out else "unknown"
        origin = (
            f"imported ({made.imported.file_format})"
            if made.imported
            else (f"{made.n_stories} stories")
        )
        print_line(
            f"{path.stem}  {made.model.id}  {len(made.emotions)} emotions  "
            f"{origin}  held-out {accuracy}"
        )
    if not files:
        note("no vectors yet")
        next_step("emoctl extract")
    else:
        next_step(f"emoctl vectors show {files[0][0].stem}")


@app.command()
def show(file: VectorsFile, json: Json = False) -> None:
    """Print what a vectors file holds and what made it.

    Example: emoctl vectors show vectors.safetensors
    """
    from emoctl.vectors.cached import find_vectors
    from emoctl.vectors.files import read_provenance

    provenance = read_provenance(find_vectors(file))
    if json:
        print_json(provenance.model_dump(mode="json"))
    else:
        for line in describe(provenance):
            print_line(line)
    next_step(f"emoctl vectors check {file} --model {provenance.model.id}")


@app.command()
def check(file: VectorsFile, model: ModelName = None, json: Json = False) -> None:
    """Check that a file is whole, finite, consistent, and made for MODEL where one is named.

    Files of other programs (.gguf, .pt, .npz) are checked too, before they are imported.

    Example: emoctl vectors check vectors.safetensors --model smollm2-135m-instruct
    """
    from emoctl.vectors.cached import find_vectors
    from emoctl.vectors.interchange.formats import is_foreign

    path = find_vectors(file)
    shape, fits = (_check_foreign if is_foreign(path) else _check_own)(path, model)
    if json:
        print_json({"path": str(path), "ok": True, "shape": shape})
    else:
        print_line(f"{path}: ok, {'×'.join(map(str, shape))}, finite, no zero vector")
        print_line(fits)
    next_step(
        f"emoctl vectors import {file}"
        if is_foreign(path)
        else f"emoctl sweep --set steering.file={file}"
    )


NOT_HELD = "not held against a model: give --model"


def _check_own(path: Path, model: str | None) -> tuple[list[int], str]:
    """The shape, and whether the vectors are the model's."""
    from emoctl.vectors.files import check_made_for, check_shape_of, check_usable, load_vectors

    vectors = load_vectors(path)
    check_usable(vectors, str(path))
    if model is not None:
        loaded = load_as(model, vectors.provenance.dtype)
        check_made_for(vectors.provenance, loaded.identity, str(path))
        check_shape_of(vectors.provenance, loaded.n_layers, loaded.d_model, str(path))
    return list(vectors.vectors.shape), f"made for {model}" if model else NOT_HELD


def _check_foreign(path: Path, model: str | None) -> tuple[list[int], str]:
    from emoctl.vectors.interchange.incoming import check_fits, open_file

    file = open_file(path)
    shape = list(file.bundle.vectors.shape)
    if model is None:
        return shape, NOT_HELD
    check_fits(file, load_as(model, file.dtype))
    if file.bundle.statement:
        return shape, f"made for {model}"
    return shape, f"fits {model} in width and layers; it does not say which weights it is for"


def load_as(model: str, dtype: str) -> "LoadedModel":
    """A model in the dtype that vectors were made in: its identity covers the dtype."""
    from emoctl.config import ModelConfig
    from emoctl.models.loading import load_model

    return load_model(ModelConfig.model_validate({"id": model, "dtype": dtype}))


def describe(made: "Provenance") -> Iterator[str]:
    """What a person wants to know of vectors, line by line."""
    yield f"model: {made.model.id}, weights {made.model.weight_sha256[:19]}…, {made.dtype}"
    yield f"emotions: {_listed(made.emotions)}"
    yield from _origin(made)
    yield f"mean norms: {made.norm_text_set} ({made.n_norm_tokens} tokens)"
    if made.only_layers:
        from emoctl.vectors.files import ranges

        yield f"layers: {ranges(made.only_layers)} alone; a sweep at another one is refused"
    yield f"default steering layer: {made.default_layer} of 0–{made.n_layers - 1} (two-thirds)"
    if made.held_out is None:
        why = (
            "the vectors were imported"
            if made.imported
            else ("an emotion has fewer than three topics")
        )
        yield f"held-out accuracy: unknown, {why}"
        return
    yield from _held_out(made, made.held_out)


def _held_out(made: "Provenance", held: "HeldOut") -> Iterator[str]:
    """Accuracy and reliability by layer, and the figures whose layer was chosen inside folds."""
    yield (
        f"held-out topics, nearest of {held.n_classes} vectors, {held.n_stories} stories "
        f"(chance {1 / held.n_classes:.3f}):"
    )
    for index, (layer, accuracy) in enumerate(zip(made.layers, held.by_layer, strict=True)):
        bar = f"{'█' * round(BAR_WIDTH * accuracy):<{BAR_WIDTH}}"
        halves = f"  halves {held.split_half[index]:.2f}" if held.split_half else ""
        marks = [
            text
            for text, at in (
                ("steering layer", made.default_layer),
                ("advised", held.recommended_layer),
            )
            if at == layer
        ]
        mark = f"  ← {', '.join(marks)}" if marks else ""
        yield f"  layer {layer:2d}  {accuracy:.3f}  {bar}{halves}{mark}".rstrip()
    top5 = f", {held.nested_top5:.3f} among the five nearest" if held.nested_top5 else ""
    yield (
        f"  layer chosen inside each fold: {held.nested:.3f}{top5} "
        f"(layers {', '.join(map(str, sorted(set(held.chosen_layers))))})"
    )


def _listed(emotions: Sequence[str]) -> str:
    """All of few; of many, how many and the first ones."""
    if len(emotions) <= MOST_LISTED:
        return ", ".join(emotions)
    return f"{len(emotions)}: {', '.join(emotions[:6])}, …"


def _origin(made: "Provenance") -> Iterator[str]:
    """The corpus and the recipe, or the file that the vectors were imported from."""
    from emoctl.vectors.files import ranges

    if made.imported is None:
        yield (
            f"corpus: {made.n_stories} stories, {made.n_neutral} neutral texts, "
            f"{made.corpus_sha256 or '':.19}…"
        )
        yield f"stories: {made.written_by.in_words() if made.written_by else 'not recorded'}"
        recipe = made.recipe
        shares = (100 * min(made.neutral_shares), 100 * max(made.neutral_shares))
        yield (
            f"recipe: means from token {recipe['from_token']}; neutral components over "
            f"{recipe['neutral_level']}s: {_range(made.neutral_components)} a layer, "
            f"{shares[0]:.0f}–{shares[1]:.0f} % of variance"
        )
        return
    given = made.imported
    whose = "the file says" if given.names_weights else "whoever imported it says, not the file"
    yield f"imported from {given.file_format} {given.file_sha256[:19]}…; for these weights, {whose}"
    yield f"layers: {ranges(given.layers)} alone; a sweep at another one is refused"
    yield "controls: random directions alone, since shuffled-label vectors need the stories"


def _range(counts: tuple[int, ...]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"
