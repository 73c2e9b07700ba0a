"""On the embedded model and a real prompt, the steered engine in float32 errs no more than twice as
much against float64 as plain transformers does."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from naive import float64_throughout
from recorded import record, referred

from emoctl.config import ModelConfig
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import SteeredEngine
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel, load_model
from emoctl.models.prompts import render
from emoctl.scenarios import pick_scenario
from emoctl.sweep.executor import one_thread

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("shapes_unchecked")]
STEPS = 8
NORM = 250.0
"""About the mean residual norm of the upper layers, so that sizes below are strengths."""


@pytest.fixture
def exact_model() -> Iterator[LoadedModel]:
    with one_thread(), float64_throughout():
        yield load_model(ModelConfig.model_validate({"dtype": "float64"}))


def requests_of(model: LoadedModel) -> list[RolloutRequest]:
    variant = pick_scenario("replacement-affair").variants["short"]
    prompt = render(model.tokenizer, variant.messages, variant.lead)
    drawn = torch.randn(model.d_model, generator=torch.Generator().manual_seed(5))
    unit = drawn / drawn.norm()
    conditions = [
        Steering(19, 0 * unit, everywhere=True),
        Steering(19, 0.1 * NORM * unit, everywhere=True),
        Steering(19, -0.05 * NORM * unit, everywhere=False),
        Steering(12, 0.05 * NORM * unit, everywhere=True),
        Steering(26, 0.3 * NORM * unit, everywhere=True),
    ]
    ids = tuple(prompt.token_ids)
    return [
        RolloutRequest(ids, prompt.response_start, condition, NoiseKey(3, "s", "v", i))
        for i, condition in enumerate(conditions)
    ]


def test_float32_errs_no_more_than_twice_as_much_as_transformers(
    embedded_model: LoadedModel, exact_model: LoadedModel
) -> None:
    model = replace(embedded_model, eos_ids=frozenset())
    asked = requests_of(model)
    played = record(SteeredEngine(model, 4), asked, SamplingParams(STEPS, 1.0))

    ours, own = [], []
    for row, done, logits in zip(asked, played.completions, played.logits, strict=True):
        exact = referred(exact_model, row, done)
        assert exact.dtype == torch.float64 and len(exact) == STEPS
        plain = referred(model, row, done)
        ours.append((logits.double() - exact).abs().max())
        own.append((plain.double() - exact).abs().max())

    for row, (one, other) in enumerate(zip(ours, own, strict=True)):
        assert 0 < one <= 2 * other, (row, float(one), float(other))
        assert other < 1e-3, "control: the two references are of the same row"
