"""A scenario folder is read whole, or refused in one line that says where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emoctl.errors import ScenarioError
from emoctl.scenarios import load_scenario, scenario_digest

Write = Callable[..., Path]


def with_message(lamp: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    lamp["variants"]["full"]["messages"] = [message]
    return lamp


def test_a_file_stands_in_for_content(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    content = with_message(lamp, {"role": "user", "file": "letter.md"})
    scenario = load_scenario(write_scenario(tmp_path / "a", content, letter="\nSee the Sea.\n\n"))

    assert scenario.variants["full"].messages[0].content == "See the Sea."
    assert scenario.readouts == ("sample", "choice", "likelihood")


def test_the_digest_covers_files_and_option_order_but_not_layout(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    inline = with_message(lamp, {"role": "user", "content": "See."})
    base = scenario_digest(load_scenario(write_scenario(tmp_path / "a", inline)))
    by_file = with_message(lamp, {"role": "user", "file": "letter.md"})
    same = scenario_digest(load_scenario(write_scenario(tmp_path / "b", by_file, letter="See.\n")))
    other = scenario_digest(load_scenario(write_scenario(tmp_path / "c", by_file, letter="Sea.")))
    lamp["choice"]["options"] = dict(reversed(lamp["choice"]["options"].items()))
    turned = scenario_digest(load_scenario(write_scenario(tmp_path / "d", by_file, letter="See.")))

    assert base.startswith("sha256:") and len(base) == 7 + 64
    assert base == same
    assert len({base, other, turned}) == 3


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "file": "absent.md"}, r"variants\.full\.messages\.0\.file 'absent\.md'"),
        ({"role": "user", "file": "../secret.md"}, "leads out of the folder"),
        ({"role": "user", "file": "/etc/hostname"}, "leads out of the folder"),
        ({"role": "user", "file": "link.md"}, "leads out of the folder"),
        ({"role": "user", "file": "."}, "no readable file"),
        ({"role": "user", "file": 3}, "needs a file name"),
        ({"role": "user", "file": ""}, "needs a file name"),
        ({"role": "user", "file": "letter.md", "content": "x"}, "both file and content"),
        ({"role": "user", "file": "empty.md"}, r"messages\.0\.content: .*at least 1"),
        ({"role": "user", "file": "latin.md"}, "is not UTF-8"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path,
    lamp: dict[str, Any],
    write_scenario: Write,
    message: dict[str, Any],
    words: str,
) -> None:
    folder = write_scenario(tmp_path / "a", with_message(lamp, message), letter="x", empty=" ")
    (folder / "latin.md").write_bytes(b"caf\xe9")
    (tmp_path / "secret.md").write_text("out", encoding="utf-8")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")

    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario(folder)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nmae": "x"}, r"scenario\.yaml:\d+: nmae: "),
        ({"name": "No Spaces"}, r"scenario\.yaml:\d+: name: "),
        ({"schema": "emoctl-scenario/2"}, r"scenario\.yaml:\d+: schema: "),
        ({"variants": []}, "variants: "),
        ({"variants": {"full": {"messages": "x"}}}, r"variants\.full\.messages: "),
        ({"variants": {"full": {"messages": [{"role": "cat", "content": "x"}]}}}, r"0\.role: "),
        ({"outcomes": {"a": {"definition": "a"}}}, "outcomes: "),
        ({"choice": {"question": "?", "options": dict.fromkeys("abcde", "x")}}, "choice.options"),
    ],
)
def test_a_bad_key_is_named(
    tmp_path: Path,
    lamp: dict[str, Any],
    write_scenario: Write,
    change: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(ScenarioError, match=words) as caught:
        load_scenario(write_scenario(tmp_path / "a", lamp | change))

    assert "\n" not in str(caught.value)


def test_a_misspelt_key_suggests_the_nearest(
    tmp_path: Path, lamp: dict[str, Any], write_scenario: Write
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(write_scenario(tmp_path / "a", lamp | {"likelyhood": 1}))

    assert caught.value.hint == "did you mean 'likelihood'?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b\n", r"scenario\.yaml:2: .*name"),
        ("name: a\nchoice:\n\tquestion: x\n", r"scenario\.yaml:3: .*tab"),
        ("- a\n", "top level"),
        ("", "top level"),
        ("a: [", r"scenario\.yaml:\d"),
    ],
)
def test_what_is_not_a_mapping_in_yaml_is_refused(
    tmp_path: Path, write_scenario: Write, text: str, words: str
) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario(write_scenario(tmp_path / "a", text))


def test_a_folder_without_a_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no readable file .*scenario\.yaml"):
        load_scenario(tmp_path / "absent")
