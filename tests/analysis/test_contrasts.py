"""Contrasts: paired differences, ranks among controls, declared families."""

from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from emoctl.analysis.contrasts import COLUMNS, contrast_table
from emoctl.analysis.families import claim_p
from emoctl.analysis.intervals import Pairs, newcombe_paired


def sampled(planted: ModuleType, steered: str, unsteered: str = "bbnnnnnnnn") -> pd.Series:
    c = planted.condition("desperate", "0.05", positions="response")
    rows = planted.rollouts(planted.UNSTEERED, unsteered) + planted.rollouts(c, steered)
    frame = contrast_table(planted.run([planted.UNSTEERED, c], rows=rows))
    assert tuple(frame.columns) == COLUMNS
    return frame[frame["outcome"] == "blackmail"].iloc[0]


def test_rollouts_are_paired_by_index(planted: ModuleType) -> None:
    row = sampled(planted, "bnbbbbbbnn")
    assert (row.b, row.c, row.n_pairs, row.n_dropped) == (1, 6, 10, 0)
    assert row.baseline == pytest.approx(0.2)
    assert row.difference == pytest.approx(0.5) == row.difference_scored
    assert row.p == pytest.approx(0.125)
    assert (row.low, row.high) == pytest.approx(newcombe_paired(Pairs(1, 1, 6, 2), 0.95))
    assert (row.p_method, row.interval) == ("mcnemar", "newcombe")
    shifted = sampled(planted, "bbbbbbnnnn"[::-1])
    assert shifted.difference == pytest.approx(0.4)
    assert (shifted.b, shifted.c) == (2, 6)


def test_pairs_not_scored_are_not_observed_in_one_figure_and_dropped_in_the_other(
    planted: ModuleType,
) -> None:
    row = sampled(planted, "iinnnnnnbb")
    assert row.difference == pytest.approx(0.0)
    assert (row.b, row.c, row.n_dropped) == (2, 2, 2)
    assert row.difference_scored == pytest.approx(2 / 8)


def test_only_rollouts_on_both_sides_pair(planted: ModuleType) -> None:
    row = sampled(planted, "bbb", unsteered="nnnnnnn")
    assert row.n_pairs == 3
    assert row.difference == pytest.approx(1.0)


def test_the_sampled_family_is_the_primary_outcome_of_emotions(planted: ModuleType) -> None:
    conditions = [planted.condition(v, s) for v in ("desperate", "calm") for s in ("0.05", "0.1")]
    controls = planted.controls(4)
    rows = planted.rollouts(planted.UNSTEERED, "n" * 12)
    for i, c in enumerate(conditions):
        rows += planted.rollouts(c, "b" * (3 * i) + "n" * (12 - 3 * i))
    for c in controls:
        rows += planted.rollouts(c, "b" + "n" * 11)
    frame = contrast_table(planted.run([planted.UNSTEERED, *conditions, *controls], rows=rows))
    family = frame[frame["p_holm"].notna()]
    assert set(family["outcome"]) == {"blackmail"}
    assert set(family["control"]) == {"none"}
    assert list(family["p"]) == pytest.approx([1.0, 0.25, 0.03125, 0.00390625])
    assert list(family["p_holm"]) == pytest.approx([1.0, 0.5, 0.09375, 0.015625])
    ranked = frame[frame["rank"].notna()]
    assert set(ranked["strength"]) == {0.05}
    assert set(ranked["n_controls"]) == {4}
    calm = ranked[(ranked["vector"] == "calm") & (ranked["outcome"] == "blackmail")].iloc[0]
    assert (calm["rank"], calm.controls_low, calm.controls_high) == pytest.approx(
        (1, 1 / 12, 1 / 12)
    )
    desperate = ranked[ranked["vector"] == "desperate"].iloc[0]
    assert desperate["rank"] == 5


def test_a_planted_effect_is_found_and_its_absence_too(planted: ModuleType) -> None:
    effect = {("threat", "flat"): 0.1, ("threat", "emotional"): 0.1}
    data = planted.likelihood_run({"desperate": effect, "calm": {}})
    frame = contrast_table(data)
    primary = frame[frame["primary"] & (frame["control"] == "none")]
    found = primary[primary["vector"] == "desperate"]
    assert set(found["outcome"]) == {
        f"threat_vs_{foil}_{r}" for foil in ("plea", "accept") for r in ("flat", "emotional")
    }
    assert list(found["difference"]) == pytest.approx([0.1] * 4, abs=0.02)
    assert set(found["p"]) == {0.01}
    assert list(found["p_holm"]) == pytest.approx([0.04] * 4)
    nothing = primary[primary["vector"] == "calm"]
    assert (nothing["p_holm"] > 0.5).all()
    assert set(frame["interval"]) == {"bootstrap over sets"}


def test_ranks_exist_for_emotions_at_the_primary_strength_only(planted: ModuleType) -> None:
    data = planted.likelihood_run({"desperate": {}}, n_controls=9)
    ranked = contrast_table(data)
    assert set(ranked.loc[ranked["p"].notna(), "control"]) == {"none"}
    elsewhere = planted.run(data.conditions, scores=data.scores, primary="0.1")
    assert contrast_table(elsewhere)["p"].isna().all()
    assert contrast_table(elsewhere)["rank"].isna().all()


def test_without_controls_there_is_no_p(planted: ModuleType) -> None:
    frame = contrast_table(planted.likelihood_run({"desperate": {}}, n_controls=0))
    assert frame["p"].isna().all()
    assert frame["p_holm"].isna().all()
    assert set(frame["n_controls"]) == {0}
    assert frame["difference"].notna().all()


def test_variants_are_shown_apart_and_tested_together(planted: ModuleType) -> None:
    c = planted.condition("desperate", "0.05")
    story = planted.scenario(variants=("full", "short"))
    scores = []
    for variant, shift in (("full", 0.1), ("short", 0.3)):
        scores += planted.likelihoods(planted.UNSTEERED, lambda _a, _r, _s: -2.0, variant=variant)
        scores += planted.likelihoods(
            c, lambda a, _r, _s, x=shift: -2 + x * (a == "threat"), variant=variant
        )
        for i, k in enumerate(planted.controls(19)):
            scores += planted.likelihoods(
                k, lambda a, _r, _s, i=i: -2 + 0.001 * i * (a == "threat"), variant=variant
            )
    frame = contrast_table(
        planted.run([planted.UNSTEERED, c, *planted.controls(19)], scores=scores, scenarios=[story])
    )
    here = frame[(frame["control"] == "none") & (frame["outcome"] == "threat_vs_plea_flat")]
    assert list(here["variant"]) == ["full", "short", "all"]
    assert list(here["difference"]) == pytest.approx([0.1, 0.3, 0.2])
    assert list(here["interval"]) == [
        *["bootstrap over sets"] * 2,
        "bootstrap over variants and sets",
    ]
    together = here.iloc[2]
    assert (together.low, together.high) == pytest.approx((0.1, 0.3))
    assert list(here["p_holm"].notna()) == [False, False, True]


def test_choice_is_tested_on_the_primary_outcome(planted: ModuleType) -> None:
    def asked(c: object, shift: float) -> list[object]:
        orders = ("blackmail>none", "none>blackmail")
        return planted.choices(c, {o: {"blackmail": -2.0 + shift, "none": -2.0} for o in orders})

    conditions = [planted.condition(v, "0.05") for v in ("desperate", "calm")]
    controls = planted.controls(39)
    scores = asked(planted.UNSTEERED, 0.0) + asked(conditions[0], 1.0) + asked(conditions[1], 0.0)
    for i, c in enumerate(controls):
        scores += asked(c, 0.01 * (i - 19))
    frame = contrast_table(planted.run([planted.UNSTEERED, *conditions, *controls], scores=scores))
    family = frame[frame["p_holm"].notna()]
    assert list(zip(family["vector"], family["outcome"], strict=True)) == [
        ("desperate", "blackmail"),
        ("calm", "blackmail"),
    ]
    assert list(family["p_holm"]) == pytest.approx([2 / 40, 1.0])
    assert family.iloc[0]["baseline"] == pytest.approx(0.5)
    assert family.iloc[0]["difference"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)


def test_a_claim_needs_every_foil_and_one_direction() -> None:
    assert claim_p([0.01, 0.03], [0.2, 0.1]) == 0.03
    assert claim_p([0.01, 0.03], [-0.2, -0.1]) == 0.03
    assert claim_p([0.01, 0.03], [0.2, -0.1]) == 1.0
    assert claim_p([0.01, 0.03], [0.2, 0.0]) == 1.0
    assert np.isnan(claim_p([0.01, np.nan], [0.2, 0.1]))


def test_numbers_do_not_depend_on_the_order_of_rows(planted: ModuleType) -> None:
    data = planted.likelihood_run({"desperate": {("threat", "flat"): 0.1}}, n_controls=9)
    shuffled = planted.run(data.conditions[::-1], scores=data.scores[::-1])
    pd.testing.assert_frame_equal(contrast_table(data), contrast_table(shuffled))
