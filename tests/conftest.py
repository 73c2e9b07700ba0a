"""Fixtures that several rooms' tests share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The builders of `tiny_world.py`."""
    return _load("tiny_world")


@pytest.fixture(scope="session")
def world(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model, its vectors, and broken copies of both. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("world")
    tiny.build(folder)
    return folder
