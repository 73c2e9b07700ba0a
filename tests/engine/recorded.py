"""Rollouts of the steered engine with the logits behind every token, held against a reference.

`worst_error` is the one check of the engine's exactness: the tests of the engine ask that it be
small, the tests of that test that it be large for every engine with a mistake in it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from naive import float64_throughout, steered_logits
from tiny_models import tiny_model
from torch import Tensor

from emoctl.engine import play, suffix
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import SteeredEngine
from emoctl.engine.rollout import Completion, Respond, RolloutRequest, SamplingParams, no_answer
from emoctl.engine.sampling import draw
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel

TOLERANCE = 1e-9
"""Share of the largest logit, in float64."""

LONG = (1, *range(5, 60))
SHORT = (1, *range(30, 52))
LEAD = 3
BLOCK = 8
"""Of a suffix, in the world of `exercise`: small, so that few tokens cross many."""

Logits = Callable[[LoadedModel, Sequence[int], Steering, int], Tensor]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a list of requests became, in their order."""

    completions: list[Completion]
    logits: list[Tensor]
    """What each token of each row was drawn from, [written, d_vocab]."""


def steering(layer: int, size: float, everywhere: bool = True, seed: int = 3) -> Steering:
    """A condition of the tiny models, as long as `size`."""
    direction = torch.linspace(-1, 1, 32, dtype=torch.float64) ** seed
    return Steering(layer, size * direction / direction.norm(), everywhere)


def conditions() -> list[Steering]:
    """None, up and down, at every layer, everywhere and on the response only."""
    return [
        steering(2, 0.0),
        steering(2, 4.0),
        steering(1, -4.0),
        steering(2, 4.0, everywhere=False),
        steering(0, 2.0),
        steering(3, 6.0, seed=2),
        steering(1, -3.0, everywhere=False),
    ]


def request(
    condition: Steering, rollout: int, prompt: Sequence[int] = SHORT, lead: int = 0
) -> RolloutRequest:
    """One row, whose noise is its own as long as `rollout` is."""
    key = NoiseKey(5, "s", "v", rollout)
    return RolloutRequest(tuple(prompt), len(prompt) - lead, condition, key)


def mixed_requests() -> list[RolloutRequest]:
    """Every condition on two prompts, one of them with a lead, all mixed up, and some twice."""
    known = conditions()
    cells = [(p, lead, c) for p, lead in ((LONG, 0), (SHORT, LEAD)) for c in known]
    rows = [*cells, *cells[1:4]]
    order = [i * 5 % len(rows) for i in range(len(rows))]
    assert sorted(order) == list(range(len(rows)))
    return [request(rows[i][2], i, rows[i][0], rows[i][1]) for i in order]


def record(
    engine: SteeredEngine,
    requests: Sequence[RolloutRequest],
    params: SamplingParams,
    respond: Respond = no_answer,
) -> Recorded:
    """Play requests, none of which share their noise."""
    seen: dict[tuple[int, ...], Tensor] = {}

    def spy(logits: Tensor, words: Tensor, *args: Any) -> Tensor:
        for row, key in zip(logits, words.tolist(), strict=True):
            assert tuple(key) not in seen, "no token is drawn twice"
            seen[tuple(key)] = row.clone()
        return draw(logits, words, *args)

    with patch.object(play, "draw", spy):
        done = sorted(engine.play(requests, params, respond), key=lambda c: c.index)
    assert [c.index for c in done] == list(range(len(requests))), "every request once"
    return Recorded(
        done,
        [
            torch.stack([seen[key] for key in _keys(asked, completion)])
            for asked, completion in zip(requests, done, strict=True)
        ],
    )


def turns(done: Completion) -> list[tuple[int, ...]]:
    """What was written, turn by turn."""
    starts = (0, *done.turn_ends[:-1])
    return [done.token_ids[a:b] for a, b in zip(starts, done.turn_ends, strict=True)]


def _keys(asked: RolloutRequest, done: Completion) -> list[tuple[int, int]]:
    keys = [replace(asked.noise, turn=asked.noise.turn + t) for t in range(len(done.turn_ends))]
    written = zip(keys, turns(done), strict=True)
    return [key.words(i) for key, turn in written for i in range(len(turn))]


def referred(
    model: LoadedModel,
    asked: RolloutRequest,
    done: Completion,
    logits_of: Logits = steered_logits,
    answers: Sequence[Sequence[int]] = (),
) -> Tensor:
    """What a reference draws each token of a row from, [written, d_vocab]: one whole pass over the
    prompt, what the row wrote, and what its environment answered."""
    fed, predicting = list(asked.prompt), list[int]()
    for turn, answer in zip(turns(done), (*answers, ()), strict=True):
        predicting += range(len(fed) - 1, len(fed) + len(turn) - 1)
        fed += [*turn, *answer]
    start = asked.steering.steer_from(asked.response_start)
    return logits_of(model, fed, asked.steering, start)[predicting]


def worst_error(
    model: LoadedModel,
    requests: Sequence[RolloutRequest],
    recorded: Recorded,
    logits_of: Logits = steered_logits,
    only: Collection[int] | None = None,
) -> float:
    """Largest difference from a reference over rows, steps and tokens, as a share of the largest
    logit; of the rows `only`."""
    worst, largest = 0.0, 0.0
    for index, asked in enumerate(requests):
        if only is not None and index not in only:
            continue
        reference = referred(model, asked, recorded.completions[index], logits_of)
        difference = (recorded.logits[index] - reference).abs()
        worst = max(worst, float(difference.nan_to_num(torch.inf).max()))
        largest = max(largest, float(reference.abs().max()))
    return worst / largest


@cache
def model_of(name: str) -> LoadedModel:
    """One tiny model in float64, made once. Nobody writes into it."""
    return tiny_model(name)


def ended(turn: Sequence[int]) -> bool:
    """Ends rows at different times whatever the model."""
    return (turn[-1] + 5 * len(turn)) % 12 == 0


@contextmanager
def little_room() -> Iterator[None]:
    """Let suffixes begin with one block a slot, so that they must grow."""
    real = play.Slots

    def small(*args: Any) -> play.Slots:
        return real(*args[:5], 1, *args[6:])

    with patch.object(play, "Slots", small):
        yield


def exercise(
    name: str, requests: Sequence[RolloutRequest], rows: int = 5, new_tokens: int = 18
) -> Recorded:
    """Play requests on a tiny model in fewer slots than there are rows, over several blocks of the
    suffix, which has room for one at first."""
    with (
        float64_throughout(),
        patch.object(suffix, "BLOCK", BLOCK),
        little_room(),
    ):
        engine = SteeredEngine(model_of(name), rows)
        return record(engine, requests, SamplingParams(new_tokens, 1.0, ended=ended))
