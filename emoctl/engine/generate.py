"""Steered generation on transformers' own cache: slow, plain, and right.

    prompt ──prefill, once a condition──▶ its KV cache ──┐
                                                          ├─▶ decode rows of all conditions ─▶ rows
    rollouts (condition, noise key) ──────────────────────┘        together, one token a step

The engine deals in token ids. It does not know what an emotion, a scenario or an outcome is.

Rows of a batch answer one prompt and advance in step. A prompt is prefilled alone, and a batch
never has fewer than four rows (the missing ones are padding), because matrix kernels take another
path for one to three rows; with one thread, a row's logits are then bit-equal whatever shares its
batch. `emoctl.engine.exactness` checks that on the machine at hand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from emoctl.engine.reader import reading
from emoctl.engine.readings import Probe, Readings, joined
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams, Stop, stop_of
from emoctl.engine.sampling import logprobs_of, sample
from emoctl.engine.steering import (
    Steering,
    SteeringCount,
    SteeringTable,
    check_count,
    check_logprob,
)
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel

MIN_ROWS = 4


@dataclass(frozen=True, eq=False)
class Prefill:
    """A prompt under one condition: its KV cache, first logits, what was added and read."""

    keys: tuple[Float[Tensor, "1 kv_heads pos d_head"], ...]
    values: tuple[Float[Tensor, "1 kv_heads pos d_head"], ...]
    logits: Float[Tensor, "1 d_vocab"]
    count: SteeringCount
    readings: Sequence[Readings] = ()


@torch.inference_mode()
def prefill(
    model: LoadedModel,
    prompt: Sequence[int],
    response_start: int,
    steering: Steering,
    probe: Probe | None = None,
) -> Prefill:
    """Run a whole prompt under one condition, alone in its batch."""
    ids = torch.tensor([list(prompt)], device=model.device)
    positions = torch.arange(len(prompt), device=model.device)[None]
    table = SteeringTable([steering], response_start, model.device, model.dtype)
    cache = DynamicCache()
    with table.applied_to(model.blocks, positions, n_real=1), reading(probe, model.blocks) as seen:
        output = model.module(
            input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
    if not cache.layers:
        raise ModelError(
            "the model keeps its past elsewhere than in keys and values",
            hint="emoctl runs models whose every layer is an attention layer",
        )
    keys, values = keys_and_values(cache.layers)
    return Prefill(
        keys=keys,
        values=values,
        logits=output.logits[:, -1],
        count=table.counts()[0],
        readings=seen.of_row(0, probe.read_from(response_start) if probe else 0),
    )


def keys_and_values(
    layers: Sequence[Any],
) -> tuple[
    tuple[Float[Tensor, "_rows kv_heads pos d_head"], ...],
    tuple[Float[Tensor, "_rows kv_heads pos d_head"], ...],
]:
    """What layers of a cache hold, by layer.

    Raises:
        ModelError: a layer keeps something else than keys and values.
    """
    keys, values = [], []
    for layer in layers:
        if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.values is None:
            raise ModelError(
                f"a layer caches a {type(layer).__name__}, not keys and values",
                hint="emoctl runs models whose every layer is an attention layer",
            )
        keys.append(layer.keys)
        values.append(layer.values)
    return tuple(keys), tuple(values)


@dataclass(eq=False)
class _Batch:
    """The rows still being decoded. Row r of every tensor belongs to request `live[r]`; rows
    beyond `len(live)` are padding."""

    live: list[int]
    cache: DynamicCache
    table: SteeringTable
    next_ids: Int[Tensor, " rows"]
    written: list[list[int]] = field(default_factory=list)
    logprob: list[float] = field(default_factory=list)
    read: list[list[Readings]] = field(default_factory=list)


@torch.inference_mode()
def generate(
    model: LoadedModel,
    requests: Sequence[RolloutRequest],
    prefill_of: Callable[[Steering], Prefill],
    params: SamplingParams,
    probe: Probe | None = None,
) -> Iterator[Completion]:
    """Play every request, all of one prompt, to its end, yielding each as soon as it is finished.

    `prefill_of` gives the prompt under a condition, read with the same probe; a caller keeps those
    it will need again.

    Raises:
        SteeringError: a row was not steered as its condition says.
        ValueError: a prompt was not read, and there is a probe.
    """
    prompt, response_start = requests[0].prompt, requests[0].response_start
    prefills = [prefill_of(request.steering) for request in requests]
    if probe and not all(p.readings for p in prefills):
        raise ValueError("a prompt was prefilled without the probe that its rollouts have")
    batch = _begin(model, requests, prefills, response_start)
    logits = torch.cat([p.logits for p in prefills])[_padded(list(range(len(requests))))]
    for index in range(params.max_new_tokens):
        _draw(batch, requests, logits, index, params)
        stops = [stop_of(batch.written[r], params, model.eos_ids) for r in batch.live]
        finished = [row for row, stop in enumerate(stops) if stop]
        for row in finished:
            request, stop = batch.live[row], stops[row]
            assert stop is not None
            count = _together(prefills[request].count, batch.table.counts()[request])
            done = _complete(
                requests[request], request, batch, count, len(prompt), response_start, stop
            )
            yield replace(done, readings=joined(probe, batch.read[request], response_start))
        if len(finished) == len(batch.live):
            return
        if finished:
            _drop(batch, finished, model.device)
        logits = _step(model, batch, len(prompt) + index, probe)


def _begin(
    model: LoadedModel,
    requests: Sequence[RolloutRequest],
    prefills: Sequence[Prefill],
    response_start: int,
) -> _Batch:
    table = SteeringTable([r.steering for r in requests], response_start, model.device, model.dtype)
    rows = _padded(list(range(len(requests))))
    table.keep(torch.tensor(rows, device=model.device))
    cache = DynamicCache()
    for layer in range(len(prefills[0].keys)):
        cache.update(
            torch.cat([prefills[r].keys[layer] for r in rows]),
            torch.cat([prefills[r].values[layer] for r in rows]),
            layer,
        )
    n = len(requests)
    return _Batch(
        live=list(range(n)),
        cache=cache,
        table=table,
        next_ids=torch.zeros(len(rows), dtype=torch.int64, device=model.device),
        written=[[] for _ in range(n)],
        logprob=[0.0] * n,
        read=[list(p.readings) for p in prefills],
    )


def _draw(
    batch: _Batch,
    requests: Sequence[RolloutRequest],
    logits: Float[Tensor, "rows d_vocab"],
    index: int,
    params: SamplingParams,
) -> None:
    words = torch.tensor([requests[r].noise.words(index) for r in batch.live], device=logits.device)
    real = logits[: len(batch.live)]
    drawn = sample(real, words, params.temperature, params.top_p)
    logprobs = logprobs_of(real, drawn).tolist()
    batch.next_ids[: len(batch.live)] = drawn
    for request, token, logprob in zip(batch.live, drawn.tolist(), logprobs, strict=True):
        check_logprob(logprob, f"rollout {requests[request].noise.rollout}")
        batch.written[request].append(token)
        batch.logprob[request] += logprob


def _step(
    model: LoadedModel, batch: _Batch, position: int, probe: Probe | None
) -> Float[Tensor, "rows d_vocab"]:
    """Feed each row the token that it just drew."""
    positions = torch.full((len(batch.next_ids), 1), position, device=model.device)
    with (
        batch.table.applied_to(model.blocks, positions, n_real=len(batch.live)),
        reading(probe, model.blocks) as seen,
    ):
        output = model.module(
            input_ids=batch.next_ids[:, None],
            position_ids=positions,
            past_key_values=batch.cache,
            use_cache=True,
        )
    for row, request in enumerate(batch.live):
        batch.read[request] += seen.of_row(row)
    return output.logits[:, -1]


def _drop(batch: _Batch, finished: Sequence[int], device: torch.device) -> None:
    """Take finished rows out, and pad again."""
    staying = [row for row in range(len(batch.live)) if row not in set(finished)]
    rows = torch.tensor(_padded(staying), device=device)
    batch.live = [batch.live[row] for row in staying]
    batch.table.keep(rows)
    batch.next_ids = batch.next_ids[rows]
    batch.cache.batch_select_indices(rows)


def _padded(rows: Sequence[int]) -> list[int]:
    """These rows, the first one repeated until there are at least MIN_ROWS."""
    return [*rows, *([rows[0]] * (MIN_ROWS - len(rows)))]


def _complete(
    request: RolloutRequest,
    index: int,
    batch: _Batch,
    count: SteeringCount,
    n_prompt: int,
    response_start: int,
    stop: Stop,
) -> Completion:
    """Close a row, and hold what was added against what should have been."""
    written = batch.written[index]
    expected = n_prompt + len(written) - 1 - request.steering.steer_from(response_start)
    check_count(request.steering, count, expected, f"rollout {request.noise.rollout}")
    return Completion(
        index=index,
        token_ids=tuple(written),
        stop=stop,
        mean_logprob=batch.logprob[index] / len(written),
        count=count,
        turn_ends=(len(written),),
    )


def _together(first: SteeringCount, second: SteeringCount) -> SteeringCount:
    n = first.n_steered + second.n_steered
    total = first.mean_added_norm * first.n_steered + second.mean_added_norm * second.n_steered
    return SteeringCount(n, total / n if n else 0.0)
