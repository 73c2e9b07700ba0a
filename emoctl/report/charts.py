"""The dose-response chart: strength across, what happened upwards, controls in grey.

One specification gives a PNG and a page that needs no network. Reads the outcome and contrast
tables; computes nothing but positions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from emoctl.analysis.exact import REGISTER_SHIFT
from emoctl.analysis.results import Results
from emoctl.analysis.run_data import ALL_VARIANTS
from emoctl.analysis.verdicts import widest_variant
from emoctl.report.drawing import GREY, OFFLINE, PALETTE, page_of, png_of
from emoctl.report.inert import inert_terminal
from emoctl.store.records import UNSTEERED

PANEL_WIDTH, PANEL_HEIGHT, ACROSS = 250, 170, 4
POINTS = ("panel", "emotion", "strength", "figure", "low", "high", "detail")


def _points(rows: pd.DataFrame, panel: str, columns: tuple[str, str, str]) -> pd.DataFrame:
    frame = rows[["vector", "strength", *columns]].copy()
    frame.columns = pd.Index(["emotion", "strength", "figure", "low", "high"])
    return frame.assign(panel=panel, detail=rows["outcome"].to_numpy())[list(POINTS)]


def _shared_zero(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of emotions, with the one unsteered cell repeated for each of them."""
    steered = cells[cells["vector"] != UNSTEERED]
    zero = cells[cells["vector"] == UNSTEERED]
    copies = [zero.assign(vector=v) for v in dict.fromkeys(steered["vector"])]
    return pd.concat([steered, *copies]) if copies else zero


def rate_points(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(emotions, controls) of the primary outcomes' rates, one panel a variant."""
    outcomes, contrasts = results.outcomes, results.contrasts
    primary = contrasts[contrasts["primary"] & (contrasts["readout"] == "sample")]
    keys = primary[["scenario", "variant", "outcome"]].drop_duplicates()
    real, grey = [], []
    for key in keys.itertuples():
        cells = outcomes[
            (outcomes["scenario"] == key.scenario)
            & (outcomes["variant"] == key.variant)
            & (outcomes["readout"] == "sample")
            & (outcomes["outcome"] == key.outcome)
        ]
        panel = f"{key.outcome} · {key.scenario}/{key.variant}, sample"
        columns = ("rate", "low", "high")
        real.append(_points(_shared_zero(cells[cells["control"] == "none"]), panel, columns))
        grey.append(_points(cells[cells["control"] != "none"], panel, columns))
    return _joined(real), _joined(grey)


def _spoken(measure: str) -> str:
    """`threat_vs_plea_flat` → `threat − plea, flat`; other names stay."""
    if measure == REGISTER_SHIFT:
        return "emotional − flat wording"
    target, versus, rest = measure.partition("_vs_")
    foil, _, register = rest.rpartition("_")
    return f"{target} − {foil}, {register}" if versus else measure


def value_points(results: Results, readout: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(emotions, controls) of an exact readout's changes, one panel a measure."""
    table = results.contrasts[results.contrasts["readout"] == readout]
    real, grey = [], []
    columns = ("difference", "low", "high")
    for scenario, group in table.groupby("scenario", sort=False):
        tested = widest_variant(group)
        claimed = tested["primary"] | (tested["outcome"] == REGISTER_SHIFT)
        for key, rows in tested[claimed].groupby(["variant", "outcome"], sort=False):
            variant, outcome = key
            where = "all variants" if variant == ALL_VARIANTS else variant
            panel = f"{_spoken(str(outcome))} · {scenario}/{where}, {readout}"
            emotions = _points(rows[rows["control"] == "none"], panel, columns)
            first = emotions.drop_duplicates("emotion")
            zero = first.assign(strength=0.0, figure=0.0, low=0.0, high=0.0)
            real.append(pd.concat([emotions, zero]))
            grey.append(_points(rows[rows["control"] != "none"], panel, columns))
    return _joined(real), _joined(grey)


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    known = [frame.dropna(subset=["figure"]) for frame in frames]
    filled = [frame for frame in known if len(frame)]
    if not filled:
        return pd.DataFrame(columns=list(POINTS))
    frame = pd.concat(filled, ignore_index=True)
    for column in ("panel", "emotion", "detail"):
        frame[column] = frame[column].map(inert_terminal)
    return frame


def _band_line_points(here: pd.DataFrame, x: alt.X, y: alt.Y, colour: alt.Color) -> list[Any]:
    base = alt.Chart(here)
    tips = [alt.Tooltip("emotion:N"), alt.Tooltip("strength:Q", format="+.3~g")]
    tips += [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("figure", "low", "high")]
    return [
        base.mark_area(opacity=0.13).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        base.mark_point(filled=True, size=40, opacity=1).encode(
            x=x, y=y, color=colour, tooltip=tips
        ),
    ]


def _label(number_format: str) -> str:
    """An axis label without a sign before zero."""
    return f"datum.value == 0 ? '0' : format(datum.value, '{number_format}')"


def _panel(real: pd.DataFrame, grey: pd.DataFrame, y: alt.Y, colour: alt.Color) -> Any:
    """One small chart: controls behind, band, line, points."""
    strengths = sorted(set(real["strength"]))
    axis = alt.Axis(
        values=strengths,
        labelExpr=_label("+.3~g"),
        grid=False,
        labelFlush=False,
    )
    x = alt.X("strength:Q", title="strength", axis=axis, scale=alt.Scale(padding=8, nice=False))
    layers = _band_line_points(real, x, y, colour)
    if len(grey):
        ticks = alt.Chart(grey).mark_tick(
            color=GREY, thickness=1, width=16, opacity=0.45, orient="horizontal"
        )
        tip = [alt.Tooltip("emotion:N", title="control"), alt.Tooltip("figure:Q", format=".4f")]
        layers.insert(0, ticks.encode(x=x, y=y, tooltip=tip))
    title, _, subtitle = str(real["panel"].iloc[0]).partition(" · ")
    return alt.layer(*layers).properties(
        width=PANEL_WIDTH,
        height=PANEL_HEIGHT,
        title=alt.TitleParams(title, subtitle=subtitle, anchor="start"),
    )


def _shared_domain(real: pd.DataFrame, grey: pd.DataFrame) -> list[float]:
    """One vertical scale for panels that are to be compared, a little wider than the data."""
    drawn = [real[column] for column in ("figure", "low", "high")]
    known = pd.concat([*drawn, grey["figure"]]).dropna().astype("float64").to_numpy()
    low, high = min(0.0, *known), max(0.0, *known)
    margin = 0.06 * (high - low) or 1.0
    return [low - margin, high + margin]


def _panels(results: Results) -> Iterator[Any]:
    """Every panel of a run, readout by readout."""
    blocks = (
        ("rate", ".0%", [0.0, 1.0], rate_points(results)),
        ("change of probability", "+.3~f", None, value_points(results, "choice")),
        ("change, nats a token", "+.3~f", None, value_points(results, "likelihood")),
    )
    emotions = list(
        dict.fromkeys(e for *_, (real, _) in blocks if len(real) for e in real["emotion"])
    )
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(emotions))]
    colour = alt.Color("emotion:N", title=None).scale(domain=emotions, range=colours)
    for y_title, y_format, fixed, (real, grey) in blocks:
        if not len(real):
            continue
        scale = alt.Scale(domain=fixed or _shared_domain(real, grey), nice=False)
        axis = alt.Axis(labelExpr=_label(y_format), tickCount=5, titlePadding=8)
        y = alt.Y("figure:Q", title=y_title, scale=scale, axis=axis)
        for panel in dict.fromkeys(real["panel"]):
            yield _panel(real[real["panel"] == panel], grey[grey["panel"] == panel], y, colour)


def dose_response(results: Results) -> Any:
    """The chart of a run as an altair specification; None where nothing was steered."""
    panels = list(_panels(results))
    if not panels:
        return None
    grey = "grey ticks: controls, at the primary strength; " if _has_controls(results) else ""
    title = alt.TitleParams(
        "Dose and response",
        subtitle=f"{grey}bands: {results.confidence:.0%} intervals; strength 0 is unsteered",
        anchor="start",
        fontSize=16,
        offset=12,
    )
    return (
        alt.concat(*panels, columns=ACROSS, spacing=30, title=title)
        .properties(padding=16, usermeta=OFFLINE)
        .configure_view(stroke=None)
        .configure_axis(
            gridColor="#ececec", domainColor="#888", tickColor="#888", titleFontWeight="normal"
        )
        .configure_title(fontSize=12, subtitleColor="#666", subtitleFontSize=11)
        .configure_legend(orient="top", symbolType="circle", symbolOpacity=1, labelFontSize=12)
    )


def _has_controls(results: Results) -> bool:
    return bool((results.contrasts["control"] != "none").any())


def save_charts(folder: Path, results: Results) -> list[Path]:
    """Write `dose-response.png` and a `dose-response.html` that fetches nothing.

    Returns the paths written; none where nothing was steered.
    """
    chart = dose_response(results)
    if chart is None:
        return []
    png, page = folder / "dose-response.png", folder / "dose-response.html"
    folder.mkdir(parents=True, exist_ok=True)
    png.write_bytes(png_of(chart))
    page.write_text(page_of(chart), encoding="utf-8")
    return [png, page]
