"""A pass stops where it is told to, and workers change nothing but the time."""

import threading
import time

import pytest
import torch
from tiny_models import CONFIGS
from toys import toy_model

from emoctl.models.loading import LoadedModel
from emoctl.models.twin import twin
from emoctl.vectors.forward import default_workers, for_each_batch, show_resid

IDS = torch.arange(5, 45)[None]


def modules_run(model: LoadedModel, layers: tuple[int, ...]) -> set[str]:
    """Names of all submodules whose forward was called."""
    called: set[str] = set()
    handles = [
        part.register_forward_pre_hook(lambda _m, _i, name=name: called.add(name))
        for name, part in model.module.named_modules()
    ]
    with torch.inference_mode():
        show_resid(model, IDS, layers, lambda _layer, _resid: None)
    for handle in handles:
        handle.remove()
    return called


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_above_the_last_layer_is_run(name: str) -> None:
    model = toy_model(name)
    names = {part: name for name, part in model.module.named_modules()}
    blocks = [names[block] for block in model.blocks]
    head = names[model.module.get_output_embeddings()]
    (norm,) = [
        n
        for n in names.values()
        if "norm" in n.rsplit(".")[-1] or n.endswith("ln_f")
        if not any(n.startswith(f"{b}.") for b in blocks)
    ]
    below, all_of_them = modules_run(model, (1,)), modules_run(model, (0, 3))
    assert [b in below for b in blocks] == [True, True, False, False]
    assert [b in all_of_them for b in blocks] == [True] * 4
    assert not {head, norm} & (below | all_of_them)

    called: list[str] = []
    for part in (model.module.get_output_embeddings(), model.module.get_submodule(norm)):
        part.register_forward_pre_hook(lambda m, _i: called.append(names[m]))
    model.module(IDS)
    assert called == [norm, head], "control: a whole pass runs them"


def test_layers_are_shown_in_the_order_of_the_pass() -> None:
    shown: list[int] = []
    show_resid(toy_model(), IDS, (3, 0, 2), lambda layer, _resid: shown.append(layer))
    assert shown == [0, 2, 3]


def test_no_hook_is_left_behind() -> None:
    model = toy_model()
    during: list[bool] = []
    show_resid(
        model,
        IDS,
        (0, 1),
        lambda layer, _resid: during.append(bool(model.blocks[layer]._forward_hooks)),
    )
    assert during == [True, True], "control"
    assert not any(block._forward_hooks for block in model.blocks)
    with pytest.raises(IndexError):
        show_resid(model, torch.tensor([[10**6]]), (0, 1), lambda _layer, _resid: None)
    assert not any(block._forward_hooks for block in model.blocks)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_twin_shares_weights_and_nothing_else(name: str) -> None:
    model = toy_model(name)
    other = twin(model)
    pairs = zip(model.module.parameters(), other.module.parameters(), strict=True)
    assert all(a is b for a, b in pairs)
    assert not set(model.module.modules()) & set(other.module.modules())
    buffers = zip(model.module.buffers(), other.module.buffers(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in buffers)
    with torch.inference_mode():
        assert torch.equal(model.module(IDS).logits, other.module(IDS).logits)


def test_batches_are_read_side_by_side_and_taken_in_order() -> None:
    both_here = threading.Barrier(2, timeout=20)
    taken: list[int] = []

    def read(_model: LoadedModel, batch: int) -> int:
        if batch < 2:
            both_here.wait()
        time.sleep(0.05 if batch % 2 == 0 else 0)
        return batch

    for_each_batch(toy_model(), range(9), read, taken.append, n_workers=2)
    assert taken == list(range(9))


def test_each_worker_has_a_model_of_its_own() -> None:
    model = toy_model()
    both_here = threading.Barrier(2, timeout=20)
    modules: list[int] = []

    def read(own: LoadedModel, _batch: int) -> None:
        modules.append(id(own.module))
        both_here.wait()

    for_each_batch(model, range(2), read, lambda _none: None, n_workers=2)
    assert len(set(modules)) == 2
    assert id(model.module) in modules


def test_few_results_wait_to_be_taken() -> None:
    lock, ahead, most = threading.Lock(), 0, 0

    def read(_model: LoadedModel, _batch: int) -> None:
        nonlocal ahead, most
        with lock:
            ahead += 1
            most = max(most, ahead)

    def take(_none: None) -> None:
        nonlocal ahead
        time.sleep(0.01)
        with lock:
            ahead -= 1

    for_each_batch(toy_model(), range(40), read, take, n_workers=2)
    assert 1 < most <= 5


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_failing_batch_stops_all_and_leaves_threads_as_they_were(n_workers: int) -> None:
    taken: list[int] = []
    inside: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(3)

    def read(_model: LoadedModel, batch: int) -> int:
        inside.append(torch.get_num_threads())
        if batch == 2:
            raise KeyError("broken")
        return batch

    try:
        with pytest.raises(KeyError, match="broken"):
            for_each_batch(toy_model(), range(50), read, taken.append, n_workers)
        assert torch.get_num_threads() == 3 == default_workers(toy_model())
    finally:
        torch.set_num_threads(before)
    assert taken == [0, 1]
    assert len(inside) < 10
    assert set(inside) == {1}, "kernels ran on one core each"
