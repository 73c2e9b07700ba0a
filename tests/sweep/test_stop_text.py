"""A stop text ends a response with the very token that completes it, in any script."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_model
from tokenizers import Tokenizer, decoders, models
from toys import byte_tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from emoctl.config.schema import SamplingConfig
from emoctl.models.loading import LoadedModel
from emoctl.sweep.tasks import sampling_params


def byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as SentencePiece spells them: where any of a run is undecodable, all of it is."""
    vocabulary = {"<unk>": 0, **{f"<0x{byte:02X}>": 1 + byte for byte in range(256)}}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", clean_up_tokenization_spaces=False
    )


TOKENIZERS: dict[str, PreTrainedTokenizerBase] = {
    "bytes": byte_tokenizer(),
    "byte fallback": byte_fallback_tokenizer(),
}
TINY = tiny_model()


def speaking(kind: str) -> LoadedModel:
    return replace(TINY, tokenizer=TOKENIZERS[kind])


def stops_after(model: LoadedModel, text: str, stop: str) -> str | None:
    """The shortest beginning of `text`, token by token, that the stop text ends."""
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    ended = sampling_params(model, SamplingConfig(), stop).ended
    found = (n for n in range(1, len(ids) + 1) if ended(ids[:n]))
    n = next(found, None)
    return None if n is None else str(model.tokenizer.decode(ids[:n]))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("To: Viktor", "\n\n"),
        ("So long ", "🛑🛑"),
        ("船は出る。", "終わり"),
        ("no break before it: 船船船船船船船船", "🛑🛑"),
        ("ééééééééééééééééééééééééééééé", "🛑"),
    ],
)
def test_a_response_ends_with_its_stop_text(kind: str, said: str, stop: str) -> None:
    model = speaking(kind)
    assert stops_after(model, f"{said}{stop} and more", stop) == said + stop
    assert stops_after(model, f"{said}{stop[:-1]} and more", stop) is None


@given(
    kind=st.sampled_from(sorted(TOKENIZERS)),
    said=st.text("ab é船🛑\n", max_size=20),
    stop=st.text("a é船🛑\n", min_size=1, max_size=4),
)
def test_it_ends_where_the_text_first_has_it(kind: str, said: str, stop: str) -> None:
    text = said + stop
    first = text[: text.index(stop) + len(stop)]
    assert stops_after(speaking(kind), text, stop) == first


def test_no_stop_text_ends_nothing() -> None:
    assert stops_after(speaking("bytes"), "a\n\nb", "") is None
