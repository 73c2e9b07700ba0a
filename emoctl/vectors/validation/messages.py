"""Short user messages → activations: at the token before the response, and over the message.

The first is where readings "at the Assistant colon" are taken; the second is the mean over the
tokens that the messages do not share with each other, so that a template never enters it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import check_context, common_length, render
from emoctl.scenarios.scenario import Message
from emoctl.vectors.batches import BATCH_TOKENS, Batch, plan_batches
from emoctl.vectors.forward import for_each_batch, show_resid


@dataclass(frozen=True, eq=False)
class MessageActivations:
    """resid_post of each message, at every layer, float32."""

    before_response: Float[Tensor, "messages layers d_model"]
    over_message: Float[Tensor, "messages layers d_model"]


def read_messages(
    model: LoadedModel,
    texts: Sequence[str],
    on_batch: Callable[[int], None] = lambda _n: None,
) -> MessageActivations:
    """Each text as the only turn of a user, through the chat template.

    Raises:
        PromptError: the template refuses a message, or one does not fit the context.
    """
    prompts = [render(model.tokenizer, [Message(role="user", content=text)]) for text in texts]
    ids = [prompt.token_ids for prompt in prompts]
    for tokens, text in zip(ids, texts, strict=True):
        check_context(model, len(tokens), f"the message {text[:40]!r}")
    start = common_length(ids) if len(set(ids)) > 1 else 0
    end = common_length([tokens[::-1] for tokens in ids]) if len(set(ids)) > 1 else 0
    shape = (len(texts), model.n_layers, model.d_model)
    made = MessageActivations(torch.zeros(shape), torch.zeros(shape))

    def read(own: LoadedModel, batch: Batch) -> tuple[Batch, Tensor, Tensor]:
        return batch, *_read_batch(own, batch, start, end)

    def take(result: tuple[Batch, Tensor, Tensor]) -> None:
        batch, last, mean = result
        made.before_response[list(batch.indices)] = last.float().cpu()
        made.over_message[list(batch.indices)] = mean.float().cpu()
        on_batch(len(batch.indices))

    for_each_batch(model, plan_batches(ids, BATCH_TOKENS), read, take)
    return made


@torch.inference_mode()
def _read_batch(
    model: LoadedModel, batch: Batch, start: int, end: int
) -> tuple[Float[Tensor, "batch layers d_model"], Float[Tensor, "batch layers d_model"]]:
    last = torch.zeros(len(batch.indices), model.n_layers, model.d_model, device=model.device)
    mean = torch.zeros_like(last)

    def pool(layer: int, resid: Float[Tensor, "batch pos d_model"]) -> None:
        for row, n_tokens in enumerate(batch.lengths):
            last[row, layer] = resid[row, n_tokens - 1]
            own = resid[row, start : max(n_tokens - end, start + 1)]
            mean[row, layer] = own.float().mean(0)

    show_resid(model, batch.padded(model.device), range(model.n_layers), pool)
    return last, mean
