"""Messages → the exact tokens that a model is asked with.

A chat template is used where the tokenizer has one; a base model gets a plain Human:/Assistant:
form. Nothing is truncated, and no beginning-of-sequence token is doubled: both are errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emoctl.errors import PromptError
from emoctl.models.loading import LoadedModel
from emoctl.scenarios.scenario import Message

PLAIN_NAMES = {"system": "System", "user": "Human", "assistant": "Assistant"}


@dataclass(frozen=True)
class Prompt:
    """A conversation as tokens, up to where the model goes on."""

    text: str
    """What was tokenised, template and lead included."""

    token_ids: tuple[int, ...]
    response_start: int
    """Index of the first token of the response: of the lead, or of what the model writes."""

    n_bos: int
    """How many beginning-of-sequence tokens open it: 0 or 1."""

    @property
    def reading_position(self) -> int:
        """Index of the token that readings "at the Assistant colon" are taken at: the last one of
        the template, whatever the template calls it."""
        return self.response_start - 1


def render(tokenizer: Any, messages: Sequence[Message], lead: str = "") -> Prompt:
    """The tokens of `messages`, the opening of the assistant's turn, and its `lead`.

    Raises:
        PromptError: the template refuses the messages, the tokens begin with two BOS, or the
            tokenizer adds something else.
    """
    text, special = _template(tokenizer, messages)
    opening = encode(tokenizer, text, special=special)
    _refuse_additions(tokenizer, text, opening)
    token_ids = encode(tokenizer, text + lead, special=special) if lead else opening
    n_bos = _leading(token_ids, tokenizer.bos_token_id)
    if n_bos > 1:
        raise PromptError(
            f"the prompt begins with {n_bos} BOS tokens ({tokenizer.bos_token!r})",
            hint="the chat template writes one and the tokenizer adds another: mend the tokenizer",
        )
    return Prompt(text + lead, token_ids, common_length([opening, token_ids]), n_bos)


def continue_prompt(tokenizer: Any, prompt: Prompt, text: str) -> tuple[int, ...]:
    """The tokens of the prompt followed by `text`, tokenised as one.

    Where the tokenizer merges across the boundary the result does not begin with the prompt's
    tokens; callers score from the first token that differs.
    """
    joint = encode(tokenizer, prompt.text + text, special=False)
    first = prompt.token_ids[: prompt.n_bos]
    return joint if joint[: len(first)] == first else first + joint


def check_context(model: LoadedModel, n_tokens: int, what: str) -> None:
    """Refuse what the model's positions do not reach.

    Raises:
        PromptError: `n_tokens` is more than the model's context.
    """
    if n_tokens > model.context:
        raise PromptError(
            f"{what} needs {n_tokens} tokens; {model.identity.id} reaches {model.context}",
            hint="choose a shorter variant, fewer new tokens, or another model",
        )


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all sequences share."""
    shortest = min(len(s) for s in sequences)
    first = sequences[0]
    for index in range(shortest):
        if any(s[index] != first[index] for s in sequences):
            return index
    return shortest


def encode(tokenizer: Any, text: str, *, special: bool) -> tuple[int, ...]:
    """Token ids of `text`; `special` lets the tokenizer add the tokens that it opens texts with."""
    return tuple(tokenizer(text, add_special_tokens=special).input_ids)


def _template(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, bool]:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    if getattr(tokenizer, "chat_template", None):
        from jinja2 import TemplateError

        try:
            rendered = tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise PromptError(
                f"the chat template refuses the messages: {error}",
                hint="this template may not know the role 'system'",
            ) from error
        return rendered, False
    plain = "\n\n".join(f"{PLAIN_NAMES[m.role]}: {m.content}" for m in messages)
    return f"{plain}\n\nAssistant:", True


def _refuse_additions(tokenizer: Any, text: str, token_ids: tuple[int, ...]) -> None:
    """Refuse a tokenizer that adds anything but one BOS: an end-of-sequence token after the prompt
    would have the model go on from a text that is over."""
    plain = encode(tokenizer, text, special=False)
    if token_ids not in (plain, (tokenizer.bos_token_id, *plain)):
        raise PromptError(
            f"the tokenizer adds other tokens than a BOS: {len(token_ids)} instead of {len(plain)}",
            hint="turn its end-of-sequence or prefix token off in tokenizer_config.json",
        )


def _leading(token_ids: Sequence[int], bos: int | None) -> int:
    count = 0
    while bos is not None and count < len(token_ids) and token_ids[count] == bos:
        count += 1
    return count
