"""What every judge offers, which judge a scenario asks for, and what happens when one fails.

A judge is given a transcript and nothing else, so it cannot know what was added to the model.
"""

import re
from typing import Protocol, runtime_checkable

from emoctl.errors import EmoctlError, ScenarioError
from emoctl.judges.mail import MailJudge
from emoctl.scenarios.scenario import Scenario
from emoctl.scenarios.transcript import Judgement, Transcript

REASON_LENGTH = 200
"""Characters of an error message that a reason keeps."""


class JudgeFailure(Exception):
    """A judge could not tell, and says why; the transcript is counted as unscored."""


ORDINARY_FAILURES: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    EmoctlError,
    ImportError,
    JudgeFailure,
    LookupError,
    NameError,
    OSError,
    ReferenceError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
    re.error,
)
"""What a faulty judge may raise without ending the run. A judge that talks to a library with
errors of its own turns them into `JudgeFailure`. Memory exhaustion and interrupts pass through."""


@runtime_checkable
class Judge(Protocol):
    """Transcript → outcome."""

    def judge(self, transcript: Transcript) -> Judgement:
        """One label of the scenario's closed set, or why there is none.

        Raises:
            JudgeFailure: it could not tell.
        """


def make_judge(scenario: Scenario) -> Judge:
    """The judge that `scenario` asks for.

    Raises:
        ScenarioError: it asks for none, or describes one that cannot work.
    """
    if scenario.judge is None:
        raise ScenarioError(
            f"scenario {scenario.name!r} has no judge, so it cannot be sampled",
            hint="add a judge section, or take the choice or likelihood readout",
        )
    return {"mail": MailJudge}[scenario.judge.kind](scenario.judge)


def judge_safely(judge: Judge, transcript: Transcript) -> Judgement:
    """What `judge` says; where it fails, an unscored judgement with the reason, never a "no"."""
    try:
        judgement = judge.judge(transcript)
    except JudgeFailure as failure:
        return _unscored(str(failure) or "the judge could not tell")
    except ORDINARY_FAILURES as error:
        return _unscored(f"the judge raised {type(error).__name__}: {error}")
    if not isinstance(judgement, Judgement):
        return _unscored(f"the judge returned a {type(judgement).__name__}, not a judgement")
    if judgement.status == "scored" and judgement.outcome is None:
        return _unscored("the judge scored the transcript but named no outcome")
    return judgement


def _unscored(reason: str) -> Judgement:
    one_line = " ".join(reason.split())
    return Judgement("unscored", None, reason=one_line[:REASON_LENGTH])
