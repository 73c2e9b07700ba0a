import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def planted() -> ModuleType:
    """Builders of small runs whose truth is known."""
    path = Path(__file__).with_name("planted.py")
    spec = importlib.util.spec_from_file_location("planted_runs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
