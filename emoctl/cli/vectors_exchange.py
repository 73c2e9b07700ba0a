"""`emoctl vectors export` and `import`: vectors for other programs, and from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.options import Force, Json
from emoctl.cli.vectors import VectorsFile
from emoctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from emoctl.models.block_names import BlockNames
    from emoctl.vectors.files import EmotionVectors
    from emoctl.vectors.interchange.bundle import Bundle
    from emoctl.vectors.interchange.formats import Format
    from emoctl.vectors.interchange.incoming import ForeignFile


def export(
    file: VectorsFile,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="To write: .gguf, .pt (lm-eval) or .npz.")
    ],
    emotion: Annotated[
        str | None, typer.Option("--emotion", help="Which one; a file of one needs no word.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="default, all, 12, 3,12 or 10:20.")
    ] = None,
    strength: Annotated[
        str | None, typer.Option("--strength", help="Bake in what this strength adds: 0.05.")
    ] = None,
    unit: Annotated[bool, typer.Option("--unit", help="Write vectors at unit length.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="Whose names to use, where the file's is gone.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write vectors for llama.cpp, repeng, lm-eval or numpy, as the ending of OUT says.

    A .gguf or .pt file holds one emotion, at the default steering layer unless --layers says
    otherwise; an .npz file holds all. Vectors are written as stored, bit for bit, unless --strength
    or --unit is given.

    Example: emoctl vectors export vectors.safetensors calm.gguf --emotion calm --strength 0.05
    """
    from emoctl.vectors.cached import find_vectors
    from emoctl.vectors.files import load_vectors
    from emoctl.vectors.interchange.formats import format_of
    from emoctl.vectors.interchange.outgoing import make_bundle, parse_layers

    how = format_of(out)
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", hint="--force writes over it")
    if unit and strength is not None:
        raise UsageError("--unit and --strength are two lengths", hint="give one of them")
    vectors = load_vectors(find_vectors(file))
    emotions = _emotions(vectors, emotion, how)
    chosen = parse_layers(layers or ("all" if how.many else "default"), vectors)
    if how.name == "gguf" and 0 in chosen and len(chosen) > 1:
        note("layer 0 is left out: a control vector file cannot express it")
        chosen = chosen[1:]
    bundle = make_bundle(vectors, emotions, chosen, unit=unit, strength=_strength(strength))
    how.write(bundle, _names(vectors, model) if how.names_blocks else None, out)
    if json:
        print_json({"path": str(out), "format": how.name, **_facts(bundle)})
    else:
        for line in _told(bundle, how, out):
            print_line(line)
    next_step(f"emoctl vectors check {out}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="IN", help="A .gguf, .pt or .npz file.")],
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model that it is for; by default what the file says."),
    ] = None,
    emotion: Annotated[
        str | None, typer.Option("--emotion", help="What the vector is of, if the file is mute.")
    ] = None,
    neutral: Annotated[
        str, typer.Option("--neutral", help="builtin, or a JSONL file of neutral texts.")
    ] = "builtin",
    out: Annotated[
        Path | None, typer.Option("--out", help="To write; by default a file in the cache.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a vectors file of another program's vectors, for `steering.file`.

    Loads the model, to hold the file against it and to measure mean residual norms and neutral
    tokens, which such files lack.

    Example: emoctl vectors import calm.gguf --model smollm2-135m-instruct --emotion calm
    """
    from emoctl.vectors.files import save_vectors
    from emoctl.vectors.interchange.incoming import open_file

    given = open_file(file)
    if out is not None and out.exists():
        raise UsageError(f"{out} is there already", hint="remove it, or choose another --out")
    vectors, path = _adopted(given, model, emotion, neutral)
    path = out or path
    save_vectors(vectors, path)
    if json:
        print_json({"path": str(path), **vectors.provenance.model_dump(mode="json")})
    else:
        from emoctl.cli.vectors import describe

        for line in describe(vectors.provenance):
            print_line(line)
        print_line(f"vectors: {path}")
    layer = vectors.provenance.layers[0]
    default = vectors.provenance.default_layer in vectors.provenance.layers
    elsewhere = "" if default else f" --set steering.layer={layer}"
    next_step(
        f"emoctl sweep --set steering.file={path} --vector '{vectors.emotions[0]}'{elsewhere}"
    )


def _adopted(
    file: "ForeignFile", model: str | None, emotion: str | None, neutral: str
) -> "tuple[EmotionVectors, Path]":
    """The vectors, and where in the cache they would stand."""
    from emoctl.cli.vectors import load_as
    from emoctl.stories import Corpus, load_corpus
    from emoctl.vectors.cached import cached_import
    from emoctl.vectors.interchange.incoming import adopt, doubts

    emotions = file.emotions(emotion)
    stated = file.bundle.statement
    if model is None and stated is None:
        raise UsageError(f"{file.path} does not say which model it is for", hint="--model NAME")
    loaded = load_as(model or (stated.provenance.model.id if stated else ""), file.dtype)
    texts = load_corpus(neutral=neutral).neutral
    vectors = adopt(file, loaded, texts, emotions)
    for doubt in doubts(file, loaded, vectors):
        note(f"note: {doubt}")
    digest = Corpus((), texts).digest
    return vectors, cached_import(file.sha256, loaded.identity, digest, "\n".join(emotions))


def _emotions(vectors: "EmotionVectors", emotion: str | None, how: "Format") -> tuple[str, ...]:
    if emotion is not None:
        return (emotion,)
    if not how.many and len(vectors.emotions) > 1:
        raise UsageError(
            f"a {how.name} file holds one emotion, and the vectors hold {len(vectors.emotions)}",
            hint=f"--emotion with one of {', '.join(vectors.emotions)}",
        )
    return vectors.emotions


def _names(vectors: "EmotionVectors", model: str | None) -> "BlockNames":
    from emoctl.models.block_names import block_names
    from emoctl.vectors.files import check_shape_of

    made = vectors.provenance
    names = block_names(model or made.model.id, None if model else made.model.revision)
    check_shape_of(made, names.n_layers, names.d_model, f"the vectors of {made.model.id}")
    return names


def _strength(text: str | None) -> "Decimal | None":
    from emoctl.config.strengths import parse_strength

    if text is None:
        return None
    try:
        strength = parse_strength(text)
    except ValueError as error:
        raise UsageError(f"--strength {error}") from None
    if not strength:
        raise UsageError(
            "--strength 0 adds nothing", hint="leave it out to write vectors as stored"
        )
    return strength


def _facts(bundle: "Bundle") -> dict[str, object]:
    stated = bundle.statement
    assert stated is not None, "a bundle that emoctl made"
    return {
        "emotions": stated.emotions,
        "layers": stated.layers,
        "length": stated.length,
        "strength": stated.strength,
        "norms": bundle.added.double().norm(dim=-1).tolist(),
    }


def _told(bundle: "Bundle", how: "Format", out: Path) -> "Iterator[str]":
    from emoctl.vectors.files import ranges

    stated = bundle.statement
    assert stated is not None, "a bundle that emoctl made"
    n = len(stated.emotions)
    what = stated.emotions[0] if n == 1 else f"{n} emotions"
    yield f"{out}: {what} at layer {ranges(stated.layers)}, for {how.readers}"
    yield f"length: {_length(bundle)}"
    if len(stated.layers) > 1 and not how.many:
        yield (
            f"{len(stated.layers)} layers: {how.readers} will add at all of them at once, where "
            "emoctl steers one"
        )
    yield f"use: {how.usage.format(str(out))}"


def _length(bundle: "Bundle") -> str:
    """How long what is written is, and what that is as a strength."""
    stated = bundle.statement
    assert stated is not None, "a bundle that emoctl made"
    rows = bundle.added.double().norm(dim=-1).tolist()
    norms = [norm for row in rows for norm in row]
    if stated.length == "unit":
        return "1; scale it by the length that is to be added"
    if stated.length == "strength":
        return f"{_span(norms)}, strength {stated.strength} × the mean residual norm"
    shares = [n / mean for row in rows for n, mean in zip(row, stated.mean_norm, strict=True)]
    return f"{_span(norms)}, as stored: added as it is, strength {_span(shares)}"


def _span(numbers: list[float]) -> str:
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"
