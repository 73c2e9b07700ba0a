"""`emoctl vectors card`: a README for a vectors file, to be published beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, print_json, print_line
from emoctl.cli.options import Force, Json
from emoctl.cli.vectors import VectorsFile
from emoctl.errors import UsageError, VectorError

if TYPE_CHECKING:
    from emoctl.models.catalog import ModelSpec
    from emoctl.report.card import CardFacts
    from emoctl.vectors.provenance import Provenance

CORPUS_LICENCE = "Apache-2.0"
"""Of the corpus that ships with emoctl, as of emoctl."""


def card(
    file: VectorsFile,
    out: Annotated[
        Path | None, typer.Option("--out", help="To write, README.md; by default stdout.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Of the vectors, as the hub spells it: mit.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a model card for a vectors file: what it is, how it was made, its use, its limits.

    Example: emoctl vectors card vectors.safetensors --out README.md
    """
    from emoctl.report.card import card_md
    from emoctl.vectors.cached import find_vectors

    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} is there already", hint="--force writes over it")
    facts = card_facts(find_vectors(file), licence)
    text = card_md(facts)
    if out is not None:
        _write(out, text)
    if json:
        print_json({"card": text, "path": str(out) if out else None, "license": facts.licence})
    else:
        print_line(f"{out}: {text.count(chr(10))} lines" if out else text.rstrip("\n"))
    next_step(f"emoctl vectors check {file}")


def card_facts(path: Path, licence: str | None) -> "CardFacts":
    """What the card of a file tells.

    Raises:
        VectorError: the file is broken.
    """
    from emoctl.models.catalog import EMBEDDED
    from emoctl.report.card import CardFacts
    from emoctl.vectors.files import load_vectors
    from emoctl.vectors.interchange.formats import file_sha256

    vectors = load_vectors(path)
    made = vectors.provenance
    spec = EMBEDDED.get(made.model.id) if made.model.source == "embedded" else None
    builtin = _is_builtin(made)
    return CardFacts(
        file=path.name,
        file_sha256=file_sha256(path),
        made=made.model_dump(mode="json"),
        layers=made.layers,
        mean_norm=tuple(vectors.mean_norm.tolist()),
        base_model=_base_model(made, spec),
        weights=spec.note if spec else None,
        licence=licence or (CORPUS_LICENCE.lower() if spec and builtin else "unknown"),
        corpus=_corpus(made, builtin),
    )


def _base_model(made: "Provenance", spec: "ModelSpec | None") -> str | None:
    if spec:
        return spec.hub_id
    return made.model.id if made.model.source == "hub" else None


def _is_builtin(made: "Provenance") -> bool:
    from emoctl.stories import load_corpus

    return made.corpus_sha256 == load_corpus().digest


def _corpus(made: "Provenance", builtin: bool) -> str:
    if made.imported:
        return "not known: the vectors were imported"
    if builtin:
        return f"the stories and neutral texts that ship with emoctl, {CORPUS_LICENCE}"
    return "one of its makers' own; its licence is not known to emoctl"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise VectorError(f"{path} cannot be written: {error.strerror}") from error
