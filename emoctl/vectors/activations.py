"""Texts → activations: resid_post, averaged over each text's tokens, in one pass.

Averages are taken on the device, inside the forward pass, layer by layer. Nothing per token leaves
it, except a small fixed sample of neutral tokens, which controls are drawn from. This module does
not know what an emotion is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.errors import StoriesError
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import check_context, encode
from emoctl.vectors.batches import BATCH_TOKENS, Batch, plan_batches
from emoctl.vectors.forward import check_layers, for_each_batch, show_resid

SINK_POSITIONS = 8
"""Opening positions that never enter a norm or a neutral token sample: attention sinks there have
norms tens of times the others'."""

N_NEUTRAL_TOKENS = 128
"""Neutral tokens kept, evenly spaced over all of them."""


@dataclass(frozen=True)
class Reading:
    """How a set of texts is read; what is read does not depend on it, beyond rounding."""

    batch_tokens: int = BATCH_TOKENS
    n_workers: int | None = None
    """None: as many as `default_workers` says."""


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


def text_means(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    on_batch: Callable[[int], None] = lambda _n: None,
    *,
    layers: Sequence[int] | None = None,
    reading: Reading = Reading(),
) -> Float[Tensor, "texts layers d_model"]:
    """Mean resid_post of each text over its tokens from index `from_token` on, float32.

    A beginning-of-sequence token counts as index 0. `layers` are all of them unless named; blocks
    above the highest one are not run. `on_batch` is told how many texts are done.

    Raises:
        StoriesError: a text has no token at `from_token` or beyond.
    """
    ids = [_long_enough(model, text, from_token) for text in texts]
    wanted = tuple(range(model.n_layers)) if layers is None else tuple(layers)
    check_layers(model, wanted)
    means = torch.zeros(len(texts), len(wanted), model.d_model)

    def read(own: LoadedModel, batch: Batch) -> tuple[Batch, Tensor]:
        return batch, _batch_means(own, batch, from_token, wanted)

    def take(result: tuple[Batch, Tensor]) -> None:
        batch, of_batch = result
        means[list(batch.indices)] = of_batch.float().cpu()
        on_batch(len(batch.indices))

    for_each_batch(model, plan_batches(ids, reading.batch_tokens), read, take, reading.n_workers)
    return means


@torch.inference_mode()
def _batch_means(
    model: LoadedModel, batch: Batch, from_token: int, layers: tuple[int, ...]
) -> Float[Tensor, "batch layers d_model"]:
    """The means of one batch's texts, on the device, each over its own tokens alone."""
    means = _zeros(model, len(batch.indices), len(layers), model.d_model)

    def pool(layer: int, resid: Float[Tensor, "batch pos d_model"]) -> None:
        at = layers.index(layer)
        for row, n_tokens in enumerate(batch.lengths):
            means[row, at] = resid[row, from_token:n_tokens].mean(0, dtype=means.dtype)

    show_resid(model, batch.padded(model.device), layers, pool)
    return means


def neutral_activations(
    model: LoadedModel,
    texts: Sequence[str],
    from_token: int,
    *,
    token_covariance: bool,
    layers: Sequence[int] | None = None,
    on_batch: Callable[[int], None] = lambda _n: None,
    reading: Reading = Reading(),
) -> NeutralActivations:
    """Means, residual norms and a token sample of neutral texts, each text read once.

    `layers` are all of them unless named; blocks above the highest one are not run.

    Raises:
        StoriesError: a text has no token at `from_token` or beyond.
    """
    ids = [_long_enough(model, text, from_token) for text in texts]
    wanted = tuple(range(model.n_layers)) if layers is None else tuple(layers)
    check_layers(model, wanted)
    sampled = sample_positions([len(tokens) for tokens in ids])
    n_sampled = [len(positions) for positions in sampled]
    sums = _NeutralSums(model, n_sampled, token_covariance, len(wanted))

    def read(own: LoadedModel, batch: Batch) -> "_NeutralBatch":
        return _NeutralBatch(own, batch, from_token, sampled, token_covariance, wanted)

    def take(part: "_NeutralBatch") -> None:
        sums.add(part)
        on_batch(len(part.batch.indices))

    for_each_batch(model, plan_batches(ids, reading.batch_tokens), read, take, reading.n_workers)
    n_tokens = sum(len(tokens) - SINK_POSITIONS for tokens in ids)
    return NeutralActivations(
        means=sums.means,
        mean_norm=(sums.norms.sum(0) / n_tokens).float(),
        n_norm_tokens=n_tokens,
        tokens=torch.cat(sums.tokens),
        token_covariance=sums.covariance(n_tokens),
    )


def sample_positions(lengths: Sequence[int]) -> list[list[int]]:
    """Of each text, the positions of an even sample over all texts' tokens but the sinks."""
    counts = [n - SINK_POSITIONS for n in lengths]
    total = sum(counts)
    wanted = torch.linspace(0, total - 1, min(N_NEUTRAL_TOKENS, total)).round().long().tolist()
    positions, start = [], 0
    for count in counts:
        here = [w - start + SINK_POSITIONS for w in wanted if start <= w < start + count]
        positions.append(here)
        start += count
    return positions


class _NeutralBatch:
    """What one batch of neutral texts gives; sums are in float64."""

    @torch.inference_mode()
    def __init__(
        self,
        model: LoadedModel,
        batch: Batch,
        from_token: int,
        sampled: Sequence[Sequence[int]],
        with_squares: bool,
        wanted: tuple[int, ...],
    ) -> None:
        n, layers, d_model = len(batch.indices), len(wanted), model.d_model
        self.batch, self.from_token, self.wanted = batch, from_token, wanted
        self.sampled = [list(sampled[i]) for i in batch.indices]
        self.means = _zeros(model, n, layers, d_model)
        self.norms = _zeros(model, n, layers, wide=True)
        self.tokens = [_zeros(model, len(here), layers, d_model) for here in self.sampled]
        self.total = _zeros(model, layers, d_model, wide=True)
        self.squares = _zeros(model, layers, d_model, d_model, wide=True) if with_squares else None
        show_resid(model, batch.padded(model.device), wanted, self._pool)

    def _pool(self, layer: int, resid: Float[Tensor, "batch pos d_model"]) -> None:
        at = self.wanted.index(layer)
        for row, n_tokens in enumerate(self.batch.lengths):
            text = resid[row, :n_tokens]
            self.means[row, at] = text[self.from_token :].mean(0, dtype=self.means.dtype)
            self.tokens[row][:, at] = text[self.sampled[row]].to(self.means.dtype)
            tokens = text[SINK_POSITIONS:].double()
            self.norms[row, at] = tokens.norm(dim=-1).sum()
            if self.squares is not None:
                self.total[at] += tokens.sum(0)
                self.squares[at] += tokens.T @ tokens


class _NeutralSums:
    """Batches of neutral texts put together: by text, and summed in the order of the batches."""

    def __init__(
        self, model: LoadedModel, n_sampled: Sequence[int], with_squares: bool, layers: int
    ) -> None:
        d_model = model.d_model
        self.means = torch.zeros(len(n_sampled), layers, d_model)
        self.norms = torch.zeros(len(n_sampled), layers, dtype=torch.float64)
        self.tokens = [torch.zeros(n, layers, d_model) for n in n_sampled]
        self.total = torch.zeros(layers, d_model, dtype=torch.float64)
        shape = (layers, d_model, d_model)
        self.squares = torch.zeros(shape, dtype=torch.float64) if with_squares else None

    def add(self, part: _NeutralBatch) -> None:
        for row, index in enumerate(part.batch.indices):
            self.means[index] = part.means[row].float().cpu()
            self.norms[index] = part.norms[row].cpu()
            self.tokens[index] = part.tokens[row].float().cpu()
        self.total += part.total.cpu()
        if self.squares is not None and part.squares is not None:
            self.squares += part.squares.cpu()

    def covariance(self, n_tokens: int) -> Float[Tensor, "layers d_model d_model"] | None:
        if self.squares is None:
            return None
        mean = self.total / n_tokens
        return (self.squares / n_tokens - mean[:, :, None] * mean[:, None, :]).float()


def _zeros(model: LoadedModel, *shape: int, wide: bool = False) -> Tensor:
    """Zeros on the model's device, in float32 at least; `wide`: in float64."""
    dtype = torch.float64 if wide or model.dtype == torch.float64 else torch.float32
    return torch.zeros(*shape, dtype=dtype, device=model.device)


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
