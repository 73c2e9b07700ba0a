"""A run holds rows of one arithmetic, the one that its manifest names."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emoctl.__main__ import run
from emoctl.engine import choice, exactness
from emoctl.models.loading import LoadedModel
from emoctl.store.manifest import read_manifest
from emoctl.store.run_folder import RunFolder, list_runs
from emoctl.sweep import run as sweeping

CONFIG = """
schema: emoctl/1
name: resumed
model: {world}/models/tiny
steering: {{file: {world}/vectors/good.safetensors, vectors: [desperate], strengths: [0.5]}}
controls: {{sample: 1}}
readouts: {{sample: {{variants: [short], n: 2}}}}
sampling: {{max_new_tokens: 6}}
engine: {{workers: 1, rows: 4}}
"""


class Sweep:
    """One experiment in a folder of its own, begun with one rollout a cell."""

    def __init__(self, here: Path, world: Path) -> None:
        (here / "c.yaml").write_text(CONFIG.format(world=world), encoding="utf-8")
        self.flags = ["sweep", "-c", str(here / "c.yaml"), "--out", str(here / "runs")]
        assert run([*self.flags, "--limit", "1"]) == 4
        (self.folder,) = list_runs(here / "runs")

    def resume(self) -> int:
        return run([*self.flags, "--resume"])

    def edit_arithmetic(self, **changed: Any) -> None:
        """Write other facts into the manifest; None takes one out of it."""
        manifest = json.loads(self.folder.manifest.read_text(encoding="utf-8"))
        merged = {**manifest["arithmetic"], **changed}
        manifest["arithmetic"] = {k: v for k, v in merged.items() if v is not None}
        self.folder.manifest.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def begun(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Sweep]:
    sweep = Sweep(tmp_path, world)
    capsys.readouterr()
    yield sweep
    assert list_runs(tmp_path / "runs") == [sweep.folder]


def contents(folder: RunFolder) -> dict[str, bytes]:
    kept = (folder.config, folder.resolved_config, folder.manifest, folder.vectors, folder.rollouts)
    return {path.name: path.read_bytes() for path in (*kept, folder.path / "log.txt")}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_run_is_not_resumed_on_another_engine(
    begun: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(begun.folder)
    with monkeypatch.context() as failing:
        failing.setattr(choice, "cascade_error", lambda _model: 0.5)
        assert begun.resume() == 3

    told = said(capsys)
    assert "was begun in another arithmetic" in told
    assert "engine was cascade then, is reference now" in told
    assert "device was" not in told
    assert "start a new run, without --resume" in told
    assert contents(begun.folder) == before
    assert begun.resume() in (0, 4), "control: it goes on where it was begun"
    assert begun.folder.is_done


def test_every_difference_is_told(begun: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    others = {"device": "cuda", "dtype": "bfloat16", "attention": "paged", "threads": 8}
    begun.edit_arithmetic(**others, packed_weights=None)
    before = contents(begun.folder)

    assert begun.resume() == 3
    told = said(capsys)
    assert "device was cuda then, is cpu now; dtype was bfloat16 then, is float32 now" in told
    assert "attention was paged then" in told and "threads was 8 then, is 1 now" in told
    assert "packed_weights was not recorded then" in told
    assert contents(begun.folder) == before


def test_what_changes_no_bit_may_differ(begun: Sweep) -> None:
    begun.edit_arithmetic(workers=7, engine_why="it was Monday", reproducible="rounding")
    assert begun.resume() in (0, 4)


@pytest.mark.parametrize("can_pack", [True, False])
def test_packed_weights_are_on_record_and_held_to(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    can_pack: bool,
) -> None:
    monkeypatch.setattr(sweeping, "can_pack", lambda _module: can_pack)
    sweep = Sweep(tmp_path, world)
    assert read_manifest(sweep.folder).arithmetic.packed_weights is can_pack

    monkeypatch.setattr(sweeping, "can_pack", lambda _module: not can_pack)
    assert sweep.resume() == 3
    then, now = str(can_pack).lower(), str(not can_pack).lower()
    assert f"packed_weights was {then} then, is {now} now" in said(capsys)


def test_the_reference_engine_packs_nothing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "can_pack", lambda _module: True)
    monkeypatch.setattr(choice, "cascade_error", lambda _model: 0.5)
    arithmetic = read_manifest(Sweep(tmp_path, world).folder).arithmetic
    assert (arithmetic.engine, arithmetic.packed_weights) == ("reference", False)


def test_exact_rows_get_no_company_that_is_not(
    begun: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun.edit_arithmetic(reproducible="exact")
    probe = exactness.probe_exactness

    def inexact(model: LoadedModel, rows: int, engine: str) -> exactness.Exactness:
        return replace(probe(model, rows, engine), exact=False)

    monkeypatch.setattr(exactness, "probe_exactness", inexact)
    assert begun.resume() == 3
    assert "reproducible was exact then, is rounding now" in said(capsys)
