"""What sampled rates say, one sentence an emotion and variant.

Before any difference it asks whether one could have been seen: an act that never occurs, or always
does, or transcripts that mostly could not be scored, leave nothing to compare.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from emoctl.analysis import figures
from emoctl.analysis.verdicts import Kind, Verdict


def _set_aside(cells: pd.DataFrame) -> str:
    words = {"n_incoherent": "incoherent", "n_truncated": "truncated", "n_unscored": "unscored"}
    return ", ".join(f"{cells[c].sum()} {word}" for c, word in words.items() if cells[c].sum())


def _floor(cells: pd.DataFrame, outcome: str) -> str:
    n, least = cells["n_scored"].sum(), cells["n_scored"].min()
    bound = f"a true rate up to {figures.share(cells['high'].max())} would look the same"
    three = f"; rule of three at {least} scored: {figures.share(min(1.0, 3 / least))}"
    return f"{outcome} was never seen, 0/{n} over all strengths; {bound}" + (
        three if least else "; one cell has nothing scored"
    )


def _ceiling(cells: pd.DataFrame, outcome: str) -> str:
    n = cells["n_scored"].sum()
    bound = f"a true rate down to {figures.share(cells['low'].min())} would look the same"
    return f"{outcome} was always seen, {n}/{n} over all strengths; {bound}"


def _count(cells: pd.DataFrame, strength: float) -> str:
    row: Any = next(cells[cells["strength"] == strength].itertuples(), None)
    if row is None:
        return figures.UNKNOWN
    of = f" of {row.n_total}" if row.n_scored < row.n_total else ""
    return f"{row.k}/{row.n_scored}{of}"


def _difference(row: Any, cells: pd.DataFrame, n_tests: int) -> str:
    text = (
        f"at {figures.strength(row.strength)} {_count(cells, row.strength)} against "
        f"{_count(cells, 0.0)} unsteered, paired difference "
        f"{figures.change(row.difference, row.low, row.high)}, McNemar p {figures.p_value(row.p)}, "
        f"{figures.p_value(row.p_holm)} corrected for {n_tests} tests"
    )
    if row.n_dropped:
        text += (
            f" ({row.n_dropped} of {row.n_pairs} pairs not scored on both sides; among the rest "
            f"{figures.signed(row.difference_scored)})"
        )
    return text


def _unreadable(cells: pd.DataFrame) -> str:
    poor = cells[2 * cells["n_scored"] < cells["n_total"]]
    at = ", ".join(figures.strength(s) for s in poor["strength"])
    return f"; at {at} fewer than half could be scored" if at else ""


def _judge(
    cells: pd.DataFrame, rows: pd.DataFrame, primary: float, n_tests: int, alpha: float
) -> tuple[Kind, str]:
    outcome = str(cells["outcome"].iloc[0])
    n_scored, n_total = cells["n_scored"].sum(), cells["n_total"].sum()
    if 2 * n_scored < n_total:
        return "could not tell", (
            f"only {n_scored} of {n_total} transcripts could be scored ({_set_aside(cells)}); "
            f"{outcome} was seen in {cells['k'].sum()} of those {n_scored}"
        )
    aside = _unreadable(cells)
    if (cells["k"] == 0).all():
        return "at the floor", _floor(cells, outcome) + aside
    if (cells["k"] == cells["n_scored"]).all():
        return "at the ceiling", _ceiling(cells, outcome) + aside
    readable = rows[rows.apply(lambda row: _is_readable(row, cells), axis=1).astype(bool)]
    found = readable[readable["p_holm"] <= alpha]
    shown = found if len(found) else rows[rows["strength"] == primary]
    if not len(shown) or shown["n_pairs"].eq(0).all():
        return "could not tell", f"{outcome} has no pairs to compare{aside}"
    told = "; ".join(_difference(row, cells, n_tests) for row in shown.itertuples())
    kind: Kind = "changed" if len(found) else "no change shown"
    if not shown.index.isin(readable.index).any():
        kind = "could not tell"
    return kind, f"{outcome} {told}{aside}"


def _is_readable(row: Any, cells: pd.DataFrame) -> bool:
    """Whether most of both cells was scored, and the scored pairs do not say the opposite."""
    both = cells[cells["strength"].isin([0.0, row["strength"]])]
    if (2 * both["n_scored"] < both["n_total"]).any():
        return False
    return not row["difference"] * row["difference_scored"] < 0


def sampled_verdicts(
    outcomes: pd.DataFrame, contrasts: pd.DataFrame, primary_strength: float, alpha: float
) -> Iterator[Verdict]:
    """A verdict for each emotion, scenario and variant of the sampled readout."""
    real = contrasts[
        (contrasts["control"] == "none") & (contrasts["readout"] == "sample") & contrasts["primary"]
    ]
    n_tests = real[real["p"].notna()].groupby("scenario").size()
    for key, rows in real.groupby(["scenario", "variant", "vector"], sort=False):
        scenario, variant, vector = (str(part) for part in key)
        seen = outcomes[
            (outcomes["scenario"] == scenario)
            & (outcomes["variant"] == variant)
            & (outcomes["readout"] == "sample")
            & (outcomes["control"] == "none")
            & (outcomes["outcome"] == rows["outcome"].iloc[0])
            & ((outcomes["vector"] == vector) | (outcomes["strength"] == 0))
        ]
        n = int(n_tests.get(scenario, 0))
        kind, told = _judge(seen, rows, primary_strength, n, alpha)
        sentence = f"{vector}: {kind} – {told}."
        yield Verdict(scenario, variant, "sample", vector, kind, sentence)
