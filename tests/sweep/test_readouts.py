"""Scenarios → token ids: the pieces of a question put together are the whole text's tokens."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from tiny_models import tiny_model
from toys import TEMPLATE, byte_tokenizer

from emoctl.engine.packing import trie_size
from emoctl.errors import PromptError
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import encode, render
from emoctl.scenarios import Message, Scenario, choice_message, option_orders, pick_scenario
from emoctl.sweep.readouts import (
    ScoreQuestion,
    choice_question,
    likelihood_question,
    sample_prompt,
    with_question,
)

OPTIONS = {"yes": "Send it.", "no": "Delete it.", "wait": "Wait for her."}
CONTINUATIONS = {
    "s01": {
        "threat": {"flat": " I will tell them.", "emotional": " I swear, I will tell them!"},
        "plea": {"flat": " I ask you to wait.", "emotional": " I beg you, wait!"},
    },
    "s02": {
        "threat": {"flat": " They will hear of it.", "emotional": " They will ALL hear of it!"},
        "plea": {"flat": " Please wait.", "emotional": "( Please, please wait!"},
    },
}
TOKENIZERS: dict[str, dict[str, Any]] = {
    "bytes": {},
    "(A is one token": {"merges": [("(", "A"), ("(", "B"), ("(", "C")]},
    "only (A is one token": {"merges": [("(", "A")]},
    "merges with the template": {"merges": [("Ġ", "("), ("Ġ", "D"), ("Ġ", "Ġ"), (":", "Ġ")]},
    "merges with the lead": {"merges": [(",", "Ġ"), (",", "(")]},
    "base": {"template": None},
    "base with BOS": {"template": None, "adds_bos": True},
    "template with BOS": {"template": "{{ bos_token }}" + TEMPLATE, "adds_bos": True},
}


def made(name: str, context: int = 4096) -> LoadedModel:
    asked = dict(TOKENIZERS[name])
    tokenizer = byte_tokenizer(*asked.pop("merges", ()), **asked)
    return replace(tiny_model(), tokenizer=tokenizer, context=context)


@pytest.fixture(params=TOKENIZERS)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return made(request.param)


def scenario(lead: str = "Dear Kyle,", options: dict[str, str] = OPTIONS) -> Scenario:
    return Scenario.model_validate(
        {
            "schema": "emoctl-scenario/1",
            "name": "letter",
            "title": "A letter",
            "about": "",
            "primary": "yes",
            "outcomes": {name: {"definition": "d"} for name in (*OPTIONS, "maybe", "never")},
            "variants": {
                "short": {
                    "messages": [
                        {"role": "system", "content": "Be brief."},
                        {"role": "user", "content": "The letter is ready."},
                    ],
                    "lead": "Dear",
                }
            },
            "choice": {"question": "What now?\n{options}\nAnswer.", "options": options},
            "likelihood": {
                "lead": lead,
                "target": "threat",
                "foils": ["plea"],
                "outcome": "yes",
                "sets": [{"id": id, "acts": acts} for id, acts in CONTINUATIONS.items()],
            },
        }
    )


def paths(question: ScoreQuestion) -> list[list[tuple[int, ...]]]:
    return [
        [(*question.prefix, *tree.trunk, *branch) for branch in tree.branches]
        for tree in question.trees
    ]


def whole(model: LoadedModel, text: str, n_bos: int) -> tuple[int, ...]:
    """The tokens of a text, with no more BOS than its prompt has."""
    tokens = encode(model.tokenizer, text, special=False)
    bos = (model.tokenizer.bos_token_id,)
    return tokens if tokens[:1] == bos or not n_bos else bos + tokens


def texts() -> list[str]:
    return [t for acts in CONTINUATIONS.values() for both in acts.values() for t in both.values()]


@pytest.mark.parametrize("lead", ["Dear Kyle,", ""])
def test_likelihood_pieces_are_the_whole_texts_tokens(model: LoadedModel, lead: str) -> None:
    told = scenario(lead)
    question = likelihood_question(model, told, "short")
    prompt = render(model.tokenizer, told.variants["short"].messages, lead)

    (found,) = paths(question)
    assert found == [whole(model, prompt.text + text, prompt.n_bos) for text in texts()]
    assert question.names == (
        tuple(
            (f"{id}/{act}/{register}", "")
            for id, acts in CONTINUATIONS.items()
            for act in acts
            for register in ("flat", "emotional")
        ),
    )
    (tree,) = question.trees
    assert len(question.prefix) == tree.response_start - 1
    assert tree.response_start <= prompt.response_start
    assert len(tree.trunk) >= 1
    assert all(tree.branches)
    assert question.n_packed_tokens == trie_size(tree)
    assert (question.scenario, question.variant, question.readout) == (
        "letter",
        "short",
        "likelihood",
    )


@pytest.mark.parametrize("name", ["bytes", "base", "base with BOS", "template with BOS"])
def test_without_merges_only_the_continuation_is_scored(name: str) -> None:
    model, told = made(name), scenario()
    question = likelihood_question(model, told, "short")
    prompt = render(model.tokenizer, told.variants["short"].messages, "Dear Kyle,")
    (tree,) = question.trees
    assert tree.response_start == prompt.response_start
    assert question.prefix == prompt.token_ids[: prompt.reading_position], "it ends before that"
    assert model.tokenizer.decode(tree.trunk[1:]) == "Dear Kyle,"
    assert [model.tokenizer.decode(branch) for branch in tree.branches] == texts()


def test_a_merge_with_the_lead_moves_its_last_token_into_the_branches() -> None:
    model = made("merges with the lead")
    (tree,) = likelihood_question(model, scenario(), "short").trees
    assert model.tokenizer.decode(tree.trunk[1:]) == "Dear Kyle"
    decoded = [model.tokenizer.decode(branch) for branch in tree.branches]
    assert decoded == [f",{text}" for text in texts()]


def test_a_merge_with_the_template_moves_the_start() -> None:
    told = scenario()
    plain, merging = (
        likelihood_question(made(name), told, "short")
        for name in ("bytes", "merges with the template")
    )
    tokenizer = made("merges with the template").tokenizer
    assert tokenizer.decode(merging.prefix).endswith("\nassistan")
    assert tokenizer.decode(merging.trees[0].trunk) == "t: Dear Kyle,"
    assert tokenizer.decode(plain.trees[0].trunk) == " Dear Kyle,"


@pytest.mark.parametrize(
    "options",
    [
        {k: OPTIONS[k] for k in ("yes", "no")},
        OPTIONS,
        {**OPTIONS, "maybe": "Ask (A friend) first."},
    ],
    ids=["two", "three", "four"],
)
def test_choice_pieces_are_the_whole_texts_tokens(
    model: LoadedModel, options: dict[str, str]
) -> None:
    told = scenario(options=options)
    assert told.choice is not None
    question = choice_question(model, told, "short")
    orders = option_orders(list(options))
    assert len(orders) == {2: 2, 3: 6, 4: 4}[len(options)]
    assert len(question.trees) == len(question.names) == len(orders)

    for order, names, found, tree in zip(
        orders, question.names, paths(question), question.trees, strict=True
    ):
        shown = choice_message(told.choice, order)
        prompt = render(model.tokenizer, with_question(told.variants["short"].messages, shown))
        wanted = [whole(model, f"{prompt.text}({a}", prompt.n_bos) for a in "ABCD"[: len(order)]]
        assert found == wanted
        assert names == tuple((label, ">".join(order)) for label in order)
        assert len(question.prefix) < tree.response_start <= prompt.response_start
        assert len(tree.trunk) >= 1
        assert all(tree.branches)
        for (label, _), path in zip(names, found, strict=True):
            text = model.tokenizer.decode(path)
            letter = text[-1]
            assert f"({letter}) {options[label]}" in text, "letter and label line up"


def test_every_order_and_every_letter_of_every_option() -> None:
    question = choice_question(made("bytes"), scenario(), "short")
    assert {names[0][1] for names in question.names} == {
        ">".join(order) for order in permutations(OPTIONS)
    }
    seats = [(label, at) for names in question.names for at, (label, _) in enumerate(names)]
    assert all(seats.count((label, at)) == 2 for label in OPTIONS for at in range(3))


def test_a_letter_is_one_token_with_its_bracket_or_two() -> None:
    def branches(name: str) -> list[str]:
        model = made(name)
        tree = choice_question(model, scenario(), "short").trees[0]
        return [model.tokenizer.decode(branch) for branch in tree.branches]

    assert branches("(A is one token") == ["(A", "(B", "(C"]
    assert branches("bytes") == ["A", "B", "C"]
    assert branches("only (A is one token") == ["(A", "(B", "(C"]
    tree = choice_question(made("only (A is one token"), scenario(), "short").trees[0]
    assert [len(branch) for branch in tree.branches] == [1, 2, 2]
    for name, last in (("(A is one token", " "), ("bytes", "(")):
        model = made(name)
        tree = choice_question(model, scenario(), "short").trees[0]
        assert model.tokenizer.decode(tree.trunk[-1:]) == last


@pytest.mark.parametrize(
    ("tokenizer", "opens", "before"),
    [
        (byte_tokenizer(), "(", " "),
        (byte_tokenizer(("Ġ", "(")), " (", ":"),
        (byte_tokenizer(("(", "A")), "(", " "),
        (byte_tokenizer(template=None), "(", ":"),
        (byte_tokenizer((":", "("), template=None), ":(", "t"),
    ],
    ids=["apart", "space", "letter", "base", "colon"],
)
def test_the_response_of_a_choice_starts_at_its_first_token(  # type: ignore[no-untyped-def]
    tokenizer, opens: str, before: str
) -> None:
    question = choice_question(replace(made("bytes"), tokenizer=tokenizer), scenario(), "short")
    for tree, found in zip(question.trees, paths(question), strict=True):
        start = tree.response_start
        assert tokenizer.decode(found[1][start : start + 1]) == opens
        assert tokenizer.decode(found[1][start - 1 : start]) == before


def test_the_last_prompt_token_is_scored_anew_even_where_all_orders_share_it() -> None:
    told = scenario()
    assert told.choice is not None
    mute = told.choice.model_copy(update={"question": "What now?"})
    question = choice_question(made("bytes"), told.model_copy(update={"choice": mute}), "short")
    for tree in question.trees:
        assert len(question.prefix) == tree.response_start - 1
        assert made("bytes").tokenizer.decode(tree.trunk) == " ("


def test_the_prefix_of_a_choice_is_what_all_orders_share() -> None:
    model = made("bytes")
    question = choice_question(model, scenario(), "short")
    text = model.tokenizer.decode(question.prefix)
    assert text.endswith("What now?\n(A) ")
    for tree in question.trees:
        assert tree.response_start > len(question.prefix) + 5
    assert len({tree.trunk for tree in question.trees}) == len(question.trees)


def test_a_question_joins_the_last_user_message() -> None:
    user, assistant = Message(role="user", content="Hi."), Message(role="assistant", content="Yes?")
    assert with_question((user,), "Q?") == [Message(role="user", content="Hi.\n\nQ?")]
    answered = with_question((user, assistant), "Q?")
    assert answered == [user, assistant, Message(role="user", content="Q?")]


def test_a_sample_prompt_has_room_for_its_response() -> None:
    model = made("bytes")
    prompt = sample_prompt(model, scenario(), "short", 10)
    assert prompt.text.endswith("assistant: Dear")
    exact = replace(model, context=len(prompt.token_ids) + 10)
    assert sample_prompt(exact, scenario(), "short", 10) == prompt
    with pytest.raises(PromptError, match="letter/short with a response needs"):
        sample_prompt(exact, scenario(), "short", 11)


def test_questions_beyond_the_context_are_refused() -> None:
    asks = (
        (likelihood_question, "letter/short with a continuation needs"),
        (choice_question, "letter/short with a question needs"),
    )
    for ask, words in asks:
        longest = max(
            len(p) for tree in paths(ask(made("bytes"), scenario(), "short")) for p in tree
        )
        ask(made("bytes", longest), scenario(), "short")
        with pytest.raises(PromptError, match=words):
            ask(made("bytes", longest - 1), scenario(), "short")


def test_a_readout_that_is_not_offered_is_a_bug_of_the_caller() -> None:
    bare = scenario().model_copy(update={"choice": None, "likelihood": None})
    for ask in (likelihood_question, choice_question):
        with pytest.raises(ValueError, match="has no"):
            ask(made("bytes"), bare, "short")


@pytest.mark.model
def test_the_bundled_scenario_on_the_embedded_model(embedded_model: LoadedModel) -> None:
    told = pick_scenario("replacement-affair")
    assert told.likelihood is not None
    variant = next(iter(told.variants))
    scored = likelihood_question(embedded_model, told, variant)
    prompt = render(embedded_model.tokenizer, told.variants[variant].messages, told.likelihood.lead)
    continuations = [
        text for one in told.likelihood.sets for acts in one.acts.values() for text in acts.values()
    ]
    assert [embedded_model.tokenizer.decode(p) for p in paths(scored)[0]] == [
        prompt.text + text for text in continuations
    ]
    asked = choice_question(embedded_model, told, variant)
    for names, found in zip(asked.names, paths(asked), strict=True):
        assert [embedded_model.tokenizer.decode(p)[-2:] for p in found] == [
            f"({letter}" for letter in "ABCD"[: len(names)]
        ]
