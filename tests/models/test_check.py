"""`emoctl models check` passes a model that is served rightly, and fails one that is not."""

from pathlib import Path

import pytest

from emoctl.errors import ModelError
from emoctl.models import check
from emoctl.models.check import CheckResult, check_model
from emoctl.models.hook_points import resid_post


def by_name(results: list[CheckResult]) -> dict[str, bool]:
    return {name: holds for name, holds, _ in results}


@pytest.fixture(scope="module")
def tiny_folder(world: Path) -> str:
    return str(world / "models" / "tiny")


def test_a_sound_model_passes_everything(tiny_folder: str) -> None:
    results = check_model(tiny_folder)
    assert [name for name, holds, _ in results if not holds] == []
    assert len(results) == 6
    words = {name: text for name, _, text in results}
    assert words["decoder blocks"] == "3 of width 16"
    assert words["prompt"] == "0 BOS; readings at ' '"
    assert words["context"] == "8192 tokens"


def test_steering_at_another_layer_fails(tiny_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "resid_post", lambda layer: resid_post(layer - 1))
    results = by_name(check_model(tiny_folder))
    assert results.pop("steered at blocks.0.hook_out equal TransformerLens'") is False
    assert all(results.values())


def test_steering_that_does_nothing_fails_the_control(
    tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.torch, "linspace", lambda *_, **kw: check.torch.zeros(16, **kw))
    assert by_name(check_model(tiny_folder))["steering changes logits"] is False


def test_a_short_context_fails(world: Path) -> None:
    assert by_name(check_model(str(world / "models" / "short")))["context"] is False


def test_an_architecture_that_the_bridge_refuses_is_a_failed_check(
    tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_model: object) -> None:
        raise ValueError("Unsupported architecture\nand more")

    monkeypatch.setattr(check, "bridge_of", refuses)
    *_, last = check_model(tiny_folder)
    assert last == (
        "TransformerLens",
        False,
        "its bridge refuses the architecture: Unsupported architecture",
    )


def test_a_model_that_cannot_be_loaded_is_an_error(world: Path) -> None:
    with pytest.raises(ModelError, match="cut-weights"):
        check_model(str(world / "models" / "cut-weights"))
