"""What the tables say, one sentence an emotion and readout: here the exact readouts.

Reads tables only. A sentence claims no more than its test: an effect that the controls show too is
nothing, a tone that moved is not an act that moved, and where no result could have been
significant it says so. Sampled readouts: `emoctl.analysis.sampled_verdicts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any, Literal

import pandas as pd

from emoctl.analysis import figures
from emoctl.analysis.exact import OPTION_MASS, REGISTER_SHIFT
from emoctl.analysis.run_data import ALL_VARIANTS

Kind = Literal[
    "stands out", "tone only", "nothing", "changed", "no change shown", "at the floor",
    "at the ceiling", "could not tell",
]  # fmt: skip
LITTLE_MASS = 0.5
"""Below this share of the probability the options are not what the model would say."""


@dataclass(frozen=True)
class Verdict:
    """One emotion in one readout."""

    scenario: str
    variant: str
    readout: str
    vector: str
    kind: Kind
    sentence: str


def _effect(row: Any) -> str:
    text = figures.change(row.difference, row.low, row.high)
    return text if pd.isna(row.rank) else f"{text} (rank {row.rank}/{row.n_controls + 1})"


def _out_of_reach(n_controls: int, n_tests: int, alpha: float) -> str | None:
    """Why no test could have been significant, if none could."""
    if n_controls == 0:
        return "no control ran, so the effect has no scale"
    least = n_tests / (1 + n_controls)
    if least <= alpha:
        return None
    needed = ceil(n_tests / alpha - 1e-9) - 1
    return (
        f"{n_controls} controls cannot support {n_tests} claims: the smallest corrected p is "
        f"{figures.p_value(min(least, 1.0))}, and {needed} controls are needed"
    )


def _measured(rows: pd.DataFrame, register: str, *, claimed: bool) -> str:
    """The contrasts of one register; with direction in words only where it is claimed."""
    parts, target = [], ""
    row: Any
    for row in rows.itertuples():
        target, foil = str(row.outcome).removesuffix(f"_{register}").split("_vs_", 1)
        word = ("gains on" if row.difference > 0 else "loses to") if claimed else "against"
        parts.append(f"{word} {foil} {_effect(row)}")
    return f"{register} {target} " + " and ".join(parts)


def _likelihood(rows: pd.DataFrame, n_vectors: int, alpha: float) -> tuple[Kind, str]:
    contrasts = rows[rows["primary"]]
    if contrasts["difference"].isna().any():
        return "could not tell", "some continuations were not scored"
    registers = contrasts["outcome"].str.rsplit("_", n=1).str[-1]
    claims = {r: contrasts[registers == r] for r in dict.fromkeys(registers)}
    found = {r: c for r, c in claims.items() if (c["p_holm"] <= alpha).all()}
    told = "; ".join(_measured(c, r, claimed=r in found) for r, c in (found or claims).items())
    least = f"smallest corrected p {figures.p_value(float(contrasts['p_holm'].min()))}"
    n_controls = int(contrasts["n_controls"].fillna(0).max())
    scale = f"(nats a token; {n_controls} controls)"
    tone: Any = next(rows[rows["outcome"] == REGISTER_SHIFT].itertuples())
    tone_told = f"emotional over flat wording {_effect(tone)}"
    tone_told += f", corrected p {figures.p_value(tone.p_holm)}"
    if found:
        return "stands out", f"{told}; {least}. Tone: {tone_told} {scale}"
    reach = _out_of_reach(n_controls, n_vectors * len(claims), alpha)
    if reach:
        return "could not tell", f"{reach}. Measured: {told}. Tone: {tone_told} {scale}"
    if tone.p_holm <= alpha:
        return "tone only", f"{tone_told}; the act was not shown to move: {told}; {least} {scale}"
    return "nothing", f"{told}; {least}. Tone: {tone_told} {scale}"


def _choice(rows: pd.DataFrame, n_tests: int, alpha: float) -> tuple[Kind, str]:
    row: Any = next(rows[rows["primary"]].itertuples(), None)
    if row is None:
        return "could not tell", "the primary outcome is not among the options"
    if isnan(row.difference):
        return "could not tell", "some options were not scored"
    told = (
        f"probability of {row.outcome} {figures.share(row.baseline)} at strength 0, {_effect(row)}"
    )
    mass = rows.loc[rows["outcome"] == OPTION_MASS, "baseline"]
    if len(mass) and mass.iloc[0] < LITTLE_MASS:
        told += (
            f"; but all options together hold only {figures.share(mass.iloc[0])} of the "
            "probability, so this model would hardly answer in their form"
        )
    if row.p_holm <= alpha:
        return "stands out", f"{told}; corrected p {figures.p_value(row.p_holm)}"
    reach = _out_of_reach(0 if pd.isna(row.n_controls) else int(row.n_controls), n_tests, alpha)
    if reach:
        return "could not tell", f"{reach}. Measured: {told}"
    return "nothing", f"{told}; corrected p {figures.p_value(row.p_holm)}"


def widest_variant(rows: pd.DataFrame) -> pd.DataFrame:
    """The lines over all variants together where there are such, or else all lines."""
    pooled = rows[rows["variant"] == ALL_VARIANTS]
    return pooled if len(pooled) else rows


def exact_verdicts(
    contrasts: pd.DataFrame, primary_strength: float, alpha: float
) -> Iterator[Verdict]:
    """A verdict for each emotion, scenario and exact readout, at the primary strength."""
    real = contrasts[
        (contrasts["control"] == "none")
        & (contrasts["strength"] == primary_strength)
        & (contrasts["readout"] != "sample")
    ]
    for (scenario, readout), group in real.groupby(["scenario", "readout"], sort=False):
        tested = widest_variant(group)
        n_vectors = tested["vector"].nunique()
        for (vector, variant), rows in tested.groupby(["vector", "variant"], sort=False):
            if readout == "likelihood":
                kind, told = _likelihood(rows, n_vectors, alpha)
            else:
                kind, told = _choice(rows, n_vectors, alpha)
            at = figures.strength(primary_strength)
            sentence = f"{vector} at {at}: {kind} – {told}."
            yield Verdict(str(scenario), str(variant), str(readout), str(vector), kind, sentence)
