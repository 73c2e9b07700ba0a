"""Packed weights give the same product, with bits that do not depend on the number of rows."""

import pytest
import torch
from tiny_models import tiny_model
from torch import nn

from emoctl.engine import linear
from emoctl.engine.linear import PackedLinears, can_pack
from emoctl.engine.play import SteeredEngine
from emoctl.models.twin import twin

pytestmark = pytest.mark.skipif(
    not can_pack(nn.Sequential(nn.Linear(4, 4))), reason="no oneDNN here"
)


def layer(d_in: int, d_out: int, bias: bool) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    made = nn.Sequential(nn.Linear(d_in, d_out, bias=bias))
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return made.requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("d_in", "d_out"), [(64, 48), (33, 7), (576, 192)])
def test_the_product_is_the_same(d_in: int, d_out: int, bias: bool) -> None:
    plain, packed = layer(d_in, d_out, bias), layer(d_in, d_out, bias)
    PackedLinears(packed).install(packed)
    inputs = torch.randn(3, 5, d_in, generator=torch.Generator().manual_seed(4))

    ours, theirs = packed(inputs), plain(inputs)
    exact = plain.double()(inputs.double())

    error, usual = (float((x.double() - exact).abs().max()) for x in (ours, theirs))
    assert ours.shape == theirs.shape
    assert error <= 2 * usual + 1e-9


def test_bits_do_not_depend_on_the_number_of_rows() -> None:
    packed = layer(576, 1536, False)
    PackedLinears(packed).install(packed)
    inputs = torch.randn(70, 576, generator=torch.Generator().manual_seed(4))
    whole = packed(inputs)

    for rows in (4, 5, 7, 16, 31, 33, 64):
        assert torch.equal(packed(inputs[:rows]), whole[:rows]), rows
        assert torch.equal(packed(inputs[-rows:])[-1], whole[-1]), rows


def test_only_twins_are_packed() -> None:
    model = tiny_model(dtype=torch.float32)
    ids = torch.arange(5, 25)[None]
    before = model.module(ids).logits

    engine = SteeredEngine(model, rows=4)

    assert engine.packed
    assert torch.equal(model.module(ids).logits, before)
    assert torch.allclose(engine.model.module(ids).logits, before, atol=1e-4)
    ours = dict(engine.module.named_parameters())
    for name, parameter in model.module.named_parameters():
        assert ours[name].data_ptr() == parameter.data_ptr(), name


def test_what_is_packed_is_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the above: other packed weights give other logits."""
    model = tiny_model(dtype=torch.float32)
    reorder = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr(
        linear.torch.ops.mkldnn, "_reorder_linear_weight", lambda w, n: reorder(2 * w, n)
    )
    double = twin(model)
    PackedLinears(model.module).install(double.module)
    ids = torch.arange(5, 25)[None]

    assert not torch.allclose(double.module(ids).logits, model.module(ids).logits, atol=1e-2)


def test_some_models_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_pack(layer(4, 4, False).double())
    assert can_pack(layer(4, 4, False))
    monkeypatch.setattr(linear, "_total_memory", lambda: 100)
    assert not can_pack(layer(4, 4, False))
    assert not PackedLinears(layer(4, 4, False)).in_use
