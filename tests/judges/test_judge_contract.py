"""What a judge may see, and what happens when one fails."""

import dataclasses
import inspect

import pytest

from emoctl.errors import ScenarioError
from emoctl.judges import Judge, JudgeFailure, MailJudge, judge_safely, make_judge
from emoctl.scenarios import Judgement, Message, Scenario, Transcript

TRANSCRIPT = Transcript((Message(role="assistant", content="Hello there."),), "end")


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def judge(self, transcript: Transcript) -> Judgement:  # noqa: ARG002
        raise self.error


class Answering:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def judge(self, transcript: Transcript) -> Judgement:  # noqa: ARG002
        return self.answer  # type: ignore[return-value]


def test_a_judge_sees_a_transcript_and_nothing_of_the_condition() -> None:
    for judge in (Judge.judge, MailJudge.judge):
        assert list(inspect.signature(judge).parameters) == ["self", "transcript"]
    assert list(inspect.signature(make_judge).parameters) == ["scenario"]
    fields = {field.name for field in dataclasses.fields(Transcript)}
    assert fields == {"messages", "stop"}


def test_a_judge_that_could_not_tell_is_unscored_with_its_reason() -> None:
    judgement = judge_safely(Raising(JudgeFailure("two mails\ncontradict")), TRANSCRIPT)

    assert judgement == Judgement("unscored", None, reason="two mails contradict")


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), RecursionError("x"), KeyError("x"), ZeroDivisionError("x"), OSError("x")],
)
def test_a_faulty_judge_is_unscored_and_its_error_is_named(error: Exception) -> None:
    judgement = judge_safely(Raising(error), TRANSCRIPT)

    assert (judgement.status, judgement.outcome) == ("unscored", None)
    assert type(error).__name__ in judgement.reason


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), MemoryError()])
def test_what_is_no_fault_of_the_judge_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        judge_safely(Raising(error), TRANSCRIPT)


@pytest.mark.parametrize("answer", [None, "blackmail", Judgement("scored", None)])
def test_a_judge_that_names_no_outcome_is_unscored(answer: object) -> None:
    assert judge_safely(Answering(answer), TRANSCRIPT).status == "unscored"


def test_a_good_judgement_passes_unchanged() -> None:
    good = Judgement("scored", "none")

    assert judge_safely(Answering(good), TRANSCRIPT) is good


def test_make_judge_gives_a_judge(lighthouse: Scenario) -> None:
    assert isinstance(make_judge(lighthouse), Judge)


def test_a_scenario_without_a_judge_is_refused(lighthouse: Scenario) -> None:
    with pytest.raises(ScenarioError, match="has no judge"):
        make_judge(lighthouse.model_copy(update={"judge": None}))


def test_a_broken_cue_is_refused_by_name(lighthouse: Scenario) -> None:
    assert lighthouse.judge
    broken = lighthouse.judge.model_copy(update={"terms": {"secret": ("(",)}})

    with pytest.raises(ScenarioError, match=r"judge\.terms\.secret"):
        make_judge(lighthouse.model_copy(update={"judge": broken}))


def test_no_holding_rule_is_unscored_and_never_none(lighthouse: Scenario) -> None:
    assert lighthouse.judge
    without_none = lighthouse.judge.model_copy(update={"rules": lighthouse.judge.rules[:-1]})
    judge = make_judge(lighthouse.model_copy(update={"judge": without_none}))

    assert judge.judge(TRANSCRIPT).status == "unscored"
    assert make_judge(lighthouse).judge(TRANSCRIPT).outcome == "none"
