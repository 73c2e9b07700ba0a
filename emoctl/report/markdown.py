"""summary.md: a run on one page, for a pull request, a CI job or a lab book.

Every cell and name is escaped; no text that a model wrote is quoted here.
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from emoctl.analysis.results import Results
from emoctl.report.grids import Grid, grids
from emoctl.report.inert import inert_terminal
from emoctl.report.inert import plain_markdown as _escaped
from emoctl.report.movers import movers
from emoctl.report.terminal import gate_line

SCOPE = (
    "This measures how far behaviour depends on functional emotion concepts: directions in the "
    "model's activations that represent an emotion. It is about emotion-mediated behaviour, not "
    "about strategic deception, and it makes no claim that a model feels or experiences anything."
)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _table(grid: Grid) -> Iterator[str]:
    headers = ("emotion", "outcome", *grid.strengths, grid.controls_header)
    yield f"### {_escaped(grid.title)}"
    yield ""
    yield _row(headers)
    yield "|" + "---|" * len(headers)
    for row in grid.rows:
        yield _row((row.vector, row.outcome, *row.cells, row.controls))
    yield ""
    for note in grid.notes:
        yield f"- {_escaped(note)}"
    yield ""


def _readings(results: Results) -> Iterator[str]:
    if results.readings is None:
        return
    yield "## Readings"
    yield ""
    rows = [(m.where, m.condition, m.layer, m.rose, m.fell) for m in movers(results)]
    if rows:
        headers = ("cell", "condition", "layer", "rose most", "fell most")
        yield _row(headers)
        yield "|" + "---|" * len(headers)
        yield from map(_row, rows)
        yield ""
    n_emotions = results.readings["emotion"].nunique()
    yield f"- cosine with {n_emotions} emotion directions, mean over a response's tokens; steered −"
    yield "  unsteered over rollouts of equal index, with a t interval over rollouts"
    yield f"- picked from {n_emotions}: the intervals do not allow for that. The controls' lines in"
    yield "  `tables/readings.csv` show how far directions that should do nothing special move them"
    yield "- activations are read after steering: at the steered layer, a reading contains what was"
    yield "  added; below it, nothing differs but the text that the model wrote"
    yield ""


def set_aside_counts(results: Results) -> dict[str, int]:
    """Transcripts in no rate, controls included: how many, for each reason."""
    sampled = results.outcomes[results.outcomes["readout"] == "sample"]
    cells = sampled.drop_duplicates(["scenario", "variant", "condition_id"])
    words = ("incoherent", "truncated", "unscored")
    counts = {word: int(cells[f"n_{word}"].sum()) for word in words}
    return {"rollouts": int(cells["n_total"].sum()), **counts}


def _set_aside(results: Results) -> Iterator[str]:
    counts = set_aside_counts(results)
    n = counts.pop("rollouts")
    if not n:
        return
    yield "## Transcripts set aside"
    yield ""
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    yield f"Of {n} rollouts, controls included: {told}. None of them counts as a “no”."
    yield ""


def _example_cell(results: Results) -> str | None:
    """A sampled cell that a reader may want to see first; None where nothing was sampled."""
    table = results.outcomes
    cells = table[(table["readout"] == "sample") & (table["control"] == "none")]
    at_primary = cells[cells["strength"] == results.primary_strength]
    row: Any = next((at_primary if len(at_primary) else cells).itertuples(), None)
    if row is None:
        return None
    parts = (row.scenario, row.variant, row.vector, f"{row.strength:g}", row.outcome)
    return shlex.quote(inert_terminal("/".join(parts)).replace("\n", " "))


def _see_more(results: Results, run: str) -> Iterator[str]:
    cell = _example_cell(results)
    if cell is None:
        return
    yield "## See the transcripts"
    yield ""
    yield "`tables/cells.csv` lists the rollout ids behind every rate. To read those of one cell,"
    yield "written SCENARIO/VARIANT/VECTOR/STRENGTH and, if wanted, /OUTCOME:"
    yield ""
    yield "```sh"
    yield f"emoctl runs show {run} --cell {cell}"
    yield "```"
    yield ""


def _listed(heading: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"## {heading}"
        yield ""
        yield from (f"- {_escaped(line)}" for line in lines)
        yield ""


def _page(results: Results, run: str, title: str, about: Mapping[str, str]) -> Iterator[str]:
    yield f"# {_escaped(title)}"
    yield ""
    yield from (f"- {_escaped(key)}: {_escaped(value)}" for key, value in about.items())
    yield ""
    verdicts = [f"{v.scenario}/{v.variant}, {v.readout}: {v.sentence}" for v in results.verdicts]
    yield from _listed("What this says", verdicts)
    unfinished = [
        f"{s.scenario}/{s.variant}, {s.readout}: {s.present} of {s.planned} "
        + (f"at {s.vector} {s.strength}" if s.vector else "under any condition")
        for s in results.shortfalls
    ]
    yield from _listed("Unfinished", unfinished)
    yield from _listed("Gates", [gate_line(gate) for gate in results.gates])
    yield "## Tables"
    yield ""
    for grid in grids(results):
        yield from _table(grid)
    yield from _readings(results)
    yield from _set_aside(results)
    yield from _see_more(results, run)
    yield "## Scope"
    yield ""
    yield SCOPE


def summary_md(
    results: Results, *, run: str, title: str, about: Mapping[str, str] | None = None
) -> str:
    """The page. `run` is the run's id, as commands take it; `about` says what was run, in order:
    model, revision, layer, vectors, whatever the caller knows."""
    return "\n".join(_page(results, run, title, about or {})) + "\n"
