"""Transcript → outcome. A judge sees what was said, never under which condition."""

from emoctl.judges.coherence import Coherence, coherence
from emoctl.judges.judge import Judge, JudgeFailure, judge_safely, make_judge
from emoctl.judges.mail import MailJudge

__all__ = [
    "Coherence",
    "Judge",
    "JudgeFailure",
    "MailJudge",
    "coherence",
    "judge_safely",
    "make_judge",
]
