"""Whatever a person gets wrong is answered by one exact line, some advice, and exit code 2."""

from pathlib import Path
from typing import Any

import pytest

from emoctl.__main__ import run
from emoctl.config.strict_yaml import load_yaml

TABLE = Path(__file__).parent / "malformed.yaml"
ROWS: list[dict[str, Any]] = load_yaml(TABLE.read_text(encoding="utf-8"), TABLE.name)["rows"]
SOUND = "schema: emoctl/1\nreadouts: {sample: {n: 4}}\n"


def arguments(row: dict[str, Any]) -> list[str]:
    if "arguments" in row:
        return list(row["arguments"])
    Path("f.yaml").write_text(row["file"], encoding="utf-8")
    override = ["--set", row["set"]] if "set" in row else []
    return ["config", "validate", "f.yaml", *override]


@pytest.mark.parametrize("row", [pytest.param(row, id=row["title"]) for row in ROWS])
def test_one_line_says_what_is_wrong(
    row: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = run(arguments(row))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert code == 2
    assert captured.out == ""
    assert [line.startswith(("error: ", "hint:  ")) for line in lines] == [True] * len(lines)
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert len(lines) <= 2
    assert len(lines[0]) > len("error: f.yaml:")
    if "error" in row:
        assert lines[0] == f"error: {row['error']}"
    if "hint" in row:
        assert lines[1] == f"hint:  {row['hint']}"


def test_the_table_is_long_and_its_sound_base_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(ROWS) >= 35
    assert sum(row.get("file", "").startswith(SOUND) for row in ROWS) >= 35
    assert run(arguments({"file": SOUND, "set": "seed=3"})) == 0
    assert "ok" in capsys.readouterr().out
