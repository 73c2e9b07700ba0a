"""`emoctl runs`: the runs that there are, and what stands in one, down to each transcript.

It needs no torch and no model: a laptop can read what another machine ran. What a model wrote is
shown with every line marked, and made inert.
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoctl.cli.console import next_step, note, one_line, print_json, print_line

if TYPE_CHECKING:
    from emoctl.store.database import RunStore
    from emoctl.store.overview import Overview
    from emoctl.store.records import RolloutRecord

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Run folders: list them, look into one."
)

Parent = Annotated[Path, typer.Option("--out", metavar="PARENT", help="Folder that holds runs.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
FIRST_LINE_LENGTH = 100


@app.command("ls")
def list_(out: Parent = Path("runs"), json: Json = False) -> None:
    """List the runs of a folder, oldest first.

    Example: emoctl runs ls
    """
    from emoctl.store.overview import overview
    from emoctl.store.run_folder import list_runs

    found = [overview(run) for run in list_runs(out)]
    if json:
        print_json([_brief(each) for each in found])
    else:
        _show_table(found)
    show_latest = f"emoctl runs show {called_as('latest', out)}"
    next_step(show_latest if found else "emoctl sweep --vector desperate --scale 0.05")


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A path, a name, or latest.")],
    cell: Annotated[
        str | None,
        typer.Option(help="List the rollouts of SCENARIO/VARIANT/VECTOR/STRENGTH[/OUTCOME]."),
    ] = None,
    rollout: Annotated[
        str | None, typer.Option(metavar="ID", help="Show one rollout's transcript.")
    ] = None,
    out: Parent = Path("runs"),
    json: Json = False,
) -> None:
    """Show a run: a summary, the rollouts of one cell of its tables, or one transcript.

    Example: emoctl runs show latest --cell replacement-affair/base/desperate/0.05
    """
    from emoctl.errors import UsageError
    from emoctl.store.database import RunStore
    from emoctl.store.overview import overview
    from emoctl.store.run_folder import find_run

    if cell is not None and rollout is not None:
        raise UsageError("--cell and --rollout exclude each other", hint="give one of them")
    folder, called = find_run(out, run), called_as(run, out)
    if cell is None and rollout is None:
        _show_overview(overview(folder), called, json)
        return
    with RunStore.open(folder.path, write=False) as store:
        if rollout is not None:
            _show_rollout(store, rollout, called, json)
        elif cell is not None:
            _show_cell(store, cell, called, json)


def called_as(run: str, out: Path) -> str:
    """How a next command names the run: as this one did."""
    elsewhere = [] if out == Path("runs") else ["--out", str(out)]
    return shlex.join([run, *elsewhere])


def _brief(seen: "Overview") -> dict[str, Any]:
    return {
        "run": seen.run.name,
        "state": seen.state,
        "started": None if seen.started is None else seen.started.isoformat(),
        "rollouts": seen.n_rollouts,
        "scores": seen.n_scores,
        "model": seen.manifest.model.id if seen.manifest else None,
        "problems": seen.problems,
    }


def _show_table(found: Sequence["Overview"]) -> None:
    rows = [("run", "state", "rollouts", "scores", "model", "age")]
    for seen in found:
        told = _brief(seen)
        counts = [_told(told["rollouts"]), _told(told["scores"])]
        rows.append((told["run"], told["state"], *counts, _told(told["model"]), _age(seen.started)))
    widths = [max(len(one_line(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (one_line(text).ljust(width) for text, width in zip(row, widths, strict=True))
        print_line("  ".join(cells).rstrip())
    for seen in found:
        for problem in seen.problems:
            note(problem)


def _told(value: object) -> str:
    return "?" if value is None else str(value)


def _age(started: datetime | None) -> str:
    if started is None:
        return "?"
    seconds = max(0.0, (datetime.now(UTC) - started).total_seconds())
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _show_overview(seen: "Overview", called: str, json: bool) -> None:
    if json:
        manifest = seen.manifest and seen.manifest.model_dump(mode="json", by_alias=True)
        print_json(
            {
                **_brief(seen),
                "counts": seen.counts,
                "tables": seen.tables,
                "next": seen.next_step(called),
                "manifest": manifest,
            }
        )
    else:
        for name, value in _facts(seen):
            print_line(f"{name:<12} {one_line(value)}")
        for problem in seen.problems:
            note(problem)
    next_step(seen.next_step(called))


def _facts(seen: "Overview") -> list[tuple[str, str]]:
    facts = [
        ("run", seen.run.name),
        ("state", seen.state),
        ("started", "?" if seen.started is None else seen.started.isoformat()),
    ]
    if seen.manifest:
        manifest, made = seen.manifest, seen.manifest.arithmetic
        revision = f" at {manifest.model.revision}" if manifest.model.revision else ""
        facts += [
            ("model", f"{manifest.model.id}{revision}, weights {manifest.model.weight_sha256}"),
            ("engine", f"{made.engine}, {made.dtype} on {made.device}"),
            ("reproducible", made.reproducible),
            ("emoctl", manifest.environment.emoctl),
            ("config", manifest.config_digest),
            ("seed", str(manifest.seed)),
        ]
    facts += [("rollouts", _told(seen.n_rollouts)), ("scores", _told(seen.n_scores))]
    for scenario, outcomes in (seen.counts or {}).items():
        facts.append((" outcomes", f"{scenario}: {_counted(outcomes)}"))
    facts.append(("tables", ", ".join(seen.tables) or "none yet"))
    return facts


def _counted(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in outcomes.items())


def _show_cell(store: "RunStore", text: str, called: str, json: bool) -> None:
    from emoctl.store.cells import outcome_label, parse_cell, rollouts_in

    found = rollouts_in(store, parse_cell(text))
    listed = [(r.id, r.rollout, outcome_label(r), _first_line(r.text)) for r in found]
    if json:
        keys = ("id", "rollout", "outcome", "first_line")
        rollouts = [dict(zip(keys, one, strict=True)) for one in listed]
        print_json({"cell": text, "rollouts": rollouts})
    else:
        width = max((len(outcome) for _, _, outcome, _ in listed), default=0)
        for rollout_id, index, outcome, line in listed:
            print_line(f"{rollout_id}  {index:>4}  {outcome:<{width}}  {line}")
    if listed:
        next_step(f"emoctl runs show {called} --rollout {listed[0][0]}")
    else:
        note(f"{text} holds no rollouts")
        next_step(f"emoctl runs show {called}")


def _first_line(text: str) -> str:
    lines = (line for line in text.splitlines() if line.strip())
    first = one_line(next(lines, ""))
    return first if len(first) <= FIRST_LINE_LENGTH else f"{first[: FIRST_LINE_LENGTH - 1]}…"


def _show_rollout(store: "RunStore", rollout_id: str, called: str, json: bool) -> None:
    from emoctl.store.cells import cell_name

    rollout = store.rollout(rollout_id)
    (condition,) = store.conditions(ids=[rollout.condition_id])
    cell = cell_name(rollout.scenario, rollout.variant, condition)
    (asked,) = [
        v for v in store.variants(scenario=rollout.scenario) if v.variant == rollout.variant
    ]
    if json:
        document = {"id": rollout.id, "cell": cell, **asdict(rollout)}
        print_json({**document, "condition": asdict(condition), "asked": asdict(asked)})
    else:
        print_line(f"{rollout.id}  {cell}  rollout {rollout.rollout}")
        for role, content in asked.messages:
            _show_quoted(role, content)
        _show_quoted("assistant, written by the model", rollout.text)
        _show_judgement(rollout)
    next_step(f"emoctl replay {called} {rollout.id}")


def _show_quoted(heading: str, text: str) -> None:
    """Every line of `text` is marked, so that no line of it can pass for one of ours."""
    print_line(f"\n{heading}:")
    for line in text.split("\n"):
        print_line(f"  | {line}")


def _show_judgement(rollout: "RolloutRecord") -> None:
    receipt = rollout.receipt
    steered = f"{receipt.n_steered} positions, mean norm added {receipt.mean_added_norm:.4g}"
    facts = (
        ("status", rollout.status),
        ("outcome", rollout.outcome or "none"),
        ("evidence", rollout.evidence or "none"),
        ("reason", rollout.reason or "none"),
        ("stopped by", f"{rollout.stop}, after {len(rollout.token_ids)} tokens"),
        ("steered", f"{steered}, {receipt.ratio:.4g} of the residual norm"),
        ("log-prob", f"{rollout.mean_logprob:.4g} nats a token"),
    )
    print_line()
    for name, value in facts:
        print_line(f"{name:<12} {one_line(value)}")
