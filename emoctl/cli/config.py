"""`emoctl config`: what an experiment file may say, and what one says once defaults are filled in.

Knows nothing of models: a valid file may still name one that does not exist.
"""

from typing import Annotated

import typer

from emoctl.cli.console import next_step, print_json, print_line

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Experiment files: schema, show, validate."
)

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A file, or default, demo, ci or paper.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def schema() -> None:
    """Print the JSON Schema of an experiment file, for editors.

    Example: emoctl config schema > emoctl.schema.json
    """
    from emoctl.config import json_schema

    print_json(json_schema())
    next_step("put `# yaml-language-server: $schema=emoctl.schema.json` in the file's first line")


@app.command()
def show(
    config: Config = "default",
    overrides: Overrides = None,
    as_written: Annotated[
        bool, typer.Option("--as-written", help="The file itself, comments and all.")
    ] = False,
    json: Json = False,
) -> None:
    """Print an experiment with every default filled in.

    Example: emoctl config show default --as-written > experiment.yaml
    """
    from emoctl.config import find_config, load_config, render_yaml
    from emoctl.errors import UsageError

    if as_written and (json or overrides):
        raise UsageError("--as-written goes with neither --json nor --set")
    experiment = load_config(config, overrides or ())
    if as_written:
        print_line(find_config(config).read_text(encoding="utf-8").removesuffix("\n"))
    elif json:
        print_json(experiment.canonical())
    else:
        print_line(render_yaml(experiment).removesuffix("\n"))
    next_step("emoctl config validate FILE, then emoctl sweep --config FILE")


@app.command()
def validate(config: Config, overrides: Overrides = None, json: Json = False) -> None:
    """Check an experiment file; exit 2 and one line when it says something impossible.

    Example: emoctl config validate experiment.yaml
    """
    from emoctl.config import load_config, strength_text

    experiment = load_config(config, overrides or ())
    primary = experiment.primary_strength
    if json:
        print_json(
            {
                "config": config,
                "name": experiment.name,
                "digest": experiment.digest(),
                "primary_strength": None if primary is None else strength_text(primary),
            }
        )
    else:
        print_line(f"{config}: ok, name {experiment.name}, digest {experiment.digest()}")
    next_step(f"emoctl sweep --config {config}")
