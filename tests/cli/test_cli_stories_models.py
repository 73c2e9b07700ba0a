"""`emoctl stories` and `emoctl models`: data on stdout, advice on stderr, exit codes."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from emoctl.cli import models, stories
from emoctl.errors import ModelError, StoriesError, UsageError
from emoctl.stories import load_corpus, only_emotions

RUN = CliRunner()


@pytest.fixture(autouse=True)
def empty_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of one's own, except for tests that need the real model."""
    if request.node.get_closest_marker("model") is None:
        monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))


def write_corpus(path: Path, first_text: str) -> str:
    """Three emotions of the built-in corpus; the first desperate story has this text."""
    few = only_emotions(load_corpus(), ("desperate", "calm", "worthless"))
    records = [{"emotion": s.emotion, "topic": s.topic, "text": s.text} for s in few.stories]
    first = next(r for r in records if r["emotion"] == "desperate")
    first["text"] = first_text
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


def test_stories_ls_counts_and_names_the_hash() -> None:
    shown = RUN.invoke(stories.app, ["ls", "--json"])
    assert shown.exit_code == 0
    document = json.loads(shown.stdout)
    assert document["digest"] == load_corpus().digest
    assert {row["n_stories"] for row in document["emotions"]} == {12}
    assert "next: " in shown.stderr


def test_stories_show_prints_one_story_and_helps_with_a_misspelling() -> None:
    shown = RUN.invoke(stories.app, ["show", "calm", "--topic", "a lost dog"])
    (story,) = [s for s in load_corpus().stories if (s.emotion, s.topic) == ("calm", "a lost dog")]
    assert shown.stdout == f"calm / a lost dog\n{story.text}\n"
    unknown = RUN.invoke(stories.app, ["show", "clam"])
    assert isinstance(unknown.exception, StoriesError)
    assert unknown.exception.hint == "did you mean 'calm'?"


def test_lint_exits_0_on_the_builtin_corpus_and_1_on_a_leak(tmp_path: Path) -> None:
    clean = RUN.invoke(stories.app, ["lint"])
    first, kinds, alone, verdict = clean.stdout.splitlines()
    assert clean.exit_code == 0
    assert first == (
        "2052 stories (171 emotions, 12 topics), 119 words on average; 263 neutral texts, 122"
    )
    assert kinds.startswith("leak 0, synonym 0, duplicate 0, near-duplicate 0, ")
    assert alone.startswith("words alone name 0.1")
    assert verdict == "ok"
    letter = "Nothing but desperation in the mail today. " * 20
    spoilt = write_corpus(tmp_path / "s.jsonl", letter)
    found = RUN.invoke(stories.app, ["lint", spoilt])
    assert found.exit_code == 1
    assert found.stdout.splitlines()[0] == (
        "leak: desperate / a letter arriving in the mail: names its emotion: 'desperation'"
    )
    assert found.stdout.splitlines()[-1] == "1 finding"
    as_json = RUN.invoke(stories.app, ["lint", spoilt, "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["counts"] == {"leak": 1}


def test_a_malformed_corpus_is_an_error_and_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("{\n")
    found = RUN.invoke(stories.app, ["lint", str(path)])
    assert isinstance(found.exception, StoriesError)
    assert found.exception.exit_code == 2


def test_an_escape_sequence_in_a_story_is_spelt_out(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "s.jsonl", "\x1b[2Jgone")
    shown = RUN.invoke(
        stories.app,
        ["show", "desperate", "--stories", path, "--topic", "a letter arriving in the mail"],
    )
    assert "\\x1b[2Jgone" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_models_ls_and_show_need_no_weights() -> None:
    listed = json.loads(RUN.invoke(models.app, ["ls", "--json"]).stdout)
    assert [(m["id"], m["folder"]) for m in listed] == [("smollm2-135m-instruct", None)]
    shown = RUN.invoke(models.app, ["show"])
    assert "Q4_1 dequantised to float32" in shown.stdout
    assert "next: emoctl models pull" in shown.stderr


def test_pull_prints_the_folder_of_what_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    pulled = RUN.invoke(models.app, ["pull", str(tmp_path / "m")])
    assert pulled.stdout == f"{tmp_path / 'm'}\n"


def test_pull_of_a_hub_id_without_the_hub_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    pulled = RUN.invoke(models.app, ["pull", "owner/name"])
    assert isinstance(pulled.exception, ModelError)
    assert "cannot be fetched from the hub" in str(pulled.exception)
    assert "\n" not in str(pulled.exception)


def test_a_lead_without_a_prompt_and_an_empty_prompt_are_usage_errors() -> None:
    for arguments in (["--lead", "Sure"], ["--prompt", ""]):
        shown = RUN.invoke(models.app, ["show", *arguments])
        assert isinstance(shown.exception, UsageError)


@pytest.mark.parametrize(("ok", "exit_code"), [(True, 0), (False, 1)])
def test_check_exits_1_when_something_fails(
    monkeypatch: pytest.MonkeyPatch, ok: bool, exit_code: int
) -> None:
    stand_in = ModuleType("emoctl.models.check")
    results = [("a", True, "fine"), ("b", ok, "so so")]
    stand_in.check_model = lambda _id: results  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    checked = RUN.invoke(models.app, ["check"])
    assert checked.exit_code == exit_code
    assert f"{'ok  ' if ok else 'FAIL'}  b: so so" in checked.stdout


@pytest.mark.model
def test_show_prompt_marks_the_last_token_of_the_template() -> None:
    shown = RUN.invoke(models.app, ["show", "--prompt", "How are you?", "--json"])
    asked = json.loads(shown.stdout)["prompt"]
    assert asked["text"].endswith("<|im_start|>assistant\n")
    assert asked["n_bos"] == 1
    assert asked["reading_position"] == len(asked["tokens"]) - 1
    assert asked["response_start"] == len(asked["tokens"])
    led = RUN.invoke(models.app, ["show", "--prompt", "How are you?", "--lead", "Well", "--json"])
    with_lead = json.loads(led.stdout)["prompt"]
    assert with_lead["tokens"][-1] == "Well"
    assert with_lead["reading_position"] == asked["reading_position"]
