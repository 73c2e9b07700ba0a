"""What is asked of an engine, and what it answers: token ids and numbers, no model and no text."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Readings
from emoctl.engine.steering import Steering, SteeringCount

Stop = Literal["end", "decided", "length"]


def _never(_written: Sequence[int]) -> bool:
    return False


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is drawn, and when to stop."""

    max_new_tokens: int
    """In one turn."""

    temperature: float
    top_p: float = 1.0
    """Draw from the most likely tokens that together have this probability."""

    ended: Callable[[Sequence[int]], bool] = _never
    """Whether the tokens that a row wrote so far end its turn, beside an end-of-sequence token."""

    decided: Callable[[Sequence[int]], bool] = _never
    """Whether nothing that could follow would change what they are judged as."""


@dataclass(frozen=True, eq=False)
class RolloutRequest:
    """One row to be played."""

    prompt: tuple[int, ...]
    response_start: int
    """Index of the response's first token; what the model writes begins at `len(prompt)`."""

    steering: Steering
    noise: NoiseKey

    def __post_init__(self) -> None:
        """Raises:
        ValueError: the response does not begin within the prompt, or right behind it.
        """
        if not 1 <= self.response_start <= len(self.prompt):
            raise ValueError(
                f"response_start is {self.response_start}, not 1 to {len(self.prompt)}"
            )


@dataclass(frozen=True)
class Completion:
    """What one row wrote."""

    index: int
    """Which request this answers."""

    token_ids: tuple[int, ...]
    """Written tokens of all turns; a turn that stopped by itself has its end-of-sequence token."""

    stop: Stop
    """How the last turn stopped; `length` too where the context had no room for the next one."""

    mean_logprob: float
    """Nats a token, under the steered model at temperature 1."""

    count: SteeringCount
    turn_ends: tuple[int, ...]
    """Where in `token_ids` each turn ends; one for a single turn."""

    readings: Readings | None = None


Respond = Callable[[int, Sequence[int]], Sequence[int] | None]
"""(request, what the model wrote in this turn) → the tokens that an environment answers, up to
where the model goes on; None ends the rollout."""


def stop_of(turn: Sequence[int], params: SamplingParams, eos_ids: Collection[int]) -> Stop | None:
    """How a turn stops with its last token; None where it goes on."""
    if turn[-1] in eos_ids or params.ended(turn):
        return "end"
    if params.decided(turn):
        return "decided"
    return "length" if len(turn) >= params.max_new_tokens else None


def no_answer(_request: int, _written: Sequence[int]) -> None:
    """The environment of a single turn."""
