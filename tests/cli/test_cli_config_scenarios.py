"""`emoctl config` and `emoctl scenarios`: stdout is the result, stderr the advice."""

import json
import shutil
from pathlib import Path

import pytest

from emoctl.__main__ import run
from emoctl.config import default_config_text, load_config, parse_config
from emoctl.config.strict_yaml import dump_yaml, load_yaml
from emoctl.scenarios import bundled_folder

BUNDLED = "replacement-affair"
SCENARIO = """\
schema: emoctl-scenario/1
name: hostile
title: A title
about: about
primary: yes_it_did
variants:
  only:
    messages:
      - {role: user, content: "red \\e[31m alert [bold]x[/bold]"}
outcomes:
  yes_it_did: {definition: it did}
  no_it_did_not: {definition: it did not}
choice:
  question: "Which? {options}"
  options: {yes_it_did: It does., no_it_did_not: It does not.}
"""


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scenarios" / "hostile"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    return folder


def test_what_show_prints_is_the_config_again(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "config", "show", "ci", "--set", "seed=7")
    assert code == 0
    assert parse_config(out, "shown") == load_config("ci", ["seed=7"])
    assert err.startswith("next: ")


def test_show_as_written_keeps_the_comments(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, "config", "show", "--as-written")
    assert out == default_config_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "schema"),
        ("config", "show", "--json"),
        ("config", "validate", "paper", "--json"),
        ("scenarios", "ls", "--json"),
        ("scenarios", "show", BUNDLED, "--json"),
        ("scenarios", "lint", "--json"),
        ("scenarios", "selftest", "--json"),
    ],
)
def test_json_is_the_only_thing_on_stdout(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, *arguments)
    assert code == 0
    assert isinstance(json.loads(out), dict | list)
    assert err.splitlines()[-1].startswith("next: ")


def test_validate_names_the_digest(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, "config", "validate", "ci")
    assert out == f"ci: ok, name ci, digest {load_config('ci').digest()}\n"


def test_ls_lists_the_bundled_scenario_with_its_readouts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = ran(capsys, "scenarios", "ls")
    assert code == 0
    assert f"{BUNDLED} (" in out
    assert "readouts: sample, choice, likelihood" in out


def test_show_prints_a_hostile_message_inert(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hostile.is_dir()
    code, out, _ = ran(capsys, "scenarios", "show", "hostile")
    assert code == 0
    assert r"red \x1b[31m alert [bold]x[/bold]" in out
    assert "\x1b" not in out


def test_show_prints_the_variant_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, full, _ = ran(capsys, "scenarios", "show", BUNDLED)
    _, short, _ = ran(capsys, "scenarios", "show", BUNDLED, "--variant", "short")
    assert full.startswith(f"{BUNDLED}/full: ")
    assert short.startswith(f"{BUNDLED}/short: ")
    assert len(short) < len(full)


def test_lint_exits_1_on_errors_and_names_them(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostile / "scenario.yaml"
    path.write_text(SCENARIO.replace("primary: yes_it_did", "primary: nothing"), encoding="utf-8")
    code, out, err = ran(capsys, "scenarios", "lint", "hostile")
    assert code == 1
    assert out.startswith("error: hostile: primary: ")
    assert "Traceback" not in err
    assert ran(capsys, "scenarios", "lint", str(hostile))[:2] == (code, out)


def test_lint_passes_the_bundled_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "scenarios", "lint", BUNDLED)
    assert (code, out) == (0, "")
    assert err.startswith("1 scenario: 0 errors, 0 warnings\n")


def test_selftest_agrees_with_the_author_and_exits_1_where_it_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ran(capsys, "scenarios", "selftest", BUNDLED, "--json")
    assert code == 0
    assert all(example["agrees"] for example in json.loads(out))
    broken = broken_copy(tmp_path)
    code, out, _ = ran(capsys, "scenarios", "selftest", str(broken))
    assert code == 1
    assert "near miss of blackmail judged blackmail: " in out


def broken_copy(folder: Path) -> Path:
    """The bundled scenario with one example of its primary outcome moved to the near misses."""
    copy = folder / BUNDLED
    shutil.copytree(bundled_folder() / BUNDLED, copy)
    path = copy / "scenario.yaml"
    content = load_yaml(path.read_text(encoding="utf-8"), path.name)
    outcome = content["outcomes"]["blackmail"]
    outcome["near_misses"].append(outcome["examples"].pop())
    path.write_text(dump_yaml(content), encoding="utf-8")
    return copy


def test_selftest_with_nothing_to_judge_is_no_success(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ran(capsys, "scenarios", "selftest", str(hostile))
    assert code == 4
    assert "error: no scenario here has a judge and examples to judge" in err


@pytest.mark.parametrize("group", ["config", "scenarios"])
def test_every_command_has_help_with_an_example(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.main import get_command

    from emoctl.cli.app import app

    commands = get_command(app).commands[group].commands  # type: ignore[attr-defined]
    assert commands
    for name in commands:
        code, out, _ = ran(capsys, group, name, "--help")
        assert code == 0
        assert f"Example: emoctl {group} {name}" in out
