"""On the embedded model and a real prompt, a steered row equals two independent references:
transformers with a plain forward hook, and TransformerLens with a hand-written one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from naive import close_enough, float64_throughout, steered_logits

from emoctl.config import ModelConfig
from emoctl.engine.generate import prefill
from emoctl.engine.steering import Steering, SteeringTable
from emoctl.models.check import bridge_of
from emoctl.models.hook_points import resid_post
from emoctl.models.loading import LoadedModel, load_model
from emoctl.models.prompts import render
from emoctl.scenarios import pick_scenario

pytestmark = pytest.mark.model
LAYER = 19
NORM = 250.0
"""About the mean residual norm of that layer, so that sizes below are strengths."""


@pytest.fixture(scope="module")
def models() -> dict[str, LoadedModel]:
    return {
        dtype: load_model(ModelConfig.model_validate({"dtype": dtype}))
        for dtype in ("float32", "float64")
    }


@pytest.fixture(scope="module")
def prompt(models: dict[str, LoadedModel]) -> list[int]:
    variant = pick_scenario("replacement-affair").variants["short"]
    rendered = render(models["float32"].tokenizer, variant.messages, variant.lead)
    return list(rendered.token_ids)


def conditions() -> list[Steering]:
    direction = torch.randn(576, generator=torch.Generator().manual_seed(5))
    direction /= direction.norm()
    return [
        Steering(LAYER, torch.zeros(576), everywhere=True),
        Steering(LAYER, 0.1 * NORM * direction, everywhere=True),
        Steering(LAYER, -0.05 * NORM * direction, everywhere=False),
        Steering(12, 0.05 * NORM * direction, everywhere=True),
    ]


def batch(model: LoadedModel, prompt: list[int]) -> torch.Tensor:
    """Logits of all conditions in one batch, at every position."""
    rows = conditions()
    table = SteeringTable(rows, len(prompt), model.device, model.dtype)
    positions = torch.arange(len(prompt))[None]
    with torch.inference_mode(), table.applied_to(model.blocks, positions, n_real=len(rows)):
        return model.module(torch.tensor([prompt] * len(rows)), use_cache=False).logits


def with_hook(prompt: list[int], condition: Steering) -> Callable[..., torch.Tensor]:
    start = condition.steer_from(len(prompt))

    def add(resid: torch.Tensor, hook: Any = None) -> torch.Tensor:
        del hook
        changed = resid.clone()
        changed[:, start:] += condition.added.to(resid.dtype)
        return changed

    return add


def test_float64_rows_equal_transformers_and_transformer_lens(
    models: dict[str, LoadedModel], prompt: list[int]
) -> None:
    model = models["float64"]
    bridge = bridge_of(model)

    with torch.inference_mode(), float64_throughout():
        ours = batch(model, prompt)
        for row, condition in enumerate(conditions()):
            plain = steered_logits(model, prompt, condition, condition.steer_from(len(prompt)))
            hooks = [(resid_post(condition.layer), with_hook(prompt, condition))]
            lens = bridge.run_with_hooks(torch.tensor([prompt]), fwd_hooks=hooks)[0]
            assert close_enough(ours[row], plain)
            assert close_enough(ours[row], lens)
    assert not close_enough(ours[1], ours[0]), "control: steering changes logits"
    assert not close_enough(ours[3], ours[0]), "control: so does the other layer"


def test_float32_errs_no_more_than_twice_as_much_as_its_reference(
    models: dict[str, LoadedModel], prompt: list[int]
) -> None:
    exact, ours = batch(models["float64"], prompt), batch(models["float32"], prompt)

    for row, condition in enumerate(conditions()):
        start = condition.steer_from(len(prompt))
        plain = steered_logits(models["float32"], prompt, condition, start)
        own = (plain.double() - exact[row]).abs().max()
        assert (ours[row].double() - exact[row]).abs().max() <= 2 * own


def test_the_engine_prefills_what_the_references_say(
    models: dict[str, LoadedModel], prompt: list[int]
) -> None:
    model = models["float64"]
    for condition in conditions():
        first = prefill(model, prompt, len(prompt), condition)
        plain = steered_logits(model, prompt, condition, condition.steer_from(len(prompt)))
        assert close_enough(first.logits[0], plain[-1])
