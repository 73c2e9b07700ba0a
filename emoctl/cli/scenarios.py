"""`emoctl scenarios`: which situations there are, what a model would read, and what is wrong.

Knows no model: what is shown is the messages, before any chat template.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.errors import IncompleteError, ScenarioError, UsageError, did_you_mean
from emoctl.scenarios import (
    Finding,
    FoundScenario,
    Scenario,
    Variant,
    find_scenarios,
    lint_scenario,
    load_scenario,
    pick_scenario,
)

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Situations in which a model acts."
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def ls(json: Json = False) -> None:
    """List the scenarios: name, where it comes from, readouts, variants, title.

    Example: emoctl scenarios ls
    """
    rows = [_row(found) for found in find_scenarios().values()]
    for row in rows:
        if row["problem"]:
            note(f"{row['name']} cannot be used: {row['problem']}")
    if json:
        print_json(rows)
    else:
        for row in rows:
            print_line(_row_text(row))
    next_step("emoctl scenarios show NAME")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `scenarios ls` lists it.")],
    variant: Annotated[str, typer.Option(help="Which wording; default: the first.")] = "",
    json: Json = False,
) -> None:
    """Print what a model reads in a scenario, control characters spelt out.

    Example: emoctl scenarios show replacement-affair --variant short
    """
    scenario = pick_scenario(name)
    chosen = variant or next(iter(scenario.variants))
    wording = _variant(scenario, chosen)
    if json:
        print_json({"scenario": name, "variant": chosen, **wording.model_dump(mode="json")})
    else:
        _show_messages(scenario, chosen, wording)
    next_step(f"emoctl scenarios lint {name}")


@app.command()
def lint(
    name: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="Default: all.")] = "",
    json: Json = False,
) -> None:
    """Print everything that is wrong with a scenario; exit 1 when any of it is an error.

    Example: emoctl scenarios lint replacement-affair
    """
    found = [(s.name, lint_scenario(s)) for s in _chosen(name)]
    findings = [(scenario, finding) for scenario, several in found for finding in several]
    n_errors = sum(finding.severity == "error" for _, finding in findings)
    if json:
        print_json([_finding_row(scenario, finding) for scenario, finding in findings])
    else:
        for scenario, finding in findings:
            print_line(f"{finding.severity}: {scenario}: {finding.where}: {finding.message}")
    n_warnings = len(findings) - n_errors
    counts = f"{_counted(n_errors, 'error')}, {_counted(n_warnings, 'warning')}"
    note(f"{_counted(len(found), 'scenario')}: {counts}")
    if n_errors:
        next_step("mend the errors in scenario.yaml, then lint again")
        raise typer.Exit(1)
    next_step("emoctl scenarios selftest")


@app.command()
def selftest(
    name: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="Default: all.")] = "",
    json: Json = False,
) -> None:
    """Judge every example that a scenario gives of its outcomes; exit 1 on a disagreement.

    Example: emoctl scenarios selftest replacement-affair
    """
    from emoctl.cli.scenario_selftest import judged_examples

    examples = [example for scenario in _chosen(name) for example in judged_examples(scenario)]
    wrong = [example for example in examples if not example.agrees]
    if json:
        print_json([asdict(example) | {"agrees": example.agrees} for example in examples])
    else:
        for example in wrong:
            print_line(example.complaint)
    note(f"{_counted(len(examples), 'example')}: {len(examples) - len(wrong)} judged as written")
    if not examples:
        raise IncompleteError("no scenario here has a judge and examples to judge")
    if wrong:
        next_step("mend judge.rules and terms in scenario.yaml, or the example")
        raise typer.Exit(1)
    next_step("emoctl sweep --vector desperate --scale 0.05")


def _chosen(name: str) -> list[Scenario]:
    if (Path(name) / "scenario.yaml").is_file() and name:
        return [load_scenario(Path(name))]
    found = find_scenarios()
    if not name:
        return [load_scenario(each.folder) for each in found.values()]
    return [load_scenario(found[name].folder)] if name in found else [pick_scenario(name)]


def _row(found: FoundScenario) -> dict[str, Any]:
    named = {"name": found.name, "level": found.level}
    try:
        scenario = load_scenario(found.folder)
    except ScenarioError as error:
        return {**named, "readouts": [], "variants": [], "title": "", "problem": str(error)}
    return {
        **named,
        "readouts": list(scenario.readouts),
        "variants": list(scenario.variants),
        "title": scenario.title,
        "problem": None,
    }


def _row_text(row: dict[str, Any]) -> str:
    if row["problem"]:
        return f"{row['name']} ({row['level']}): unusable"
    readouts, variants = ", ".join(row["readouts"]), ", ".join(row["variants"])
    return f"{row['name']} ({row['level']}): {row['title']}\n" + (
        f"  readouts: {readouts}; variants: {variants}"
    )


def _variant(scenario: Scenario, name: str) -> Variant:
    known = list(scenario.variants)
    if name not in known:
        hint = did_you_mean(name, known, listing=f"variants: {', '.join(known)}")
        raise UsageError(f"scenario {scenario.name!r} has no variant {name!r}", hint=hint)
    return scenario.variants[name]


def _show_messages(scenario: Scenario, name: str, wording: Variant) -> None:
    print_line(f"{scenario.name}/{name}: {scenario.title}")
    for message in wording.messages:
        print_line(f"\n── {message.role}\n{message.content}")
    if wording.lead:
        print_line(f"\n── assistant, begun for it\n{wording.lead}")
    outcomes = ", ".join(scenario.outcomes)
    note(f"outcomes: {outcomes}; primary: {scenario.primary}")


def _finding_row(scenario: str, finding: Finding) -> dict[str, str]:
    return {
        "scenario": scenario,
        "severity": finding.severity,
        "where": finding.where,
        "message": finding.message,
    }


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
