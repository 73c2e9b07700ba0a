"""Which tests are declared together, and their Holm-corrected p-values.

One family a scenario and readout, of emotions only:

    sample      the primary outcome × emotions × strengths × variants
    choice      the primary outcome × emotions, at the primary strength
    likelihood  the act claims: emotions × registers, at the primary strength
                the tone checks: emotions, at the primary strength

An act claim says that the target act moved against *every* foil, in one direction, within one
register. Its p-value is the largest of its contrasts' (an intersection-union test: R. L. Berger,
Technometrics 24 (1982) 295–300), or 1 where they disagree in direction. It needs no correction
for the number of foils, and each of its contrasts carries its corrected p-value.
Exact readouts are tested over all variants together where there are several.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import copysign, nan

import numpy as np

from emoctl.analysis.exact import REGISTER_SHIFT
from emoctl.analysis.frames import Row
from emoctl.analysis.intervals import holm
from emoctl.analysis.run_data import ALL_VARIANTS

Claim = list[Row]
"""The lines that must all hold for one claim."""


def claim_p(p_values: Sequence[float], differences: Sequence[float]) -> float:
    """p-value of the claim that all differences are real and of one sign; NaN if one is unknown."""
    if np.isnan(p_values).any() or np.isnan(differences).any():
        return nan
    signs = {copysign(1, d) if d else 0 for d in differences}
    return max(p_values) if len(signs) == 1 and 0 not in signs else 1.0


def _tested(rows: Iterable[Row]) -> list[Row]:
    """Lines of emotions that can be tested: in exact readouts, of the widest set of variants."""
    emotions = [r for r in rows if r["control"] == "none"]
    pooled = [r for r in emotions if r["variant"] == ALL_VARIANTS]
    return pooled or emotions


def _families(readout: str, rows: list[Row]) -> list[list[Claim]]:
    if readout == "sample":
        return [[[r] for r in rows if r["primary"] and r["control"] == "none"]]
    ranked = [r for r in _tested(rows) if r["p_method"] == "rank"]
    primary = [r for r in ranked if r["primary"]]
    if readout == "choice":
        return [[[r] for r in primary]]
    acts: dict[tuple[str, str], Claim] = defaultdict(list)
    for row in primary:
        acts[row["vector"], row["outcome"].rsplit("_", 1)[1]].append(row)
    return [list(acts.values()), [[r] for r in ranked if r["outcome"] == REGISTER_SHIFT]]


def correct_families(rows: Iterable[Row]) -> None:
    """Fill in `p_holm` of every line that belongs to a declared family."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["scenario"], row["readout"]].append(row)
    for (_, readout), group in groups.items():
        for family in _families(readout, group):
            corrected = holm(
                [
                    claim[0]["p"]
                    if len(claim) == 1
                    else claim_p([r["p"] for r in claim], [r["difference"] for r in claim])
                    for claim in family
                ]
            )
            for claim, p in zip(family, corrected, strict=True):
                for row in claim:
                    row["p_holm"] = p
