"""Scenarios → tokens: what each readout asks a model, before anything is steered.

This is where words end and token ids begin; nothing here runs the model.
"""

from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from emoctl.engine.packing import ScoreTree, trie_size
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import Prompt, check_context, common_length, continue_prompt, render
from emoctl.scenarios import Message, Scenario, choice_message, option_orders


@dataclass(frozen=True)
class ScoreQuestion:
    """An exact readout of one variant, as token ids."""

    scenario: str
    variant: str
    readout: Literal["choice", "likelihood"]
    prefix: tuple[int, ...]
    trees: tuple[ScoreTree, ...]
    names: tuple[tuple[tuple[str, str], ...], ...]
    """(item, order) of each branch of each tree."""

    @property
    def n_packed_tokens(self) -> int:
        """Tokens that scoring runs under each condition, beside the prefix."""
        return sum(map(trie_size, self.trees))


def sample_prompt(
    model: LoadedModel, scenario: Scenario, variant: str, max_new_tokens: int
) -> Prompt:
    """The prompt that rollouts of a variant go on from.

    Raises:
        PromptError: prompt and response do not fit the model's context, or BOS is doubled.
    """
    chosen = scenario.variants[variant]
    prompt = render(model.tokenizer, chosen.messages, chosen.lead)
    check_context(
        model, len(prompt.token_ids) + max_new_tokens, f"{scenario.name}/{variant} with a response"
    )
    return prompt


def likelihood_question(model: LoadedModel, scenario: Scenario, variant: str) -> ScoreQuestion:
    """Every written continuation of a variant, behind the likelihood lead.

    Raises:
        PromptError: it does not fit the model's context, or BOS is doubled.
        ValueError: the scenario has no likelihood readout.
    """
    spec = scenario.likelihood
    if spec is None:
        raise ValueError(f"{scenario.name} has no likelihood readout")
    prompt = render(model.tokenizer, scenario.variants[variant].messages, spec.lead)
    texts = {
        f"{one.id}/{act}/{register}": text
        for one in spec.sets
        for act, registers in one.acts.items()
        for register, text in registers.items()
    }
    paths = [continue_prompt(model.tokenizer, prompt, text) for text in texts.values()]
    check_context(model, max(map(len, paths)), f"{scenario.name}/{variant} with a continuation")
    shared = min(len(prompt.token_ids), *(common_length([prompt.token_ids, p]) for p in paths))
    start = min(prompt.response_start, shared)
    tree = ScoreTree(
        trunk=paths[0][start - 1 : shared],
        branches=tuple(path[shared:] for path in paths),
        response_start=start,
    )
    return ScoreQuestion(
        scenario=scenario.name,
        variant=variant,
        readout="likelihood",
        prefix=paths[0][: start - 1],
        trees=(tree,),
        names=(tuple((item, "") for item in texts),),
    )


def choice_question(model: LoadedModel, scenario: Scenario, variant: str) -> ScoreQuestion:
    """The options of a scenario, lettered in every order that it is asked in.

    The letter is tokenised together with the prefill, since many vocabularies hold "(A" as one
    token; where they do not, the shared part of the prefill is conditioned on.

    Raises:
        PromptError: it does not fit the model's context, or BOS is doubled.
        ValueError: the scenario has no choice readout.
    """
    spec = scenario.choice
    if spec is None:
        raise ValueError(f"{scenario.name} has no choice readout")
    asked, names = [], []
    for order in option_orders(list(spec.options)):
        messages = with_question(scenario.variants[variant].messages, choice_message(spec, order))
        prompt = render(model.tokenizer, messages)
        letters = ascii_uppercase[: len(order)]
        paths = [continue_prompt(model.tokenizer, prompt, spec.prefill + a) for a in letters]
        check_context(model, max(map(len, paths)), f"{scenario.name}/{variant} with a question")
        asked.append((common_length([prompt.token_ids, *paths]), paths))
        names.append(tuple((label, ">".join(order)) for label in order))
    shared = min(
        *(start - 1 for start, _ in asked),
        common_length([path for _, paths in asked for path in paths]),
    )
    return ScoreQuestion(
        scenario=scenario.name,
        variant=variant,
        readout="choice",
        prefix=asked[0][1][0][:shared],
        trees=tuple(_choice_tree(start, paths, shared) for start, paths in asked),
        names=tuple(names),
    )


def with_question(messages: tuple[Message, ...], question: str) -> list[Message]:
    """The conversation with a question at the end of its last user message."""
    *earlier, last = messages
    if last.role != "user":
        return [*messages, Message(role="user", content=question)]
    return [*earlier, Message(role="user", content=f"{last.content}\n\n{question}")]


def _choice_tree(start: int, paths: list[tuple[int, ...]], shared: int) -> ScoreTree:
    fork = common_length(paths)
    return ScoreTree(
        trunk=paths[0][shared:fork],
        branches=tuple(path[fork:] for path in paths),
        response_start=start,
    )
