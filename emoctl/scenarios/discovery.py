"""Which scenarios there are: the user's own, those that packages offer, and the bundled ones.

    ./scenarios/*/  ──hides──►  entry points of `emoctl.scenarios`  ──hides──►  bundled

Only names are read here, so that one broken file hides no other scenario; a scenario is read, and
its faults come out, when it is picked or linted.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from emoctl.config.strict_yaml import load_yaml
from emoctl.errors import ConfigError, ScenarioError, did_you_mean
from emoctl.scenarios.lint import check_scenario
from emoctl.scenarios.loading import FILE_NAME, load_scenario
from emoctl.scenarios.scenario import Scenario

Level = Literal["local", "installed", "bundled"]
GROUP = "emoctl.scenarios"
_PACKAGE = Path(__file__).resolve().parent.parent
_NAME_LINE = re.compile(r"""^name:[ ]+(["']?)([a-z][a-z0-9-]*)\1[ ]*(?:\#.*)?$""", re.MULTILINE)


@dataclass(frozen=True)
class FoundScenario:
    """Where a scenario stands."""

    name: str
    level: Level
    folder: Path
    """The folder that holds its scenario.yaml."""


def find_scenarios(working_folder: Path | None = None) -> dict[str, FoundScenario]:
    """Every scenario by name, sorted; a nearer one hides a farther one of the same name.

    `working_folder` is where `scenarios/` is looked for; by default the current folder. A package
    whose entry point cannot be read is left out with a warning.

    Raises:
        ScenarioError: two scenarios of one level have one name.
    """
    local = (working_folder or Path.cwd()) / "scenarios"
    levels: list[tuple[Level, Iterable[Path]]] = [
        ("bundled", _scenario_folders(bundled_folder())),
        ("installed", _installed_folders()),
        ("local", _scenario_folders(local)),
    ]
    found: dict[str, FoundScenario] = {}
    for level, folders in levels:
        found |= _one_level(level, folders)
    return dict(sorted(found.items()))


def pick_scenario(name: str, working_folder: Path | None = None) -> Scenario:
    """The scenario called `name`, read and checked.

    Raises:
        ScenarioError: there is none of that name, or it cannot be used.
    """
    found = find_scenarios(working_folder)
    if name not in found:
        hint = did_you_mean(name, list(found), listing="list them with: emoctl scenarios ls")
        raise ScenarioError(f"no scenario is called {name!r}", hint=hint)
    scenario = load_scenario(found[name].folder)
    check_scenario(scenario)
    return scenario


def bundled_folder() -> Path:
    """Where the scenarios that come with emoctl stand: in the wheel, or in the repository."""
    in_wheel = _PACKAGE / "bundled" / "scenarios"
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / "scenarios"


def _one_level(level: Level, folders: Iterable[Path]) -> dict[str, FoundScenario]:
    found: dict[str, FoundScenario] = {}
    for folder in folders:
        name = _name_in(folder)
        twin = found.get(name)
        if twin and twin.folder.resolve() != folder.resolve():
            raise ScenarioError(
                f"two scenarios are called {name!r}: {twin.folder} and {folder}",
                hint="change `name:` in one of them",
            )
        found.setdefault(name, FoundScenario(name, level, folder))
    return found


def _name_in(folder: Path) -> str:
    """The scenario's name as its file says it; the folder's name where the file is unreadable."""
    try:
        text = (folder / FILE_NAME).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return folder.name
    if match := _NAME_LINE.search(text):
        return match[2]
    try:
        content = load_yaml(text, source=FILE_NAME)
    except ConfigError:
        return folder.name
    name = content.get("name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else folder.name


def _scenario_folders(folder: Path) -> list[Path]:
    """`folder` itself if it holds a scenario, and the folders in it that do."""
    candidates = [folder]
    if folder.is_dir():
        candidates += sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in candidates if (path / FILE_NAME).is_file()]


def _installed_folders() -> Iterator[Path]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            folders = [found for root in _roots(entry) for found in _scenario_folders(root)]
        except (ImportError, AttributeError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"
            warnings.warn(f"entry point {entry.name!r} of {GROUP}: {what}", stacklevel=2)
            continue
        if not folders:
            warnings.warn(f"entry point {entry.name!r} of {GROUP} holds no scenario", stacklevel=2)
        yield from folders


def _roots(entry: EntryPoint) -> list[Path]:
    offered = entry.load()
    if isinstance(offered, Path):
        return [offered]
    if isinstance(offered, ModuleType):
        if getattr(offered, "__path__", None):
            return [Path(path) for path in offered.__path__]
        if offered.__file__:
            return [Path(offered.__file__).parent]
    raise TypeError(f"{entry.value} is neither a package nor a Path")
