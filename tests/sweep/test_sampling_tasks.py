"""Rollouts are shared out evenly, every one of them once; the engine that played them is on record,
and a run is replayed on it."""

import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoctl.__main__ import run
from emoctl.config import parse_config
from emoctl.engine import choice
from emoctl.models.prompts import Prompt
from emoctl.store.database import RunStore
from emoctl.store.manifest import read_manifest
from emoctl.store.run_folder import RunFolder, list_runs
from emoctl.sweep import plan as plans
from emoctl.sweep.plan import Plan, tasks
from emoctl.sweep.tasks import SampleTask

CONFIG = """
schema: emoctl/1
name: shared
model: {world}/models/tiny
steering: {{file: {world}/vectors/good.safetensors, vectors: [desperate], strengths: [0.5]}}
controls: {{sample: 1}}
readouts: {{sample: {{variants: [short], n: 3}}}}
sampling: {{max_new_tokens: 6, top_p: 0.9}}
engine: {{workers: 1, rows: 4, kind: {kind}}}
"""


def planned(n: int, n_conditions: int, rows: int) -> Plan:
    config = parse_config(
        f"schema: emoctl/1\nreadouts: {{sample: {{n: {n}}}}}\nengine: {{rows: {rows}}}\n",
        "test",
    )
    variant: Any = type("Variant", (), {"stop": ""})
    scenario: Any = type("Scenario", (), {"variants": {"v": variant}})
    conditions = tuple(f"c-{i}" for i in range(n_conditions))
    prompts = {("s", "v"): Prompt("", (1, 2, 3), 3, 0)}
    return Plan(config, {"s": scenario}, {}, {"sample": conditions}, prompts, ())


@given(st.integers(1, 40), st.integers(1, 9), st.integers(4, 32), st.integers(1, 4), st.data())
def test_every_rollout_that_is_left_is_in_one_task(
    n: int, n_conditions: int, rows: int, workers: int, data: st.DataObject
) -> None:
    plan = planned(n, n_conditions, rows)
    wanted = {("s", "v", c, r) for c in plan.conditions_of["sample"] for r in range(n)}
    done = data.draw(st.sets(st.sampled_from(sorted(wanted))))

    made = [t for t in tasks(plan, done, set(), None, workers) if isinstance(t, SampleTask)]
    counted = Counter(
        ("s", "v", condition, noise.rollout) for task in made for condition, noise in task.rows
    )

    assert set(counted) == wanted - done
    assert set(counted.values()) <= {1}
    sizes = [len(task.rows) for task in made]
    assert max(sizes, default=0) <= plans.ROUNDS * rows
    assert len(wanted - done) < workers or len(made) >= min(workers, len(wanted - done)) - 1
    for task in made:
        runs = [condition for condition, _ in groupby(task.rows, key=lambda row: row[0])]
        assert len(runs) == len(set(runs)), "rows of a condition stand together"


def test_two_workers_get_the_same_number() -> None:
    made = tasks(planned(10, 15, 32), set(), set(), None, 2)

    assert [len(task.rows) for task in made if isinstance(task, SampleTask)] == [75, 75]


def sweep(here: Path, world: Path, kind: str) -> RunFolder:
    here.mkdir(exist_ok=True)
    (here / "c.yaml").write_text(CONFIG.format(world=world, kind=kind), encoding="utf-8")
    assert run(["sweep", "-c", str(here / "c.yaml"), "--out", str(here / "runs")]) in (0, 4)
    return list_runs(here / "runs")[0]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("auto", "cascade", "within"), ("reference", "reference", "the config asks for it")],
)
def test_the_manifest_names_the_engine_and_why(
    world: Path, tmp_path: Path, kind: str, name: str, words: str
) -> None:
    folder = sweep(tmp_path, world, kind)
    arithmetic = read_manifest(folder).arithmetic

    assert arithmetic.engine == name
    assert words in arithmetic.engine_why
    with RunStore.open(folder.path, write=False) as store:
        rollout = next(iter(store.rollouts()))
    assert run(["replay", str(folder.path), rollout.id]) == 0


def test_a_model_that_the_steered_engine_gets_wrong_takes_the_reference_aloud(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(choice, "cascade_error", lambda _model: 0.5)

    folder = sweep(tmp_path, world, "auto")

    said = " ".join(capsys.readouterr().err.split())
    assert "the slow reference engine is used: the steered engine fails" in said
    assert read_manifest(folder).arithmetic.engine == "reference"


def test_engines_write_the_same(world: Path, tmp_path: Path) -> None:
    texts = {}
    for kind in ("auto", "reference"):
        folder = sweep(tmp_path / kind, world, kind)
        with RunStore.open(folder.path, write=False) as store:
            texts[kind] = {
                r.id: (r.token_ids, r.stop, r.receipt.n_steered) for r in store.rollouts()
            }

    assert texts["auto"] == texts["reference"]
    assert len({tokens for tokens, *_ in texts["auto"].values()}) > 1


def test_an_engine_of_another_version_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path, world, "auto")
    manifest = json.loads(folder.manifest.read_text(encoding="utf-8"))
    manifest["arithmetic"]["engine"] = "warp"
    folder.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    with RunStore.open(folder.path, write=False) as store:
        rollout = next(iter(store.rollouts()))
    capsys.readouterr()

    assert run(["replay", str(folder.path), rollout.id]) != 0
    assert "'warp'" in capsys.readouterr().err
