"""Which emotions' readings moved most under each vector, as rows of text."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from emoctl.analysis import figures
from emoctl.analysis.results import Results

N_SHOWN = 3
PLACES = {"at": "steered", "above": "above the steered one", "below": "below the steered one"}


@dataclass(frozen=True)
class Movers:
    """One vector at the primary strength, read at one layer."""

    where: str
    condition: str
    layer: str
    rose: str
    fell: str


def movers(results: Results) -> Iterator[Movers]:
    """Emotions at the primary strength, in the table's order; none where nothing was read."""
    table = results.readings
    if table is None or results.primary_strength is None:
        return
    real = table[(table["control"] == "none") & (table["strength"] == results.primary_strength)]
    groups = real.groupby(["scenario", "variant", "vector", "layer"], sort=False)
    for (scenario, variant, vector, layer), lines in groups:
        place = PLACES.get(lines["place"].iloc[0], "")
        strength = figures.strength(results.primary_strength)
        known = lines.dropna(subset=["difference"])
        yield Movers(
            where=f"{scenario}/{variant}",
            condition=f"{vector} {strength}",
            layer=f"{layer} ({place})",
            rose=_named(known[known["difference"] > 0].nlargest(N_SHOWN, "difference")),
            fell=_named(known[known["difference"] < 0].nsmallest(N_SHOWN, "difference")),
        )


def _named(lines: pd.DataFrame) -> str:
    told = (
        f"{name} {figures.change(value, low, high)}"
        for name, value, low, high in zip(
            lines["emotion"],
            lines["difference"],
            lines["difference_low"],
            lines["difference_high"],
            strict=True,
        )
    )
    return "; ".join(told) or "none"
