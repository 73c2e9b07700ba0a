"""What the engine's tests stand on: models that show a mistake, arithmetic that is float64 all
through, and references that agree with each other."""

from typing import Any

import pytest
import torch
from naive import close_enough, float64_throughout, steered_logits, tl_steered_logits
from tiny_models import CONFIGS, OUTSIDE, TL_REFUSES, WINDOW, tiny_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache

from emoctl.engine.steering import Steering
from emoctl.models.check import bridge_of
from emoctl.models.loading import LoadedModel

IDS = [1, *(5 + 17 * i % 91 for i in range(59))]
CHUNKS = (23, 14, 1, 1, 1, 9, 1, 1, 9)
STEER_FROM = 20
EVERY = [*CONFIGS, *OUTSIDE]

DONE_WITHOUT: list[tuple[str, dict[str, Any]]] = [
    ("gemma2", {"attn_logit_softcapping": None}),
    ("gemma2", {"final_logit_softcapping": None}),
    ("gemma2", {"query_pre_attn_scalar": 8}),
    ("gemma2", {"sliding_window": 256}),
    ("gemma2", {"layer_types": ["full_attention", "sliding_attention"] * 2}),
    ("gemma3", {"query_pre_attn_scalar": 8}),
    ("gemma3", {"sliding_window": 256}),
    ("gemma3", {"layer_types": ["full_attention", "sliding_attention"] * 2}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"sliding_window": WINDOW + 1}),
    ("phi3", {"sliding_window": None}),
    ("gpt-neox", {"use_parallel_residual": False}),
    ("gpt-neox", {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}),
    ("gpt-oss", {"sliding_window": 256}),
    ("gpt-oss", {"num_experts_per_tok": 1}),
    ("llama4", {"attention_chunk_size": 256}),
]
"""An architecture, and what makes it one to test, taken away or moved."""


def steerings() -> list[Steering]:
    line = torch.linspace(-1, 1, 32)
    return [Steering(1, 3 * line**3, True), Steering(2, 2 * (5 * line).cos(), True)]


@torch.inference_mode()
def logits_of(model: LoadedModel) -> Tensor:
    return model.module(torch.tensor([IDS]), use_cache=False).logits[0]


def moved(ours: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the largest logit."""
    return float((ours - other).abs().max() / other.abs().max())


class Narrowings(TorchDispatchMode):
    """Which operations make something narrower of a float64, while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        went_in, came_out = self._floats((args, kwargs)), self._floats(output)
        if torch.float64 in went_in and came_out - {torch.float64}:
            self.seen.add(str(function))
        return output

    @staticmethod
    def _floats(tree: Any) -> set[torch.dtype]:
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
        return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_large_and_prompts_longer_than_windows(name: str) -> None:
    model = tiny_model(name)
    window = getattr(model.module.config, "sliding_window", None) or 0

    assert logits_of(model).abs().max() >= 10
    assert len(IDS) > 3 * window
    assert model.n_layers >= 4


@pytest.mark.parametrize("name", CONFIGS)
def test_every_gain_bias_and_sink_is_in_its_place(name: str) -> None:
    model = tiny_model(name)
    plain = logits_of(model)
    small = {n: p for n, p in model.module.named_parameters() if p.dim() == 1}
    assert small

    for where, parameter in small.items():
        own = parameter.clone()
        parameter.copy_(own.flip(0))
        assert moved(logits_of(model), plain) > 1e-4, where
        parameter.copy_(own)
    assert torch.equal(logits_of(model), plain)


@pytest.mark.parametrize(("name", "changed"), DONE_WITHOUT)
def test_what_an_architecture_is_tested_for_shows(name: str, changed: dict[str, Any]) -> None:
    assert moved(logits_of(tiny_model(name, **changed)), logits_of(tiny_model(name))) > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_cached_chunks_equal_one_pass(name: str) -> None:
    model = tiny_model(name)
    cache, read, chunks = DynamicCache(config=model.module.config), 0, []
    with torch.inference_mode(), float64_throughout():
        whole = logits_of(model)
        for length in CHUNKS:
            ids = torch.tensor([IDS[read : read + length]])
            chunks.append(model.module(ids, past_key_values=cache, use_cache=True).logits[0])
            read += length

    assert read == len(IDS)
    assert moved(torch.cat(chunks), whole) <= 1e-11
    assert moved(torch.cat(chunks)[:-1], whole[1:]) > 1e-3, "control: positions differ"


@pytest.mark.parametrize("name", EVERY)
def test_float64_stays_float64(name: str) -> None:
    model = tiny_model(name)
    bridge, ids = bridge_of(model), torch.tensor([IDS])

    with torch.no_grad(), float64_throughout(), Narrowings() as inside:
        assert model.module(ids, use_cache=False).logits.dtype == torch.float64
        assert bridge(ids).dtype == torch.float64
    with torch.no_grad(), Narrowings() as outside:
        model.module(ids, use_cache=False)

    assert inside.seen == set()
    assert outside.seen or name == "gpt2", "control: as they come, all others narrow something"


def test_the_block_ends_where_it_ends() -> None:
    before = torch.Tensor.float, torch.Tensor.to, torch.softmax, torch.nn.functional.softmax
    wide = torch.ones(2, dtype=torch.float64)

    with pytest.raises(ZeroDivisionError), float64_throughout():
        assert wide.float().dtype == wide.to(torch.float32).dtype == torch.float64
        assert wide.to(device="cpu", dtype=torch.float32).dtype == torch.float64
        assert wide.to(torch.int64).dtype == torch.int64
        assert torch.softmax(wide, -1, torch.float32).dtype == torch.float64
        assert torch.arange(2).float().dtype == wide.to(torch.int64).float().dtype == torch.float32
        _ = 1 / 0

    assert before == (
        torch.Tensor.float,
        torch.Tensor.to,
        torch.softmax,
        torch.nn.functional.softmax,
    )
    assert wide.float().dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
def test_two_references_agree(name: str) -> None:
    if name in TL_REFUSES:
        pytest.skip(f"TransformerLens: {TL_REFUSES[name]}")
    model, both = tiny_model(name), steerings()
    bridge = bridge_of(model)

    with float64_throughout():
        plain = logits_of(model)
        ours = steered_logits(model, IDS, both, STEER_FROM)
        theirs = tl_steered_logits(bridge, IDS, both, STEER_FROM)
        ones = [steered_logits(model, IDS, one, STEER_FROM) for one in both]
        later = steered_logits(model, IDS, both, STEER_FROM + 1)

    assert moved(theirs, ours) <= 1e-11
    assert moved(ours[:STEER_FROM], plain[:STEER_FROM]) <= 1e-11
    for other in (plain, *ones, later):
        assert moved(ours, other) > 1e-3, "control: each vector and its first position count"


def test_references_disagree_where_they_round_to_float32() -> None:
    model, both = tiny_model("llama"), steerings()

    ours = steered_logits(model, IDS, both, STEER_FROM)

    assert not close_enough(tl_steered_logits(bridge_of(model), IDS, both, STEER_FROM), ours)


@pytest.mark.parametrize("name", EVERY)
def test_what_transformer_lens_refuses_is_known(name: str) -> None:
    try:
        bridge_of(tiny_model(name))
        refused = False
    except (ValueError, NotImplementedError, KeyError, AttributeError):
        refused = True

    assert refused == (name in TL_REFUSES)
