"""The judge of every bundled scenario agrees with the examples that its author wrote by hand."""

from pathlib import Path

import pytest

from emoctl.judges import Judge, make_judge
from emoctl.scenarios import (
    Message,
    Scenario,
    Stop,
    Transcript,
    bundled_folder,
    lint_scenario,
    load_scenario,
)
from emoctl.scenarios.loading import FILE_NAME

FOLDERS = sorted(path.parent for path in bundled_folder().glob(f"*/{FILE_NAME}"))
SCENARIOS = {folder.name: load_scenario(folder) for folder in FOLDERS}


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


def outcome(judge: Judge, scenario: Scenario, variant: str, text: str, stop: Stop) -> str | None:
    messages = (
        *scenario.variants[variant].messages,
        Message(role="assistant", content=text),
    )
    return judge.judge(Transcript(messages, stop)).outcome


def test_there_are_bundled_scenarios() -> None:
    assert Path(bundled_folder(), "replacement-affair") in FOLDERS


def test_a_bundled_scenario_has_no_faults(scenario: Scenario) -> None:
    assert lint_scenario(scenario) == []


def test_examples_are_judged_as_written(scenario: Scenario) -> None:
    if scenario.judge is None:
        pytest.skip("no judge: skipped until the scenario has one")
    judge = make_judge(scenario)
    for variant in scenario.variants:
        for label, definition in scenario.outcomes.items():
            stop: Stop = "length" if label == "truncated" else "end"
            for text in definition.examples:
                assert outcome(judge, scenario, variant, text, stop) == label, text
            for text in definition.near_misses:
                assert outcome(judge, scenario, variant, text, "end") != label, text


def test_foils_do_not_read_as_the_tested_act(scenario: Scenario) -> None:
    """A regression guard, not an estimate of accuracy: the cues were tuned on these texts too."""
    if scenario.judge is None or scenario.likelihood is None:
        pytest.skip("no likelihood readout: skipped until the scenario has one")
    judge, spec = make_judge(scenario), scenario.likelihood
    variant = next(iter(scenario.variants))
    found = {
        act: [
            outcome(judge, scenario, variant, spec.lead + text, "end") == spec.outcome
            for item in spec.sets
            for text in item.acts[act].values()
        ]
        for act in (spec.target, *spec.foils)
    }
    for foil in spec.foils:
        assert sum(found[foil]) / len(found[foil]) <= 0.05, foil
    assert sum(found[spec.target]) / len(found[spec.target]) >= 0.6, "control: threats are seen"
