"""What the steered engine serves, and that it names what it does not."""

from typing import Any

import pytest
import torch
from recorded import SHORT, model_of, request, steering
from tiny_models import CONFIGS, OUTSIDE, tiny_model
from transformers import AttentionInterface

from emoctl.engine import cascade
from emoctl.engine.architecture import refusal
from emoctl.engine.choice import choose_engine
from emoctl.engine.play import SteeredEngine
from emoctl.engine.rollout import SamplingParams
from emoctl.errors import ModelError

REASONS = {
    "qwen3-next": ("Qwen3NextForCausalLM", "linear_attention"),
    "deepseek-v3": ("DeepseekV3ForCausalLM", "latent"),
    "llama4": ("Llama4ForCausalLM", "chunk"),
    "mamba": ("MambaForCausalLM", ""),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_is_named(name: str) -> None:
    said = refusal(tiny_model(name).module)
    assert said is not None
    for word in REASONS[name]:
        assert word in said


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_outside_takes_the_reference_engine_and_says_so(name: str) -> None:
    choice = choose_engine(tiny_model(name), "auto")
    assert choice.name == "reference" and choice.fell_back
    assert REASONS[name][0] in choice.why


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_inside_is_served(name: str) -> None:
    assert refusal(model_of(name).module) is None
    choice = choose_engine(model_of(name), "auto")
    assert (choice.name, choice.fell_back) == ("cascade", False)


@pytest.mark.parametrize(
    ("asked_for", "value"),
    [("position_bias", torch.zeros(1)), ("dropout", 0.1), ("attention_mask", torch.zeros(1))],
)
def test_an_unknown_wish_of_an_attention_is_refused_by_name(
    asked_for: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that asks for what the engine does not know must not be served without it."""
    model = tiny_model("llama")
    real = cascade.cascade

    def asking(*args: Any, **kwargs: Any) -> Any:
        if asked_for == "attention_mask":
            args = (*args[:4], value)
        else:
            kwargs[asked_for] = value
        return real(*args, **kwargs)

    engine = SteeredEngine(model, 4)
    monkeypatch.setitem(AttentionInterface._global_mapping, cascade.CASCADE, asking)

    with pytest.raises(ModelError, match=f"LlamaAttention .*{asked_for}") as raised:
        list(engine.play([request(steering(2, 1.0), 0, SHORT)], SamplingParams(3, 1.0)))
    assert raised.value.hint == "engine.kind: reference"


def test_an_unknown_wish_for_nothing_is_no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the same wish with None, and one that is known to be harmless."""
    model = tiny_model("llama")
    real = cascade.cascade

    def asking(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **{**kwargs, "position_bias": None, "is_causal": True})

    engine = SteeredEngine(model, 4)
    monkeypatch.setitem(AttentionInterface._global_mapping, cascade.CASCADE, asking)

    asked = [request(steering(2, 1.0), 0, SHORT)]
    assert len(list(engine.play(asked, SamplingParams(3, 1.0)))) == 1


def test_the_steered_module_shares_every_parameter() -> None:
    model = tiny_model("gemma2")
    engine = SteeredEngine(model, 4)
    ours = dict(engine.module.named_parameters())
    assert ours.keys() == dict(model.module.named_parameters()).keys()
    assert all(ours[name] is tensor for name, tensor in model.module.named_parameters())
    assert engine.module is not model.module
    assert model.module.config._attn_implementation != cascade.CASCADE
    assert engine.module.config._attn_implementation == cascade.CASCADE
