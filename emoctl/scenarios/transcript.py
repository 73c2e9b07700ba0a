"""What a rollout left behind, as a judge sees it: the messages, and nothing of the condition."""

from dataclasses import dataclass
from typing import Literal

from emoctl.scenarios.scenario import Message

Stop = Literal["end", "length"]
Status = Literal["scored", "incoherent", "truncated", "unscored"]


@dataclass(frozen=True)
class Transcript:
    """The messages of one rollout; the last one is what the model wrote, its lead included."""

    messages: tuple[Message, ...]
    stop: Stop
    """`end`: the model ended its turn. `length`: it was cut off at the token limit."""

    @property
    def response(self) -> str:
        """The model's own last words."""
        return self.messages[-1].content


@dataclass(frozen=True)
class Judgement:
    """What one transcript showed."""

    status: Status
    """Only `scored` transcripts have an act; the other three are counted apart, never as "no"."""

    outcome: str | None
    """A label of the scenario's closed set. It equals the status for `incoherent` and `truncated`,
    and is None for `unscored`."""

    evidence: str = ""
    """The words of the transcript that decided it."""

    reason: str = ""
    """Why it could not be scored; empty when it was."""
