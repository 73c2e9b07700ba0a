"""What a row wrote, token by token, and when it stops: host-side bookkeeping, no model.

Tokens may be handed over several steps at a time; those that a row drew after it had stopped are
left out, as if they had never been.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from emoctl.engine.noise import NoiseKey
from emoctl.engine.readings import Probe, Readings, joined
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams, Stop, stop_of
from emoctl.engine.steering import SteeringCount, check_count, check_logprob


@dataclass(eq=False)
class Row:
    """One rollout while it is played."""

    index: int
    request: RolloutRequest
    slot: int
    written: list[int] = field(default_factory=list)
    turn_ends: list[int] = field(default_factory=list)
    logprob: float = 0.0
    n_fed: int = 0
    """Tokens fed behind the prefix: the prompt's last ones, and what followed."""

    n_steered: int = 0
    added_norm: float = 0.0
    """Sum over steered positions."""

    read: list[Readings] = field(default_factory=list)

    @property
    def n_positions(self) -> int:
        """Tokens that the model has seen of the row; the one that it wrote last is not among
        them."""
        return self.request.response_start - 1 + self.n_fed

    @property
    def turn(self) -> int:
        """Which turn is being written, from 0."""
        return len(self.turn_ends)

    @property
    def noise(self) -> NoiseKey:
        """The stream that this turn draws from."""
        return replace(self.request.noise, turn=self.request.noise.turn + self.turn)

    @property
    def turn_tokens(self) -> list[int]:
        """What was written in this turn."""
        return self.written[self.turn_ends[-1] if self.turn_ends else 0 :]

    def write(
        self,
        token: int,
        logprob: float,
        params: SamplingParams,
        eos_ids: Collection[int],
        context: int,
    ) -> Stop | None:
        """Take a drawn token; how the turn stops with it, None where it goes on.

        Raises:
            SteeringError: the model's logits were not numbers.
        """
        check_logprob(logprob, f"rollout {self.noise.rollout}")
        self.written.append(token)
        self.logprob += logprob
        is_full = self.n_positions >= context
        return stop_of(self.turn_tokens, params, eos_ids) or ("length" if is_full else None)

    def feed(self, n: int, added: SteeringCount, read: Readings | None) -> None:
        """Take note of tokens that the model was fed, and of what was added and read there."""
        self.n_fed += n
        self.n_steered += added.n_steered
        self.added_norm += added.n_steered * added.mean_added_norm
        if read is not None:
            self.read.append(read)

    def complete(self, stop: Stop, probe: Probe | None) -> Completion:
        """Close the rollout, and hold what was added against what should have been.

        Raises:
            SteeringError: it was not steered as its condition says.
        """
        request = self.request
        mean = self.added_norm / self.n_steered if self.n_steered else 0.0
        count = SteeringCount(self.n_steered, mean)
        expected = self.n_positions - request.steering.steer_from(request.response_start)
        check_count(request.steering, count, expected, f"rollout {request.noise.rollout}")
        return Completion(
            index=self.index,
            token_ids=tuple(self.written),
            stop=stop,
            mean_logprob=self.logprob / len(self.written),
            count=count,
            turn_ends=(*self.turn_ends, len(self.written)),
            readings=joined(probe, self.read, request.response_start),
        )
