"""`python -m benchmarks`: what to measure, where to keep it, and the tables at the end."""

import argparse
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.campaign import Campaign
from benchmarks.jobs import find_subject
from benchmarks.machine import available_bytes, cores, describe_machine
from benchmarks.plan import (
    HUGE_PROMPT,
    Case,
    estimate_seconds,
    plan_ablation,
    plan_all,
    plan_axes,
    plan_conditions,
    plan_memory,
    plan_peers,
    quick,
)
from benchmarks.processes import layouts
from benchmarks.report import all_tables, to_markdown
from benchmarks.results import Results, ResultsError, open_results, read_results
from benchmarks.roofline import Shape
from benchmarks.roster import ROSTER

COMMANDS = {
    "all": "everything below, in one run",
    "gate": "do all peers compute the same logits and tokens? nothing is timed",
    "peers": "everybody on one job, 1,024 prompt tokens and 32 rows",
    "axes": "ours against fair HF: prompt lengths, then rows",
    "conditions": "what 1, 8 and 32 conditions cost",
    "ablation": "ours with parts switched off",
    "memory": "peak resident memory, and a job whose expanded cache is huge",
    "roofline": "GEMM and read rates of this machine",
    "install": "make the environments of the peers that need their own",
    "report": "the tables of a results file; nothing runs",
}
PROBING = ("all", "roofline", "axes")
GATE_SECONDS, PROBE_SECONDS = 9.0, 60.0
DEFAULT_MODEL = "smollm2-135m-instruct"
Tell = Callable[[str], None]
FOLDER = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 if a results file cannot be used or a peer fails the gate."""
    from rich.console import Console

    options = _parser().parse_args(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        if options.command == "report":
            return _show(read_results(options.json or _latest()), options.markdown)
        if options.command == "install":
            return _install(console.print)
        return _measure(options, console.print)
    except ResultsError as error:
        console.print(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<11} {about}" for name, about in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Ways of generating steered text, compared.\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND")
    parser.add_argument("--json", type=Path, help="results file; one that is there is continued")
    parser.add_argument("--quick", action="store_true", help="tiny jobs, once: does all of it run?")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="as emoctl names models")
    parser.add_argument("--only", nargs="+", choices=list(ROSTER), help="these peers alone")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    parser.add_argument("--plan", action="store_true", help="show cases and time; run nothing")
    return parser


def _measure(options: argparse.Namespace, tell: Tell) -> int:
    n_cores = cores()
    subject = find_subject(options.model, HUGE_PROMPT)
    cases = _only(_cases(options.command, n_cores), options.only)
    cases = quick(cases) if options.quick else cases
    minutes = _estimate(options.command, cases, subject.shape, n_cores) / 60
    tell(f"{len(cases)} cases, about {minutes:.0f} minutes on two cores once peers are installed")
    if options.plan:
        for case in cases:
            tell(f"  {case.name}: {', '.join(e.label for e in case.entries)}")
        return 0
    results = open_results(
        options.json or _new_file(options.quick), describe_machine(), subject.describe()
    )
    campaign = Campaign(subject, results, n_cores, tell)
    try:
        failed = _failed(campaign, cases, options.command)
        if options.command in PROBING:
            campaign.probe()
        campaign.run(_without(cases, failed))
    finally:
        campaign.close()
    tell(f"results: {results.path}")
    _show(results, options.markdown)
    return 1 if failed else 0


def _estimate(command: str, cases: Sequence[Case], shape: Shape, n_cores: int) -> float:
    """Seconds, gate and probe included."""
    peers = {entry.peer for case in cases for entry in case.entries}
    runs = 0.0 if command == "gate" else 1.0
    return (
        GATE_SECONDS * len(peers)
        + PROBE_SECONDS * (command in PROBING)
        + runs * estimate_seconds(shape, cases, len(layouts(n_cores)), available_bytes())
    )


def _cases(command: str, n_cores: int) -> list[Case]:
    plans = {
        "all": lambda: plan_all(n_cores),
        "gate": plan_peers,
        "peers": plan_peers,
        "axes": plan_axes,
        "conditions": plan_conditions,
        "ablation": lambda: plan_ablation(n_cores),
        "memory": lambda: plan_memory(n_cores),
        "roofline": list,
    }
    return plans[command]()


def _only(cases: list[Case], peers: Sequence[str] | None) -> list[Case]:
    if peers is None:
        return cases
    kept = [replace(c, entries=tuple(e for e in c.entries if e.peer in peers)) for c in cases]
    return [case for case in kept if case.entries]


def _without(cases: list[Case], peers: set[str]) -> list[Case]:
    return _only(cases, [name for name in ROSTER if name not in peers])


def _failed(campaign: Campaign, cases: list[Case], command: str) -> set[str]:
    """Peers whose figures would be of something else."""
    names = list(dict.fromkeys(entry.peer for case in cases for entry in case.entries))
    passed = campaign.check(names)
    if command == "gate":
        cases.clear()
    return {name for name, well in passed.items() if not well}


def _install(tell: Tell) -> int:
    from benchmarks.environments import NotInstalledError, make_environment

    code = 0
    for spec in ROSTER.values():
        try:
            make_environment(spec.environment)
            tell(f"{spec.name}: {spec.environment.python}")
        except NotInstalledError as error:
            tell(f"{spec.name}: cannot be installed: {error}")
            code = 1
    return code


def _show(results: Results, markdown: bool) -> int:
    from rich.console import Console

    console = Console(soft_wrap=markdown)
    if markdown:
        console.print(to_markdown(results), markup=False, highlight=False)
        return 0
    for table in all_tables(results):
        console.print(table.to_rich())
    return 0


def _new_file(smoke: bool) -> Path:
    """Today's, on this machine."""
    name = re.sub(r"[^a-z0-9]+", "-", describe_machine()["cpu"].lower()).strip("-")
    date = datetime.now(UTC).date().isoformat()
    return FOLDER / f"{date}-{name or platform.machine()}{'-quick' if smoke else ''}.json"


def _latest() -> Path:
    found = sorted(FOLDER.glob("*.json"))
    if not found:
        raise ResultsError(f"no results in {FOLDER}; give --json FILE")
    return found[-1]
