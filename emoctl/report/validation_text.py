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


MOVES = {
    "numbers": "move as they should",
    "controls": "move the same way, of which half are expected",
    "numbers above their controls": "move further that way than their controls",
    "severity pairs": "move as they should",
}
"""What is counted of each kind, of which half are expected by luck."""


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
    layers = frames["layers"]
    chosen = layers.loc[layers["chosen_by_folds"] > 0, "layer"]
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
    yield "vectors of half of the topics, among those of the other half: " + ", ".join(
        f"{task} {row.share:.2f} (95 % of splits {row.low:.2f}–{row.high:.2f})"
        for task, row in halves.iterrows()
    )
    yield from _further_sentences(frames["growth"])
    yield from _message_sentences(frames)
    yield from _geometry_sentences(found)
    for row in frames["norms"].itertuples() if "norms" in frames else ():
        yield (
            f"norms: {row.component} and {row.rating} correlate by r {row.r:+.2f} "
            f"[{row.low:+.2f}, {row.high:+.2f}] over {row.n} words"
        )
    for layer_number, rows in frames["lens"].groupby("layer") if "lens" in frames else ():
        raw, contrast = rows["own_percentile"], rows["contrast_percentile"]
        yield (
            f"logit lens at layer {layer_number}: the first token of the emotion's own word is in "
            f"the top 1 % of the vocabulary for {(raw >= 0.99).sum()} of {len(rows)}, and for "
            f"{(contrast >= 0.99).sum()} against the other emotions (by luck "
            f"{0.01 * len(rows):.1f})"
        )


def _further_sentences(grown: pd.DataFrame) -> Iterator[str]:
    vectors = grown[grown["reader"] == "emotion vectors"]
    words = grown[grown["reader"] == "words alone"].set_index("task")
    for task in ("top-1", "top-5"):
        here = vectors[vectors["task"] == task]
        last, alone = here.iloc[-1], words.loc[task]
        fewer = ", ".join(f"{r.share:.2f} from {r.n_topics}" for r in here.iloc[:-1].itertuples())
        yield (
            f"further stories on other topics ({last.n_stories}), {task}: {last.share:.2f} "
            f"[{last.low:.2f}–{last.high:.2f}] from {last.n_topics} topics"
            f"{f' ({fewer})' if fewer else ''}; words alone {alone.share:.2f} "
            f"[{alone.low:.2f}–{alone.high:.2f}]"
        )


def _message_sentences(frames: dict[str, pd.DataFrame]) -> Iterator[str]:
    layers = frames["layers"]
    for row in frames["implicit_summary"].itertuples():
        if row.k == 3:
            curve = layers[f"implicit_top3_{str(row.position).replace(' ', '_')}"]
            yield (
                f"implicit messages, {row.position}: top-3 {row.share:.2f} "
                f"[{row.low:.2f}–{row.high:.2f}] of {row.n}; layer 0 {curve.iloc[0]:.2f}, labels "
                f"dealt out anew {row.shuffled:.2f} [{row.shuffled_low:.2f}–"
                f"{row.shuffled_high:.2f}], p ≤ {row.p:.2g}"
            )
    for row in frames["slopes"].itertuples():
        yield (
            f"{row.kind}, {row.position}: {row.right} of {row.n} {MOVES[str(row.kind)]} "
            f"[{row.low:.2f}–{row.high:.2f}], one-sided p {row.p:.2g}"
        )


def _geometry_sentences(found: Validation) -> Iterator[str]:
    layer, explained = found.frames["layers"].iloc[found.layer], found.frames["explained"]
    first = explained.iloc[0]
    known = first.auc_pleasant == first.auc_pleasant
    yield f"geometry: PC1 holds {first.share:.0%} of variance" + (
        f" and sets pleasant clusters apart from unpleasant ones by AUC {first.auc_pleasant:.2f} "
        f"(by luck up to {first.auc_by_luck:.2f}); best of {len(explained)} components "
        f"{layer.best_pc_auc:.2f} (up to {first.best_auc_by_luck:.2f}); an axis made without the "
        f"emotion {layer.valence_axis_auc:.2f}, at layer 0 "
        f"{found.frames['layers']['valence_axis_auc'].iloc[0]:.2f}"
        if known
        else ""
    )
    if layer.rand_index == layer.rand_index:
        yield (
            "geometry: k-means agrees with the published clusters by an adjusted Rand index of "
            f"{layer.rand_index:.2f} (0 by luck)"
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
