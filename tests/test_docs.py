"""The documentation says what the program does: links, commands, keys, columns, codes exist."""

import re
import shlex
import typing
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

import emoctl.errors
from emoctl.analysis import contrasts, outcomes, readings
from emoctl.analysis.sampled import CELL_COLUMNS
from emoctl.cli.app import app
from emoctl.config.gates import GateFields
from emoctl.config.schema import ExperimentConfig, strength_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELL = ("sh", "console")
CUT = re.compile(r"\s(?:[|>]|&&)\s?")
PLACEHOLDER = "…"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def named(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def broken_links(text: str, folder: Path) -> list[str]:
    broken = []
    for link in LINK.findall(FENCE.sub("", text)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+://", link):
            continue
        path = folder / target if target else None
        if path is None or path.is_file():
            known = anchors(path.read_text(encoding="utf-8") if path else text)
            if not anchor or anchor in known:
                continue
        broken.append(link)
    return broken


def commands(text: str) -> Iterator[str]:
    """Every `emoctl …` line of a shell block, and every such span in running text."""
    for kind, block in FENCE.findall(text):
        for line in block.splitlines() if kind in SHELL else ():
            said = line.removeprefix("$ ") if kind == "console" else line
            if said.startswith("emoctl ") and (kind == "sh" or said != line):
                yield CUT.split(said)[0]
    for span in re.findall(r"`(emoctl [^`]+)`", FENCE.sub("", text)):
        if PLACEHOLDER not in span:
            yield CUT.split(span.replace("\n", " "))[0]


def problem_of(line: str) -> str | None:
    """Why typer would refuse a command, None if it would run it. Nothing is run."""
    arguments = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while arguments and hasattr(command, "commands"):
        name = arguments.pop(0)
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    if hasattr(command, "commands"):
        return "a command is missing"
    try:
        command.make_context(command.name, arguments)
    except ClickError as error:
        return str(error)
    return None


ClickError: type[Exception] = typer.BadParameter.__mro__[2]


def section_of(annotation: Any) -> type[BaseModel] | None:
    found = (
        part
        for part in (annotation, *typing.get_args(annotation))
        if isinstance(part, type) and issubclass(part, BaseModel) and part is not GateFields
    )
    return next(found, None)


def spelt(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        items = (strength_text(v) if isinstance(v, Decimal) else str(v) for v in value)
        return f"`[{', '.join(items)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def config_rows(model: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[str]:
    """How the row of every key of the schema begins: its path and its default."""
    for name, field in model.model_fields.items():
        path = (*parents, field.alias or name)
        section = section_of(field.annotation)
        if field.is_required() and section is None:
            yield f"| `{'.'.join(path)}` | required |"
        elif section is None:
            yield f"| `{'.'.join(path)}` | {spelt(field.default)} |"
        elif field.default is None:
            yield f"| `{'.'.join(path)}` | not taken |"
        if section is not None:
            yield from config_rows(section, path)


def columns_in(text: str) -> set[str]:
    """Names in the first column of a page's tables."""
    firsts = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return {name for first in firsts for name in re.findall(r"`([^`]+)`", first)}


def between(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_relative_link_resolves(path: Path) -> None:
    assert broken_links(path.read_text(encoding="utf-8"), path.parent) == []


def test_a_broken_link_is_seen() -> None:
    text = "# Here\n[a](nowhere.md) [b](models.md) [c](models.md#nothing) [d](#here) [e](#there)"
    assert broken_links(text, DOCS) == ["nowhere.md", "models.md#nothing", "#there"]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_parses(path: Path) -> None:
    found = {line: problem_of(line) for line in commands(path.read_text(encoding="utf-8"))}
    assert {line: why for line, why in found.items() if why} == {}


def test_commands_are_found_and_wrong_ones_are_seen() -> None:
    shown = "```sh\nemoctl runs ls\n```\n```text\nemoctl no\n```\n`emoctl extract --frsh`\n"
    assert list(commands(shown)) == ["emoctl runs ls", "emoctl extract --frsh"]
    for wrong in ("extract --frsh", "runs lst", "runs", "runs show", "sweep --n many", "replay a"):
        assert problem_of(f"emoctl {wrong}")
    for right in ("sweep --scale -0.05,0.05 --n 3", "runs show latest", "replay latest r-0"):
        assert problem_of(f"emoctl {right}") is None


def test_most_pages_show_a_command() -> None:
    with_commands = [p.name for p in PAGES if list(commands(p.read_text(encoding="utf-8")))]
    assert len(with_commands) >= 14


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_page_says_what_it_does_not_cover(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    last = "What these pages do not cover" if path.name == "index.md" else None
    assert headings[-1] == (last or "What this page does not cover")


def test_every_page_is_reached_from_the_index() -> None:
    reached = {DOCS / link.partition("#")[0] for link in LINK.findall(page("index.md"))}
    assert set(PAGES) - reached == {DOCS / "index.md"}


def test_config_has_every_key_with_its_default() -> None:
    text = page("config.md")
    wanted = list(config_rows(ExperimentConfig))
    assert len(wanted) > 30
    assert [row for row in wanted if row not in text] == []


def test_config_has_no_key_that_the_schema_lacks() -> None:
    known = {row.split("`")[1] for row in config_rows(ExperimentConfig)}
    assert columns_in(between(page("config.md"), "Every key")) == known


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("outcomes.csv", outcomes.COLUMNS),
        ("contrasts.csv", contrasts.COLUMNS),
        ("readings.csv", readings.COLUMNS),
    ],
)
def test_statistics_has_exactly_the_columns_of_a_table(
    heading: str, columns: tuple[str, ...]
) -> None:
    assert columns_in(between(page("statistics.md"), heading)) == set(columns)


def test_statistics_has_the_columns_of_the_cells() -> None:
    text = between(page("statistics.md"), "cells.csv")
    assert [c for c in CELL_COLUMNS if f"`{c}`" not in text] == []


def test_ci_has_every_exit_code() -> None:
    codes = re.findall(r"^    exit +(\d+) +(.+)$", emoctl.errors.__doc__ or "", re.MULTILINE)
    assert len(codes) == 7
    text = between(page("ci.md"), "Exit codes")
    assert [code for code, meaning in codes if f"| {code} | {meaning} |" not in text] == []
