"""TransformerLens' bridge runs on the model's own weights, and leaves them and the model alone."""

import pytest
import torch
from naive import tl_steered_logits
from tiny_models import CONFIGS, tiny_model

from emoctl.engine.steering import Steering
from emoctl.models.check import bridge_of
from emoctl.models.loading import LoadedModel

IDS = list(range(1, 41))


@torch.inference_mode()
def logits_of(model: LoadedModel) -> torch.Tensor:
    return model.module(torch.tensor([IDS])).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_the_bridge_and_the_model_share_every_weight(name: str) -> None:
    model = tiny_model(name, torch.float32)
    bridge = bridge_of(model)

    ours = {p.data_ptr() for p in model.module.parameters()}
    theirs = {p.data_ptr() for p in bridge.original_model.parameters()}
    assert ours <= theirs
    assert bridge.original_model is not model.module
    assert not {id(part) for part in model.module.modules()} & {
        id(part) for part in bridge.original_model.modules()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bridge_made_and_used_writes_nothing(name: str) -> None:
    model = tiny_model(name, torch.float32)
    attention = model.module.config._attn_implementation
    tensors = [*model.module.parameters(), *model.module.buffers()]
    before = [(tensor.clone(), tensor._version) for tensor in tensors]
    logits = logits_of(model)

    bridge = bridge_of(model)
    steering = Steering(1, torch.ones(model.d_model), everywhere=True)
    steered = tl_steered_logits(bridge, IDS, steering, 0)
    bridge.run_with_cache(torch.tensor([IDS]))

    assert not torch.equal(steered, logits[0]), "control: the bridge was used"
    for tensor, (value, version) in zip(tensors, before, strict=True):
        assert torch.equal(tensor, value)
        assert tensor._version == version
    assert not any(tensor.requires_grad for tensor in tensors)
    assert model.module.config._attn_implementation == attention
    assert torch.equal(logits_of(model), logits)


def test_a_write_to_the_weights_would_be_seen() -> None:
    """The control of the above, and why a bridge must not fold or centre what it shares."""
    model = tiny_model("llama", torch.float32)
    logits, bridge = logits_of(model), bridge_of(model)
    weight = model.module.lm_head.weight
    version = weight._version

    with torch.no_grad():
        next(p for p in bridge.original_model.parameters() if p is weight).mul_(2)

    assert weight._version == version + 1
    assert not torch.equal(logits_of(model), logits)
