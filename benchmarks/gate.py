"""Before anything is timed: does a peer compute what the others compute?

Every peer's first-step logits are held against one plain forward pass of transformers with a hook,
and its greedy tokens against plain passes over everything written so far, so that a hook that works
on the prompt and not afterwards is seen. The control: steering must change those logits by far
more than the tolerance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.job import Condition, Job, Outcome
from benchmarks.jobs import Subject, make_job
from benchmarks.roster import Size

TOLERANCE = 1e-4
"""Largest difference in float32, as a share of the largest logit."""

CONTROL = 100 * TOLERANCE
GATE = Size(prompt_tokens=128, conditions=2, rows=4, new_tokens=4)


@dataclass(frozen=True)
class Verdict:
    """How a peer compares with the reference."""

    error: float
    """Largest difference of first-step logits, as a share of the largest; over all conditions."""

    same_tokens: bool
    effect: float
    """What steering does to the reference, measured alike."""

    passed: bool

    def __str__(self) -> str:
        tokens = "same tokens" if self.same_tokens else "other tokens"
        return f"{'passes' if self.passed else 'FAILS'}: {self.error:.1e}, {tokens}"


def gate_job(subject: Subject) -> Job:
    """An unsteered condition first, then steered ones; greedy, with everything kept."""
    job = make_job(subject, GATE)
    zero = Condition(subject.layer, (0.0,) * subject.shape.d_model)
    return replace(job, conditions=(zero, *job.conditions), greedy=True, keep_outputs=True)


def judge(job: Job, reference: Outcome, outcome: Outcome) -> Verdict:
    """Hold a peer's answer to `job` against the reference's. One that cannot steer is held against
    the unsteered condition."""
    n = len(job.conditions)
    against = range(n) if outcome.steered else [0] * n
    expected = [reference.first_logits[i] for i in against]
    effect = max(difference(reference.first_logits[0], seen) for seen in reference.first_logits[1:])
    error = max(difference(e, s) for e, s in zip(expected, outcome.first_logits, strict=True))
    wanted = [row for i in against for row in reference.tokens[i * job.rows : (i + 1) * job.rows]]
    same = list(outcome.tokens) == wanted
    passed = error <= TOLERANCE and same and effect >= CONTROL
    return Verdict(error, same, effect, passed)


def difference(expected: Sequence[float], seen: Sequence[float]) -> float:
    """Largest difference as a share of the largest logit, when both are freed of their constant:
    a peer may give log-probabilities."""
    if len(expected) != len(seen):
        return math.inf
    constant, other = log_sum_exp(expected), log_sum_exp(seen)
    pairs = zip(expected, seen, strict=True)
    largest = max(abs(e) for e in expected)
    return max(abs((e - constant) - (s - other)) for e, s in pairs) / largest


def log_sum_exp(logits: Sequence[float]) -> float:
    """What separates logits from log-probabilities."""
    top = max(logits)
    return top + math.log(math.fsum(math.exp(x - top) for x in logits))
