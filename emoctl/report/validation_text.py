"""A validation in words and small tables: the terminal, summary.md and the page say the same.

Each sentence holds its figure, an interval or a comparison, and how many it is of.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from emoctl.analysis.validation.frames import Validation
from emoctl.report.inert import inert_terminal, plain_markdown

SCOPE = (
    "Functional emotion concepts: directions that texts about an emotion share. Nothing here "
    "claims that a model feels anything, and a vector that reads stories well need not change "
    "behaviour when it is added."
)


@dataclass(frozen=True)
class SmallTable:
    """A few rows of words, ready to be shown."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def readers_shown(found: Validation) -> SmallTable:
    """Every reader by every task; draws of shuffled labels as one row with their range."""
    frame = found.frames["readers"]
    tasks = list(dict.fromkeys(frame["task"]))
    rows = []
    for reader in dict.fromkeys(frame["reader"]):
        if str(reader).startswith("shuffled labels"):
            continue
        here = frame[frame["reader"] == reader].set_index("task")
        rows.append((str(reader), *(_share(here.loc[task]) for task in tasks)))
    shuffled = frame[frame["reader"].str.startswith("shuffled labels")]
    if len(shuffled):
        draws = shuffled["reader"].nunique()
        ranges = shuffled.groupby("task", sort=False)["share"].agg(["min", "max"])
        cells = [f"{ranges.loc[t, 'min']:.3f}–{ranges.loc[t, 'max']:.3f}" for t in tasks]
        rows.append((f"shuffled labels ({draws} draws)", *cells))
    chance = frame.drop_duplicates("task").set_index("task")["chance"]
    rows.append(("chance", *(f"{chance[task]:.3f}" for task in tasks)))
    n = frame.drop_duplicates("task").set_index("task")["n"]
    headers = ("stories on left-out topics", *(f"{task} (n {n[task]})" for task in tasks))
    return SmallTable("Who reads what", headers, tuple(rows))


def sentences(found: Validation) -> Iterator[str]:
    """What this says, one finding a line."""
    frames = found.frames
    layer = frames["layers"].iloc[found.layer]
    chosen = frames["layers"].loc[frames["layers"]["chosen_by_folds"] > 0, "layer"]
    yield (
        f"layer: {found.recommended_layer} of 0–{found.n_layers - 1} is advised; folds chose "
        f"{', '.join(str(i) for i in chosen)}; what follows is at layer {found.layer}"
    )
    emotions = frames["emotions"]
    half, whole = emotions["split_half"], emotions["reliability"]
    yield (
        f"reliability: median split-half cosine {half.median():.2f}, Spearman–Brown "
        f"{whole.median():.2f} (lowest {whole.min():.2f}, "
        f"{emotions['emotion'].iloc[int(whole.to_numpy().argmin())]}; "
        f"{(whole < 0.5).sum()} of {len(whole)} below .50)"
    )
    halves = frames["halves"].set_index("task")
    yield "vectors of one half of the topics, among those of the other half: " + ", ".join(
        f"{task} {row.share:.2f} [{row.low:.2f}–{row.high:.2f}]" for task, row in halves.iterrows()
    )
    grown = frames["growth"]
    for task in ("top-1", "top-5"):
        here = grown[grown["task"] == task]
        steps = ", ".join(f"{r.n_topics}: {r.share:.2f}" for r in here.itertuples())
        yield (
            f"further stories on other topics ({here['n_stories'].iloc[0]}), {task} by stories an "
            f"emotion: {steps}"
        )
    yield from _message_sentences(frames)
    first = frames["explained"].iloc[0]
    yield (
        f"geometry: PC1 holds {first.share:.0%} of variance and separates pleasant from "
        f"unpleasant clusters by AUC {first.auc_pleasant:.2f} (best of {len(frames['explained'])} "
        f"components {layer.best_pc_auc:.2f}; an axis made without the emotion "
        f"{layer.valence_axis_auc:.2f}); k-means against the published clusters: adjusted Rand "
        f"{layer.rand_index:.2f}"
    )
    for row in frames["norms"].itertuples() if "norms" in frames else ():
        yield (
            f"norms: {row.component} and {row.rating} correlate by r {row.r:+.2f} "
            f"[{row.low:+.2f}, {row.high:+.2f}] over {row.n} words"
        )
    for layer_number, rows in frames["lens"].groupby("layer") if "lens" in frames else ():
        raw, contrast = rows["own_percentile"], rows["contrast_percentile"]
        yield (
            f"logit lens at layer {layer_number}: the emotion's own word is in the top 1 % of the "
            f"vocabulary for {(raw >= 0.99).sum()} of {len(rows)}, and for "
            f"{(contrast >= 0.99).sum()} against the other emotions"
        )


def _message_sentences(frames: dict[str, pd.DataFrame]) -> Iterator[str]:
    for row in frames["implicit_summary"].itertuples():
        if row.k == 3:
            yield (
                f"implicit messages, {row.position}: top-3 {row.share:.2f} "
                f"[{row.low:.2f}–{row.high:.2f}] of {row.n}; shuffled {row.shuffled:.2f} "
                f"[{row.shuffled_low:.2f}–{row.shuffled_high:.2f}], p {row.p:.2g}"
            )
    for row in frames["slopes"].itertuples():
        yield (
            f"{row.kind}, {row.position}: {row.right} of {row.n} move as they should "
            f"[{row.low:.2f}–{row.high:.2f}], p {row.p:.2g}"
        )


def terminal_view(found: Validation) -> Iterator[object]:
    """What rich prints: the table of readers, then the sentences."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = readers_shown(found)
    table = Table(title=shown.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                  pad_edge=False, show_edge=False)  # fmt: skip
    for header in shown.headers:
        table.add_column(Text(inert_terminal(header)), no_wrap=True)
    for row in shown.rows:
        table.add_row(*(Text(inert_terminal(cell)) for cell in row))
    yield table
    yield ""
    for line in sentences(found):
        yield Text(inert_terminal(line))


def summary_md(found: Validation, about: dict[str, str]) -> str:
    """The whole as one page of Markdown."""
    shown = readers_shown(found)
    lines = ["# Validation of emotion vectors", ""]
    lines += [f"- {plain_markdown(key)}: {plain_markdown(value)}" for key, value in about.items()]
    lines += ["", f"## {shown.title}", "", _row(shown.headers), "|---" * len(shown.headers) + "|"]
    lines += [_row(row) for row in shown.rows]
    lines += ["", "## What this says", ""]
    lines += [f"- {plain_markdown(line)}" for line in sentences(found)]
    return "\n".join([*lines, "", SCOPE, ""])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(plain_markdown, cells)) + " |"


def _share(row: "pd.Series[float]") -> str:
    return f"{row['share']:.3f} [{row['low']:.3f}–{row['high']:.3f}]"
