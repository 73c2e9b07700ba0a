"""What the steered engine reads of each token is what the reference engine reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from naive import float64_throughout
from recorded import LONG, SHORT, conditions, ended, model_of, request, steering

from emoctl.engine.play import SteeredEngine
from emoctl.engine.readings import Probe
from emoctl.engine.reference import ReferenceEngine
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
LAYERS = (0, 2, 3)
FLOAT16 = 5e-4
"""Half a step of a cosine in half precision."""


def probe(prompt: bool = False) -> Probe:
    generator = torch.Generator().manual_seed(4)
    drawn = torch.randn(len(LAYERS), 5, 32, generator=generator, dtype=torch.float64)
    return Probe(LAYERS, torch.nn.functional.normalize(drawn, dim=-1), prompt)


def requests() -> list[RolloutRequest]:
    prompts = ((LONG, 0), (SHORT, 3))
    return [request(c, i, *prompts[i % 2]) for i, c in enumerate(conditions())]


def played(
    engine: SteeredEngine | ReferenceEngine, asked: list[RolloutRequest]
) -> list[Completion]:
    params = SamplingParams(9, 1.0, ended=ended)
    answers = {4: [9, 20, 31], 5: [50]}
    given: set[int] = set()

    def respond(index: int, _written: object) -> list[int] | None:
        if index in given:
            return None
        given.add(index)
        return answers.get(index)

    return sorted(engine.play(asked, params, respond), key=lambda c: c.index)


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(("name", "poll"), [("llama", 1), ("gemma3", 8), ("gpt2", 3)])
def test_readings_equal_those_of_the_reference_engine(name: str, poll: int, prompt: bool) -> None:
    model, asked = model_of(name), requests()
    engine = SteeredEngine(model, 5, probe(prompt))
    engine.poll = poll
    with float64_throughout():
        ours = played(engine, asked)
        theirs = played(ReferenceEngine(model, 5, probe(prompt)), asked)

    for row, one, other in zip(asked, ours, theirs, strict=True):
        assert one.token_ids == other.token_ids and one.turn_ends == other.turn_ends
        assert one.readings is not None and other.readings is not None
        assert one.readings.first == (-row.response_start if prompt else -1)
        assert one.readings.cosines.dtype == np.float16
        if len(one.turn_ends) == 1:
            n = len(row.prompt) + len(one.token_ids) - 1
            assert len(one.readings.norms) == n - (0 if prompt else row.response_start - 1)
        assert one.readings.first == other.readings.first
        assert one.readings.cosines.shape == other.readings.cosines.shape
        assert np.abs(one.readings.cosines - other.readings.cosines).max() <= FLOAT16
        np.testing.assert_allclose(one.readings.norms, other.readings.norms, rtol=1e-6)
        if len(one.readings.norms) > 1:
            late = np.abs(one.readings.cosines[1:] - other.readings.cosines[:-1]).max()
            assert late > 10 * FLOAT16, "control: a token late is not the same"


@pytest.mark.parametrize("prompt", [False, True])
def test_layers_are_read_above_those_that_are_steered(prompt: bool) -> None:
    """Also where no row needs the plain prefix, whose upper layers are then never computed."""
    model = model_of("qwen3")
    asked = [request(steering(1, size), i, LONG) for i, size in enumerate((3.0, -3.0, 5.0))]
    with float64_throughout():
        ours = played(SteeredEngine(model, 4, probe(prompt)), asked)
        theirs = played(ReferenceEngine(model, 4, probe(prompt)), asked)
    for one, other in zip(ours, theirs, strict=True):
        assert one.readings is not None and other.readings is not None
        assert one.readings.cosines.shape == other.readings.cosines.shape
        assert np.abs(one.readings.cosines - other.readings.cosines).max() <= FLOAT16


def test_readings_are_each_rows_own() -> None:
    """However they share a batch, and whatever else is read in the same passes."""
    model, asked = model_of("llama"), requests()
    together = played(SteeredEngine(model, 6, probe()), asked)
    backwards = [replace(row) for row in asked[::-1]]
    params = SamplingParams(9, 1.0, ended=ended)
    other = {
        len(asked) - 1 - c.index: c
        for c in SteeredEngine(model, 4, probe()).play(backwards, params)
    }
    for one in together:
        if len(one.turn_ends) == 1:
            again = other[one.index]
            assert one.readings is not None and again.readings is not None
            assert np.abs(one.readings.cosines - again.readings.cosines).max() <= FLOAT16


def test_reading_changes_nothing_that_is_written() -> None:
    model, asked = model_of("llama"), requests()
    read, unread = (played(SteeredEngine(model, 5, p), asked) for p in (probe(), None))
    assert [c.token_ids for c in read] == [c.token_ids for c in unread]
    assert [c.mean_logprob for c in read] == [c.mean_logprob for c in unread]
    assert all(c.readings is None for c in unread)
