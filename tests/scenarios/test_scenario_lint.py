"""Each fault that makes a scenario useless or weak is found, and a good one has none."""

from collections.abc import Callable
from typing import Any

import pytest

from emoctl.errors import ScenarioError
from emoctl.scenarios import Scenario, check_scenario, lint_scenario

Make = Callable[[dict[str, Any]], Scenario]


def put(content: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; None deletes the key."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = content
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value


def test_a_good_scenario_has_no_findings(lamp: dict[str, Any], make: Make) -> None:
    assert lint_scenario(make(lamp)) == []
    check_scenario(make(lamp))


SAME = {"messages": [{"role": "user", "content": "will  you burn?\nI know of the Logbook. "}]}
FAULTS: list[tuple[str, Any, str, str]] = [
    ("primary", "win", "error", "primary: 'win' is not an outcome"),
    ("primary", "truncated", "error", "primary: 'truncated' is set aside"),
    ("outcomes.other", {"definition": "x"}, "error", "outcomes.other: no judge rule"),
    ("outcomes.truncated", None, "error", "outcomes: lacks 'truncated'"),
    ("judge.rules.1.outcome", "win", "error", "judge.rules: 'win' is not an outcome"),
    ("judge.rules.1.outcome", "refuse", "error", "2 rules lead to 'refuse'"),
    ("judge.rules.0.check", "blakmail", "error", "no check 'blakmail'"),
    ("judge.rules.0.check", "none", "error", "always holds"),
    ("judge.people.target", None, "error", "judge.people: lacks 'target'"),
    ("judge.people.target", [" "], "error", "judge.people.target: needs"),
    ("judge.terms.condition", None, "error", "judge.terms: lacks 'condition'"),
    ("judge.terms.condition", ["("], "error", "judge.terms.condition.0: '('"),
    ("judge.terms.condition", ["x*"], "error", "matches the empty text"),
    ("judge.terms.secret", ["affair"], "warning", "unreachable cue: nothing in variant 'full'"),
    ("variants.copy", SAME, "error", "variants.copy: is the same text as 'full'"),
    ("variants.full.messages.0.role", "assistant", "error", "last message must be the user"),
    ("choice.question", "Which?", "error", "choice.question: lacks {options}"),
    ("choice.options.win", "Win.", "error", "choice.options.win: 'win' is not an outcome"),
    ("choice.options.truncated", "Stop.", "error", "cannot be chosen"),
    ("choice.options.obey", "do NOT burn.", "error", "is the same text as 'refuse'"),
    ("likelihood.outcome", "win", "error", "likelihood.outcome: 'win'"),
    ("likelihood.foils", ["plea", "threat"], "error", "'threat' is among its foils"),
    ("likelihood.foils", ["plea", "plea"], "error", "'plea' stands 2 times"),
    ("likelihood.sets.1.id", "s00", "error", "'s00' stands 2 times"),
    ("likelihood.sets.1.acts.plea", None, "error", "lacks the act 'plea' in the register 'flat'"),
    ("likelihood.sets.1.acts.plea.flat", None, "error", "in the register 'flat'"),
    ("likelihood.sets.1.acts.plea.flat", " ", "error", "in the register 'flat'"),
    ("likelihood.sets.1.acts.joke", {"flat": "Ha."}, "error", "neither the target nor a foil"),
    ("likelihood.sets.1.acts.plea.flat", "Threat  flat 1", "error", "same text as s01.threat.flat"),
    ("likelihood.sets.1.acts.plea.flat", "a b c d e f g h i j", "warning", "of 3 to 10 words"),
    ("likelihood.sets.11", None, "warning", "11 sets"),
]


@pytest.mark.parametrize(("path", "value", "severity", "words"), FAULTS)
def test_a_fault_is_found(
    lamp: dict[str, Any], make: Make, path: str, value: Any, severity: str, words: str
) -> None:
    put(lamp, path, value)
    findings = lint_scenario(make(lamp))

    matching = [f for f in findings if words in f"{f.where}: {f.message}"]
    assert [finding.severity for finding in matching] == [severity], findings


@pytest.mark.parametrize(("path", "value", "severity"), [fault[:3] for fault in FAULTS])
def test_only_errors_make_a_scenario_unusable(
    lamp: dict[str, Any], make: Make, path: str, value: Any, severity: str
) -> None:
    put(lamp, path, value)
    if severity == "warning":
        check_scenario(make(lamp))
    else:
        with pytest.raises(ScenarioError, match="scenario 'lamp': "):
            check_scenario(make(lamp))


def test_every_variant_must_tell_the_secret(lamp: dict[str, Any], make: Make) -> None:
    lamp["variants"]["bare"] = {"messages": [{"role": "user", "content": "Will you burn?"}]}

    assert [finding.where for finding in lint_scenario(make(lamp))] == ["judge.terms.secret"]


def test_a_scenario_that_measures_nothing_is_an_error(lamp: dict[str, Any], make: Make) -> None:
    for key in ("judge", "choice", "likelihood"):
        del lamp[key]

    assert [finding.severity for finding in lint_scenario(make(lamp))] == ["error"]


def test_errors_come_first(lamp: dict[str, Any], make: Make) -> None:
    put(lamp, "judge.terms.secret", ["affair"])
    put(lamp, "choice.question", "Which?")

    assert [finding.severity for finding in lint_scenario(make(lamp))] == ["error", "warning"]
