"""A table as data, in the terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Cells are text already."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Title, table, notes."""
        lines = [f"## {self.title}", ""]
        if self.rows:
            lines += [_line(self.columns), _line(["---"] * len(self.columns))]
            lines += [_line(row) for row in self.rows]
        else:
            lines.append("Not measured.")
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])

    def to_rich(self) -> Any:
        """For a console."""
        from rich.table import Table as RichTable

        made = RichTable(title=self.title, title_justify="left", caption="\n".join(self.notes))
        for column in self.columns:
            made.add_column(column)
        for row in self.rows:
            made.add_row(*row)
        return made


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def seconds(value: float | None, extrapolated: bool = False) -> str:
    """`12.3`, with a star where it was not measured whole."""
    if value is None:
        return "–"
    return f"{value:.3g}{'*' if extrapolated else ''}"


def milliseconds(value: float | None) -> str:
    """`217`."""
    return "–" if value is None else f"{value * 1e3:.0f}"


def gibibytes(value: float | None) -> str:
    """`1.25`."""
    return "–" if value is None else f"{value / 2**30:.2f}"
