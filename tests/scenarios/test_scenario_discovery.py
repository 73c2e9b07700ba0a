"""Scenarios are found at three levels, the nearest hides the others, and none hides its peers."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from emoctl.errors import ScenarioError
from emoctl.scenarios import discovery, find_scenarios, pick_scenario

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    monkeypatch.setattr(discovery, "bundled_folder", lambda: tmp_path / "bundled")


def offer(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = EntryPoints(EntryPoint(n, v, "emoctl.scenarios") for n, v in values.items())
    monkeypatch.setattr(discovery, "entry_points", lambda group: entries.select(group=group))


def test_no_scenarios_are_no_error(tmp_path: Path) -> None:
    assert find_scenarios(tmp_path) == {}


def test_a_nearer_level_hides_a_farther_one(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = write_scenario(tmp_path / "bundled" / "x", lamp)
    assert find_scenarios(tmp_path)["lamp"].level == "bundled"

    package = write_scenario(tmp_path / "lamp_package", lamp)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(monkeypatch, lamps="lamp_package")
    assert find_scenarios(tmp_path)["lamp"].folder == package
    assert find_scenarios(tmp_path)["lamp"].level == "installed"

    local = write_scenario(tmp_path / "scenarios" / "y", lamp)
    found = find_scenarios(tmp_path)["lamp"]
    assert (found.level, found.folder) == ("local", local)
    assert bundled.exists()


def test_a_package_may_hold_several_or_offer_a_path(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "many_lamps"
    write_scenario(root / "a", lamp | {"name": "lamp-a"})
    write_scenario(root / "deep" / "b", lamp | {"name": "lamp-b"})
    (root / "__init__.py").write_text(
        "from pathlib import Path\nB = Path(__file__).parent / 'deep'"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(monkeypatch, all="many_lamps", b="many_lamps:B", again="many_lamps")

    assert list(find_scenarios(tmp_path)) == ["lamp-a", "lamp-b"]


@pytest.mark.parametrize("value", ["no_such_package_here", "math:absent", "math:pi"])
def test_a_broken_entry_point_is_a_warning_and_hides_nothing(
    tmp_path: Path,
    lamp: dict[str, Any],
    write_scenario: Write,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    write_scenario(tmp_path / "scenarios" / "a", lamp)
    offer(monkeypatch, broken=value)

    with pytest.warns(UserWarning, match="entry point 'broken'"):
        assert list(find_scenarios(tmp_path)) == ["lamp"]


def test_one_name_twice_on_a_level_is_an_error(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    write_scenario(tmp_path / "scenarios" / "a", lamp)
    write_scenario(tmp_path / "scenarios" / "b", lamp)

    with pytest.raises(ScenarioError, match=r"two scenarios are called 'lamp': .*a and .*b"):
        find_scenarios(tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name: lamp # mine\n", "lamp"),
        ("title: x\nname: 'lamp'\nbroken: [", "lamp"),
        ("{schema: x, name: lamp}", "lamp"),
        ("about: |\n  name: trap\nname:   lamp", "lamp"),
        ("broken: [", "folder"),
        ("name: [a]", "folder"),
        ("\x00", "folder"),
    ],
)
def test_the_name_in_the_file_counts(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write, text: str, name: str
) -> None:
    write_scenario(tmp_path / "scenarios" / "folder", text)
    write_scenario(tmp_path / "scenarios" / "good", lamp | {"name": "good"})

    assert set(find_scenarios(tmp_path)) == {name, "good"}
    assert pick_scenario("good", tmp_path).name == "good", "a broken one hides no other"


def test_a_picked_scenario_is_checked(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    write_scenario(tmp_path / "scenarios" / "a", lamp | {"primary": "win"})

    with pytest.raises(ScenarioError, match="'win' is not an outcome"):
        pick_scenario("lamp", tmp_path)


def test_an_unknown_name_suggests_the_nearest(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    write_scenario(tmp_path / "scenarios" / "a", lamp)

    with pytest.raises(ScenarioError) as near:
        pick_scenario("lmap", tmp_path)
    with pytest.raises(ScenarioError) as far:
        pick_scenario("zebra", tmp_path)

    assert near.value.hint == "did you mean 'lamp'?"
    assert far.value.hint and "scenarios ls" in far.value.hint


def test_the_current_folder_is_the_working_folder(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenario(tmp_path / "scenarios" / "a", lamp)
    monkeypatch.chdir(tmp_path)

    assert list(find_scenarios()) == ["lamp"]


def test_the_room_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'scipy', 'transformers', 'typer', 'rich'}"
    code = f"import sys, emoctl.scenarios, emoctl.judges; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout.strip() == "set()", result.stderr
