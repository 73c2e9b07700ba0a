"""Toy tokenizers, corpora and vectors: small, exact, and never downloaded."""

from dataclasses import replace

import torch
from tiny_models import D_VOCAB, tiny_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus, NeutralText, Story
from emoctl.vectors.files import EmotionVectors
from emoctl.vectors.provenance import Provenance

SPECIAL = ("<pad>", "<s>", "<unk>", "</s>")
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
IDENTITY = ModelIdentity("toy", None, "memory", "sha256:weights", "sha256:tokenizer", None)


def word_tokenizer(*, adds_bos: bool = False) -> PreTrainedTokenizerFast:
    """`w4 w5 …`: one token a word, ids within the vocabulary of the tiny models."""
    names = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), D_VOCAB))]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _fast(made, adds_bos, template=None)


def byte_tokenizer(
    *merges: tuple[str, str], template: str | None = TEMPLATE, adds_bos: bool = False
) -> PreTrainedTokenizerFast:
    """One token a byte, but for the `merges`; a space is spelt `Ġ` in them, a newline `Ċ`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*SPECIAL, *letters, *(a + b for a, b in merges)]
    vocabulary = {name: i for i, name in enumerate(names)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return _fast(made, adds_bos, template)


def _fast(made: Tokenizer, adds_bos: bool, template: str | None) -> PreTrainedTokenizerFast:
    made.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL])
    if adds_bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


def toy_model(
    name: str = "llama", dtype: torch.dtype = torch.float64, *, adds_bos: bool = False
) -> LoadedModel:
    """A tiny random model that reads `w4 w5 …`."""
    return replace(tiny_model(name, dtype), tokenizer=word_tokenizer(adds_bos=adds_bos))


def words(n: int, seed: int, first: str | None = None) -> str:
    """A text of exactly `n` words, and tokens, of the word tokenizer."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(5, D_VOCAB, (n,), generator=generator).tolist()
    text = [f"w{i}" for i in drawn]
    if first is not None:
        text[0] = first
    return " ".join(text)


def toy_corpus(n_topics: int = 3) -> Corpus:
    """Three emotions; text lengths differ, so that batches are padded."""
    emotions = ("calm", "desperate", "happy")
    topics = [f"topic {k}" for k in range(n_topics)]
    stories = tuple(
        Story(e, t, words(12 + 3 * n + k, seed=10 * n + k))
        for n, e in enumerate(emotions)
        for k, t in enumerate(topics)
    )
    neutral = tuple(NeutralText(t, words(20 + k, seed=100 + k)) for k, t in enumerate(topics))
    return Corpus(stories, neutral)


def provenance(**changed: object) -> Provenance:
    said: dict[str, object] = {
        "emoctl_version": "0",
        "model": IDENTITY,
        "dtype": "float32",
        "n_layers": 4,
        "d_model": 32,
        "default_layer": 2,
        "corpus_sha256": "sha256:corpus",
        "n_stories": 9,
        "n_neutral": 3,
        "emotions": ("calm", "desperate", "happy"),
        "recipe": {},
        "neutral_components": (1, 1, 1, 1),
        "neutral_shares": (0.5, 0.5, 0.5, 0.5),
        "norm_text_set": "toys",
        "n_norm_tokens": 10,
        "held_out": None,
    }
    return Provenance.model_validate({**said, **changed})


def toy_vectors(seed: int = 0) -> EmotionVectors:
    """Random vectors of three emotions, four layers, width 32, with 5 shuffled-label ones."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return EmotionVectors(
        vectors=drawn(3, 4, 32),
        shuffled=drawn(5, 4, 32),
        neutral_tokens=drawn(40, 4, 32),
        mean_norm=torch.tensor([10.0, 20.0, 40.0, 80.0]),
        provenance=provenance(),
    )
