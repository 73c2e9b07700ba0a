"""The commands of `emoctl`, by name. Each group and each command is one module of this room."""

from typing import Annotated

import typer

from emoctl.cli import (
    config,
    extract,
    models,
    replay,
    run_readings,
    runs,
    scenarios,
    stories,
    sweep,
    validate,
    vectors,
    vectors_card,
    vectors_exchange,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from emoctl import __version__
        from emoctl.cli.console import print_line

        print_line(f"emoctl {__version__}")
        raise typer.Exit


@app.callback()
def emoctl(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Emotion-concept vectors of a language model: extract, steer, replay scenarios, judge, count.

    Example: emoctl sweep --vector desperate --scale 0.05
    """


app.command("extract")(extract.extract)
app.command("validate")(validate.validate)
app.command("sweep")(sweep.sweep)
app.command("replay")(replay.replay)
app.add_typer(config.app, name="config")
app.add_typer(scenarios.app, name="scenarios")
app.add_typer(models.app, name="models")
app.add_typer(stories.app, name="stories")
vectors.app.command("export")(vectors_exchange.export)
vectors.app.command("import")(vectors_exchange.import_)
vectors.app.command("card")(vectors_card.card)
app.add_typer(vectors.app, name="vectors")
runs.app.command("readings")(run_readings.readings)
app.add_typer(runs.app, name="runs")
