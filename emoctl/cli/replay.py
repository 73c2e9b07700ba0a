"""`emoctl replay`: one stored rollout, played again, and proved to be the same."""

from pathlib import Path
from typing import Annotated

import typer

from emoctl.cli.console import next_step, print_json, print_line
from emoctl.cli.options import Json
from emoctl.errors import GateError


def replay(
    run: Annotated[str, typer.Argument(help="A run folder, its name or digest, or latest.")],
    rollout_id: Annotated[str, typer.Argument(help="As tables and `runs show` give it.")],
    out_folder: Annotated[Path, typer.Option("--out", help="The folder that holds runs.")] = Path(
        "runs"
    ),
    json: Json = False,
) -> None:
    """Play one stored rollout again; exit 1 if any token differs from what is stored.

    Example: emoctl replay latest r-0123456789ab
    """
    from emoctl.models.loading import load_model
    from emoctl.store.run_folder import find_run
    from emoctl.sweep.replay import find_rollout
    from emoctl.sweep.replay import replay as play_again

    folder = find_run(out_folder, run)
    stored = find_rollout(folder, rollout_id)
    played = play_again(stored, load_model(stored.config.model), folder)
    record = played.stored
    if json:
        print_json(
            {
                "rollout": record.id,
                "same": played.same,
                "n_tokens": len(record.token_ids),
                "first_difference": played.first_difference,
                "text": played.text,
            }
        )
    else:
        print_line(played.text)
        verdict = "the same" if played.same else f"differ from token {played.first_difference} on"
        print_line(f"{record.id}: {len(record.token_ids)} tokens, {verdict}")
    next_step(f"emoctl runs show {folder.path} --rollout {record.id}")
    if not played.same:
        raise GateError(
            f"{record.id} came out otherwise than it is stored",
            hint=f"the run says reproducible: {stored.manifest.arithmetic.reproducible}; another "
            "machine or version may round otherwise",
        )
