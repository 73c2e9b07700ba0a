"""Hashes over weights, tokenizer and template: equal for equals, other for anything else."""

import copy

import pytest
import torch
from tiny_models import tiny_model
from torch import nn
from toys import byte_tokenizer, word_tokenizer

from emoctl.models.catalog import ModelSource
from emoctl.models.fingerprint import (
    identify,
    model_digest,
    tokenizer_digest,
    weight_digest,
)


def test_one_changed_weight_is_seen() -> None:
    module = tiny_model().module
    before = weight_digest(module)
    assert before.startswith("sha256:")
    assert len(before) == len("sha256:") + 64
    assert weight_digest(copy.deepcopy(module)) == before
    for name, _ in module.named_parameters():
        changed = copy.deepcopy(module)
        with torch.no_grad():
            values = changed.get_parameter(name).view(-1)
            values[-1] = torch.nextafter(values[-1], values[-1] + 1)
        assert weight_digest(changed) != before, name


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [("rms_norm_eps", 1e-3, False), ("use_cache", False, True)],
)
def test_what_the_config_computes_is_part_of_a_model(key: str, value: object, same: bool) -> None:
    module = tiny_model().module
    changed = copy.deepcopy(module)
    setattr(changed.config, key, value)

    assert weight_digest(changed) == weight_digest(module), "control: the weights are equal"
    assert (model_digest(changed) == model_digest(module)) is same


def test_names_shapes_and_dtypes_count() -> None:
    class Holder(nn.Module):
        def __init__(self, name: str, values: torch.Tensor) -> None:
            super().__init__()
            self.register_parameter(name, nn.Parameter(values))

    values = torch.zeros(2, 6)
    digests = {
        weight_digest(Holder(*held))
        for held in (
            ("a", values),
            ("b", values),
            ("a", values.view(3, 4)),
            ("a", values.view(12)),
            ("a", values.double()[:1]),
        )
    }
    assert len(digests) == 5
    assert weight_digest(Holder("a", values)) in digests


def test_strides_do_not_count() -> None:
    values = torch.arange(12.0).view(3, 4)
    module, turned = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    module.weight = nn.Parameter(values)
    turned.weight = nn.Parameter(values.T.contiguous().T)
    assert not turned.weight.is_contiguous()
    assert weight_digest(module) == weight_digest(turned)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_hashed(dtype: torch.dtype) -> None:
    module = tiny_model().module
    assert weight_digest(copy.deepcopy(module).to(dtype)) != weight_digest(module)


def test_a_tokenizer_is_known_by_vocabulary_merges_and_special_tokens() -> None:
    plain = byte_tokenizer()
    more = byte_tokenizer()
    more.add_tokens(["ferry"])
    other_end = byte_tokenizer()
    other_end.eos_token = "<pad>"
    digests = [
        tokenizer_digest(t)
        for t in (plain, byte_tokenizer(("(", "A")), more, other_end, word_tokenizer())
    ]
    assert len(set(digests)) == 5
    assert tokenizer_digest(byte_tokenizer()) == digests[0]
    assert tokenizer_digest(byte_tokenizer(template="{{ 1 }}")) == digests[0]


def test_asking_does_not_change_a_tokenizer() -> None:
    asked = byte_tokenizer()
    before = tokenizer_digest(asked)
    asked("some text", add_special_tokens=True)
    assert tokenizer_digest(asked) == before


def test_an_identity_says_what_it_is_made_of() -> None:
    module = tiny_model().module
    source = ModelSource(id="owner/name", kind="hub", path=None, revision="main")
    known = identify(module, byte_tokenizer(), source)
    assert (known.id, known.revision, known.source) == ("owner/name", "main", "hub")
    assert known.weight_sha256 == model_digest(module)
    assert known.tokenizer_sha256 == tokenizer_digest(byte_tokenizer())
    assert known.template_sha256 is not None
    other = identify(module, byte_tokenizer(template="{{ 1 }}"), source)
    assert other.template_sha256 not in (None, known.template_sha256)
    base = identify(module, byte_tokenizer(template=None), None)
    assert (base.id, base.source, base.template_sha256) == ("LlamaForCausalLM", "memory", None)
