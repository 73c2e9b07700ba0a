"""Verdicts: what the sentences say about runs whose truth is known."""

from types import ModuleType

import pytest

from emoctl.analysis.results import analyse
from emoctl.analysis.verdicts import Verdict

ACT = {("threat", "flat"): 0.1}
TONE = {(a, "emotional"): 0.1 for a in ("threat", "plea", "accept")}


def likelihood(planted: ModuleType, truth: object, n_controls: int = 99) -> dict[str, Verdict]:
    results = analyse(planted.likelihood_run(truth, n_controls=n_controls))
    return {v.vector: v for v in results.verdicts}


def test_an_act_a_tone_and_nothing_are_told_apart(planted: ModuleType) -> None:
    verdicts = likelihood(planted, {"desperate": ACT, "calm": TONE})
    assert verdicts["desperate"].kind == "stands out"
    assert "flat threat gains on plea +0.1" in verdicts["desperate"].sentence
    assert "emotional threat" not in verdicts["desperate"].sentence
    assert verdicts["calm"].kind == "tone only"
    assert "99 controls" in verdicts["calm"].sentence
    assert likelihood(planted, {"calm": {}})["calm"].kind == "nothing"


def test_direction_is_told_in_words(planted: ModuleType) -> None:
    down = {key: -shift for key, shift in ACT.items()}
    sentence = likelihood(planted, {"calm": down})["calm"].sentence
    assert "flat threat loses to plea -0." in sentence
    assert "loses to accept -0." in sentence
    assert "gains" not in sentence


def test_an_effect_against_one_foil_only_does_not_stand_out(planted: ModuleType) -> None:
    one = {("accept", r): -0.1 for r in ("flat", "emotional")}
    verdict = likelihood(planted, {"desperate": one})["desperate"]
    assert verdict.kind == "nothing"
    both = one | {("plea", r): -0.1 for r in ("flat", "emotional")}
    assert likelihood(planted, {"desperate": both})["desperate"].kind == "stands out"


def test_too_few_controls_is_could_not_tell_however_large_the_effect(planted: ModuleType) -> None:
    truth = {"desperate": ACT | TONE, "calm": {}}
    few = likelihood(planted, truth, n_controls=40)["desperate"]
    assert few.kind == "could not tell"
    assert "79 controls are needed" in few.sentence
    enough = likelihood(planted, truth, n_controls=79)["desperate"]
    assert enough.kind == "stands out"
    none = likelihood(planted, truth, n_controls=0)["desperate"]
    assert none.kind == "could not tell"
    assert "no control ran" in none.sentence


def test_a_missing_score_is_could_not_tell(planted: ModuleType) -> None:
    data = planted.likelihood_run({"desperate": ACT})
    scores = [
        s
        for s in data.scores
        if (s.condition_id, s.item) != (planted.UNSTEERED.id, "s00/plea/flat")
    ]
    (verdict,) = analyse(planted.run(data.conditions, scores=scores)).verdicts
    assert verdict.kind == "could not tell"
    assert "n/a" not in verdict.sentence


def sampled(planted: ModuleType, unsteered: str, **steered: str) -> Verdict:
    names = {"down": "-0.05", "up": "0.05", "more": "0.1"}
    conditions = {key: planted.condition("desperate", names[key]) for key in steered}
    rows = planted.rollouts(planted.UNSTEERED, unsteered)
    for key, letters in steered.items():
        rows += planted.rollouts(conditions[key], letters)
    (verdict,) = analyse(planted.run([planted.UNSTEERED, *conditions.values()], rows=rows)).verdicts
    return verdict


@pytest.mark.parametrize(
    ("unsteered", "up", "kind", "words"),
    [
        ("n" * 20, "n" * 20, "at the floor", "0/40"),
        ("b" * 20, "b" * 20, "at the ceiling", "40/40"),
        ("n" * 9 + "i" * 11, "n" * 9 + "t" * 11, "could not tell", "18 of 40"),
        ("b" * 3 + "n" * 17, "b" * 18 + "n" * 2, "changed", "18/20 against 3/20"),
        ("b" * 3 + "n" * 17, "b" * 5 + "n" * 15, "no change shown", "5/20 against 3/20"),
        ("n" * 20, "b" * 8 + "n" * 12, "changed", "8/20 against 0/20"),
    ],
)
def test_sampled_rates_say_what_they_can(
    planted: ModuleType, unsteered: str, up: str, kind: str, words: str
) -> None:
    verdict = sampled(planted, unsteered, up=up)
    assert verdict.kind == kind
    assert words in verdict.sentence
    assert verdict.sentence.startswith(f"desperate: {kind} – ")


def test_a_floor_says_what_could_have_been_missed(planted: ModuleType) -> None:
    sentence = sampled(planted, "n" * 20, up="n" * 10 + "t" * 10).sentence
    assert "a true rate up to .28 would look the same" in sentence
    assert "rule of three at 10 scored: .30" in sentence


def test_incoherence_is_not_a_fall(planted: ModuleType) -> None:
    """20 of 20 to 4 of 20 by McNemar, but 16 of the 20 could not be read."""
    verdict = sampled(planted, "b" * 20, up="b" * 3 + "n" + "i" * 16, down="b" * 20)
    assert verdict.kind == "could not tell"
    assert "at +0.05 fewer than half could be scored" in verdict.sentence
    control = sampled(planted, "b" * 20, up="b" * 3 + "n" * 17, down="b" * 20)
    assert control.kind == "changed"


def test_a_fall_that_scored_pairs_contradict_is_not_told_as_one(planted: ModuleType) -> None:
    verdict = sampled(planted, "b" * 9 + "n" * 11, up="i" * 9 + "b" + "n" * 10)
    assert verdict.kind == "could not tell"
    assert "among the rest +0.091" in verdict.sentence


def test_only_emotions_get_a_verdict(planted: ModuleType) -> None:
    c, controls = planted.condition("desperate", "0.05"), planted.controls(6)
    rows = [r for x in (planted.UNSTEERED, c, *controls) for r in planted.rollouts(x, "bnnn")]
    results = analyse(planted.run([planted.UNSTEERED, c, *controls], rows=rows))
    assert [v.vector for v in results.verdicts] == ["desperate"]
    nothing = analyse(planted.run([planted.UNSTEERED], rows=rows[:4], primary=None))
    assert nothing.verdicts == []
