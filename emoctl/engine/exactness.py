"""Is a row's every bit independent of what shares its batch, on this machine, right now?

Matrix kernels choose their path by the number of rows; which numbers are safe depends on the
processor, the library and the threads. So it is tried at start-up, on the real model, and the
manifest says what was seen. Batches of one row are tried too, as the control: if even they agreed,
agreement would show nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from emoctl.engine.generate import MIN_ROWS
from emoctl.models.loading import LoadedModel

PROBE_PROMPT_TOKENS = 48
PROBE_STEPS = 2


@dataclass(frozen=True)
class Exactness:
    """What the probe saw."""

    exact: bool
    """Whether a row's logits were bit-equal in batches of every tried size."""

    row_counts: tuple[int, ...]
    single_row_differs: bool
    """Whether a batch of one row, which emoctl never runs, gave other bits: the control."""


@torch.inference_mode()
def probe_exactness(model: LoadedModel, rows: int) -> Exactness:
    """Decode the same row beside different numbers of others, up to `rows`, and compare bits."""
    counts = tuple(sorted({MIN_ROWS, 5, 7, max(rows // 2 + 1, MIN_ROWS), rows}))
    reference = _decode(model, counts[0])
    return Exactness(
        exact=all(torch.equal(_decode(model, n), reference) for n in counts[1:]),
        row_counts=counts,
        single_row_differs=not torch.equal(_decode(model, 1), reference),
    )


def _decode(model: LoadedModel, rows: int) -> Float[Tensor, "steps d_vocab"]:
    """Logits of the first row, whose tokens do not depend on `rows`, over a few steps."""
    d_vocab = model.module.get_input_embeddings().weight.shape[0]
    prompt = torch.arange(PROBE_PROMPT_TOKENS, device=model.device) * 7 % d_vocab
    cache = DynamicCache()
    model.module(prompt[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(rows)
    seen = []
    for step in range(PROBE_STEPS):
        tokens = (torch.arange(rows, device=model.device) * 31 + 11 * step + 5) % d_vocab
        seen.append(_last_logits(model, tokens[:, None], cache)[0])
    return torch.stack(seen)


def _last_logits(
    model: LoadedModel, token_ids: Tensor, cache: DynamicCache
) -> Float[Tensor, "rows d_vocab"]:
    return model.module(token_ids, past_key_values=cache, use_cache=True).logits[:, -1]
