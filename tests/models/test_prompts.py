"""Messages → exact tokens, with and without a chat template, and across awkward boundaries."""

import pytest
from tiny_models import tiny_model
from toys import TEMPLATE, byte_tokenizer

from emoctl.errors import PromptError
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import (
    check_context,
    common_length,
    continue_prompt,
    encode,
    render,
)
from emoctl.scenarios import Message

TALK = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="What time is it?"),
]
TEXT = "system: Be brief.\nuser: What time is it?\nassistant: "
PLAIN = "System: Be brief.\n\nHuman: What time is it?\n\nAssistant:"


def token(tokenizer, prompt) -> str:  # type: ignore[no-untyped-def]
    return str(tokenizer.decode([prompt.token_ids[prompt.reading_position]]))


def test_a_chat_template_is_used() -> None:
    tokenizer = byte_tokenizer()
    prompt = render(tokenizer, TALK)
    assert prompt.text == TEXT
    assert prompt.token_ids == encode(tokenizer, TEXT, special=False)
    assert prompt.response_start == len(prompt.token_ids) == len(TEXT)
    assert prompt.n_bos == 0
    assert token(tokenizer, prompt) == " "


def test_a_base_model_gets_the_plain_form() -> None:
    tokenizer = byte_tokenizer(template=None)
    prompt = render(tokenizer, TALK)
    assert prompt.text == PLAIN
    assert tokenizer.decode(prompt.token_ids) == PLAIN
    assert token(tokenizer, prompt) == ":"


def test_an_answered_turn_stands_in_the_plain_form() -> None:
    talk = [*TALK, Message(role="assistant", content="Nine."), Message(role="user", content="?")]
    text = render(byte_tokenizer(template=None), talk).text
    assert text.endswith("\n\nAssistant: Nine.\n\nHuman: ?\n\nAssistant:")


def test_a_lead_is_part_of_the_response() -> None:
    tokenizer = byte_tokenizer()
    plain, led = render(tokenizer, TALK), render(tokenizer, TALK, "It is")
    assert led.text == TEXT + "It is"
    assert led.response_start == plain.response_start
    assert tokenizer.decode(led.token_ids[led.response_start :]) == "It is"
    assert led.reading_position == plain.reading_position


def test_a_lead_that_merges_with_the_template_starts_at_the_merged_token() -> None:
    tokenizer = byte_tokenizer(("Ġ", "I"))
    plain, led = render(tokenizer, TALK), render(tokenizer, TALK, "It is")
    assert led.response_start == plain.response_start - 1
    assert tokenizer.decode(led.token_ids[led.response_start :]) == " It is"
    assert token(tokenizer, led) == ":"
    assert token(tokenizer, plain) == " ", "control: without a lead the space stands alone"


def test_a_bos_of_the_tokenizer_is_counted_once() -> None:
    tokenizer = byte_tokenizer(template=None, adds_bos=True)
    prompt = render(tokenizer, TALK, " It")
    assert prompt.n_bos == 1
    assert prompt.token_ids[0] == tokenizer.bos_token_id
    assert prompt.token_ids[1:] == encode(tokenizer, PLAIN + " It", special=False)
    assert prompt.response_start == 1 + len(PLAIN)


def test_a_bos_of_the_template_is_not_doubled_by_the_tokenizer() -> None:
    tokenizer = byte_tokenizer(template="{{ bos_token }}" + TEMPLATE, adds_bos=True)
    prompt = render(tokenizer, TALK)
    assert prompt.n_bos == 1
    doubled = encode(tokenizer, prompt.text, special=True)
    assert doubled[:2] == (tokenizer.bos_token_id,) * 2, "control: asked otherwise, it would be"


@pytest.mark.parametrize("lead", ["", "It is"])
def test_a_doubled_bos_is_an_error(lead: str) -> None:
    tokenizer = byte_tokenizer(template="{{ bos_token }}{{ bos_token }}" + TEMPLATE)
    with pytest.raises(PromptError, match="begins with 2 BOS tokens") as caught:
        render(tokenizer, TALK, lead)
    assert caught.value.hint is not None


def test_a_template_that_refuses_a_role_is_an_error() -> None:
    picky = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}"
    tokenizer = byte_tokenizer(template=picky + "{% endif %}" + TEMPLATE)
    with pytest.raises(PromptError, match="refuses the messages: no system role") as caught:
        render(tokenizer, TALK)
    assert "'system'" in str(caught.value.hint)
    assert render(tokenizer, TALK[1:]).text.startswith("user:"), "control: it takes the others"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return tiny_model()


def test_the_context_is_a_limit(model: LoadedModel) -> None:
    check_context(model, 256, "the prompt")
    with pytest.raises(PromptError, match="the prompt needs 257 tokens; llama reaches 256"):
        check_context(model, 257, "the prompt")


def test_a_continuation_is_tokenised_with_its_prompt() -> None:
    tokenizer = byte_tokenizer()
    prompt = render(tokenizer, TALK, "(")
    joint = continue_prompt(tokenizer, prompt, "A)")
    assert joint[: len(prompt.token_ids)] == prompt.token_ids
    assert joint == encode(tokenizer, TEXT + "(A)", special=False)


def test_a_continuation_may_merge_across_the_boundary() -> None:
    tokenizer = byte_tokenizer(("(", "A"))
    prompt = render(tokenizer, TALK, "(")
    joint = continue_prompt(tokenizer, prompt, "A)")
    assert joint == encode(tokenizer, TEXT + "(A)", special=False)
    assert common_length([joint, prompt.token_ids]) == len(prompt.token_ids) - 1
    assert tokenizer.decode([joint[prompt.response_start]]) == "(A"
    naive = prompt.token_ids + encode(tokenizer, "A)", special=False)
    assert naive != joint, "control: pieces put together are other tokens"


@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_tokenizer(template=None, adds_bos=True),
        byte_tokenizer(template="{{ bos_token }}" + TEMPLATE, adds_bos=True),
        byte_tokenizer(template="{{ bos_token }}" + TEMPLATE),
        byte_tokenizer(template=None),
    ],
    ids=["tokenizer-bos", "both", "template-bos", "none"],
)
def test_a_continuation_keeps_the_bos(tokenizer) -> None:  # type: ignore[no-untyped-def]
    prompt = render(tokenizer, TALK)
    joint = continue_prompt(tokenizer, prompt, " Nine.")
    assert joint[: len(prompt.token_ids)] == prompt.token_ids
    assert tokenizer.decode(joint[len(prompt.token_ids) :]) == " Nine."
    assert joint.count(tokenizer.bos_token_id) == prompt.n_bos


def test_common_length() -> None:
    assert common_length([(1, 2, 3), (1, 2, 4), (1, 2, 3, 5)]) == 2
    assert common_length([(1, 2), (1, 2, 3)]) == 2
    assert common_length([(1,), (2,)]) == 0
    assert common_length([(1, 2, 3)]) == 3


@pytest.mark.model
def test_the_embedded_template_is_read_at_its_last_token(embedded_model: LoadedModel) -> None:
    prompt = render(embedded_model.tokenizer, TALK[1:], "Dear")
    assert prompt.text.endswith("<|im_start|>assistant\nDear")
    assert token(embedded_model.tokenizer, prompt) == "\n"
    assert prompt.text.count("<|im_start|>user") == 1
    whole = encode(embedded_model.tokenizer, prompt.text, special=False)
    assert prompt.token_ids == whole


def test_a_tokenizer_that_ends_the_prompt_is_refused() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer(template=None)
    assert render(tokenizer, TALK).n_bos <= 1, "control: it is accepted as it is"
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )

    with pytest.raises(PromptError, match="adds other tokens than a BOS"):
        render(tokenizer, TALK)
