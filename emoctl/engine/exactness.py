"""Is a row's every bit independent of what shares its batch, on this machine, right now? And does
the steered engine equal plain transformers on this model?

Matrix kernels choose their path by the number of rows; which numbers are safe depends on the
processor, the library and the threads. So it is tried at start-up, on the real model, and the
manifest says what was seen. A pass of one row is tried too, as the control: if even that agreed,
agreement would show nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from emoctl.engine.bank import SteeringBank
from emoctl.engine.play import SteeredEngine
from emoctl.engine.prefix import PrefixStore
from emoctl.engine.slots import MIN_ROWS, Slots
from emoctl.engine.steering import Steering
from emoctl.engine.suffix import BLOCK
from emoctl.models.hook_points import two_thirds_layer
from emoctl.models.loading import LoadedModel

PROBE_PROMPT_TOKENS = 48
PROBE_STEPS = 2
LONG_PROMPT_TOKENS = 576
"""More than a block of keys of the CPU's attention kernel."""

WINDOW_REACHED = 1024
"""Windows up to this are passed by the prompt that is compared with transformers; longer ones would
take too long on a CPU."""

Logits = Float[Tensor, "twins steps d_vocab"]
"""Of the first row of a batch and of the last, which is its twin: kernels may treat ends apart."""


@dataclass(frozen=True)
class Exactness:
    """What the probe saw."""

    exact: bool
    """Whether a row's logits were bit-equal first and last in batches of every tried size."""

    row_counts: tuple[int, ...]
    single_row_differs: bool
    """Whether a pass of one row, which no step of many rows is, gave other bits: the control."""


def probe_exactness(model: LoadedModel, rows: int, engine: str = "reference") -> Exactness:
    """Decode the same row beside different numbers of others, up to `rows`, and compare bits."""
    if engine == "reference":
        return _compare(lambda n: _reference_decode(model, n), rows)
    steered = SteeredEngine(model, rows)
    return _compare(lambda n: _cascade_decode(steered, n, _prompt(model)), rows)


def _compare(decode: Callable[[int], Logits], rows: int) -> Exactness:
    counts = tuple(sorted({MIN_ROWS, 5, 7, max(rows // 2 + 1, MIN_ROWS), rows}))
    first, *others = (row for n in counts for row in decode(n))
    return Exactness(
        exact=all(torch.equal(row, first) for row in others),
        row_counts=counts,
        single_row_differs=not torch.equal(decode(1)[0], first),
    )


@torch.inference_mode()
def cascade_error(model: LoadedModel) -> float:
    """Largest difference of the steered engine's logits from those of a plain forward hook on one
    long sequence, as a share of the largest logit."""
    prompt = _prompt(model, _long_enough(model))
    ids = [*prompt, *(_token(model, 0, step) for step in range(-1, PROBE_STEPS))]
    steering = _steering(model)

    def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + steering.added.to(output[0]), *output[1:])
        return output + steering.added.to(output)

    handle = model.blocks[steering.layer].register_forward_hook(add)
    try:
        tensor = torch.tensor([ids], device=model.device)
        reference = model.module(tensor, use_cache=False).logits[0, -PROBE_STEPS:]
    finally:
        handle.remove()
    ours = _cascade_decode(SteeredEngine(model, MIN_ROWS), MIN_ROWS, prompt)[0]
    return float((ours - reference).abs().max() / reference.abs().max())


@torch.inference_mode()
def _cascade_decode(engine: SteeredEngine, rows: int, prompt: Sequence[int]) -> Logits:
    """Logits of the twins over a few steps. Every third row is under their condition, and the
    second row is a block longer."""
    model, steering = engine.model, _steering(engine.model)
    plain = Steering(steering.layer, torch.zeros_like(steering.added), everywhere=True)
    store = PrefixStore(model, prompt, {steering.layer})
    bank = SteeringBank([steering, plain], rows, model.device, model.dtype)
    slots = Slots(
        engine.module, engine.blocks, engine.openings.cache_shape(), bank, rows, BLOCK, None
    )
    prefixes = {condition: store.under(condition) for condition in (steering, plain)}
    for slot, row in enumerate(_with_twin(rows)):
        condition = plain if row % 3 else steering
        slots.occupy(slot, prefixes[condition], condition)
        slots.feed_one(slot, [_token(model, row, -1)] * (BLOCK + 5 if row == 1 else 1))
    seen = []
    for step in range(PROBE_STEPS):
        tokens = [_token(model, row, step) for row in _with_twin(rows)]
        slots.next_ids[:] = torch.tensor(tokens, device=model.device)
        fed = slots.feed_one(0, tokens) if rows == 1 else slots.feed_live(rows)
        seen.append(fed.logits[[0, -1]])
    return torch.stack(seen, dim=1)


@torch.inference_mode()
def _reference_decode(model: LoadedModel, rows: int) -> Logits:
    """Logits of the twins, whose tokens do not depend on `rows`, over a few steps."""
    cache = DynamicCache()
    prompt = torch.tensor([_prompt(model)], device=model.device)
    model.module(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(rows)
    seen = []
    for step in range(PROBE_STEPS):
        tokens = [[_token(model, row, step)] for row in _with_twin(rows)]
        ids = torch.tensor(tokens, device=model.device)
        seen.append(_last_logits(model, ids, cache)[[0, -1]])
    return torch.stack(seen, dim=1)


def _last_logits(
    model: LoadedModel, token_ids: Tensor, cache: DynamicCache
) -> Float[Tensor, "rows d_vocab"]:
    return model.module(token_ids, past_key_values=cache, use_cache=True).logits[:, -1]


def _with_twin(rows: int) -> list[int]:
    """What each row of a batch is: the last one is the first one again."""
    return [*range(rows - 1), 0]


def _prompt(model: LoadedModel, n_tokens: int = PROBE_PROMPT_TOKENS) -> list[int]:
    return [i * 7 % _d_vocab(model) for i in range(n_tokens)]


def _long_enough(model: LoadedModel) -> int:
    """Tokens of a prompt that is longer than a block of keys, and than the window, if there is
    one and the context has room."""
    window = getattr(model.module.config.get_text_config(), "sliding_window", None) or 0
    wanted = max(LONG_PROMPT_TOKENS, window + BLOCK if window <= WINDOW_REACHED else 0)
    return min(wanted, model.context - 2 * BLOCK)


def _token(model: LoadedModel, row: int, step: int) -> int:
    return (row * 31 + 11 * step + 16) % _d_vocab(model)


def _d_vocab(model: LoadedModel) -> int:
    return int(model.module.config.get_text_config().vocab_size)


def _steering(model: LoadedModel) -> Steering:
    """Something at the usual layer, as long as the residual stream is about wide."""
    added = torch.linspace(-1, 1, model.d_model)
    return Steering(two_thirds_layer(model.n_layers), added, everywhere=True)
