"""Fixtures of the store's tests: the builders of `sample_run.py`, and one finished run."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from emoctl.store.run_folder import RunFolder


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """The builders of `sample_run.py`."""
    spec = importlib.util.spec_from_file_location(
        "sample_run", Path(__file__).with_name("sample_run.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(sample: ModuleType, tmp_path: Path) -> RunFolder:
    """A finished run."""
    folder: RunFolder = sample.finished_run(tmp_path / "runs")
    return folder
