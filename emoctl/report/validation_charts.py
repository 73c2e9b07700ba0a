"""The pictures of a validation, each from one or two of its tables."""

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from emoctl.analysis.validation.frames import Validation
from emoctl.report.drawing import GREY, OFFLINE, PALETTE
from emoctl.report.inert import inert_terminal
from emoctl.report.label_places import Plot, place_labels

CLUSTER_COLOURS = (*PALETTE, "#7d8a2e", "#d08aa0", GREY)
UNPLACED = "no cluster"
PANEL = (470, 330, 9.5)
"""Width, height and size of names of one cluster's panel."""

TASKS = {
    "top-1": "its own emotion nearest",
    "top-5": "among the five nearest",
    "cluster": "the published cluster",
}
NULLS = ("shuffled labels",)
POSITIONS = {
    "before response": "before response: the last token of the prompt",
    "over message": "over message: the mean of its tokens",
}


def charts_of(found: Validation) -> Iterator[tuple[str, Any]]:
    """Name → chart, in the order in which a reader wants them."""
    yield "readers", readers_chart(found)
    yield "layers", layers_chart(found)
    if found.geometry.components.shape[1] > 1:
        yield "pca", pca_chart(found)
        yield "clusters", clusters_chart(found)
    yield "cosines", cosines_chart(found)
    yield "emotions", emotions_chart(found)
    yield "growth", growth_chart(found)
    yield "implicit", implicit_chart(found)
    yield "intensity", intensity_chart(found)


def _dressed(chart: Any, title: str, subtitle: str | list[str]) -> Any:
    return (
        chart.properties(
            title=alt.TitleParams(title, subtitle=subtitle, anchor="start", fontSize=16, offset=12),
            padding=16,
            usermeta=OFFLINE,
        )
        .configure_view(stroke=None)
        .configure_axis(
            gridColor="#ececec", domainColor="#888", tickColor="#888", titleFontWeight="normal"
        )
        .configure_title(fontSize=12, subtitleColor="#666", subtitleFontSize=11)
        .configure_legend(orient="top", labelFontSize=11, labelLimit=0, symbolOpacity=1, columns=5)
        .configure_header(labelFontSize=12, labelFontWeight="bold", title=None)
    )


def _inert(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """A copy whose names, which come from a corpus, can do no harm."""
    shown = frame.copy()
    for column in columns:
        shown[column] = shown[column].map(inert_terminal)
    return shown


def _all_rows(frame: pd.DataFrame) -> alt.Data:
    """A table as plain values: a frame may have no more than 5,000 rows."""
    return alt.Data(values=frame.to_dict("records"))


def readers_chart(found: Validation) -> Any:
    """Every reader's share of right answers, with its interval and chance."""
    frame = found.frames["readers"].copy()
    order = list(dict.fromkeys(frame["reader"]))
    tasks = list(dict.fromkeys(frame["task"]))
    base = alt.Chart(frame).encode(
        y=alt.Y("reader:N", sort=order, title=None, axis=alt.Axis(labelLimit=200))
    )
    marks = [k / 5 for k in range(6)]
    x = alt.X(
        "share:Q",
        title="share right",
        axis=alt.Axis(values=marks),
        scale=alt.Scale(domain=[0, 1.18], nice=False),  # room for the figures
    )
    colour = alt.condition(
        alt.datum.reader == order[0], alt.value(PALETTE[0]), alt.value(PALETTE[1])
    )
    layers = alt.layer(
        base.mark_tick(color=GREY, thickness=2, height=12).encode(x="chance:Q"),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", title="share right"), x2="high:Q", color=colour
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x, color=colour),
        base.mark_text(align="left", dx=8, fontSize=10).encode(
            x="high:Q", text=alt.Text("share:Q", format=".3f")
        ),
    ).properties(width=230, height=20 * len(order))
    panels = layers.facet(column=alt.Column("task:N", sort=tasks, title=None))
    return _dressed(
        panels,
        "Emotions of stories on topics that were left out",
        "95 % intervals over emotions; grey ticks: chance; every reader on the same folds",
    )


def layers_chart(found: Validation) -> Any:
    """Accuracy, reliability and messages by layer, and the layer that is advised."""
    names = {
        "top1": "top-1",
        "top5": "top-5",
        "cluster": "cluster",
        "reliability": "reliability (split halves)",
        "implicit_top3_over_message": "messages, top-3 over message",
        "valence_axis_auc": "valence axis, AUC",
    }
    frame = found.frames["layers"].rename(columns=names)
    shown = [name for name in names.values() if frame[name].notna().any()]
    long = frame.melt("layer", shown, "measure", "value")
    lines = (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=18), strokeWidth=2)
        .encode(
            x=alt.X(
                "layer:Q", axis=alt.Axis(tickMinStep=1, grid=False), scale=alt.Scale(nice=False)
            ),
            y=alt.Y("value:Q", title="share, or correlation", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("measure:N", title=None, sort=shown).scale(range=list(PALETTE)),
        )
    )
    advised = pd.DataFrame({"layer": [found.recommended_layer], "text": ["advised"]})
    rule = alt.Chart(advised).mark_rule(color="#444", strokeDash=[4, 3]).encode(x="layer:Q")
    label = (
        alt.Chart(advised)
        .mark_text(align="left", dx=4, y=8, color="#444", fontSize=11)
        .encode(x="layer:Q", text="text:N")
    )
    return _dressed(
        alt.layer(lines, rule, label).properties(width=760, height=320),
        "By layer",
        f"advised: layer {found.recommended_layer}, the most reliable of those within one "
        "standard error of the best top-1",
    )


def _pca_frame(found: Validation) -> pd.DataFrame:
    frame = _inert(found.frames["pca"], "emotion")
    return frame.assign(cluster=frame["cluster"].replace("", UNPLACED))


def _component_title(found: Validation, name: str) -> str:
    frame = found.frames["explained"]
    share = float(frame.loc[frame["component"] == name, "share"].iloc[0])
    return f"{name.upper()} ({share:.0%} of variance)"


def _cluster_colour(frame: pd.DataFrame) -> alt.Color:
    clusters = sorted(set(frame["cluster"]), key=lambda c: (c == UNPLACED, c))
    colours = [CLUSTER_COLOURS[i % len(CLUSTER_COLOURS)] for i in range(len(clusters))]
    return alt.Color("cluster:N", title=None).scale(domain=clusters, range=colours)


def _labelled(
    frame: pd.DataFrame, width: int, height: int, font: float, room: float
) -> tuple[Any, Any]:
    """(dots with their names, the frame's scales) of the first two components; names keep out of
    each other's way."""
    x, y = (_window(frame[name], room) for name in ("pc1", "pc2"))
    plot = Plot(x, y, width, height, font)
    dots = list(zip(frame["pc1"].astype(float), frame["pc2"].astype(float), strict=True))
    places = place_labels(plot, dots, frame["emotion"].tolist())
    shown = frame.assign(label_x=[p[0] for p in places], label_y=[p[1] for p in places])
    scales = tuple(alt.Scale(domain=list(ends), nice=False) for ends in (x, y))
    return alt.Chart(shown), scales


def _window(places: pd.Series, room: float) -> tuple[float, float]:
    """Ends of a scale that holds all of `places`, and room for their names."""
    low, high = float(places.min()), float(places.max())
    margin = max(room * (high - low), 0.05)
    return low - margin, high + margin


def pca_chart(found: Validation) -> Any:
    """Every emotion by name on the first two components."""
    frame = _pca_frame(found)
    width, height, font = 1150, 860, 10.5
    base, (across, up) = _labelled(frame, width, height, font, room=0.05)
    base = base.encode(color=_cluster_colour(frame), tooltip=["emotion:N", "cluster:N"])
    x_title, y_title = (_component_title(found, name) for name in ("pc1", "pc2"))
    marks = (
        alt.layer(
            base.mark_point(filled=True, size=14, opacity=0.9).encode(
                x=alt.X("pc1:Q", title=x_title, scale=across),
                y=alt.Y("pc2:Q", title=y_title, scale=up),
            ),
            base.mark_text(fontSize=font).encode(
                x=alt.X("label_x:Q", title=x_title, scale=across),
                y=alt.Y("label_y:Q", title=y_title, scale=up),
                text="emotion:N",
            ),
        )
        .properties(width=width, height=height)
        .interactive()
    )
    auc = float(found.frames["explained"]["auc_pleasant"].iloc[0])
    return _dressed(
        marks,
        f"Principal components of the directions at layer {found.layer}",
        f"colour: the paper's clusters; PC1 sets pleasant and unpleasant clusters apart by AUC "
        f"{auc:.2f} (.5: not at all)",
    )


def clusters_chart(found: Validation) -> Any:
    """One panel a published cluster, as near as it can be shown: its emotions by name, others as
    grey dots."""
    frame = _pca_frame(found)
    colour = alt.Color("cluster:N", legend=None, scale=_cluster_colour(frame)["scale"])
    panels = []
    for cluster in sorted(set(frame["cluster"]) - {UNPLACED}):
        here, rest = frame[frame["cluster"] == cluster], frame[frame["cluster"] != cluster]
        named, (across, up) = _labelled(here, *PANEL, room=0.12)
        axis = alt.Axis(tickCount=4, labelColor="#999", domain=False)
        x = alt.X("pc1:Q", title="PC1", axis=axis, scale=across)
        y = alt.Y("pc2:Q", title="PC2", axis=axis, scale=up)
        grey = alt.Chart(rest).mark_point(filled=True, size=6, color="#d5d8dc", clip=True)
        panels.append(
            alt.layer(
                grey.encode(x=x, y=y),
                named.mark_point(filled=True, size=14).encode(x=x, y=y, color=colour),
                named.mark_text(fontSize=PANEL[2]).encode(
                    x=alt.X("label_x:Q", title="PC1", axis=axis, scale=across),
                    y=alt.Y("label_y:Q", title="PC2", axis=axis, scale=up),
                    text="emotion:N",
                    color=colour,
                ),
            ).properties(
                width=PANEL[0],
                height=PANEL[1],
                title=alt.TitleParams(f"{cluster} ({len(here)})", anchor="start"),
            )
        )
    rand = float(found.frames["layers"]["rand_index"].iloc[found.layer])
    return _dressed(
        alt.concat(*panels, columns=3, spacing=14),
        "The paper's ten clusters on our first two components",
        f"each panel has scales of its own; k-means on our directions agrees with them by an "
        f"adjusted Rand index of {rand:.2f} (0: by luck, 1: the same)",
    )


def cosines_chart(found: Validation) -> Any:
    """Every pair of emotions, neighbours together."""
    long = _inert(found.frames["cosines"], "emotion", "other")
    order = [inert_terminal(e) for e in found.geometry.emotions]
    size = max(8 * len(order), 300)
    axis = alt.Axis(labelFontSize=7, labelOverlap=False, ticks=False, domain=False)
    chart = (
        alt.Chart(_all_rows(long))
        .mark_rect()
        .encode(
            x=alt.X("other:N", sort=order, title=None, axis=axis),
            y=alt.Y("emotion:N", sort=order, title=None, axis=axis),
            color=alt.Color("cosine:Q").scale(scheme="redblue", reverse=True, domain=[-1, 1]),
        )
        .properties(width=size, height=size)
    )
    return _dressed(
        chart,
        f"Cosines of emotion vectors at layer {found.layer}",
        "order: average linkage, so that similar emotions stand together",
    )


def emotions_chart(found: Validation) -> Any:
    """Reliability and accuracy, emotion by emotion."""
    frame = _inert(found.frames["emotions"], "emotion")
    order = frame.sort_values("reliability", ascending=False)["emotion"].tolist()
    names = {"reliability": "reliability", "top1": "top-1", "top5": "top-5"}
    long = frame.rename(columns=names).melt("emotion", list(names.values()), "measure", "value")
    long["column"] = long["emotion"].map({e: order.index(e) * 3 // len(order) for e in order})
    panels = []
    for column in sorted(set(long["column"])):
        here = long[long["column"] == column]
        panels.append(
            alt.Chart(here)
            .mark_point(filled=True, size=34, opacity=0.9)
            .encode(
                x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
                y=alt.Y(
                    "emotion:N",
                    sort=[e for e in order if e in set(here["emotion"])],
                    title=None,
                    axis=alt.Axis(labelOverlap=False, grid=True),
                ),
                color=alt.Color("measure:N", title=None, sort=list(names.values())).scale(
                    range=[PALETTE[0], PALETTE[1], PALETTE[2]]
                ),
            )
            .properties(width=280, height=14 * here["emotion"].nunique())
        )
    return _dressed(
        alt.concat(*panels, columns=3),
        "Emotion by emotion, the most reliable first",
        "reliability: split halves, Spearman–Brown; top-1 and top-5: stories on left-out topics",
    )


def growth_chart(found: Validation) -> Any:
    """Accuracy by the stories that each vector is made from."""
    grown = found.frames["growth"]
    frame = grown[grown["reader"] == "emotion vectors"]
    base = alt.Chart(frame).encode(
        x=alt.X("n_topics:Q", title="topics", axis=alt.Axis(tickMinStep=2)),
        color=alt.Color("task:N", title=None).scale(range=list(PALETTE[:2])),
    )
    chart = alt.layer(
        base.mark_area(opacity=0.13).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2, point=True).encode(
            y=alt.Y("share:Q", title="share right", scale=alt.Scale(domain=[0, 1]))
        ),
    ).properties(width=420, height=260)
    n = int(frame["n_stories"].iloc[0])
    return _dressed(
        chart,
        "Accuracy by the topics that vectors are made from",
        f"{n} further stories on other topics, among {int(frame['n_emotions'].iloc[0])} emotions; "
        "bands: 95 %, over emotions",
    )


def implicit_chart(found: Validation) -> Any:
    """What the vectors read in messages that do not name their writer's feeling."""
    frame = found.frames["implicit_confusion"]
    emotions = list(dict.fromkeys(frame["writer"]))
    long = _inert(frame, "writer", "vector")
    reach = float(long["cosine"].abs().max())
    summary = found.frames["implicit_summary"]
    panels = []
    for position, label in POSITIONS.items():
        top3 = summary[(summary["position"] == position) & (summary["k"] == 3)].iloc[0]
        order = [inert_terminal(e) for e in emotions]
        panels.append(
            alt.Chart(_all_rows(long[long["position"] == position]))
            .mark_rect()
            .encode(
                x=alt.X("vector:N", sort=order, axis=alt.Axis(labelOverlap=False)),
                y=alt.Y("writer:N", sort=order, title="writer feels"),
                color=alt.Color("cosine:Q", title="centred cosine").scale(
                    scheme="redblue", reverse=True, domain=[-reach, reach]
                ),
            )
            .properties(
                width=17 * len(emotions),
                height=17 * len(emotions),
                title=alt.TitleParams(
                    label,
                    subtitle=f"top-3 {top3.share:.2f} [{top3.low:.2f}–{top3.high:.2f}], shuffled "
                    f"{top3.shuffled:.2f} [{top3.shuffled_low:.2f}–{top3.shuffled_high:.2f}]",
                    anchor="start",
                ),
            )
        )
    return _dressed(
        alt.hconcat(*panels),
        "Messages that do not say what their writer feels",
        "mean cosine of each emotion's messages with each vector, centred per vector",
    )


def intensity_chart(found: Validation) -> Any:
    """Does a number that matters move the reading, and one that does not, not?"""
    frame = found.frames["intensity"]
    long = pd.concat(
        [
            frame.assign(kind="number that matters", value=frame["slope"]),
            frame.assign(kind="control", value=frame["control_slope"]),
            found.frames["severity"].assign(
                kind="severity pair", value=found.frames["severity"]["change"]
            ),
        ]
    )[["position", "name", "emotion", "kind", "value"]]
    long = _inert(long, "name", "emotion")
    long["position"] = long["position"].map(POSITIONS)
    zero = alt.Chart(long).mark_rule(color="#444").encode(x=alt.datum(0))
    ticks = (
        alt.Chart(long)
        .mark_tick(thickness=2, height=14, opacity=0.75)
        .encode(
            x=alt.X(
                "value:Q",
                title="change of cosine in the expected direction",
                axis=alt.Axis(tickCount=7, labelFlush=False, labelOverlap=True),
            ),
            y=alt.Y("kind:N", title=None, sort=["number that matters", "control", "severity pair"]),
            color=alt.Color("kind:N", legend=None).scale(
                domain=["number that matters", "control", "severity pair"],
                range=[PALETTE[0], GREY, PALETTE[1]],
            ),
            tooltip=["name:N", "emotion:N", alt.Tooltip("value:Q", format="+.4f")],
        )
    )
    chart = (
        alt.layer(zero, ticks)
        .properties(width=620, height=90)
        .facet(row=alt.Row("position:N", title=None, header=alt.Header(labelOrient="top")))
    )
    return _dressed(
        chart,
        "Intensity",
        "numbers: from the smallest to the largest, by a line on their logarithm; "
        "pairs: the graver message minus the milder one",
    )
