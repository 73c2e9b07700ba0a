"""Tables as grids of text, the same for the terminal and for Markdown.

A grid is one scenario, variant and readout: emotions and outcomes down, strengths across. What is
in it comes from the outcome and contrast tables; how it is drawn is not known here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

import pandas as pd

from emoctl.analysis import figures
from emoctl.analysis.exact import REGISTER_SHIFT
from emoctl.analysis.results import Results
from emoctl.analysis.run_data import ALL_VARIANTS
from emoctl.store.records import UNSTEERED

ABSENT = "·"
"""Stands where a cell was not measured."""

SIGNIFICANT = "*"


@dataclass(frozen=True)
class GridRow:
    """One emotion and outcome."""

    vector: str
    outcome: str
    cells: Sequence[str]
    controls: str


@dataclass(frozen=True)
class Grid:
    """A table of text, with a title above and notes below."""

    title: str
    strengths: Sequence[str]
    rows: Sequence[GridRow]
    controls_header: str
    notes: Sequence[str] = field(default_factory=tuple)


def _controls_header(results: Results) -> str:
    if results.primary_strength is None:
        return "controls"
    return f"controls at {figures.strength(results.primary_strength)}"


def _only(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _placed(frame: pd.DataFrame) -> dict[tuple[str, float | None, str], Any]:
    """The lines of a table by emotion, strength and outcome."""
    return {(row.vector, row.strength, row.outcome): row for row in _lines(frame)}


def _lines(frame: pd.DataFrame) -> Iterator[Any]:
    """The lines of a table, their columns as attributes."""
    return iter(frame.itertuples())


def _vectors(frame: pd.DataFrame) -> list[str]:
    found = [v for v in dict.fromkeys(frame["vector"]) if v != UNSTEERED]
    return found or [UNSTEERED]


def _strengths(frame: pd.DataFrame) -> list[float]:
    return sorted({0.0, *frame["strength"]})


def _mark(contrast: Any, alpha: float) -> str:
    return SIGNIFICANT if contrast is not None and contrast.p_holm <= alpha else ""


def _rate_controls(cells: pd.DataFrame, outcome: str) -> str:
    controls = cells[(cells["control"] != "none") & (cells["outcome"] == outcome)]
    rates = controls["rate"].dropna()
    if rates.empty:
        return ABSENT if controls.empty else f"{figures.UNKNOWN} ({len(controls)})"
    return f"{figures.share(rates.min())}–{figures.share(rates.max())} ({len(rates)})"


def _set_aside(real: pd.DataFrame) -> str | None:
    cells = real.drop_duplicates(["vector", "strength"])
    counts = {w: int(cells[f"n_{w}"].sum()) for w in ("incoherent", "truncated", "unscored")}
    told = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    return f"set aside, in no rate: {told} of {int(cells['n_total'].sum())}" if told else None


def _rate_notes(real: pd.DataFrame, unseen: Sequence[str], results: Results) -> Iterator[str]:
    yield (
        "k/n rate [interval]: n is what could be scored (`of` gives all rollouts), "
        f"{results.confidence:.0%} Wilson"
    )
    yield (
        "0 is the one unsteered condition; controls: lowest–highest rate (how many); "
        f"{SIGNIFICANT} differs from 0, McNemar, Holm-corrected"
    )
    if unseen:
        yield f"never seen in any of these cells: {', '.join(unseen)}"
    aside = _set_aside(real)
    if aside:
        yield aside


def _rate_text(row: Any, contrast: Any, alpha: float) -> str:
    """A rate, marked where it differs from strength 0 and most of the cell could be scored."""
    if row is None:
        return ABSENT
    text = figures.rate(row.k, row.n_scored, row.n_total, row.rate, row.low, row.high)
    return text + (_mark(contrast, alpha) if 2 * row.n_scored >= row.n_total else "")


def rates_grid(results: Results, scenario: str, variant: str) -> Grid:
    """Rates of a sampled readout; the primary outcome first, unseen outcomes only named."""
    where = {"scenario": scenario, "variant": variant, "readout": "sample"}
    cells, contrasts = _only(results.outcomes, **where), _only(results.contrasts, **where)
    real = _only(cells, control="none")
    strengths, alpha = _strengths(real), results.alpha
    primary = list(dict.fromkeys(contrasts.loc[contrasts["primary"], "outcome"]))
    outcomes = list(dict.fromkeys([*primary, *real["outcome"]]))
    seen = real.groupby("outcome")["k"].sum()
    shown = [o for o in outcomes if o in primary or seen[o]] or outcomes[:1]
    cell_at, contrast_at = _placed(real), _placed(contrasts)
    rows = []
    for vector in _vectors(real):
        for outcome in shown:
            places = [(UNSTEERED if s == 0 else vector, s, outcome) for s in strengths]
            texts = [_rate_text(cell_at.get(p), contrast_at.get(p), alpha) for p in places]
            rows.append(GridRow(vector, outcome, texts, _rate_controls(cells, outcome)))
    return Grid(
        title=f"{scenario} / {variant} · sample · rates",
        strengths=[figures.strength(s) for s in strengths],
        rows=rows,
        controls_header=_controls_header(results),
        notes=list(_rate_notes(real, [o for o in outcomes if o not in shown], results)),
    )


def _change_text(row: Any, alpha: float) -> str:
    if row is None:
        return ABSENT
    return figures.change(row.difference, row.low, row.high) + _mark(row, alpha)


def _value_controls(row: Any) -> str:
    if row is None or not isfinite(row.controls_low):
        return ABSENT
    low, high = figures.short(row.controls_low), figures.short(row.controls_high)
    return f"[{low}, {high}] ({row.n_controls})"


def _value_notes(results: Results, readout: str, method: str, n_levels: int) -> Iterator[str]:
    unit = "nats a token" if readout == "likelihood" else "probability"
    yield (
        f"change from strength 0 in {unit} [{results.confidence:.0%}, {method}]; "
        "column 0: the value itself"
    )
    yield (
        "controls: 2.5–97.5 % of their changes (how many); "
        f"{SIGNIFICANT} beyond them, Holm-corrected"
    )
    if n_levels:
        yield f"levels of the {n_levels} single acts: tables/contrasts.csv"


def values_grid(results: Results, scenario: str, readout: str, variant: str) -> Grid:
    """Changes of an exact readout against strength 0; `variant` may be `all`."""
    table = _only(results.contrasts, scenario=scenario, readout=readout, variant=variant)
    real = _only(table, control="none")
    strengths, alpha = _strengths(real), results.alpha
    measures = list(dict.fromkeys(real["outcome"]))
    primary = set(real.loc[real["primary"], "outcome"]) | {REGISTER_SHIFT}
    shown = [m for m in measures if m in primary] if readout == "likelihood" else measures
    placed = _placed(real)
    baselines = {(row.vector, row.outcome): row.baseline for row in placed.values()}
    rows = []
    for vector in _vectors(real):
        for measure in shown:
            base = figures.signed(baselines.get((vector, measure), nan)).removeprefix("+")
            texts = [
                base if s == 0 else _change_text(placed.get((vector, s, measure)), alpha)
                for s in strengths
            ]
            at_primary = placed.get((vector, results.primary_strength, measure))
            rows.append(GridRow(vector, measure, texts, _value_controls(at_primary)))
    method = next(iter(real["interval"]), "")
    where = "all variants" if variant == ALL_VARIANTS else variant
    return Grid(
        title=f"{scenario} / {where} · {readout} · change from strength 0",
        strengths=[figures.strength(s) for s in strengths],
        rows=rows,
        controls_header=_controls_header(results),
        notes=list(_value_notes(results, readout, method, len(measures) - len(shown))),
    )


def grids(results: Results, *, every_variant: bool = False) -> Iterator[Grid]:
    """Every table of a run. Exact readouts show all variants together unless `every_variant`."""
    sampled = _only(results.outcomes, readout="sample")
    for scenario in dict.fromkeys(results.outcomes["scenario"]):
        for variant in dict.fromkeys(sampled.loc[sampled["scenario"] == scenario, "variant"]):
            yield rates_grid(results, scenario, variant)
        exact = results.contrasts[
            (results.contrasts["scenario"] == scenario)
            & (results.contrasts["readout"] != "sample")
            & (results.contrasts["control"] == "none")
        ]
        for readout in dict.fromkeys(exact["readout"]):
            variants = list(dict.fromkeys(_only(exact, readout=readout)["variant"]))
            if ALL_VARIANTS in variants:
                rest = [v for v in variants if v != ALL_VARIANTS]
                variants = [ALL_VARIANTS, *(rest if every_variant else [])]
            for variant in variants:
                yield values_grid(results, scenario, readout, variant)
