"""A sweep that reads: from the experiment file to the store, its tables and the terminal.

UPDATE_GOLDEN=1 pytest tests/sweep/test_sweep_readings.py    writes the golden file anew.
"""

import json
import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toys import toy_vectors

import emoctl
from emoctl.__main__ import run
from emoctl.config import ExperimentConfig, parse_config
from emoctl.engine.readings import Readings
from emoctl.errors import ConfigError, UnknownEmotionError
from emoctl.store.database import RunStore
from emoctl.store.manifest import write_manifest
from emoctl.store.records import ProbeRecord, ReadingsRecord
from emoctl.store.run_folder import RunFolder, create_run, list_runs
from emoctl.sweep.probe import make_probe, readings_record
from emoctl.vectors.files import load_vectors

GOLDEN = Path(__file__).parent / "golden" / "runs-readings.txt"
CONFIG = """
schema: emoctl/1
name: read
model: {world}/models/tiny
steering: {{file: {world}/vectors/good.safetensors, vectors: [desperate], strengths: [0.5]}}
controls: {{sample: 1}}
readouts: {{sample: {{variants: [short], n: 3}}}}
readings: {{layers: [0, 1, 2], emotions: [happy, desperate]}}
sampling: {{max_new_tokens: 6}}
engine: {{workers: {workers}, rows: 4}}
"""


def sweep(here: Path, world: Path, *flags: str, workers: int = 1) -> int:
    (here / "c.yaml").write_text(CONFIG.format(world=world, workers=workers), encoding="utf-8")
    return run(["sweep", "-c", str(here / "c.yaml"), "--out", str(here / "runs"), *flags])


@pytest.fixture(scope="module")
def swept(world: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with readings."""
    here = tmp_path_factory.mktemp("read")
    assert sweep(here, world) in (0, 4)
    return list_runs(here / "runs")[0]


def kept(folder: RunFolder) -> dict[str, ReadingsRecord]:
    with RunStore.open(folder.path, write=False) as store:
        return {r.rollout_id: r for r in store.readings()}


def config(**readings: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {"schema": "emoctl/1", "readouts": {"sample": {}}, "readings": readings}
    )


def test_a_probe_has_the_directions_that_the_config_names() -> None:
    vectors = toy_vectors()
    probe = make_probe(vectors, config(layers=[2, 0], emotions=["desperate", "calm"]))
    assert probe is not None and probe.layers == (2, 0)
    assert probe.directions.norm(dim=-1) == pytest.approx(torch.ones(2, 2))
    for i, layer in enumerate(probe.layers):
        for j, emotion in enumerate(("desperate", "calm")):
            vector = vectors.vector(emotion, layer)
            cosines, _ = probe.read(vector[None].float(), layer)
            assert cosines[0, j] == pytest.approx(1, abs=1e-6)
            assert abs(float(cosines[0, 1 - j])) < 0.99, "control"
            assert torch.allclose(probe.directions[i, j] * vector.norm(), vector, atol=1e-5)
    everything = make_probe(vectors, config())
    assert everything is not None
    assert everything.layers == (vectors.provenance.default_layer,)
    assert everything.directions.shape[1] == len(vectors.emotions)
    none = parse_config("schema: emoctl/1\nreadouts: {sample: {}}\n", "f.yaml")
    assert make_probe(vectors, none) is None


def test_what_the_model_or_the_vectors_lack_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"readings\.layers lists 99; the model has layers 0"):
        make_probe(toy_vectors(), config(layers=[0, 99]))
    with pytest.raises(UnknownEmotionError, match=r"readings\.emotions.*'clam'") as caught:
        make_probe(toy_vectors(), config(emotions=["clam"]))
    assert "'calm'" in (caught.value.hint or "")


def test_every_rollout_has_its_readings(swept: RunFolder, world: Path) -> None:
    with RunStore.open(swept.path, write=False) as store:
        probe, rollouts = store.probe(), store.rollouts()
        read = {r.rollout_id: r for r in store.readings()}
    assert probe is not None
    assert (probe.emotions, probe.layers) == (("happy", "desperate"), (0, 1, 2))
    assert {r.id for r in rollouts} == set(read) and len(read) == 9
    for rollout in rollouts:
        record = read[rollout.id]
        assert record.first == -1
        n_lead = record.shape[0] - len(rollout.token_ids)
        written = "".join(record.tokens[1 + n_lead :])
        assert rollout.text.endswith(written) or "\ufffd" in written or "<" in written
        assert record.shape == (n_lead + len(rollout.token_ids), 3, 2)
    directions = load_file(swept.vectors)["readings"]
    desperate = load_vectors(world / "vectors" / "good.safetensors").vector("desperate", 1)
    assert directions.shape == (3, 2, 16)
    assert torch.allclose(directions[1, 1] * desperate.norm(), desperate, rtol=1e-5)


def test_steering_shows_at_its_layer_and_above_and_not_below(swept: RunFolder) -> None:
    table = pd.read_csv(swept.tables / "readings.csv")
    assert len(table) == 3 * 3 * 2
    desperate = table[(table["vector"] == "desperate") & (table["emotion"] == "desperate")]
    lines = {line.layer: line for line in desperate.itertuples()}
    with RunStore.open(swept.path, write=False) as store:
        steered = next(c.layer for c in store.conditions() if c.vector == "desperate")
    assert {n: line.place for n, line in lines.items()}[steered] == "at"
    assert lines[steered].prompt_end_difference > 0.1
    for layer in range(steered):
        assert lines[layer].place == "below"
        assert lines[layer].prompt_end_difference == 0, "the prompt is the same text"
    assert pd.read_parquet(swept.tables / "readings.parquet").shape == table.shape


def test_the_summary_names_the_movers_and_says_what_they_are(swept: RunFolder) -> None:
    text = swept.summary.read_text(encoding="utf-8")
    section = text.split("## Readings")[1].split("\n## ")[0]
    assert "| replacement-affair/short | desperate +0.5 | 1 (steered) | desperate +" in section
    assert "contains what was" in section and "the intervals do not allow for that" in section


def test_worker_processes_read_the_same(swept: RunFolder, world: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path, world, workers=2) in (0, 4)
    (other,) = list_runs(tmp_path / "runs")
    assert kept(other) == kept(swept)
    assert len({r.cosines for r in kept(swept).values()}) == 9, "control: rollouts differ"


def test_a_resumed_run_has_the_readings_of_an_unbroken_one(
    swept: RunFolder, world: Path, tmp_path: Path
) -> None:
    assert sweep(tmp_path, world, "--limit", "1") == 4
    (broken,) = list_runs(tmp_path / "runs")
    assert len(kept(broken)) == 3
    assert sweep(tmp_path, world, "--resume") in (0, 4)
    assert list_runs(tmp_path / "runs") == [broken]
    assert kept(broken) == kept(swept)
    csv = "readings.csv"
    assert (broken.tables / csv).read_bytes() == (swept.tables / csv).read_bytes()


def test_a_run_without_readings_is_not_resumed_with_them(world: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path, world, "--limit", "1", "--set", "readings=null") == 4
    assert sweep(tmp_path, world, "--resume") in (0, 4)
    runs = list_runs(tmp_path / "runs")
    assert sorted((folder.is_done, len(kept(folder))) for folder in runs) == [(False, 0), (True, 9)]


def test_a_run_without_readings_has_no_table_and_no_section(world: Path, tmp_path: Path) -> None:
    assert sweep(tmp_path, world, "--set", "readings=null") in (0, 4)
    (folder,) = list_runs(tmp_path / "runs")
    assert not (folder.tables / "readings.csv").exists()
    assert "## Readings" not in folder.summary.read_text(encoding="utf-8")
    assert "readings" not in load_file(folder.vectors)


def test_an_engine_that_read_other_tokens_is_found_out() -> None:
    read = Readings(-1, np.zeros((3, 1, 2), np.float16), np.zeros((3, 1), np.float32))

    class Letters:
        def decode(self, ids: list[int]) -> str:
            return chr(ids[0])

    record = readings_record("r-1", read, (90, 91, 65, 66), 2, Letters())
    assert record.tokens == ("[", "A", "B")
    with pytest.raises(ValueError, match="3 tokens were read, 2 expected"):
        readings_record("r-1", read, (90, 91, 65), 2, Letters())


HOSTILE = ("\n", " To", ":\u202e\x1b[2J", '"x" [bold]y[/]', "\ufffd")


@pytest.fixture
def hand_made(tmp_path: Path) -> RunFolder:
    """A run of one rollout with planted readings and hostile tokens and names."""
    import importlib.util

    path = Path(__file__).parents[1] / "store" / "sample_run.py"
    spec = importlib.util.spec_from_file_location("sample_run_read", path)
    assert spec is not None and spec.loader is not None
    sample: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sample)
    folder: RunFolder = create_run(tmp_path / "runs", "read", "0123456789ab", sample.NOW)
    write_manifest(folder, sample.make_manifest())
    cosines = np.zeros((5, 2, 3), "<f2")
    cosines[:, 0] = [(0.25, -0.125, 0.0625 * i) for i in range(5)]
    cosines[:, 1] = [(0.5, 0.75, -1)] * 4 + [(np.nan,) * 3]
    norms = np.array([[10, 20]] * 4 + [[10, 0]], "<f4")
    rollout = sample.make_rollout("c-1", 0)
    shape = (5, 2, 3)
    record = ReadingsRecord(rollout.id, -1, shape, cosines.tobytes(), norms.tobytes(), HOSTILE)
    with RunStore.create(folder.path) as store:
        sample.begin(store)
        emotions = ("at ease", "angry\x1b[31m", "[red]sad[/]\u202e")
        store.add_probe(ProbeRecord(emotions, (2, 3), False, "sha256:00"))
        store.add_rollouts([rollout], [record])
        store.add_rollouts([replace(rollout, condition_id="c-0")])
    return folder


def shown(capsys: pytest.CaptureFixture[str], folder: RunFolder, *flags: str) -> str:
    capsys.readouterr()
    assert run(["runs", "readings", str(folder.path), *flags]) == 0
    return capsys.readouterr().out


def rollout_id(folder: RunFolder, condition: str) -> str:
    with RunStore.open(folder.path, write=False) as store:
        return store.rollouts(condition_ids=[condition])[0].id


def test_the_command_shows_what_was_agreed(
    hand_made: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = rollout_id(hand_made, "c-1")
    text = shown(capsys, hand_made, "--rollout", ours)
    text += shown(capsys, hand_made, "--rollout", ours, "--layer", "2", "--top", "1")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {c for c in text if unicodedata.category(c) in hidden} == {"\n"}
    assert {c for c in "".join(HOSTILE) if unicodedata.category(c) in hidden} > {"\n"}


def test_json_has_every_token(hand_made: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    ours = rollout_id(hand_made, "c-1")
    told = json.loads(shown(capsys, hand_made, "--rollout", ours, "--json", "--top", "2"))
    assert [token["text"] for token in told["tokens"]] == list(HOSTILE)
    assert [token["position"] for token in told["tokens"]] == [-1, 0, 1, 2, 3]
    first, last = told["tokens"][0]["top"], told["tokens"][-1]["top"]
    assert [each["cosine"] for each in first] == [0.75, 0.5]
    assert first[0]["projection"] == 15
    assert [each["cosine"] for each in last] == [None, None], "could not tell is no number"
    assert (told["layer"], told["layers"], told["n_emotions"]) == (3, [2, 3], 3)


@pytest.mark.parametrize(
    ("condition", "flags", "code", "message"),
    [
        ("c-1", ("--layer", "5"), 2, "--layer 5: was not read"),
        ("c-1", ("--top", "0"), 2, "--top"),
        ("c-0", (), 3, "holds no readings"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    hand_made: RunFolder,
    capsys: pytest.CaptureFixture[str],
    condition: str,
    flags: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    ours = rollout_id(hand_made, condition)
    assert run(["runs", "readings", str(hand_made.path), "--rollout", ours, *flags]) == code
    said = capsys.readouterr()
    assert said.out == "" and message in said.err


def test_a_real_rollout_is_shown(swept: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    ours = next(iter(kept(swept)))
    lines = shown(capsys, swept, "--rollout", ours).splitlines()
    assert len(lines) == 3 + kept(swept)[ours].shape[0]
    assert lines[3].split()[0] == "-1"


def test_showing_readings_imports_neither_torch_nor_pandas(hand_made: RunFolder) -> None:
    ours = rollout_id(hand_made, "c-1")
    code = (
        "import sys; from emoctl.__main__ import run\n"
        f"assert run(['runs', 'readings', {str(hand_made.path)!r}, '--rollout', {ours!r}]) == 0\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    package = Path(emoctl.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_half_precision_is_fine_enough() -> None:
    """The spacing of half-precision numbers between 0.5 and 1 bounds the error of a cosine."""
    cosines = np.linspace(-1, 1, 100_001)
    error = np.abs(cosines - cosines.astype(np.float16)).max()
    assert 1e-4 < error <= 2.0**-12 < 5e-4
    assert np.isfinite(cosines.astype(np.float16)).all()
