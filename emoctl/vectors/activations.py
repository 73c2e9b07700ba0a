"""Texts → activations: resid_post of every layer, averaged over each text's tokens, in one pass.

Texts are sorted by length and right-padded; padding never enters a mean. Nothing per token is
kept, except a small fixed sample of neutral tokens, which controls are drawn from. This module
does not know what an emotion is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from emoctl.errors import StoriesError
from emoctl.models.hook_points import resid_post
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import check_context, encode

BATCH_TOKENS = 2048
"""Real and padding tokens of one forward pass."""

SINK_POSITIONS = 8
"""Opening positions that never enter a norm or a neutral token sample: attention sinks there have
norms tens of times the others'."""

N_NEUTRAL_TOKENS = 128
"""Neutral tokens kept, evenly spaced over all of them."""


@dataclass(frozen=True, eq=False)
class NeutralActivations:
    """What a fixed set of neutral texts gives, beyond the texts' means."""

    means: Float[Tensor, "texts layers d_model"]
    mean_norm: Float[Tensor, " layers"]
    """Mean L2 norm of resid_post over all tokens but the sink positions."""

    n_norm_tokens: int
    tokens: Float[Tensor, "tokens layers d_model"]
    """An even sample of token activations."""

    token_covariance: Float[Tensor, "layers d_model d_model"] | None
    """Over all tokens but the sink positions, if it was asked for."""


@torch.inference_mode()
def text_means(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    on_batch: Callable[[int], None] = lambda _n: None,
) -> Float[Tensor, "texts layers d_model"]:
    """Mean resid_post of each text over its tokens from index `from_token` on, float32.

    A beginning-of-sequence token counts as index 0. `on_batch` is told how many texts are done.

    Raises:
        StoriesError: a text has no token at `from_token` or beyond.
    """
    ids = [_long_enough(model, text, from_token) for text in texts]
    means = torch.zeros(len(texts), model.n_layers, model.d_model)
    for batch in length_batches([len(tokens) for tokens in ids]):
        resid, real = resid_of(model, [ids[i] for i in batch])
        pooled: Bool[Tensor, "batch pos"] = real.clone()
        pooled[:, :from_token] = False
        weight = pooled.to(resid[0].dtype)[..., None]
        for layer, activations in enumerate(resid):
            mean = (activations * weight).sum(1) / weight.sum(1)
            means[batch, layer] = mean.float().cpu()
        on_batch(len(batch))
    return means


@torch.inference_mode()
def neutral_activations(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    *,
    token_covariance: bool,
    on_batch: Callable[[int], None] = lambda _n: None,
) -> NeutralActivations:
    """Means, residual norms and a token sample of neutral texts, each text read once.

    Raises:
        StoriesError: a text has no token at `from_token` or beyond.
    """
    ids = [_long_enough(model, text, from_token) for text in texts]
    n_tokens = sum(len(tokens) - SINK_POSITIONS for tokens in ids)
    wanted = torch.linspace(0, n_tokens - 1, min(N_NEUTRAL_TOKENS, n_tokens)).round().long()
    sums = _NeutralSums(model.n_layers, model.d_model, token_covariance)
    means, kept = [], []
    for text_ids in ids:
        resid = torch.stack([r[0] for r in resid_of(model, [text_ids])[0]], dim=1).cpu()
        means.append(resid[from_token:].mean(0).float())
        tokens = resid[SINK_POSITIONS:]
        here = wanted[(wanted >= sums.seen) & (wanted < sums.seen + len(tokens))] - sums.seen
        kept.append(tokens[here].float())
        sums.add(tokens.double())
        on_batch(1)
    return NeutralActivations(
        means=torch.stack(means),
        mean_norm=(sums.norm / sums.seen).float(),
        n_norm_tokens=sums.seen,
        tokens=torch.cat(kept),
        token_covariance=sums.covariance(),
    )


class _NeutralSums:
    """Running sums over neutral tokens, in float64."""

    def __init__(self, n_layers: int, d_model: int, with_squares: bool) -> None:
        self.seen = 0
        self.norm = torch.zeros(n_layers, dtype=torch.float64)
        self.total = torch.zeros(n_layers, d_model, dtype=torch.float64)
        shape = (n_layers, d_model, d_model)
        self.squares = torch.zeros(shape, dtype=torch.float64) if with_squares else None

    def add(self, tokens: Float[Tensor, "tokens layers d_model"]) -> None:
        self.seen += len(tokens)
        self.norm += tokens.norm(dim=-1).sum(0)
        if self.squares is not None:
            by_layer = tokens.transpose(0, 1)
            self.total += tokens.sum(0)
            self.squares += by_layer.transpose(1, 2) @ by_layer

    def covariance(self) -> Float[Tensor, "layers d_model d_model"] | None:
        if self.squares is None:
            return None
        mean = self.total / self.seen
        return (self.squares / self.seen - mean[:, :, None] * mean[:, None, :]).float()


def resid_of(
    model: LoadedModel, token_ids: Sequence[Sequence[int]]
) -> tuple[list[Float[Tensor, "batch pos d_model"]], Bool[Tensor, "batch pos"]]:
    """resid_post of every layer for right-padded sequences, and which positions are real."""
    longest = max(len(tokens) for tokens in token_ids)
    padded = torch.zeros(len(token_ids), longest, dtype=torch.int64)
    real = torch.zeros(len(token_ids), longest, dtype=torch.bool)
    for row, tokens in enumerate(token_ids):
        padded[row, : len(tokens)] = torch.tensor(tokens)
        real[row, : len(tokens)] = True
    real = real.to(model.device)
    mask: Int[Tensor, "batch pos"] | None = None if bool(real.all()) else real.long()
    captured = capture(model, padded.to(model.device), mask)
    return [captured[resid_post(layer)] for layer in range(model.n_layers)], real


def capture(
    model: LoadedModel,
    token_ids: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch pos"] | None = None,
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """resid_post of every layer in one pass, under TransformerLens' names.

    The unembedding is left out but for one position: nothing here needs logits.
    """
    captured: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            captured[name] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [
        block.register_forward_hook(keep(resid_post(layer)))
        for layer, block in enumerate(model.blocks)
    ]
    try:
        model.module(
            input_ids=token_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=1
        )
    finally:
        for handle in handles:
            handle.remove()
    return captured


def length_batches(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> list[list[int]]:
    """Indices grouped by similar length, each group within `budget` padded tokens; pure."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if not batches or lengths[index] * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def _long_enough(model: LoadedModel, text: str, from_token: int) -> tuple[int, ...]:
    tokens = encode(model.tokenizer, text, special=True)
    if len(tokens) <= max(from_token, SINK_POSITIONS):
        raise StoriesError(
            f"a text has {len(tokens)} tokens, and means start at token {from_token}: "
            f"{text[:60]!r}",
            hint="lengthen it, leave it out, or lower recipe.from_token",
        )
    check_context(model, len(tokens), f"the text {text[:40]!r}")
    return tokens
