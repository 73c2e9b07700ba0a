"""Fixtures that several rooms share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EMBEDDED = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def embedded_model():  # type: ignore[no-untyped-def]
    """The embedded model in float32; fetched and converted on the first run of a machine."""
    from emoctl.config import ModelConfig
    from emoctl.models.loading import load_model

    return load_model(ModelConfig(id=EMBEDDED))


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The builders of `tiny_world.py`."""
    path = Path(__file__).with_name("tiny_world.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def world(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model, its vectors, and broken copies of both. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        tiny.build(folder)
    return folder
