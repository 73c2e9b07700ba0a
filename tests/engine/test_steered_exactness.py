"""Every row and step of the steered engine, at every architecture that it serves, equals one plain
pass over the whole sequence, in transformers and in TransformerLens."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from naive import float64_throughout, steered_logits, tl_steered_logits
from recorded import (
    LONG,
    SHORT,
    TOLERANCE,
    Logits,
    conditions,
    exercise,
    little_room,
    mixed_requests,
    model_of,
    record,
    request,
    steering,
    worst_error,
)
from tiny_models import CONFIGS, WINDOW
from torch import Tensor
from transformers import DynamicCache

from emoctl.engine.attention import Part
from emoctl.engine.play import SteeredEngine
from emoctl.engine.prefix import PrefixStore
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.steering import Steering
from emoctl.engine.suffix import BLOCK
from emoctl.models.check import bridge_of
from emoctl.models.loading import LoadedModel

unchecked = pytest.mark.usefixtures("shapes_unchecked")


@unchecked
@pytest.mark.parametrize("name", CONFIGS)
def test_every_logit_equals_both_references(name: str) -> None:
    model, requests = model_of(name), mixed_requests()
    lens = lens_of(bridge_of(model))
    played = exercise(name, requests)

    with float64_throughout():
        assert worst_error(model, requests, played) <= TOLERANCE
        sample = one_of_each_condition(requests)
        assert worst_error(model, requests, played, lens, sample) <= TOLERANCE
        for row in sample:
            elsewhere = [next_layer(asked) for asked in requests]
            error = worst_error(model, elsewhere, played, only=[row])
            assert error > 1e-4 or requests[row].steering.is_zero, "control: the layer matters"
    assert max(float(logits.abs().max()) for logits in played.logits) >= 10
    assert len({len(done.token_ids) for done in played.completions}) > 4, "rows end at any time"
    assert min(len(LONG), len(SHORT)) > WINDOW, "prompts are longer than windows"


def lens_of(bridge: Any) -> Logits:
    """TransformerLens in the place of transformers."""

    def logits(
        _model: LoadedModel, ids: Sequence[int], condition: Steering, steer_from: int
    ) -> Tensor:
        return tl_steered_logits(bridge, ids, condition, steer_from)

    return logits


def one_of_each_condition(requests: Sequence[RolloutRequest]) -> list[int]:
    """Of equal conditions, `mixed_requests` has one object a prompt."""
    first: dict[object, int] = {}
    for index, asked in enumerate(requests):
        condition = asked.steering
        key = (condition.layer, condition.everywhere, float(condition.added.norm()))
        first.setdefault(key, index)
    assert len(first) == len(conditions())
    return list(first.values())


def next_layer(asked: RolloutRequest) -> RolloutRequest:
    return replace(asked, steering=replace(asked.steering, layer=(asked.steering.layer + 1) % 4))


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "gpt-oss"])
def test_shapes_are_what_signatures_say(name: str) -> None:
    """Checked in every call: several queries a group and one, caps, windows and sinks."""
    requests = mixed_requests()[:6]
    played = exercise(name, requests, new_tokens=4)
    with float64_throughout():
        assert worst_error(model_of(name), requests, played) <= TOLERANCE
    with pytest.raises(TypeCheckError):
        Part(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 4))


@unchecked
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_rows_go_on_past_blocks_and_rooms_of_the_usual_size(name: str) -> None:
    """No size is made smaller for the test here."""
    model = replace(model_of(name), eos_ids=frozenset())
    n, lead = BLOCK + 16, 50
    asked = [request(c, i, LONG, lead * (i % 2)) for i, c in enumerate(conditions()[1:5])]
    with float64_throughout(), little_room():
        played = record(SteeredEngine(model, 4), asked, SamplingParams(n, 1.0))
        assert worst_error(model, asked, played) <= TOLERANCE
    assert {len(done.token_ids) for done in played.completions} == {n}
    assert lead + n > 2 * BLOCK, "longer rows grow out of what they begin with, twice"


@unchecked
@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_prompts_of_one_token_play_beside_longer_ones(name: str) -> None:
    """Such a prompt has no prefix at all, so part of the batch has nothing to merge with."""
    model = model_of(name)
    for prompts in [((7,),), ((7,), SHORT), ((7,), SHORT, LONG)]:
        cells = [(p, c) for p in prompts for c in conditions()]
        asked = [request(c, i, p) for i, (p, c) in enumerate(cells)][::-1]
        played = exercise(name, asked, rows=6, new_tokens=6)
        with float64_throughout():
            assert worst_error(model, asked, played) <= TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
def test_steered_prefixes_equal_the_cache_of_a_whole_steered_pass(name: str) -> None:
    model, ids = model_of(name), LONG
    with float64_throughout():
        store = PrefixStore(model, ids, {c.layer for c in conditions()})
        plain = whole_cache(model, ids, steering(0, 0.0))
        for condition in conditions():
            prefix = store.under(condition)
            wanted = whole_cache(model, ids, condition) if condition.everywhere else plain
            for layer in range(model.n_layers):
                for ours, reference, unsteered in zip(
                    (prefix.keys[layer], prefix.values[layer]),
                    wanted[layer],
                    plain[layer],
                    strict=True,
                ):
                    assert ours.shape == reference.shape == (1, *reference.shape[1:3], 8)
                    assert ours.shape[2] == len(ids), "every position, whatever the window"
                    assert (ours - reference).abs().max() <= TOLERANCE * reference.abs().max()
                    moves = condition.everywhere and not condition.is_zero
                    moved = (ours - unsteered).abs().amax(dim=(0, 1, 3)) > 1e-3
                    above = moves and layer > condition.layer
                    assert bool(moved.all()) == above == bool(moved.any()), "control"
            shared = condition.layer + 1 if moves else model.n_layers
            for layer in range(model.n_layers):
                same = prefix.keys[layer] is store.plain.keys[layer]
                assert same == (layer < shared), "what does not change is not stored again"


def whole_cache(
    model: LoadedModel, ids: Sequence[int], condition: Steering
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of one plain pass with a hook."""
    cache = DynamicCache()
    steered_logits(
        replace(model, module=Caching(model.module, cache)), ids, condition, steer_from=0
    )
    return [(layer.keys, layer.values) for layer in cache.layers]


class Caching:
    """A module that leaves its keys and values in a cache."""

    def __init__(self, module: Any, cache: DynamicCache) -> None:
        self.module, self.cache = module, cache

    def __call__(self, ids: Tensor, **_: Any) -> Any:
        return self.module(ids, past_key_values=self.cache, use_cache=True)
