"""A card says what a vectors file is, in front matter that a hub reads and prose that is inert."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from emoctl.report.card import CardFacts, card_md

MADE: dict[str, Any] = {
    "emoctl_version": "0.1.0",
    "model": {
        "id": "org/name",
        "revision": None,
        "source": "hub",
        "weight_sha256": "sha256:w",
        "tokenizer_sha256": "sha256:t",
        "template_sha256": None,
    },
    "dtype": "float32",
    "n_layers": 3,
    "d_model": 16,
    "layer_convention": "layer i is the output of block i",
    "default_layer": 1,
    "corpus_sha256": "sha256:c",
    "n_stories": 9,
    "n_neutral": 3,
    "emotions": ["at ease", "calm"],
    "recipe": {"from_token": 50},
    "norm_text_set": "3 neutral texts",
    "n_norm_tokens": 100,
    "held_out": {
        "by_layer": [0.5, 0.75, 0.625],
        "nested": 0.7,
        "chosen_layers": [1],
        "n_stories": 9,
        "n_classes": 2,
    },
}
FACTS = CardFacts(
    file="v.safetensors",
    file_sha256="sha256:f",
    made=MADE,
    layers=(0, 1, 2),
    mean_norm=(10.0, 20.5, 40.0),
    base_model="org/name",
    weights=None,
    licence="apache-2.0",
    corpus="the corpus that ships with emoctl",
)
IMPORTED = {
    "file_format": "gguf",
    "file_sha256": "sha256:g",
    "layers": [2],
    "names_weights": False,
    "said": {},
}


def front(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    return dict(yaml.safe_load(matter))


def with_made(**changed: object) -> CardFacts:
    return replace(FACTS, made={**MADE, **changed})


def test_the_front_matter_is_what_a_hub_reads() -> None:
    said = front(card_md(FACTS))
    assert said["license"] == "apache-2.0"
    assert said["base_model"] == "org/name"
    assert said["library_name"] == "emoctl"
    assert "steering-vectors" in said["tags"]
    assert "base_model" not in front(card_md(replace(FACTS, base_model=None))), "control"


def test_the_card_says_everything_that_decided_the_vectors() -> None:
    text = card_md(FACTS)
    for fact in (
        "sha256:w",
        "sha256:t",
        "sha256:c",
        "sha256:f",
        "from\\_token 50",
        "at ease, calm",
    ):
        assert fact.replace("\\_", "_") in text
    assert "| 1 | 20.5 | 0.75 |" in text
    for limit in ("functional", "no evidence that a model feels", "not a lie detector"):
        assert limit in text
    assert "--vector 'at ease'" in text and "--layers 1 " in text


def test_unknown_is_said_to_be_unknown() -> None:
    text = card_md(replace(with_made(held_out=None), licence="unknown"))
    assert "Held-out accuracy is not known" in text and "licence is not known" in text
    assert "held-out topics" not in text
    assert "held-out topics" in card_md(FACTS), "control"


def test_an_import_is_not_called_an_extraction() -> None:
    text = card_md(replace(with_made(imported=IMPORTED, held_out=None), layers=(2,)))
    assert "not extracted by emoctl but imported from a gguf file" in text
    assert "the word of who imported it" in text
    assert "mean activation over stories" not in text
    assert "| 2 | 40 |" in text and "| 1 | 20.5" not in text
    assert "--layers 2 " in text


def test_layer_0_is_not_offered_to_llama_cpp() -> None:
    text = card_md(replace(with_made(imported=IMPORTED, held_out=None), layers=(0,)))
    assert "llama-cli" not in text and "lm_eval" in text
    assert "llama-cli" in card_md(FACTS), "control"


@pytest.mark.parametrize("source", ["folder", "gguf"])
def test_no_path_of_the_machine_is_published(source: str) -> None:
    text = card_md(with_made(model={**MADE["model"], "id": "/home/ann/secret/m", "source": source}))
    assert "secret" not in text and "ann" not in text.replace("cannot", "")
    assert "# Emotion vectors of m\n" in text


HOSTILE = "calm\n---\nlicense: evil\n| [x](http://e.vil) `rm` <img> \x1b[31m $(touch x)"


def test_a_name_cannot_write_into_the_card() -> None:
    text = card_md(with_made(emotions=[HOSTILE], recipe={HOSTILE: HOSTILE}, norm_text_set=HOSTILE))
    assert front(text) == front(card_md(FACTS))
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(card_md(with_made(emotions=["calm"])).splitlines())
    prose = re.sub(r"^```sh$.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "img" in prose and not re.search(r"(?<!\\)[<\[]", prose)
    commands = [line for line in text.splitlines() if line.startswith("emoctl ") and "evil" in line]
    assert len(commands) == 3
    assert all("'calm --- license: evil" in line for line in commands)
