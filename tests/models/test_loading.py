"""A name → a module whose decoder blocks are known, and an identity that is not hashed twice."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_models import CONFIGS, EOS, tiny_model
from torch import nn

from emoctl.config import ModelConfig
from emoctl.errors import ModelError
from emoctl.models import loading
from emoctl.models.loading import (
    decoder_blocks,
    exact_attention,
    load_model,
    pick_device,
    wrap_model,
)
from emoctl.models.remembered import remember, remembered_identity, renamed


def of_depth(depth: int, **parts: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    shape = SimpleNamespace(num_hidden_layers=depth)
    module.config = SimpleNamespace(get_text_config=lambda: shape)  # type: ignore[assignment]
    return module


def blocks(n: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(2, 2) for _ in range(n))


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_are_found_in_the_order_in_which_they_run(name: str) -> None:
    model = tiny_model(name)
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda _m, _i, _o, at=at: ran.append(at))
        for at, block in enumerate(model.blocks)
    ]
    with torch.inference_mode():
        model.module(torch.arange(5, 15)[None])
    for handle in handles:
        handle.remove()
    assert ran == [0, 1, 2, 3]
    assert model.n_layers == 4
    assert model.d_model == 32
    assert model.context == 256
    assert model.eos_ids == {EOS}
    assert model.dtype == torch.float64
    assert not model.module.training
    assert not any(p.requires_grad for p in model.module.parameters())


def test_a_module_without_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="Module has 0 module lists of length 4") as caught:
        decoder_blocks(of_depth(4, layers=blocks(3)))
    assert caught.value.hint == "emoctl runs decoder-only language models"


def test_a_module_with_two_stacks_is_refused() -> None:
    with pytest.raises(ModelError, match="has 2 module lists of length 4"):
        decoder_blocks(of_depth(4, encoder=blocks(4), decoder=blocks(4)))
    assert len(decoder_blocks(of_depth(4, encoder=blocks(3), decoder=blocks(4)))) == 4


def test_lists_inside_the_blocks_are_not_the_blocks() -> None:
    outer = nn.ModuleList(nn.ModuleDict({"experts": blocks(4)}) for _ in range(4))
    found = decoder_blocks(of_depth(4, layers=outer))
    assert found == tuple(outer)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="'cuda'"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


def test_a_soft_cap_and_sinks_take_exact_attention() -> None:
    chosen = {name: exact_attention(config) for name, config in CONFIGS.items()}
    assert chosen.pop("gemma2") == chosen.pop("gpt-oss") == "eager"
    assert set(chosen.values()) == {"sdpa"}


def test_every_declared_end_of_turn_ends_it() -> None:
    model = tiny_model()
    for declared, ends in ((7, {7, EOS}), ([7, 9], {7, 9, EOS}), (None, {EOS})):
        model.module.generation_config.eos_token_id = declared
        assert wrap_model(model.module, model.tokenizer, model.identity).eos_ids == ends


@pytest.fixture
def folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder of the test's own, and an empty cache."""
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(world / "models" / "tiny", tmp_path / "model"))


def touch(path: Path) -> None:
    now = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(now, now))


def test_a_loaded_model_is_known_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered_identity(folder, "float32") is None
    first = load_model(ModelConfig(id=str(folder))).identity
    assert first.source == "folder"
    assert first.template_sha256 is not None

    def unwanted(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(loading, "identify", unwanted)
    assert load_model(ModelConfig(id=str(folder))).identity == first
    with pytest.raises(AssertionError, match="hashed again"):
        load_model(ModelConfig(id=str(folder), dtype="bfloat16"))
    touch(folder / "model.safetensors")
    with pytest.raises(AssertionError, match="hashed again"):
        load_model(ModelConfig(id=str(folder)))


def test_a_touched_file_makes_a_folder_unknown(folder: Path) -> None:
    identity = tiny_model().identity
    assert remember(folder, "float32", identity) == identity
    assert remembered_identity(folder, "float32") == identity
    assert remembered_identity(folder, "float64") is None
    copied = folder.rename(folder.with_name("moved"))
    assert remembered_identity(copied, "float32") is None
    copied.rename(folder)
    assert remembered_identity(folder, "float32") == identity
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        touch(folder / name)
        assert remembered_identity(folder, "float32") is None, name
        remember(folder, "float32", identity)
    (folder / "new.txt").touch()
    assert remembered_identity(folder, "float32") is None


def test_a_spoilt_note_is_no_identity(folder: Path) -> None:
    remember(folder, "float32", tiny_model().identity)
    (note,) = (folder.with_name("cache") / "identities").iterdir()
    for content in ("{", "[]", "3", '{"id": "x"}', ""):
        note.write_text(content)
        assert remembered_identity(folder, "float32") is None


def test_nothing_is_remembered_of_a_hub_id_or_in_a_cache_that_cannot_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = tiny_model().identity
    assert remember(None, "float32", identity) == identity
    assert remembered_identity(None, "float32") is None
    blocked = folder.with_name("blocked")
    blocked.write_text("")
    monkeypatch.setenv("EMOCTL_CACHE", str(blocked))
    assert remember(folder, "float32", identity) == identity
    assert remembered_identity(folder, "float32") is None


def test_the_name_is_the_users() -> None:
    identity = tiny_model().identity
    called = renamed(identity, "./here", "main", "folder")
    assert (called.id, called.revision, called.source) == ("./here", "main", "folder")
    assert called.weight_sha256 == identity.weight_sha256


def test_equal_models_have_equal_identities_and_others_have_not(world: Path) -> None:
    models = world / "models"
    tiny, again, short, other = (
        load_model(ModelConfig(id=str(models / name))).identity
        for name in ("tiny", "two-bos", "short", "other")
    )
    assert tiny.weight_sha256 == again.weight_sha256
    assert tiny.weight_sha256 != short.weight_sha256, "equal weights, another context"
    assert tiny.weight_sha256 != other.weight_sha256
    assert tiny.tokenizer_sha256 == other.tokenizer_sha256
