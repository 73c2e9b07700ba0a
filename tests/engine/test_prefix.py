"""A prompt is computed once, and above a steered layer once for each condition that steers it."""

from collections import Counter

import pytest
import torch
from tiny_models import tiny_model

from emoctl.engine.prefix import PrefixStore
from emoctl.engine.readings import Probe
from emoctl.engine.steering import Steering
from emoctl.models.loading import LoadedModel

PROMPT = tuple(range(5, 45))


def steering(layer: int, size: float = 2.0, everywhere: bool = True) -> Steering:
    return Steering(layer, torch.full((32,), size, dtype=torch.float64), everywhere)


def watched(model: LoadedModel) -> Counter[int]:
    """How often each block's attention computes."""
    calls: Counter[int] = Counter()
    for number, block in enumerate(model.blocks):
        block.self_attn.register_forward_hook(  # type: ignore[union-attr,operator]
            lambda *_, number=number: calls.update([number])
        )
    return calls


def test_blocks_compute_once_and_once_a_condition_above_its_layer() -> None:
    model = tiny_model()
    calls = watched(model)
    store = PrefixStore(model, PROMPT, {0, 2})

    store.under(steering(2))
    store.under(steering(2, -2.0))
    store.under(steering(0))
    store.under(steering(0, 0.0))
    store.under(steering(0, everywhere=False))

    assert calls == {0: 1, 1: 2, 2: 2, 3: 4}


def test_nothing_above_the_steered_layers_is_computed_unasked() -> None:
    model = tiny_model()
    calls = watched(model)

    store = PrefixStore(model, PROMPT, {1}, plain=False)

    assert calls == {0: 1, 1: 1}
    asked = store.under(steering(1))
    assert calls == {0: 1, 1: 1, 2: 1, 3: 1}
    whole = PrefixStore(model, PROMPT, {1}).under(steering(1))
    assert all(torch.equal(a, b) for a, b in zip(asked.keys, whole.keys, strict=True))
    with pytest.raises(ValueError, match="plain prefix"):
        store.under(steering(1, 0.0))


def test_what_conditions_share_is_one_tensor() -> None:
    store = PrefixStore(tiny_model(), PROMPT, {1})

    first, second = store.under(steering(1)), store.under(steering(1, -1.0))

    for layer in range(4):
        assert (first.keys[layer] is second.keys[layer]) == (layer <= 1)
        assert (first.values[layer] is store.plain.values[layer]) == (layer <= 1)
    assert store.under(steering(1, everywhere=False)) is store.plain


def test_a_store_serves_its_own_prompt_and_layers() -> None:
    store = PrefixStore(tiny_model(), PROMPT, {1}, plain=False)

    assert store.serves(PROMPT, {1}, plain=False)
    assert not store.serves(PROMPT, {1}, plain=True)
    assert not store.serves(PROMPT, {2}, plain=False)
    assert not store.serves(PROMPT[1:], {1}, plain=False)


def test_blocks_compute_again_after_a_pass_that_began_above_them() -> None:
    model = tiny_model()
    ids = torch.tensor([PROMPT])
    before = model.module(ids).logits
    PrefixStore(model, PROMPT, {2}, plain=False).under(steering(2))

    assert torch.equal(model.module(ids).logits, before)


def test_prompts_are_read_where_that_is_asked() -> None:
    directions = torch.eye(32)[None, :3].expand(2, -1, -1).contiguous()
    probe = Probe((0, 2), directions, prompt=True)
    store = PrefixStore(tiny_model(), PROMPT, {1}, probe)
    read = store.under(steering(1)).read

    assert read is not None
    assert store.plain.read is not None
    assert read.norms.shape == (len(PROMPT), 2)
    assert (read.norms[:, 0] == store.plain.read.norms[:, 0]).all()
    assert (read.norms[:, 1] != store.plain.read.norms[:, 1]).all()
    assert PrefixStore(tiny_model(), PROMPT, {1}).plain.read is None
