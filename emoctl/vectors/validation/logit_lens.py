"""Which words a vector points at: its effect on the logits if it stood in the last layer.

The vector is added, at one mean residual norm, to the mean neutral activation of its layer; both
go through the final norm and the unembedding, and what is listed are the tokens that gain and lose
most. That reads a middle layer as if nothing came after it, and proves nothing about behaviour.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import encode
from emoctl.vectors.validation.measurements import LensRow

FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "norm_f")


@dataclass(frozen=True, eq=False)
class EmotionLayer:
    """Emotion vectors at one layer, and what they are added to."""

    layer: int
    emotions: tuple[str, ...]
    vectors: Float[Tensor, "emotions d_model"]
    neutral: Float[Tensor, " d_model"]
    """Mean activation of neutral tokens."""

    mean_norm: float


@torch.inference_mode()
def read_logit_lens(
    model: LoadedModel,
    vectors: EmotionLayer,
    n_tokens: int = 6,
) -> list[LensRow]:
    """The tokens that each emotion's vector raises and lowers most.

    Raises:
        ModelError: the model has no final norm under a name that is known.
    """
    gain = _gains(model, vectors)
    contrast = (gain - gain.mean(0)) / gain.std(0, correction=0).clamp_min(1e-6)
    rows = []
    for index, emotion in enumerate(vectors.emotions):
        own = _first_token(model, emotion)
        up, down = _ends(model, gain[index], n_tokens)
        contrast_up, contrast_down = _ends(model, contrast[index], n_tokens)
        rows.append(
            LensRow(
                layer=vectors.layer,
                emotion=emotion,
                up=up,
                down=down,
                own_percentile=_percentile(gain[index], own),
                contrast_up=contrast_up,
                contrast_down=contrast_down,
                contrast_percentile=_percentile(contrast[index], own),
            )
        )
    return rows


def _gains(model: LoadedModel, vectors: EmotionLayer) -> Float[Tensor, "emotions vocabulary"]:
    """What each vector adds to every token's logit."""
    unembed, norm = model.module.get_output_embeddings(), _final_norm(model.module)
    added = vectors.neutral + vectors.mean_norm * normalize(vectors.vectors, dim=-1)
    both = torch.cat([vectors.neutral[None], added]).to(model.device, model.dtype)
    weight = unembed.weight.float()  # differences of half-precision logits would be ties
    logits = (norm(both[None])[0].float() @ weight.T).cpu()
    return (logits[1:] - logits[0])[:, : len(model.tokenizer)]


def _ends(
    model: LoadedModel, gain: Float[Tensor, " vocabulary"], n: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tokens that gain most, and least."""

    def told(ids: Tensor) -> tuple[str, ...]:
        return tuple(model.tokenizer.decode([i]) for i in ids.tolist())

    return told(gain.topk(n).indices), told((-gain).topk(n).indices)


def _first_token(model: LoadedModel, word: str) -> int | None:
    """The first token of a word in the middle of a text; some tokenizers begin with a space of its
    own, which says nothing. None where there is no other."""
    for token in encode(model.tokenizer, f" {word}", special=False):
        if model.tokenizer.decode([token]).strip():
            return token
    return None


def _percentile(gain: Float[Tensor, " vocabulary"], token: int | None) -> float:
    return math.nan if token is None else float((gain < gain[token]).float().mean())


def _final_norm(module: Any) -> Any:
    base = module.base_model
    for part in (base, getattr(base, "decoder", None), getattr(base, "language_model", None)):
        for name in FINAL_NORMS:
            if part is not None and getattr(part, name, None) is not None:
                return getattr(part, name)
    raise ModelError(
        f"{type(module).__name__} has no final norm called {', '.join(FINAL_NORMS)}",
        hint="the logit lens needs it: leave it out with --no-logit-lens",
    )
