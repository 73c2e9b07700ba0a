"""The wheel holds what a run needs, and the constraints pin what the wheel asks for."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_of(folder: Path) -> set[str]:
    return {
        p.relative_to(ROOT).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    source = files_of(ROOT / "emoctl")
    assert {"emoctl/__main__.py", "emoctl/py.typed", "emoctl/stories/data/stories.jsonl"} <= source
    assert source - names(wheel) == set()


@pytest.mark.parametrize("folder", ["scenarios", "configs"])
def test_scenarios_and_configs_are_bundled(wheel: Path, folder: str) -> None:
    source = files_of(ROOT / folder)
    assert source
    assert {f"emoctl/bundled/{name}" for name in source} - names(wheel) == set()


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"emoctl"}
    assert [n for n in names(wheel) if "__pycache__" in n or n.endswith(".pyc")] == []


def test_the_wheel_has_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        licences = [n for n in archive.namelist() if n.endswith("licenses/LICENSE")]
        assert [archive.read(n) for n in licences] == [(ROOT / "LICENSE").read_bytes()]
        (entry,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        assert "emoctl = emoctl.__main__:main" in archive.read(entry).decode()


def test_the_unpacked_wheel_finds_its_corpus_and_its_configs(wheel: Path, tmp_path: Path) -> None:
    """Away from the repository, so that nothing but the wheel can be what is read."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r});"
        "import emoctl.errors; from emoctl.stories import load_corpus;"
        "from emoctl.config import find_config; from emoctl.scenarios import find_scenarios;"
        "print(emoctl.errors.__file__); print(len(load_corpus().stories));"
        "print(find_config('default')); print(sorted(find_scenarios()))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    where, n_stories, config, scenarios = done.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert Path(config).is_relative_to(tmp_path)
    assert n_stories == "2052"
    assert "replacement-affair" in scenarios


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_pin_every_dependency_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert wanted
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins(), f"{name} is not pinned"
        assert requirement.specifier.contains(pins()[name], prereleases=True), name


def test_constraints_name_no_local_build() -> None:
    """`torch==2.13.0+cpu` could be had from one index only."""
    assert pins()["torch"] == "2.13.0"
    assert [name for name, version in pins().items() if Version(version).local] == []


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert "\ntest:" in (ROOT / "Makefile").read_text()
