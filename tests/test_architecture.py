"""Imports point one way, heavy libraries stay in their rooms, and reading a run needs no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import emoctl

PACKAGE = Path(emoctl.__file__).parent
ORDER: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("config",),
    ("stories", "sandbox"),
    ("scenarios",),
    ("models",),
    ("vectors", "engine"),
    ("judges", "store"),
    ("sweep",),
    ("analysis",),
    ("report",),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
TORCH = frozenset({"torch", "transformers", "transformer_lens"})
TORCH_ROOMS = frozenset({"models", "vectors", "engine", "sweep"})
TORCH_FREE_ROOMS = frozenset(RANK) - TORCH_ROOMS - {"cli", "__main__"}
ONLY_IN = {
    "rich": {"report", "cli"},
    "typer": {"cli", "__main__"},
    "pandas": {"analysis", "report"},
    "pyarrow": {"analysis", "report"},
    "scipy": {"analysis", "report"},
    "statsmodels": {"analysis", "report"},
    "sklearn": {"stories", "analysis"},
    "altair": {"report"},
    "jinja2": {"report", "models"},  # a chat template is a jinja template
}


@dataclass(frozen=True)
class Import:
    """One import statement's target."""

    module: str
    """Of the importing file, `emoctl.store.database`."""

    target: str
    line: int
    at_top: bool
    """Whether it runs when the module is imported."""

    @property
    def room(self) -> str:
        return room_of(self.module)

    @property
    def library(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(package: Path) -> list[Import]:
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            Import(module, target, node.lineno, at_top)
            for node, at_top in statements(tree)
            for target in targets(node, module)
        ]
    return found


def statements(
    node: ast.AST, at_top: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_top
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from statements(child, False)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from statements(child, at_top and not function)


def targets(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        base = ".".join([*module.split(".")[: -node.level], base]).rstrip(".")
    return [f"{base}.{alias.name}" for alias in node.names]


def upward(imports: list[Import]) -> list[str]:
    """Imports between rooms that do not point down the order."""
    wrong = []
    for each in imports:
        room, below = each.room, room_of(each.target)
        if each.library != "emoctl" or below == room or (not room and not below):
            continue
        if below not in RANK:  # `from emoctl import __version__`
            continue
        if room not in RANK or RANK[below] >= RANK[room]:
            wrong.append(str(each))
    return wrong


def torch_out_of_place(imports: list[Import]) -> list[str]:
    return [
        str(each)
        for each in imports
        if each.library in TORCH
        and each.room not in TORCH_ROOMS
        and (each.at_top or each.room != "cli")
    ]


def strangers(imports: list[Import]) -> list[str]:
    return [
        str(each)
        for each in imports
        if each.library in ONLY_IN and each.room not in ONLY_IN[each.library]
    ]


def torch_within_reach(imports: list[Import]) -> list[str]:
    """Torch-free modules from which any chain of imports, in functions too, leads to torch."""
    modules = {each.module for each in imports}
    edges: dict[str, set[str]] = {}
    for each in imports:
        parts = each.target.split(".")
        run = {".".join(parts[: n + 1]) for n in range(len(parts))} & modules
        edges.setdefault(each.module, set()).update(run)
    heavy = {each.module for each in imports if each.library in TORCH}
    wrong = []
    for start in sorted(module for module in modules if room_of(module) in TORCH_FREE_ROOMS):
        seen, waiting = {start}, [start]
        while waiting:
            fresh = edges.get(waiting.pop(), set()) - seen
            seen |= fresh
            waiting += fresh
        wrong += [f"{start} reaches {module}" for module in sorted(seen & heavy)]
    return wrong


REAL = imports_of(PACKAGE)


def test_every_room_has_its_place() -> None:
    rooms = {room_of(each.module) for each in REAL}
    assert rooms - {""} <= set(RANK)
    assert {"config", "cli"} <= rooms


def test_imports_point_one_way() -> None:
    assert upward(REAL) == []


def test_torch_stays_in_its_rooms() -> None:
    assert torch_out_of_place(REAL) == []


def test_libraries_stay_in_their_rooms() -> None:
    assert strangers(REAL) == []


def test_no_chain_of_imports_leads_from_a_torch_free_room_to_torch() -> None:
    assert torch_within_reach(REAL) == []


@pytest.mark.parametrize(
    ("check", "file", "line"),
    [
        (upward, "config/a.py", "from emoctl.scenarios import Scenario"),
        (upward, "config/a.py", "from emoctl import scenarios"),
        (upward, "stories/a.py", "def f():\n    import emoctl.sandbox.run"),
        (upward, "engine/a.py", "from emoctl.vectors.files import load_vectors"),
        (upward, "store/a.py", "from ..analysis import frames"),
        (torch_out_of_place, "store/a.py", "def f():\n    import torch"),
        (torch_out_of_place, "cli/a.py", "from torch import nn"),
        (torch_out_of_place, "analysis/a.py", "import transformers"),
        (strangers, "sweep/a.py", "def f():\n    from rich.console import Console"),
        (strangers, "store/a.py", "import pandas as pd"),
        (strangers, "vectors/a.py", "import scipy.stats"),
        (torch_within_reach, "analysis/a.py", "def f():\n    from emoctl.sweep import heavy"),
        (torch_within_reach, "analysis/a.py", "from emoctl.sweep.heavy import run"),
    ],
)
def test_the_checks_find_what_they_look_for(
    tmp_path: Path, check: object, file: str, line: str
) -> None:
    package = tmp_path / "emoctl"
    for name, text in ((file, line), ("sweep/heavy.py", "import torch"), ("cli/b.py", "import re")):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert callable(check)
    assert len(check(imports_of(package))) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sweep/a.py", "from emoctl.engine import step\nimport torch"),
        ("cli/a.py", "def f():\n    import torch\n    from rich.table import Table"),
        ("config/a.py", "from emoctl import __version__\nfrom emoctl.errors import ConfigError"),
    ],
)
def test_the_checks_let_the_right_imports_pass(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / "emoctl" / file
    path.parent.mkdir(parents=True)
    path.write_text(line, encoding="utf-8")
    found = imports_of(tmp_path / "emoctl")
    assert found
    for check in (upward, torch_out_of_place, strangers, torch_within_reach):
        assert check(found) == []


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after running `code`."""
    script = f"{code}\nimport sys; sys.stdout.write('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


def test_a_config_loads_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "pandas", "scipy", "statsmodels", "altair", "numpy"}
    modules = "emoctl.config, emoctl.scenarios, emoctl.store, emoctl.errors"
    assert heavy & loaded_after(f"import {modules}") == set()
    assert "pandas" in loaded_after("import pandas")


def test_help_loads_neither_torch_nor_tables() -> None:
    code = "from emoctl.__main__ import run\nassert run(['--help']) == 0"
    loaded = loaded_after(code)
    assert {"torch", "transformers", "pandas", "scipy", "numpy", "rich.table"} & loaded == set()
    assert "emoctl.cli.app" in loaded
