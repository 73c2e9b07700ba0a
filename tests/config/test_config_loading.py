"""A config is read, changed, written out and identified without losing anything."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from emoctl.config import (
    ExperimentConfig,
    WritingConfig,
    default_config_text,
    find_config,
    json_schema,
    load_config,
    parse_config,
    render_yaml,
)
from emoctl.config.strict_yaml import load_yaml
from emoctl.errors import ConfigError, UsageError
from emoctl.stories import load_corpus

BUNDLED = ("default", "demo", "ci", "paper")
SOUND = "schema: emoctl/1\nreadouts: {sample: {n: 4}}\n"


def parsed(more: str = "", *overrides: str) -> ExperimentConfig:
    return parse_config(SOUND + more, "f.yaml", overrides)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_config_survives_being_written_out(name: str) -> None:
    config = load_config(name)
    again = parse_config(render_yaml(config), "resolved.yaml")
    assert again == config
    assert again.digest() == config.digest()
    assert render_yaml(again) == render_yaml(config)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_canonical_config_reads_back_equal(name: str) -> None:
    config = load_config(name)
    assert ExperimentConfig.model_validate(config.canonical()) == config


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_config_steers_with_emotions_that_the_corpus_has(name: str) -> None:
    vectors = load_config(name).steering.vectors
    assert set(vectors) <= set(load_corpus("builtin", "builtin").emotions)


@pytest.mark.parametrize(
    "more",
    [
        "name: another\n",
        "gates: ['blackmail at unsteered: rate < 0.1']\n",
        "engine: {workers: 3}\n",
        "model: {id: smollm2-135m-instruct}\n",
        "seed: 0\n",
        "steering: {strengths: ['-0.10', -1.0e-1]}\n",
    ],
)
def test_spelling_and_names_do_not_change_the_digest(more: str) -> None:
    if "strengths" in more:
        same = parsed("steering: {strengths: [-0.1]}\n")
        assert parsed("steering: {strengths: ['-0.10']}\n").digest() == same.digest()
        assert parsed("steering: {strengths: [-1.0e-1]}\n").digest() == same.digest()
    else:
        assert parsed(more).digest() == parsed().digest()


@pytest.mark.parametrize(
    "more",
    [
        "seed: 1\n",
        "model: another\n",
        "stories: mine.jsonl\n",
        "recipe: {from_token: 49}\n",
        "steering: {strengths: [0.05]}\n",
        "steering: {positions: response}\n",
        "controls: {sample: 7}\n",
        "scenarios: [another]\n",
        "sampling: {temperature: 0.5}\n",
        "engine: {rows: 8}\n",
        "statistics: {confidence: 0.9}\n",
        "readings: {}\n",
        "stories: {source: model}\n",
    ],
)
def test_what_is_measured_changes_the_digest(more: str) -> None:
    """Control of the test above."""
    assert parsed(more).digest() != parsed().digest()


def test_readings_that_differ_are_other_experiments() -> None:
    """So that resume never mixes rollouts that were read with others that were not."""
    told = ("", "readings: {}\n", "readings: {prompt: true}\n", "readings: {layers: [1]}\n")
    assert len({parsed(more).digest() for more in told}) == len(told)
    assert parsed("readings: {emotions: all}\n").digest() == parsed("readings: {}\n").digest()


def test_readings_survive_being_written_out() -> None:
    config = parsed("readings: {layers: [3, 1], emotions: [calm, at ease], prompt: true}\n")
    again = parse_config(render_yaml(config), "resolved.yaml")
    assert again == config and again.readings is not None
    assert again.readings.layers == (3, 1)
    assert "readings" not in render_yaml(parsed())


def test_an_override_is_what_the_file_would_say() -> None:
    changed = parsed("model: big\n", "steering.strengths=[0.05, 0.1]", "model.dtype=float64")
    written = parsed("model: {id: big, dtype: float64}\nsteering: {strengths: [0.05, 0.1]}\n")
    assert changed == written
    assert changed != parsed("model: big\n")


def test_an_override_of_null_takes_a_key_out_and_the_last_one_counts() -> None:
    assert parsed("seed: 5\n", "seed=null").seed == 0
    assert parsed("", "seed=1", "seed=2").seed == 2
    assert parsed("", "readouts.sample=null", "readouts.choice={}").readouts.sample is None


def test_a_bad_value_is_blamed_on_the_override_and_not_on_the_file() -> None:
    with pytest.raises(UsageError, match=r"^--set readouts\.sample\.n=-1: readouts\.sample\.n: "):
        parsed("", "readouts.sample.n=-1")
    with pytest.raises(ConfigError, match=r"^f\.yaml:3: seed: "):
        parsed("seed: -1\n", "readouts.sample.n=3")


def test_controls_run_at_the_positive_strength_nearest_to_the_papers() -> None:
    def primary(strengths: str) -> Decimal | None:
        return parsed(f"steering: {{strengths: {strengths}}}\n").primary_strength

    assert primary("[-0.05, 0.1, 0.025]") == Decimal("0.025")
    assert primary("[-0.05, 0.04, 0.1]") == Decimal("0.04")
    assert primary("[-0.1, -0.2]") == Decimal("-0.1")
    assert primary("[0]") is None


def test_a_file_of_a_bundled_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("default") != Path("default")
    Path("default").write_text(SOUND, encoding="utf-8")
    assert find_config("default") == Path("default")


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"schema: emoctl/1\nname: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: not UTF-8 text$"):
        load_config(path)


def test_the_default_config_is_explained_in_comments() -> None:
    lines = default_config_text().splitlines()
    assert lines[0].startswith("# yaml-language-server: $schema=")
    assert sum("#" in line for line in lines) >= 8


def schema_faults(content: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    return [fault.message for fault in validator.iter_errors(content)]


def test_the_json_schema_accepts_what_the_loader_accepts_and_no_misspelt_key() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for name in BUNDLED:
        path = find_config(name)
        content = load_yaml(path.read_text(encoding="utf-8"), str(path))
        assert schema_faults(content) == []
        assert schema_faults({**content, "strengths": [0.05]})
        assert schema_faults({**content, "steering": {"strengths": ["five"], "vectors": []}})


@pytest.mark.parametrize("key", [k for k in WritingConfig.model_fields if k != "revision"])
def test_every_key_of_writing_makes_another_experiment(key: str) -> None:
    values = {"writer": "m", "emotions": "[a, b]", "topics": "[a]"}
    changed = f"{{{key}: {values.get(key, 0.5 if key in ('temperature', 'top_p') else 99)}}}"
    more = f"stories: {{source: model, writing: {changed}}}\n"
    assert parsed(more).digest() != parsed("stories: {source: model}\n").digest()
    assert parse_config(render_yaml(parsed(more)), "again.yaml") == parsed(more)


def test_a_model_that_writes_has_every_setting_whether_it_is_spelt_or_not() -> None:
    plain, spelt = (
        "stories: {source: model}\n",
        "stories: {source: model, writing: {attempts: 3}}\n",
    )
    assert parsed(plain) == parsed(spelt)
    assert parsed(plain).digest() == parsed(spelt).digest()


def test_a_file_of_stories_is_the_experiment_that_it_was_before_models_wrote_any() -> None:
    assert parsed("stories: {source: file}\n").digest() == parsed().digest()
    content = json.loads(json.dumps(parsed().canonical()))
    for key in ("name", "gates", "readings"):
        del content[key]
    del content["engine"]["workers"], content["stories"]["source"], content["stories"]["writing"]
    del content["stories"]["emotions"], content["recipe"]["layers"]  # nor were there these
    assert set(content["stories"]) == {"emotional", "neutral"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == parsed().digest()
