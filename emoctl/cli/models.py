"""`emoctl models`: which models there are, fetching one, and what emoctl sees in it."""

from typing import Annotated, Any

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.models.catalog import DEFAULT

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Models: ls, pull, show, check."
)

Id = Annotated[
    str, typer.Argument(metavar="[MODEL]", help="A name, a hub id, a folder, or a GGUF file.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command("ls")
def ls(json: Json = False) -> None:
    """List the models that emoctl can fetch from a package index.

    Example: emoctl models ls
    """
    from dataclasses import asdict

    from emoctl.models.catalog import EMBEDDED, resolve

    rows = [(spec, resolve(id).cached_folder()) for id, spec in EMBEDDED.items()]
    if json:
        print_json([{**asdict(s), "folder": str(f) if f else None} for s, f in rows])
    else:
        for spec, folder in rows:
            state = f"in {folder}" if folder else "not fetched"
            print_line(f"{spec.id}  {spec.requirement}  {spec.licence}  {spec.note}  {state}")
        note("besides these: any hub id (owner/name), a folder, or a GGUF file")
    next_step("emoctl models show")


@app.command()
def pull(id: Id = DEFAULT, revision: Revision = None, json: Json = False) -> None:
    """Fetch a model, and convert it where need be; print its folder.

    Example: emoctl models pull
    """
    from emoctl.models.catalog import resolve
    from emoctl.models.hub import pull_hub

    source = resolve(id, revision)
    folder = source.cached_folder() if source.kind != "hub" else None
    if folder is None:
        note(f"fetching {id}" + ("" if source.kind == "hub" else " and converting it, once"))
        folder = source.local_folder() or pull_hub(id, revision)
    if json:
        print_json({"id": id, "source": source.kind, "folder": str(folder)})
    else:
        print_line(str(folder))
    next_step("emoctl models show" + ("" if id == DEFAULT else f" {id}"))


@app.command()
def show(
    id: Id = DEFAULT,
    revision: Revision = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show how this user message is asked.")
    ] = None,
    lead: Annotated[str, typer.Option(help="What the answer begins with; needs --prompt.")] = "",
    json: Json = False,
) -> None:
    """Print what a model is, and with --prompt the exact tokens that it is asked with.

    Example: emoctl models show --prompt "How are you?"
    """
    from dataclasses import asdict

    from emoctl.errors import UsageError
    from emoctl.models.catalog import resolve
    from emoctl.models.description import describe

    if lead and prompt is None:
        raise UsageError("--lead needs --prompt", hint="it is the opening of an answer to a prompt")
    if prompt is not None and not prompt:
        raise UsageError("--prompt is empty", hint="give the text of a user message")
    source = resolve(id, revision)
    asked = None if prompt is None else _render(source, prompt, lead)
    document = asdict(describe(source))
    if json:
        print_json(document if asked is None else {**document, "prompt": asked})
    else:
        _print_fields(document)
        if asked is not None:
            _print_prompt(asked)
    if document["folder"] is None:
        next_step(f"emoctl models pull {id}")
    else:
        next_step(f"emoctl models check {id}")


@app.command()
def check(id: Id = DEFAULT, json: Json = False) -> None:
    """Load a model and check what emoctl needs of it; exit 1 when something fails.

    Example: emoctl models check
    """
    from emoctl.models.check import check_model

    results = check_model(id)
    if json:
        print_json([{"check": name, "ok": ok, "detail": detail} for name, ok, detail in results])
    else:
        for name, ok, detail in results:
            print_line(f"{'ok  ' if ok else 'FAIL'}  {name}: {detail}")
    if not all(ok for _, ok, _ in results):
        note("next: choose another model; emoctl refuses what it cannot steer exactly")
        raise typer.Exit(1)
    next_step("emoctl extract" + ("" if id == DEFAULT else f" --model {id}"))


def _render(source: Any, prompt: str, lead: str) -> dict[str, Any]:
    """The prompt as the model gets it; loads the tokenizer."""
    from emoctl.models.prompts import render
    from emoctl.models.tokenizer import load_tokenizer
    from emoctl.scenarios import Message

    tokenizer = load_tokenizer(source)
    asked = render(tokenizer, [Message(role="user", content=prompt)], lead)
    return {
        "text": asked.text,
        "token_ids": list(asked.token_ids),
        "tokens": [tokenizer.decode([i]) for i in asked.token_ids],
        "n_bos": asked.n_bos,
        "response_start": asked.response_start,
        "reading_position": asked.reading_position,
    }


def _print_fields(document: dict[str, Any]) -> None:
    for name, value in document.items():
        if value is None and name in ("revision", "licence", "note"):
            continue
        text = {"True": "yes", "False": "no", "None": "not known"}.get(str(value), str(value))
        print_line(f"{name.replace('_', ' '):<14} {text}")


def _print_prompt(asked: dict[str, Any]) -> None:
    bos = "no BOS token" if asked["n_bos"] == 0 else f"{asked['n_bos']} BOS token"
    print_line(f"{'prompt':<14} {len(asked['tokens'])} tokens, {bos}")
    for index, (token_id, token) in enumerate(
        zip(asked["token_ids"], asked["tokens"], strict=True)
    ):
        here = "  <- readings are taken here" if index == asked["reading_position"] else ""
        print_line(f"{index:>5} {token_id:>7}  {token!r}{here}")
