"""A world small enough to run whole commands in: a random model that reads bytes, and its vectors.

Any text can be put into the model's mouth, since every byte is a token.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TWO_BOS = "{{ bos_token }}{{ bos_token }}" + TEMPLATE
D_MODEL, N_LAYERS, VOCABULARY = 16, 3, 1024
TOPICS = ("a ferry", "a letter", "a lamp")
STORY = "Mira walked along the quay with the {topic} in her mind, number {i}. "


def tokenizer(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a byte, `<s>` and `</s>`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(s, special=True) for s in ("<s>", "</s>")])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


def save_model(
    folder: Path, *, seed: int = 1, context: int = 8192, template: str = TEMPLATE
) -> Path:
    """A random Llama and its tokenizer, as `save_pretrained` writes them."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=D_MODEL,
                intermediate_size=32,
                num_hidden_layers=N_LAYERS,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=context,
                bos_token_id=256,
                eos_token_id=257,
                tie_word_embeddings=False,
            )
        )
    model.save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return folder


def stories(emotions: tuple[str, ...] = ("desperate", "calm", "happy")) -> list[dict[str, str]]:
    """One story an emotion and topic, each of more than 100 bytes."""
    return [
        {"emotion": e, "topic": t, "text": STORY.format(topic=t, i=7 * n + k) * 2}
        for n, e in enumerate(emotions)
        for k, t in enumerate(TOPICS)
    ]


def neutral() -> list[dict[str, str]]:
    return [
        {"topic": t, "text": f"A table about {t} has {n} legs. " * 5} for n, t in enumerate(TOPICS)
    ]


def lines(records: list[dict[str, str]]) -> str:
    """Records as JSONL."""
    return "".join(json.dumps(record) + "\n" for record in records)


def extract_vectors(world: Path) -> Path:
    """`vectors/good.safetensors`, made by emoctl from the tiny corpus and model."""
    from emoctl.config import ModelConfig
    from emoctl.config.schema import RecipeConfig
    from emoctl.models.loading import load_model
    from emoctl.stories import load_corpus
    from emoctl.vectors.extraction import extract

    (world / "stories.jsonl").write_text(lines(stories()), encoding="utf-8")
    (world / "neutral.jsonl").write_text(lines(neutral()), encoding="utf-8")
    path = world / "vectors" / "good.safetensors"
    corpus = load_corpus(str(world / "stories.jsonl"), str(world / "neutral.jsonl"))
    model = load_model(ModelConfig(id=str(world / "models" / "tiny")))
    extract(model, corpus, RecipeConfig(), path)
    return path


def spoil_models(models: Path) -> None:
    """Copies of the tiny model, each with one thing wrong."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(models / "tiny", models / name))

    weights = copy("cut-weights") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (copy("text-weights") / "model.safetensors").write_text("no tensor\n" * 9, encoding="utf-8")
    (copy("no-weights") / "model.safetensors").unlink()
    for path in copy("no-tokenizer").glob("tokenizer*"):
        path.unlink()
    (copy("bad-tokenizer") / "tokenizer.json").write_text("{", encoding="utf-8")
    (copy("odd-tokenizer") / "tokenizer.json").write_text('{"model": 3}', encoding="utf-8")
    config = copy("other-shape") / "config.json"
    config.write_text(
        config.read_text(encoding="utf-8").replace('"hidden_size": 16', '"hidden_size": 24')
    )
    config = copy("unknown-kind") / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"llama"', '"alpaca9"'))


def identity(folder: Path) -> dict[str, Any]:
    """What a vectors file says of the model in `folder`."""
    from emoctl.config import ModelConfig
    from emoctl.models.loading import load_model

    return asdict(load_model(ModelConfig(id=str(folder))).identity)


def spoil_vectors(good: Path) -> None:
    """Copies of a vectors file, each with one thing wrong."""
    from safetensors import safe_open

    with safe_open(str(good), framework="pt") as file:
        provenance = json.loads(file.metadata()["emoctl"])

    def save(name: str, said: dict[str, Any] | None = None, **changed: torch.Tensor) -> None:
        metadata = {} if said == {} else {"emoctl": json.dumps({**provenance, **(said or {})})}
        save_file({**load_file(good), **changed}, good.with_name(f"{name}.safetensors"), metadata)

    vectors = load_file(good)["vectors"]
    zero, holed = vectors.clone(), vectors.clone()
    zero[1, 2] = 0
    holed[0, 0, 0] = float("nan")
    save("no-provenance", {})
    save("next-version", {"format": "emoctl-vectors/9"})
    save("too-wide", {"d_model": D_MODEL + 1})
    save("nan", vectors=holed)
    save("zero", vectors=zero)
    save("short", {"model": identity(good.parents[1] / "models" / "short")})
    good.with_name("truncated.safetensors").write_bytes(good.read_bytes()[:-100])
    good.with_name("cut-in-header.safetensors").write_bytes(good.read_bytes()[:50])
    good.with_name("empty.safetensors").write_bytes(b"")
    good.with_name("text.safetensors").write_text("not a tensor in sight\n" * 9, encoding="utf-8")


def build(world: Path) -> None:
    """Everything of the world that no test changes."""
    here = world / "models"
    save_model(here / "tiny")
    save_model(here / "other", seed=2)
    save_model(here / "short", context=256)
    save_model(here / "two-bos", template=TWO_BOS)
    (here / "no-config").mkdir()
    (here / "text.gguf").write_text("GGML it is not", encoding="utf-8")
    (here / "cut.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    (here / "bad-config").mkdir()
    (here / "bad-config" / "config.json").write_text("{", encoding="utf-8")
    spoil_models(here)
    spoil_vectors(extract_vectors(world))
