"""Every command tells what it gives and shows itself; every reading command speaks JSON."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from emoctl.__main__ import run
from emoctl.cli.app import app

ROOT = typer.main.get_command(app)
EXAMPLE = re.compile(r"^\s*Example: (emoctl .+)$", re.MULTILINE)
READING = (
    "config show",
    "scenarios ls",
    "models ls",
    "stories ls",
    "vectors ls",
    "runs ls",
    "config schema",
    "scenarios show replacement-affair",
    "scenarios lint",
    "stories show calm",
    "models show",
)


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words after `emoctl`, command) of every command that is no group."""
    below = getattr(command, "commands", {})
    for name, each in below.items():
        yield from walk(each, (*words, name))
    if not below:
        yield words, command


COMMANDS = dict(walk(ROOT))


def example_of(command: Any) -> str:
    found = EXAMPLE.findall(command.callback.__doc__)
    assert len(found) == 1
    return str(found[0])


def parse(line: str) -> tuple[Any, Any]:
    """The command that an `emoctl …` line calls, and its context, or a usage error."""
    program, *words = shlex.split(re.split(r" [>|] ", line)[0])
    assert program == "emoctl"
    command: Any = ROOT
    name, context = program, None
    while True:
        context = command.make_context(name, words, parent=context)
        if not getattr(command, "commands", None):
            return command, context
        left = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, left)


def test_the_walk_finds_every_command() -> None:
    names = {" ".join(words) for words in COMMANDS}
    assert names >= {"extract", "sweep", "replay", "config show", "runs show", "vectors check"}
    assert len(names) >= 20


@pytest.mark.parametrize("words", [pytest.param(w, id=" ".join(w)) for w in COMMANDS])
def test_a_command_has_help_with_an_example_that_parses(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[words]
    first, *_ = command.callback.__doc__.splitlines()
    assert first.strip().endswith(".")
    assert run([*words, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"Usage: emoctl {' '.join(words)}")
    line = example_of(command)
    assert line.split()[1 : 1 + len(words)] == list(words)
    called, context = parse(line)
    assert called is command
    context.close()


@pytest.mark.parametrize(
    "line",
    [
        "emoctl sweep --vectors desperate",
        "emoctl runs shwo latest",
        "emoctl config validate",
        "emoctl sweep --n few",
    ],
)
def test_an_example_that_lies_would_be_found(line: str) -> None:
    """The control: what does not exist does not parse."""
    with pytest.raises(typer.BadParameter.__mro__[1]):
        parse(line)


@pytest.mark.parametrize("words", [pytest.param(w, id=" ".join(w)) for w in COMMANDS])
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    options = [p for p in COMMANDS[words].params if p.param_type_name == "option"]
    assert [p.name for p in options if p.name != "help" and not p.help] == []
    assert any(p.name == "json" for p in options) or words == ("config", "schema")


@pytest.mark.parametrize("line", READING)
def test_json_is_one_document_and_nothing_else_is_on_stdout(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    arguments = shlex.split(line)
    json_flag = [] if line == "config schema" else ["--json"]
    assert run([*arguments, *json_flag]) == 0
    shown = capsys.readouterr()
    assert isinstance(json.loads(shown.out), dict | list)
    assert shown.err.splitlines()[-1].startswith("next: ")
    if json_flag:
        assert run(arguments) == 0
        with pytest.raises(json.JSONDecodeError):  # the control: without the flag it is for people
            json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []


def test_vectors_and_runs_that_are_there_are_listed_as_json(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path))
    (tmp_path / "vectors").mkdir()
    good = (world / "vectors" / "good.safetensors").read_bytes()
    (tmp_path / "vectors" / "0123456789abcdef.safetensors").write_bytes(good)
    assert run(["vectors", "ls", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert set(listed["emotions"]) == {"desperate", "calm", "happy"}
    assert run(["vectors", "show", "0123456789abcdef", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["d_model"] == listed["d_model"]
    assert run(["vectors", "check", listed["path"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.parametrize(
    "line", ["--help", "sweep --help", "--version", "config show", "scenarios ls", "stories ls"]
)
def test_reading_and_help_load_neither_torch_nor_pandas(line: str) -> None:
    code = (
        "import sys\nfrom emoctl.__main__ import run\n"
        f"assert run({shlex.split(line)!r}) == 0\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert loaded & {"torch", "transformers", "pandas", "scipy", "altair"} == set()
    assert "emoctl.cli.app" in loaded
