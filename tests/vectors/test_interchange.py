"""Vectors go out to other programs' files and come back as they were, to the same block."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model
from torch import Tensor
from toys import provenance, toy_corpus, toy_model, toy_vectors, words

from emoctl.config.schema import ExperimentConfig, RecipeConfig
from emoctl.engine.steering import Steering, SteeringTable
from emoctl.errors import EmoctlError, UsageError, VectorError
from emoctl.models.block_names import BlockNames, names_of
from emoctl.models.loading import LoadedModel
from emoctl.sweep.conditions import Condition, make_conditions
from emoctl.sweep.probe import make_probe
from emoctl.vectors.extraction import extract
from emoctl.vectors.files import EmotionVectors, check_usable, load_vectors, save_vectors
from emoctl.vectors.interchange.bundle import Bundle
from emoctl.vectors.interchange.formats import FORMATS, read_foreign
from emoctl.vectors.interchange.incoming import adopt, check_fits, doubts, open_file
from emoctl.vectors.interchange.outgoing import make_bundle, parse_layers
from emoctl.vectors.provenance import Provenance

SUFFIXES = tuple(FORMATS)
NAMES = BlockNames("llama", "layers", n_layers=4, d_model=32)
CORPUS = toy_corpus()
TOKENS = torch.tensor([[1, 5, 9, 13, 17, 21, 25, 29]])


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return toy_model(dtype=torch.float32)


@pytest.fixture(scope="module")
def vectors(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> EmotionVectors:
    path = tmp_path_factory.mktemp("vectors") / "v.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(path.parent / "cache"))
        return extract(model, CORPUS, RecipeConfig(from_token=2), path)


def exported(vectors: EmotionVectors, path: Path, *layers: int, **length: Any) -> Path:
    """A file of `calm`, as the ending of `path` says."""
    bundle = make_bundle(vectors, ["calm"], layers, **length)
    FORMATS[path.suffix].write(bundle, NAMES, path)
    return path


def imported(path: Path, model: LoadedModel, emotion: str | None = None) -> EmotionVectors:
    file = open_file(path)
    return adopt(file, model, CORPUS.neutral, file.emotions(emotion))


def logits(model: LoadedModel, layer: int, added: Tensor) -> Tensor:
    """What the model says when emoctl's own hook adds `added` everywhere."""
    table = SteeringTable([Steering(layer, added, True)], 0, model.device, model.dtype)
    positions = torch.arange(TOKENS.shape[1])[None]
    with torch.inference_mode(), table.applied_to(model.blocks, positions, 1):
        return model.module(TOKENS).logits


def hooked(model: LoadedModel, module: torch.nn.Module, added: Tensor) -> Tensor:
    """What the model says when a plain hook adds `added` to a module's output."""

    def add(_module: object, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + added, *output[1:])
        return output + added

    handle = module.register_forward_hook(add)
    with torch.inference_mode():
        said: Tensor = model.module(TOKENS).logits
    handle.remove()
    return said


def conditions(vectors: EmotionVectors, layer: int | str, n_controls: int = 0) -> list[Condition]:
    config = ExperimentConfig.model_validate(
        {
            "schema": "emoctl/1",
            "readouts": {"sample": {"n": 1}},
            "steering": {"vectors": ["calm"], "strengths": [0.05], "layer": layer},
        }
    )
    return make_conditions(vectors, config, "all", n_controls)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bits_survive_the_round_trip(
    suffix: str, vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    back = imported(exported(vectors, tmp_path / f"v{suffix}", 1, 3), model)
    for layer in (1, 3):
        assert torch.equal(back.vector("calm", layer), vectors.vector("calm", layer))
        assert not torch.equal(back.vector("calm", layer), vectors.vector("happy", layer)), (
            "control"
        )
    assert back.emotions == ("calm",)
    assert torch.equal(back.mean_norm, vectors.mean_norm), "the same neutral texts"
    assert torch.equal(back.neutral_tokens, vectors.neutral_tokens)
    made = back.provenance.imported
    assert made is not None and made.names_weights and made.layers == (1, 3)
    assert made.said["emoctl"]["provenance"]["corpus_sha256"] == CORPUS.digest  # type: ignore
    save_vectors(back, tmp_path / "back.safetensors")
    assert load_vectors(tmp_path / "back.safetensors").provenance == back.provenance


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_reimported_vector_steers_the_same_block(
    suffix: str, vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    back = imported(exported(vectors, tmp_path / f"v{suffix}", 1, 2, 3), model)
    for layer in (1, 2, 3):
        (_, ours), (_, theirs) = conditions(vectors, layer), conditions(back, layer)
        assert theirs.record == ours.record
        assert torch.equal(
            logits(model, layer, ours.steering.added), logits(model, layer, theirs.steering.added)
        )
        off_by_one = logits(model, layer - 1, theirs.steering.added)
        assert not torch.equal(logits(model, layer, ours.steering.added), off_by_one), "control"


def test_llama_cpp_finds_what_it_looks_for(vectors: EmotionVectors, tmp_path: Path) -> None:
    path = exported(vectors, tmp_path / "v.gguf", 1, 3)
    reader = gguf.GGUFReader(path)
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == "controlvector"
    assert said["controlvector.model_hint"] == "llama"
    assert said["controlvector.layer_count"] == 2
    assert said["emoctl.emotion"] == "calm"
    assert said["emoctl.weights"] == vectors.provenance.model.weight_sha256
    assert [t.name for t in reader.tensors] == ["direction.1", "direction.3"]
    for tensor, layer in zip(reader.tensors, (1, 3), strict=True):
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert list(tensor.shape) == [32]
        assert np.array_equal(tensor.data, vectors.vector("calm", layer).numpy())


def test_llama_cpp_adds_direction_k_where_emoctl_adds_layer_k(
    vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    """`direction.k` goes to the output of the k-th block, counted from 0."""
    path = exported(vectors, tmp_path / "v.gguf", 2, strength=Decimal("0.05"))
    (tensor,) = gguf.GGUFReader(path).tensors
    k = int(tensor.name.removeprefix("direction."))
    added = torch.from_numpy(np.array(tensor.data))
    (_, ours) = conditions(vectors, 2)
    assert torch.equal(added, ours.steering.added)
    wanted = logits(model, 2, ours.steering.added)
    assert torch.equal(hooked(model, model.module.model.layers[k], added), wanted)
    assert not torch.equal(hooked(model, model.module.model.layers[k - 1], added), wanted)


@pytest.mark.parametrize(("name", "point"), [("llama", "layers.2"), ("gpt2", "h.2")])
def test_lm_eval_steers_the_block_that_emoctl_steers(
    name: str, point: str, vectors: EmotionVectors, tmp_path: Path
) -> None:
    """By its documented contract: vector × coefficient onto the named module of `base_model`."""
    model = tiny_model(name, torch.float32)
    bundle = make_bundle(vectors, ["calm"], [2], strength=Decimal("-0.05"))
    FORMATS[".pt"].write(bundle, names_of(model.module), tmp_path / "v.pt")
    content = torch.load(tmp_path / "v.pt", weights_only=True)  # noqa: TID251 - what is tested
    ((found, entry),) = content.items()
    assert found == point
    assert {entry[k] for k in ("action", "bias", "head_index")} == {"add", None}
    added = entry["steering_vector"] * entry["steering_coefficient"]
    assert float(added.norm()) == pytest.approx(0.05 * float(vectors.mean_norm[2]))
    parts = dict(model.module.base_model.named_modules())
    wanted = logits(model, 2, added)
    assert torch.equal(hooked(model, parts[found], added), wanted)
    assert not torch.equal(hooked(model, parts[point.replace("2", "1")], added), wanted), "control"


def test_length_is_what_was_asked_for(vectors: EmotionVectors, tmp_path: Path) -> None:
    lengths = {
        "stored": (
            exported(vectors, tmp_path / "a.gguf", 2),
            float(vectors.vector("calm", 2).norm()),
        ),
        "unit": (exported(vectors, tmp_path / "b.gguf", 2, unit=True), 1.0),
        "strength": (
            exported(vectors, tmp_path / "c.gguf", 2, strength=Decimal("0.05")),
            0.05 * float(vectors.mean_norm[2]),
        ),
    }
    assert len({round(norm, 3) for _, norm in lengths.values()}) == 3, "control"
    for length, (path, norm) in lengths.items():
        bundle = read_foreign(path)
        assert bundle.statement is not None and bundle.statement.length == length
        assert float(bundle.added.norm()) == pytest.approx(norm)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_vectors_give_equal_bytes(
    suffix: str, vectors: EmotionVectors, tmp_path: Path
) -> None:
    one, two, other = (tmp_path / f"{name}{suffix}" for name in "abc")
    for path, layer in ((one, 2), (two, 2), (other, 3)):
        exported(vectors, path, layer)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, two, other]


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(values=st.lists(FLOATS, min_size=32, max_size=32).filter(any))
def test_any_finite_vector_survives(
    suffix: str, values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    toy = toy_vectors()
    toy.vectors[0, 2] = torch.tensor(values, dtype=torch.float32)
    path = tmp_path_factory.mktemp("any") / f"v{suffix}"
    back = read_foreign(exported(toy, path, 2)).added[0, 0]
    assert back.numpy().tobytes() == toy.vectors[0, 2].numpy().tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused_in_one_line(
    suffix: str, share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = exported(toy_vectors(), tmp_path_factory.mktemp("cut") / f"v{suffix}", 1, 2)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert path.name in refusal(lambda: read_foreign(path))
    path.write_bytes(content)
    read_foreign(path)


def refusal(read: Callable[[], object], kind: type[EmoctlError] = VectorError) -> str:
    with pytest.raises(kind) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def spoilt(suffix: str, path: Path, vector: Tensor, layer: int = 2) -> Path:
    """A file with this vector, as a program that does not know emoctl would write it."""
    if suffix == ".npz":
        arrays = {"vectors": vector[None, None].numpy(), "emotions": ["calm"], "layers": [layer]}
        np.savez(path, **arrays)
    elif suffix == ".pt":
        write_pt(path, {f"layers.{layer}": {"steering_vector": vector, "action": "add"}})
    else:
        write_gguf(path, {f"direction.{layer}": vector.numpy()})
    return path


def write_pt(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def write_gguf(path: Path, tensors: dict[str, Any], architecture: str = "controlvector") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "mistral")
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("value", "says"),
    [(float("nan"), "not finite"), (float("inf"), "not finite"), (0.0, "layer 2 is zero")],
)
def test_a_vector_that_cannot_steer_is_refused(
    suffix: str, value: float, says: str, tmp_path: Path
) -> None:
    path = spoilt(suffix, tmp_path / f"v{suffix}", torch.full((32,), value))
    assert says in refusal(lambda: read_foreign(path))
    read_foreign(spoilt(suffix, tmp_path / f"sound{suffix}", torch.ones(32)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_for_another_model_is_refused(
    suffix: str, vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    wide = open_file(spoilt(suffix, tmp_path / f"wide{suffix}", torch.ones(33)))
    assert "width 33, the model has width 32" in refusal(lambda: check_fits(wide, model))
    deep = open_file(spoilt(suffix, tmp_path / f"deep{suffix}", torch.ones(32), layer=4))
    assert "layer 4, the model has layers 0 to 3" in refusal(lambda: check_fits(deep, model))
    sound = open_file(exported(vectors, tmp_path / f"sound{suffix}", 2))
    for changed in ({"weight_sha256": "sha256:x"}, {"tokenizer_sha256": "sha256:x"}):
        other = replace(model, identity=replace(model.identity, **changed))
        assert "other" in refusal(lambda other=other: check_fits(sound, other))
    check_fits(sound, model)


def test_a_hook_point_of_another_architecture_is_refused(
    vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    file = open_file(exported(vectors, tmp_path / "v.pt", 2))
    check_fits(file, model)
    gpt2 = replace(tiny_model("gpt2", torch.float32), identity=model.identity)
    assert "hook points layers.N, the model has blocks h.N" in refusal(
        lambda: check_fits(file, gpt2)
    )


def entry(**changed: object) -> dict[str, object]:
    return {"steering_vector": torch.ones(32), "action": "add", **changed}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "no hook point"),
        ([1], "no hook point"),
        ({"layers.2.mlp": entry()}, "'layers.2.mlp' is not the output of a block"),
        ({3: entry()}, "3 is not the output"),
        ({"layers.2": torch.ones(32)}, "no steering_vector"),
        ({"layers.2": entry(action="clamp")}, "the action 'clamp'"),
        ({"layers.2": {"steering_vector": torch.ones(32)}}, "the action 'None'"),
        ({"layers.2": entry(head_index=1)}, "head_index"),
        ({"layers.2": entry(bias=torch.ones(32))}, "bias"),
        ({"layers.2": entry(steering_vector=torch.ones(2, 32))}, "shape (2, 32)"),
        ({"layers.2": entry(steering_vector=torch.ones(32).double())}, "float64"),
        ({"layers.2": entry(steering_coefficient="2")}, "steering_coefficient '2'"),
        ({"layers.2": entry(steering_coefficient=0.0)}, "is zero"),
        ({"layers.2": entry(), "h.3": entry()}, "several lists: h, layers"),
        ({"layers.02": entry()}, "'layers.02' is not the output"),
        (
            {"layers.1": entry(), "layers.2": entry(steering_vector=torch.ones(3))},
            "different widths",
        ),
        ({"layers.2": entry(emoctl="{}")}, "malformed at emotions"),
    ],
)
def test_a_steering_file_that_does_something_else_is_refused(
    content: object, says: str, tmp_path: Path
) -> None:
    assert says in refusal(lambda: read_foreign(write_pt(tmp_path / "v.pt", content)))


def test_a_coefficient_counts(tmp_path: Path) -> None:
    path = write_pt(tmp_path / "v.pt", {"layers.2": entry(steering_coefficient=-3)})
    assert read_foreign(path).added[0, 0].tolist() == [-3.0] * 32


class Code:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (Path.touch, (Path("pickled-code-ran"),))  # type: ignore[return-value]


def test_no_code_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pt(tmp_path / "v.pt", {"layers.2": Code()})
    assert "torch file of tensors" in refusal(lambda: read_foreign(tmp_path / "v.pt"))
    np.savez(tmp_path / "v.npz", vectors=np.array([Code()], dtype=object))
    assert "npz" in refusal(lambda: read_foreign(tmp_path / "v.npz"))
    assert not Path("pickled-code-ran").exists()
    Code().__reduce__()[0](*Code().__reduce__()[1])
    assert Path("pickled-code-ran").exists(), "control"


ONES = np.ones(32, dtype=np.float32)


@pytest.mark.parametrize(
    ("tensors", "architecture", "says"),
    [
        ({"direction.0": ONES}, "controlvector", "numbered from 1"),
        ({"direction.-1": ONES}, "controlvector", "numbered from 1"),
        ({"direction.x": ONES}, "controlvector", "numbered from 1"),
        ({"direction.2": ONES.astype(np.float16)}, "controlvector", "F16"),
        ({"direction.2": np.ones((2, 32), np.float32)}, "controlvector", "2-D"),
        ({"direction.1": ONES, "direction.2": ONES[:3]}, "controlvector", "different widths"),
        ({"direction.2": ONES, "direction.02": ONES}, "controlvector", "for 1 layers"),
        ({"token_embd": ONES}, "controlvector", "holds 0 directions"),
        ({"direction.2": ONES}, "llama", "not of a control vector"),
    ],
)
def test_a_gguf_file_that_is_no_control_vector_is_refused(
    tensors: dict[str, Any], architecture: str, says: str, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "v.gguf", tensors, architecture)
    assert says in refusal(lambda: read_foreign(path))


def test_an_array_alone_is_no_npz_file(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", ONES)
    (tmp_path / "v.npy").rename(tmp_path / "v.npz")
    assert "cannot be read as npz" in refusal(lambda: read_foreign(tmp_path / "v.npz"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"vectors": None}, "lacks the array 'vectors'"),
        ({"vectors": np.ones((1, 32), np.float32)}, "2-D float32"),
        ({"vectors": np.ones((1, 1, 32))}, "float64"),
        ({"emotions": np.array([1])}, "emotions are not 1 texts"),
        ({"emotions": np.array(["calm", "sad"])}, "emotions are not 1 texts"),
        ({"layers": np.array([2.0])}, "layers are not 1 whole numbers"),
        ({"layers": np.array([-1])}, "not in order"),
        ({"emoctl": np.array("{")}, "malformed"),
    ],
)
def test_an_npz_file_that_contradicts_itself_is_refused(
    changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    sound = {"vectors": ONES[None, None], "emotions": np.array(["calm"]), "layers": np.array([2])}
    np.savez(tmp_path / "sound.npz", **sound)
    assert read_foreign(tmp_path / "sound.npz").emotions == ("calm",)
    kept = {name: array for name, array in {**sound, **changed}.items() if array is not None}
    np.savez(tmp_path / "v.npz", **kept)
    assert says in refusal(lambda: read_foreign(tmp_path / "v.npz"))


def test_a_statement_about_other_vectors_is_refused(
    vectors: EmotionVectors, tmp_path: Path
) -> None:
    path = exported(vectors, tmp_path / "v.npz", 2)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "layers": np.array([3])})
    assert "emoctl wrote it for calm at layers (2,)" in refusal(lambda: read_foreign(path))
    np.savez(path, **arrays)
    read_foreign(path)


def test_what_a_mute_file_does_not_say_is_asked_for_and_told(
    model: LoadedModel, tmp_path: Path
) -> None:
    file = open_file(spoilt(".gguf", tmp_path / "v.gguf", torch.ones(32)))
    assert "does not say which emotion" in refusal(lambda: file.emotions(None), UsageError)
    for word in ("", " calm", "a\nb"):
        assert "name of an emotion" in refusal(lambda w=word: file.emotions(w), UsageError)
    back = adopt(file, model, CORPUS.neutral, file.emotions("calm"))
    made = back.provenance.imported
    assert made is not None and not made.names_weights
    told = list(doubts(file, model, back))
    assert "is your word" in told[0] and "'mistral'; the model is a 'llama'" in told[1]


def test_a_known_file_keeps_its_word_and_tells_of_other_norms(
    vectors: EmotionVectors, model: LoadedModel, tmp_path: Path
) -> None:
    file = open_file(exported(vectors, tmp_path / "v.gguf", 2))
    assert file.emotions(None) == file.emotions("calm") == ("calm",)
    assert "says that it holds calm" in refusal(lambda: file.emotions("sad"), UsageError)
    back = adopt(file, model, CORPUS.neutral, ("calm",))
    assert list(doubts(file, model, back)) == []
    (told,) = doubts(file, model, replace(back, mean_norm=back.mean_norm * 1.02))
    assert "strengths differ" in told


@pytest.fixture
def at_one_layer(vectors: EmotionVectors, model: LoadedModel, tmp_path: Path) -> EmotionVectors:
    return imported(exported(vectors, tmp_path / "one.gguf", 1), model)


def test_a_layer_that_the_file_lacked_is_never_steered(at_one_layer: EmotionVectors) -> None:
    assert len(conditions(at_one_layer, 1)) == 2
    for layer in (0, 2, 3, "two-thirds"):
        found = refusal(lambda at=layer: conditions(at_one_layer, at))
        assert found.startswith("steering.layer is ") and "for layer 1 alone" in found
    assert "layer is 2" in refusal(lambda: at_one_layer.vector("calm", 2))


def test_a_layer_that_the_file_lacked_is_never_read(at_one_layer: EmotionVectors) -> None:
    def probe(layers: list[int] | str) -> object:
        config = {
            "schema": "emoctl/1",
            "readouts": {"sample": {"n": 1}},
            "readings": {"emotions": ["calm"], "layers": layers},
        }
        return make_probe(at_one_layer, ExperimentConfig.model_validate(config))

    assert probe([1]) is not None
    for layers in ([1, 2], "two-thirds"):
        assert "readings.layers is 2" in refusal(lambda at=layers: probe(at))


def test_controls_of_imported_vectors_are_random_directions(
    at_one_layer: EmotionVectors, vectors: EmotionVectors
) -> None:
    def kinds(of: EmotionVectors) -> list[str]:
        return [c.record.vector for c in conditions(of, 1, n_controls=4)[2:]]

    random = ["random-isotropic-00", "random-isotropic-01", "random-neutral-00"]
    assert kinds(at_one_layer) == [*random, "random-neutral-01"]
    assert "shuffled-00" in kinds(vectors), "control"
    at = conditions(at_one_layer, 1, n_controls=4)
    for control in at[2:]:
        assert abs(float(control.direction @ at[1].direction)) < 1e-6


def test_only_imported_files_have_the_later_format(
    at_one_layer: EmotionVectors, vectors: EmotionVectors
) -> None:
    said = json.loads(at_one_layer.provenance.model_dump_json())
    assert said["format"] == "emoctl-vectors/2"
    before = json.loads(vectors.provenance.model_dump_json())
    assert before["format"] == "emoctl-vectors/1"
    assert "imported" not in before, "files of earlier versions are written as they were"
    for wrong in ({**said, "format": "emoctl-vectors/1"}, {**before, "corpus_sha256": None}):
        with pytest.raises(ValueError, match=r"imported goes with|have a corpus"):
            Provenance.model_validate(wrong)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"emotions": ("calm", "calm", "happy")}, "each stands once"),
        ({"emotions": ()}, "one at least"),
        ({"default_layer": 4}, "default_layer: 4 of 4"),
    ],
)
def test_provenance_that_contradicts_itself_is_refused(
    changed: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        provenance(**changed)


def test_controls_that_would_fail_in_a_sweep_are_found_before() -> None:
    toy = toy_vectors()
    check_usable(toy, "v")
    empty, still = toy.shuffled.clone(), toy.neutral_tokens.clone()
    empty[3, 1] = 0
    still[:, 2] = still[0, 2]
    for changed, says in (
        ({"shuffled": empty}, "shuffled vector 3 at layer 1 is zero"),
        ({"neutral_tokens": still}, "neutral_tokens at layer 2 do not vary"),
        ({"neutral_tokens": toy.neutral_tokens[:1]}, "do not vary"),
    ):
        assert says in refusal(lambda c=changed: check_usable(replace(toy, **c), "v"))


@pytest.mark.parametrize(
    ("text", "layers"),
    [("default", (2,)), ("all", (0, 1, 2, 3)), ("3,1", (1, 3)), ("1:3", (1, 2, 3)), ("2:2", (2,))],
)
def test_layers_are_named_in_several_ways(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text, toy_vectors()) == layers


@pytest.mark.parametrize("text", ["4", "-1", "1:9", "3:1", "", "a", "1:2:3", "1.5", "²", "1" * 9])
def test_layers_that_are_none_are_refused(text: str) -> None:
    assert "--layers" in refusal(lambda: parse_layers(text, toy_vectors()), UsageError)


@pytest.mark.parametrize("suffix", [".gguf", ".pt"])
def test_one_file_holds_one_emotion(suffix: str, tmp_path: Path) -> None:
    many = make_bundle(toy_vectors(), ["calm", "happy"], [1])
    path = tmp_path / f"v{suffix}"
    write = FORMATS[suffix].write
    assert "one emotion, not 2" in refusal(lambda: write(many, NAMES, path), UsageError)
    assert list(tmp_path.iterdir()) == []


def test_layer_0_has_no_place_in_a_control_vector(tmp_path: Path) -> None:
    found = refusal(lambda: exported(toy_vectors(), tmp_path / "v.gguf", 0, 1), UsageError)
    assert "layer 0 has no place" in found
    read_foreign(exported(toy_vectors(), tmp_path / "v.pt", 0, 1))


def test_neutral_texts_that_are_too_short_are_refused(
    model: LoadedModel, vectors: EmotionVectors, tmp_path: Path
) -> None:
    file = open_file(exported(vectors, tmp_path / "v.gguf", 2))
    short = tuple(replace(text, text=words(4, seed=1)) for text in CORPUS.neutral)
    with pytest.raises(EmoctlError, match="4 tokens"):
        adopt(file, model, short, ("calm",))


def test_a_bundle_and_its_claims_are_json(vectors: EmotionVectors) -> None:
    bundle: Bundle = make_bundle(vectors, ["calm"], [1])
    assert json.loads(json.dumps(bundle.claims()))["emoctl"]["layers"] == [1]
