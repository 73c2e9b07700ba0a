"""`emoctl vectors`: the vectors that are there, what made them, and whether they are sound."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.options import Json, ModelName

if TYPE_CHECKING:
    from emoctl.vectors.files import Provenance

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Emotion vectors: ls, show, check."
)
VectorsFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A path, or the name that `vectors ls` shows.")
]
BAR_WIDTH = 30


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
        print_line(
            f"{path.stem}  {made.model.id}  {len(made.emotions)} emotions  "
            f"{made.n_stories} stories  held-out {accuracy}"
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

    Example: emoctl vectors check vectors.safetensors --model smollm2-135m-instruct
    """
    from emoctl.vectors.cached import find_vectors
    from emoctl.vectors.files import check_made_for, load_vectors

    path = find_vectors(file)
    vectors = load_vectors(path)
    if model is not None:
        from emoctl.config import ModelConfig
        from emoctl.models.loading import load_model

        dtype = vectors.provenance.dtype
        loaded = load_model(ModelConfig.model_validate({"id": model, "dtype": dtype}))
        check_made_for(vectors.provenance, loaded.identity, str(path))
    shape = "×".join(map(str, vectors.vectors.shape))
    if json:
        print_json({"path": str(path), "ok": True, "shape": list(vectors.vectors.shape)})
    else:
        print_line(f"{path}: ok, {shape}, finite, no zero vector")
        print_line(f"made for {model}" if model else "not held against a model: give --model")
    next_step(f"emoctl sweep --set steering.file={file}")


def describe(made: "Provenance") -> Iterator[str]:
    """What a person wants to know of vectors, line by line."""
    yield f"model: {made.model.id}, weights {made.model.weight_sha256[:19]}…, {made.dtype}"
    yield f"emotions: {', '.join(made.emotions)}"
    yield (
        f"corpus: {made.n_stories} stories, {made.n_neutral} neutral texts, "
        f"{made.corpus_sha256[:19]}…"
    )
    yield f"stories: {made.written_by.in_words() if made.written_by else 'not recorded'}"
    recipe = made.recipe
    yield (
        f"recipe: means from token {recipe['from_token']}; neutral components over "
        f"{recipe['neutral_level']}s: {_range(made.neutral_components)} a layer, "
        f"{100 * min(made.neutral_shares):.0f}–{100 * max(made.neutral_shares):.0f} % of variance"
    )
    yield f"mean norms: {made.norm_text_set} ({made.n_norm_tokens} tokens)"
    yield f"default steering layer: {made.default_layer} of 0–{made.n_layers - 1} (two-thirds)"
    if made.held_out is None:
        yield "held-out accuracy: unknown, an emotion has fewer than three topics"
        return
    held = made.held_out
    yield (
        f"held-out topics, nearest of {held.n_classes} vectors, {held.n_stories} stories "
        f"(chance {1 / held.n_classes:.2f}):"
    )
    for layer, accuracy in enumerate(held.by_layer):
        bar = "█" * round(BAR_WIDTH * accuracy)
        mark = "  ← steering layer" if layer == made.default_layer else ""
        yield f"  layer {layer:2d}  {accuracy:.3f}  {bar}{mark}"
    yield (
        f"  layer chosen inside each fold: {held.nested:.3f} "
        f"(layers {', '.join(map(str, sorted(set(held.chosen_layers))))})"
    )


def _range(counts: tuple[int, ...]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"
