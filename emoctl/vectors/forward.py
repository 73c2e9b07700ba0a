"""Forward passes that end early, and workers that make many of them.

    batches ─▶ worker 1: block 0 ─▶ … ─▶ last layer wanted ─▶ stop ─┐
            ─▶ worker 2: …                                          ├─▶ results, in order
                    └ each wanted layer's resid_post is shown, then dropped

On the CPU a worker is a thread whose kernels run on one core: no barrier between cores after every
kernel, and the bits of a result do not depend on how many workers there are. This module does not
know what is done with an activation.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from emoctl.models.loading import LoadedModel
from emoctl.models.twin import twin

T = TypeVar("T")
R = TypeVar("R")
OnResid = Callable[[int, Tensor], None]


class _Stopped(Exception):
    """The last layer wanted has been shown: the pass is over. No error, and never seen outside."""


def show_resid(
    model: LoadedModel,
    token_ids: Int[Tensor, "batch pos"],
    layers: Sequence[int],
    on_resid: OnResid,
) -> None:
    """Call `on_resid(layer, resid_post)` for each of `layers`, in the order of the pass.

    What it is shown is `[batch, pos, d_model]`, the model's own tensor: to be read there and then,
    and neither changed nor kept. Blocks above the last of `layers`, the final norm and the
    unembedding are not run.
    """
    check_layers(model, layers)
    last = max(layers)

    def hook_of(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_block: nn.Module, _inputs: Any, output: Any) -> None:
            resid: Float[Tensor, "batch pos d_model"]
            resid = output[0] if isinstance(output, tuple) else output
            on_resid(layer, resid)
            if layer == last:
                raise _Stopped

        return hook

    handles = [model.blocks[layer].register_forward_hook(hook_of(layer)) for layer in layers]
    try:
        model.module(input_ids=token_ids, use_cache=False)
    except _Stopped:
        return
    finally:
        for handle in handles:
            handle.remove()
    raise AssertionError(f"the pass ended without reaching block {last}")


def check_layers(model: LoadedModel, layers: Sequence[int]) -> None:
    """Refuse no layer at all, one twice, and one that the model does not have.

    Raises:
        ValueError: any of these.
    """
    outside = [layer for layer in layers if not 0 <= layer < model.n_layers]
    if outside or not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers {list(layers)} of a model with layers 0–{model.n_layers - 1}")


def default_workers(model: LoadedModel) -> int:
    """One for each thread that torch may use; one alone on an accelerator."""
    return torch.get_num_threads() if model.device.type == "cpu" else 1


def for_each_batch(
    model: LoadedModel,
    batches: Sequence[T],
    read: Callable[[LoadedModel, T], R],
    take: Callable[[R], None],
    n_workers: int | None = None,
) -> None:
    """`take(read(model, batch))` for every batch: read side by side, taken one by one in order.

    At most two results a worker wait to be taken, so memory does not grow with the batches.
    """
    wanted = default_workers(model) if n_workers is None else n_workers
    with _one_core_each(model):
        if min(wanted, len(batches)) <= 1:
            for batch in batches:
                take(read(model, batch))
        else:
            _in_parallel(model, batches, read, take, min(wanted, len(batches)))


def _in_parallel(
    model: LoadedModel,
    batches: Sequence[T],
    read: Callable[[LoadedModel, T], R],
    take: Callable[[R], None],
    n_workers: int,
) -> None:
    idle: SimpleQueue[LoadedModel] = SimpleQueue()
    for own in (model, *(twin(model) for _ in range(n_workers - 1))):
        idle.put(own)

    def work(batch: T) -> R:
        own = idle.get()
        try:
            return read(own, batch)
        finally:
            idle.put(own)

    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="emoctl-forward")
    try:
        for batch in batches:
            if len(waiting) == 2 * n_workers:
                take(waiting.popleft().result())
            waiting.append(pool.submit(work, batch))
        while waiting:
            take(waiting.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_core_each(model: LoadedModel) -> Iterator[None]:
    """Kernels of one thread, on the CPU, for as long as this lasts."""
    before = torch.get_num_threads()
    if model.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
