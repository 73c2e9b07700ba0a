"""What the steered engine serves, and that it names what it does not."""

from typing import Any

import pytest
import torch
from recorded import SHORT, model_of, request, steering
from tiny_models import CONFIGS, OUTSIDE, WINDOW, tiny_model
from transformers import AttentionInterface

from emoctl.engine import cascade, choice
from emoctl.engine.architecture import refusal
from emoctl.engine.choice import TOLERANCE, choose_engine
from emoctl.engine.exactness import cascade_error
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


def test_layers_that_share_keys_are_refused_by_name() -> None:
    choice_ = choose_engine(tiny_model("gemma3n"), "auto")

    assert choice_.fell_back and "another layer's keys" in choice_.why


def test_a_window_that_attention_is_not_told_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a module keeps its window in its masks, which the engine never makes."""
    model = tiny_model("qwen2-moe")
    made = choose_engine(model, "auto")
    assert refusal(model.module) is None, "the config alone does not tell"
    assert made.fell_back and "Qwen2MoeAttention does not say its sliding window" in made.why

    monkeypatch.setattr(cascade, "_refuse_unsaid_window", lambda *_: None)
    assert cascade_error(model) > 1e-3, "control: played on, it would be wrong"


@pytest.mark.parametrize("name", ["mistral", "gemma3", "gpt-oss"])
def test_the_trial_is_longer_than_a_short_window(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that forgets windows does not pass it."""
    model, real = tiny_model(name), cascade.cascade
    assert cascade_error(model) <= TOLERANCE["torch.float64"]

    def boundless(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **{**kwargs, "sliding_window": 10 * WINDOW})

    monkeypatch.setattr(cascade, "cascade", boundless)
    assert cascade_error(model) > 1e-3


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama", {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
        (
            "phi3",
            {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 4,
                "long_factor": [2.0] * 4,
                "original_max_position_embeddings": 128,
            },
        ),
    ],
)
def test_rotations_that_follow_the_longest_row_are_refused_by_name(
    name: str, parameters: dict[str, Any]
) -> None:
    said = refusal(tiny_model(name, rope_parameters=parameters).module)

    assert said is not None and parameters["rope_type"] in said
    assert refusal(tiny_model(name).module) is None


@pytest.mark.parametrize("error", [RuntimeError("shapes\nand more"), IndexError(), TypeError("x")])
def test_a_model_that_breaks_the_trial_takes_the_reference_and_says_how(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_model: Any) -> float:
        raise error

    monkeypatch.setattr(choice, "cascade_error", broken)
    made = choose_engine(tiny_model(), "auto")

    assert made.name == "reference" and made.fell_back
    assert type(error).__name__ in made.why and "\n" not in made.why


def test_a_trial_without_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_model: Any) -> float:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(choice, "cascade_error", full)
    with pytest.raises(torch.OutOfMemoryError):
        choose_engine(tiny_model(), "auto")
