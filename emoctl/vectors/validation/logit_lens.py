"""Which words a vector points at: its effect on the logits if it stood in the last layer.

The vector is added, at one mean residual norm, to the mean neutral activation of its layer; both
go through the final norm and the unembedding, and what is listed are the tokens that gain and lose
most. That reads a middle layer as if nothing came after it, and proves nothing about behaviour.
"""

from collections.abc import Sequence
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


@torch.inference_mode()
def read_logit_lens(
    model: LoadedModel,
    emotions: Sequence[str],
    vectors: Float[Tensor, "emotions d_model"],
    neutral: Float[Tensor, " d_model"],
    mean_norm: float,
    n_tokens: int = 6,
) -> list[LensRow]:
    """The tokens that each emotion's vector raises and lowers most.

    Raises:
        ModelError: the model has no final norm under a name that is known.
    """
    unembed = model.module.get_output_embeddings()
    norm = _final_norm(model.module)
    device, dtype = model.device, model.dtype
    added = neutral + mean_norm * normalize(vectors, dim=-1)
    logits = unembed(norm(added.to(device, dtype)[None]))[0].float().cpu()
    gain = logits - unembed(norm(neutral.to(device, dtype)[None, None]))[0].float().cpu()
    gain = gain[:, : len(model.tokenizer)]
    rows = []
    for emotion, here in zip(emotions, gain, strict=True):
        order = here.argsort(descending=True)
        own = encode(model.tokenizer, f" {emotion}", special=False)[0]
        rows.append(
            LensRow(
                emotion=emotion,
                up=tuple(model.tokenizer.decode([i]) for i in order[:n_tokens].tolist()),
                down=tuple(model.tokenizer.decode([i]) for i in order.flip(0)[:n_tokens].tolist()),
                own_percentile=float((here < here[own]).float().mean()),
            )
        )
    return rows


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
