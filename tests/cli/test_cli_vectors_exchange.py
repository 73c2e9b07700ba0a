"""Vectors leave by one command and return by another, and a sweep takes what returned."""

import json
import shlex
from pathlib import Path

import pytest

from emoctl.__main__ import run


@pytest.fixture
def good(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    return world / "vectors" / "good.safetensors"


def test_out_and_back_into_a_sweep(
    good: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(world / "models" / "tiny")
    for out in ("calm.gguf", "calm.pt", "all.npz"):
        word = [] if out == "all.npz" else ["--emotion", "calm"]
        assert run(["vectors", "export", str(good), out, *word]) == 0
        assert run(["vectors", "check", out, "--model", model]) == 0
        assert f"made for {model}" in capsys.readouterr().out
        assert run(["vectors", "check", out, "--model", str(world / "models" / "other")]) == 3
        assert "weights" in capsys.readouterr().err
    assert run(["vectors", "import", "calm.gguf", "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["imported"]["layers"] == [document["default_layer"]]
    assert Path(document["path"]).parent == Path("cache/vectors").resolve()
    assert said.err.splitlines()[-1].startswith("next: emoctl sweep --set steering.file=")
    assert run(["vectors", "ls"]) == 0
    assert "imported (gguf)" in capsys.readouterr().out
    assert run(["vectors", "show", document["path"]]) == 0
    assert "layers: 1 alone" in capsys.readouterr().out

    sweep = shlex.split(
        f"sweep --model {model} --set steering.file={document['path']} --vector calm --scale 0.05 "
        "--readout sample --variant short --n 2 --controls 2 --set sampling.max_new_tokens=4 "
        "--set engine.workers=1"
    )
    assert run(sweep) in (0, 4)
    shown = capsys.readouterr()
    assert "every control is a random direction" in shown.err
    (summary,) = Path("runs").glob("*/summary.md")
    assert "imported from gguf" in summary.read_text(encoding="utf-8")
    assert run([*sweep, "--set", "steering.layer=2"]) == 3
    assert (
        "steering.layer is 2; these vectors were imported, for layer 1" in capsys.readouterr().err
    )


def test_layer_0_is_left_out_for_llama_cpp_and_said(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["vectors", "export", str(good), "calm.gguf", "--emotion", "calm", "--layers", "all"]
    assert run(command) == 0
    shown = capsys.readouterr()
    assert "layer 0 is left out" in shown.err
    assert "calm at layer 1–2" in shown.out and "2 layers: llama.cpp" in shown.out
    assert run([*command[:3], "calm.pt", *command[4:]]) == 0
    shown = capsys.readouterr()
    assert "left out" not in shown.err and "calm at layer 0–2" in shown.out


def test_a_file_that_is_there_is_kept(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.npz").write_text("mine", encoding="utf-8")
    assert run(["vectors", "export", str(good), "v.npz"]) == 2
    assert "v.npz is there already" in capsys.readouterr().err
    assert Path("v.npz").read_text(encoding="utf-8") == "mine"
    assert run(["vectors", "export", str(good), "v.npz", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["length"] == "stored"
    assert Path("v.npz").read_bytes()[:2] == b"PK"


def test_a_card_is_written_without_the_paths_of_the_machine(
    good: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["vectors", "card", str(good), "--out", "README.md", "--license", "mit"]) == 0
    assert capsys.readouterr().out.startswith("README.md: ")
    text = Path("README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: mit\n")
    assert str(world) not in text
    assert run(["vectors", "card", str(good)]) == 0
    assert "license: unknown" in capsys.readouterr().out
