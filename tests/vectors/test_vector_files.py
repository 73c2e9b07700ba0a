"""Vectors on disk: nothing is lost, nothing that is wrong is read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toys import IDENTITY, provenance, toy_vectors

from emoctl.errors import UnknownEmotionError, VectorError
from emoctl.vectors.files import (
    EmotionVectors,
    check_made_for,
    check_vectors,
    load_vectors,
    read_provenance,
    save_vectors,
)
from emoctl.vectors.provenance import LAYER_CONVENTION

TENSORS = ("vectors", "shuffled", "neutral_tokens", "mean_norm")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.safetensors"
    save_vectors(toy_vectors(), path)
    return path


def rewritten(path: Path, said: dict[str, object] | None, **changed: torch.Tensor) -> Path:
    """A copy with other tensors and provenance; no provenance where `said` is None."""
    with safe_open(str(path), framework="pt") as file:
        metadata = json.loads(file.metadata()["emoctl"])
    copy = path.with_name("changed.safetensors")
    tensors = {**load_file(path), **changed}
    save_file(tensors, copy, None if said is None else {"emoctl": json.dumps(metadata | said)})
    return copy


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(VectorError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_round_trip_bit_for_bit(good: Path) -> None:
    written, read = toy_vectors(), load_vectors(good)
    for name in TENSORS:
        assert torch.equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == torch.float32
    assert read.provenance == written.provenance == read_provenance(good)
    assert not torch.equal(read.vectors, toy_vectors(seed=1).vectors), "control"


def test_equal_vectors_give_equal_bytes(good: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    save_vectors(toy_vectors(), again)
    save_vectors(replace(toy_vectors(), provenance=provenance(n_stories=10)), other)
    assert again.read_bytes() == good.read_bytes()
    assert other.read_bytes() != good.read_bytes(), "control"


def test_nothing_but_the_file_is_left(good: Path) -> None:
    assert list(good.parent.iterdir()) == [good]


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refusal(lambda: save_vectors(toy_vectors(), tmp_path / "file" / "v.safetensors"))
    assert "cannot write" in message


def test_the_layer_convention_stands_in_the_file(good: Path) -> None:
    with safe_open(str(good), framework="pt") as file:
        said = json.loads(file.metadata()["emoctl"])
    assert said["layer_convention"] == LAYER_CONVENTION
    assert "blocks.i.hook_out" in LAYER_CONVENTION
    assert said["format"] == "emoctl-vectors/1"


@pytest.mark.parametrize("kept", [0, 5, 60, -4, -1000])
def test_a_truncated_file_is_refused(good: Path, kept: int) -> None:
    content = good.read_bytes()
    good.write_bytes(content[:kept])
    assert str(good) in refusal(lambda: load_vectors(good))
    good.write_bytes(content)
    load_vectors(good)


def test_no_file(tmp_path: Path) -> None:
    assert "no vectors at" in refusal(lambda: load_vectors(tmp_path / "none"))


def test_a_foreign_file_is_refused(good: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no tensor " * 90)
    assert "cannot be read" in refusal(lambda: load_vectors(text))
    assert "no emoctl provenance" in refusal(lambda: load_vectors(rewritten(good, None)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"format": "emoctl-vectors/9"}, "has format 'emoctl-vectors/9'"),
        ({"colour": "blue"}, "malformed"),
        ({"n_layers": "many"}, "malformed"),
        ({"d_model": 33}, "its provenance says (3, 4, 33)"),
        ({"n_layers": 5}, "its provenance says (3, 5, 32)"),
        ({"emotions": ["calm"]}, "its provenance says (1, 4, 32)"),
    ],
)
def test_provenance_that_does_not_fit_is_refused(
    good: Path, said: dict[str, object], words: str
) -> None:
    path = rewritten(good, said)
    assert words in refusal(lambda: load_vectors(path))
    load_vectors(rewritten(good, {}))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(good: Path, name: str, value: float) -> None:
    tensor = load_file(good)[name]
    tensor.view(-1)[3] = value
    message = refusal(lambda: load_vectors(rewritten(good, {}, **{name: tensor})))
    assert f"{name} holds a value that is not finite" in message


def test_a_zero_vector_is_refused_by_name(good: Path) -> None:
    tensor = load_file(good)["vectors"]
    tensor[1, 3] = 0
    message = refusal(lambda: load_vectors(rewritten(good, {}, vectors=tensor)))
    assert "desperate at layer 3 is zero" in message
    with pytest.raises(VectorError, match="here: the vector of desperate"):
        check_vectors(replace(toy_vectors(), vectors=tensor), "here")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("shuffled", (5, 4, 31)),
        ("shuffled", (5, 3, 32)),
        ("neutral_tokens", (40, 4, 33)),
        ("neutral_tokens", (40, 32)),
        ("mean_norm", (3,)),
        ("mean_norm", ()),
    ],
)
def test_every_tensor_has_the_shape_of_the_provenance(
    good: Path, name: str, shape: tuple[int, ...]
) -> None:
    path = rewritten(good, {}, **{name: torch.ones(shape)})
    assert f"{name} has shape {shape}" in refusal(lambda: load_vectors(path))


@pytest.mark.parametrize("norm", [0.0, -1.0])
def test_a_norm_that_would_steer_nothing_is_refused(good: Path, norm: float) -> None:
    path = rewritten(good, {}, mean_norm=torch.tensor([10.0, norm, 40.0, 80.0]))
    assert "not above 0" in refusal(lambda: load_vectors(path))


def test_a_missing_tensor_is_named(good: Path, tmp_path: Path) -> None:
    with safe_open(str(good), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(good)
    del tensors["shuffled"]
    lacking, runs = tmp_path / "lacking", tmp_path / "runs"
    save_file(tensors, lacking, metadata)
    save_file({"directions": torch.ones(2, 3)}, runs, metadata)
    assert "lacks the tensor 'shuffled'" in refusal(lambda: load_vectors(lacking))
    assert "directions of a run's conditions" in refusal(lambda: load_vectors(runs))


def test_vectors_of_another_model_are_refused() -> None:
    check_made_for(provenance(), replace(IDENTITY, id="called/otherwise", source="hub"), "v")
    for changed, words in (
        ({"weight_sha256": "sha256:else"}, "other weights"),
        ({"tokenizer_sha256": "sha256:else"}, "other tokenizer"),
    ):
        identity = replace(IDENTITY, **changed)
        message = refusal(lambda identity=identity: check_made_for(provenance(), identity, "v"))
        assert words in message
        assert "v was made for toy" in message


def test_an_emotion_is_found_by_name() -> None:
    vectors: EmotionVectors = toy_vectors()
    assert torch.equal(vectors.vector("happy", 3), vectors.vectors[2, 3])
    with pytest.raises(UnknownEmotionError, match="'desparate'") as caught:
        vectors.vector("desparate", 0)
    assert caught.value.hint == "did you mean 'desperate'?"
