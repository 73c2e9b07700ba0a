"""Tables in the terminal. Knows rich, and nothing of how a number was made.

A table takes the widest layout that fits: one line a row; figure above interval; or, on a narrow
terminal, one line a cell.
"""

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from emoctl.analysis import figures
from emoctl.analysis.gates import GateResult
from emoctl.analysis.results import Results
from emoctl.report.grids import ABSENT, Grid, grids, rates_grid, values_grid
from emoctl.report.inert import inert_terminal

MARKS = {True: "PASSED ", False: "FAILED ", None: "NO DATA"}


def _text(words: str) -> Text:
    return Text(inert_terminal(words))


def _empty(grid: Grid) -> Table:
    return Table(
        title=_text(grid.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        pad_edge=False, show_edge=False,
    )  # fmt: skip


def _wide(grid: Grid, *, stacked: bool) -> Table:
    """Strengths across; `stacked` puts each interval under its figure."""
    table = _empty(grid)
    for header in ("emotion", "outcome", *grid.strengths, grid.controls_header):
        table.add_column(_text(header), no_wrap=True)
    previous = None
    for row in grid.rows:
        name = "" if row.vector == previous else row.vector
        cells = (*row.cells, row.controls)
        if stacked:
            cells = tuple(cell.replace(" [", "\n[") for cell in cells)
        table.add_row(*map(_text, (name, row.outcome, *cells)))
        previous = row.vector
    return table


def _long(grid: Grid) -> Table:
    """One line a cell."""
    table = _empty(grid)
    for header in ("emotion", "outcome", "strength", "figure"):
        table.add_column(_text(header), overflow="fold")
    previous = ("", "")
    for row in grid.rows:
        cells = [*zip(grid.strengths, row.cells, strict=True), ("controls", row.controls)]
        for strength, cell in cells:
            if cell == ABSENT:
                continue
            key = (row.vector, row.outcome)
            names = (
                "" if row.vector == previous[0] else row.vector,
                "" if key == previous else row.outcome,
            )
            table.add_row(*map(_text, (*names, strength, cell)))
            previous = key
    return table


def _fits(table: Table, width: int) -> bool:
    console = Console(file=io.StringIO(), width=10_000)
    return Measurement.get(console, console.options, table).maximum <= width


def draw(grid: Grid, width: int) -> Table:
    """The widest layout of `grid` that fits `width` columns."""
    for stacked in (False, True):
        table = _wide(grid, stacked=stacked)
        if _fits(table, width):
            return table
    return _long(grid)


def rates_table(results: Results, scenario: str, variant: str, *, width: int) -> Table:
    """Rates of the sampled readout of one variant."""
    return draw(rates_grid(results, scenario, variant), width)


def values_table(
    results: Results, scenario: str, readout: str, variant: str, *, width: int
) -> Table:
    """Changes of an exact readout of one variant, or of `all`."""
    return draw(values_grid(results, scenario, readout, variant), width)


def gate_line(gate: GateResult) -> str:
    """One line: whether it passed, what it asked, what it found."""
    found = "; ".join(f"{cell}: {_figure(x)}" for cell, x in gate.figures)
    return f"{MARKS[gate.passed]} {gate.gate_text}  ({found or 'it names no cell of this run'})"


def _figure(value: float) -> str:
    return figures.UNKNOWN if value != value else f"{value:.4g}"


def _lines(heading: str, lines: Sequence[str]) -> Iterator[Text]:
    if lines:
        yield Text(heading, style="bold")
        yield from (_text(line) for line in lines)
        yield Text("")


def _verdict_lines(results: Results) -> list[str]:
    return [f"{v.scenario}/{v.variant}, {v.readout}: {v.sentence}" for v in results.verdicts]


def _shortfall_lines(results: Results) -> list[str]:
    return [
        f"{s.scenario}/{s.variant}, {s.readout}: {s.present} of {s.planned} "
        + (f"at {s.vector} {s.strength}" if s.vector else "under any condition")
        for s in results.shortfalls
    ]


def results_view(results: Results, *, width: int, every_variant: bool = False) -> Group:
    """Everything that a finished run shows: tables, verdicts, gates."""
    parts: list[Table | Text] = []
    for grid in grids(results, every_variant=every_variant):
        parts += [draw(grid, width), *(_text(f"  {note}") for note in grid.notes), Text("")]
    parts += _lines("What this says", _verdict_lines(results))
    parts += _lines("Unfinished", _shortfall_lines(results))
    parts += _lines("Gates", [gate_line(gate) for gate in results.gates])
    return Group(*parts)


def results_text(results: Results, *, width: int = 120, every_variant: bool = False) -> str:
    """`results_view` as plain text, the same on every machine: no colour, no trailing blanks."""
    sheet = io.StringIO()
    console = Console(
        file=sheet, width=width, color_system=None, force_terminal=False, highlight=False,
        markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    console.print(results_view(results, width=width, every_variant=every_variant))
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines()).strip("\n") + "\n"
