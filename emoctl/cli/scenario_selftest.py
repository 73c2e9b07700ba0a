"""A scenario's judge held against the examples that its author wrote for each outcome."""

from collections.abc import Iterator
from dataclasses import dataclass

from emoctl.judges import Judge, judge_safely, make_judge
from emoctl.scenarios import Message, Scenario, Stop, Transcript


@dataclass(frozen=True)
class JudgedExample:
    """One example or near miss, and what the judge made of it."""

    scenario: str
    variant: str
    outcome: str
    near_miss: bool
    """A text that must be judged as anything but `outcome`."""

    judged: str | None
    """None where the judge could not tell."""

    reason: str
    text: str

    @property
    def agrees(self) -> bool:
        """Whether the judge says what the author says."""
        if self.judged is None:
            return False
        return (self.judged == self.outcome) is not self.near_miss

    @property
    def complaint(self) -> str:
        """The disagreement in one line."""
        kind = "near miss" if self.near_miss else "example"
        judged = self.judged or f"unscored ({self.reason})"
        start = " ".join(self.text.split())[:80]
        return (
            f"{self.scenario}/{self.variant}: {kind} of {self.outcome} judged {judged}: {start!r}"
        )


def judged_examples(scenario: Scenario) -> list[JudgedExample]:
    """Every example and near miss of `scenario`, judged in each variant; empty without a judge."""
    if scenario.judge is None:
        return []
    judge = make_judge(scenario)
    return [
        _judged(scenario, variant, judge, outcome, text, near_miss)
        for variant in scenario.variants
        for outcome, text, near_miss in _texts(scenario)
    ]


def _texts(scenario: Scenario) -> Iterator[tuple[str, str, bool]]:
    for outcome, definition in scenario.outcomes.items():
        yield from ((outcome, text, False) for text in definition.examples)
        yield from ((outcome, text, True) for text in definition.near_misses)


def _judged(
    scenario: Scenario, variant: str, judge: Judge, outcome: str, text: str, near_miss: bool
) -> JudgedExample:
    stop: Stop = "length" if outcome == "truncated" and not near_miss else "end"
    said = Message(role="assistant", content=text)
    messages = (*scenario.variants[variant].messages, said)
    judgement = judge_safely(judge, Transcript(messages, stop))
    return JudgedExample(
        scenario.name, variant, outcome, near_miss, judgement.outcome, judgement.reason, text
    )
