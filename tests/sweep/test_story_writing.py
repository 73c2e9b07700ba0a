"""A tiny model writes a corpus of random words: the same one however it is batched or broken off.

Its vocabulary is words, some of which name an emotion, so that some of its stories leak. Where a
test is not about the engine, what the model said is said again from memory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from emoctl.__main__ import run
from emoctl.cli.writing import WritingJob
from emoctl.config import ExperimentConfig, ModelConfig, parse_config
from emoctl.engine.choice import EngineSetup
from emoctl.engine.noise import NoiseKey
from emoctl.engine.rollout import Completion
from emoctl.models.loading import LoadedModel, load_model
from emoctl.stories import load_corpus
from emoctl.stories.answers import read_answer
from emoctl.stories.choosing import Choice
from emoctl.stories.word_forms import find_mentions
from emoctl.sweep import writing_estimate
from emoctl.sweep.commission import answers_path, commission_of
from emoctl.sweep.executor import Executor, LocalExecutor
from emoctl.sweep.story_writing import write_stories
from emoctl.sweep.tasks import Done, Task, WriteTask, WritingDone
from emoctl.vectors.files import read_provenance

EMOTIONS = ("desperate", "calm", "happy")
TOPICS = ("ferry", "lamp")
N_CELLS = 6
CONFIG = """
schema: emoctl/1
model: {model}
stories:
  source: model
  neutral: {neutral}
  writing:
    emotions: [desperate, calm, happy]
    topics: [ferry, lamp]
    max_new_tokens: 72
    seed: 10
    temperature: 1.0
    top_p: 1.0
steering: {{vectors: [calm], strengths: [0.5]}}
readouts: {{choice: {{}}}}
engine: {{workers: 1, rows: 4}}
"""


SETUP = EngineSetup("cascade", 4)


def vocabulary() -> list[str]:
    made = ["".join(s) for s in product(("ba", "do", "ki", "mu"), ("la", "no", "re", "ti"), "mst")]
    plain = [f"{word}{end}" for word in made for end in ("", "a", "e", "i", "o", "an", "en", "u.")]
    return ["<unk>", "</s>", *EMOTIONS, *TOPICS, *plain]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama over words, in a folder."""
    folder = tmp_path_factory.mktemp("writer") / "words"
    words = vocabulary()
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=512,
                bos_token_id=None,
                eos_token_id=1,
                tie_word_embeddings=False,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    neutral = [{"topic": t, "text": f"{t} " + "bala doti. " * 40} for t in TOPICS]
    neutral[0]["text"] += "kinos " * 9
    (folder.parent / "neutral.jsonl").write_text("".join(json.dumps(n) + "\n" for n in neutral))
    return folder


def config_text(writer: Path) -> str:
    return CONFIG.format(model=writer, neutral=writer.parent / "neutral.jsonl")


@pytest.fixture(scope="module")
def model(writer: Path) -> Iterator[LoadedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(writer.parent / "cache"))
        yield load_model(ModelConfig(id=str(writer)))


@dataclass(frozen=True)
class Unbroken:
    """A corpus that was written without a break."""

    choice: Choice
    lines: list[bytes]
    """Of the answers file."""

    said: dict[NoiseKey, Completion]


@pytest.fixture(scope="module")
def unbroken(writer: Path, model: LoadedModel) -> Unbroken:
    """What is chosen where nothing interferes."""
    memory = Memory(LocalExecutor(model, SETUP, {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(writer.parent / "cache"))
        choice = written(writer, model, memory)
        lines = answers_file(writer, model).read_bytes().splitlines(keepends=True)
    return Unbroken(choice, lines, memory.said)


def configured(writer: Path, *overrides: str) -> ExperimentConfig:
    return parse_config(config_text(writer), "test", overrides)


def answers_file(writer: Path, model: LoadedModel) -> Path:
    return answers_path(commission_of(configured(writer)), model.identity)


def written(writer: Path, model: LoadedModel, executor: Executor, *overrides: str) -> Choice:
    return write_stories(commission_of(configured(writer, *overrides)), model, SETUP, executor)


class Memory:
    """Remembers what an executor said, and says it again; without one, that is all it can say."""

    workers = 1

    def __init__(
        self, inner: Executor | None, said: dict[NoiseKey, Completion] | None = None
    ) -> None:
        self.inner, self.said = inner, dict(said or {})

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        for done in self.inner.run(tasks) if self.inner else ():
            assert isinstance(done, WritingDone)
            self.said[done.noise] = done.completion
            yield done
        for task in () if self.inner else tasks:
            assert isinstance(task, WriteTask)
            for row in task.rows:
                yield WritingDone(row.noise, self.said[row.noise])


class Backwards:
    """Does the last task first, and each task's rows from the last to the first."""

    workers = 1

    def __init__(self, inner: Executor) -> None:
        self.inner = inner

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        turned: list[Any] = [replace(t, rows=t.rows[::-1]) for t in reversed(tasks)]  # type: ignore[type-var, union-attr]
        yield from self.inner.run(turned)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def unfit(answer: dict[str, Any]) -> bool:
    found = read_answer(answer["text"], cut_off=answer["cut_off"])
    return bool(found.problem or find_mentions(answer["emotion"], found.story))


def test_leaks_are_written_again_and_only_they(unbroken: Unbroken) -> None:
    choice, lines = unbroken.choice, unbroken.lines
    answers = [json.loads(line) for line in lines]
    assert N_CELLS < len(answers) < 3 * N_CELLS
    assert len(choice.kept) == N_CELLS
    assert any(find_mentions(a["emotion"], a["text"]) for a in answers)
    assert [s for s in choice.stories if find_mentions(s.emotion, s.text)] == []
    again = {(a["emotion"], a["topic"], a["index"]) for a in answers if a["attempt"] == 1}
    assert again == {
        (a["emotion"], a["topic"], a["index"]) for a in answers if a["attempt"] == 0 and unfit(a)
    }


def test_how_it_is_batched_changes_nothing(
    writer: Path, model: LoadedModel, unbroken: Unbroken
) -> None:
    others = Backwards(LocalExecutor(model, EngineSetup("cascade", 32), {}))
    assert written(writer, model, others) == unbroken.choice
    lines = answers_file(writer, model).read_bytes().splitlines(keepends=True)
    assert sorted(lines) == sorted(unbroken.lines)
    assert lines != unbroken.lines  # the control: it was batched otherwise


def test_another_seed_writes_another_corpus(
    writer: Path, model: LoadedModel, unbroken: Unbroken
) -> None:
    """The control of every equality here."""
    executor = LocalExecutor(model, SETUP, {})
    fewer = ("stories.writing.topics=[ferry]", "stories.writing.attempts=1")
    other = written(writer, model, executor, *fewer, "stories.writing.seed=1")
    assert other.stories
    assert {s.text for s in other.stories} & {s.text for s in unbroken.choice.stories} == set()


def test_a_corpus_that_grows_keeps_what_it_has(
    writer: Path, model: LoadedModel, unbroken: Unbroken
) -> None:
    memory = Memory(None, unbroken.said)
    fewer = written(writer, model, memory, "stories.writing.emotions=[happy, calm]")
    before = answers_file(writer, model).read_bytes()
    assert {cell.emotion for cell in fewer.kept} == {"happy", "calm"}
    assert written(writer, model, memory) == unbroken.choice
    assert answers_file(writer, model).read_bytes().startswith(before)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.31, 0.5, 0.68, 0.97, 1.0])
def test_a_file_that_was_cut_anywhere_comes_to_the_same_corpus(
    share: float,
    writer: Path,
    model: LoadedModel,
    unbroken: Unbroken,
) -> None:
    whole = b"".join(unbroken.lines)
    path = answers_file(writer, model)
    path.parent.mkdir(parents=True)
    path.write_bytes(whole[: int(share * len(whole))])
    assert written(writer, model, Memory(None, unbroken.said)) == unbroken.choice
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(unbroken.lines)


def test_a_writer_that_is_killed_leaves_whole_lines_and_is_waited_for(
    writer: Path, model: LoadedModel, unbroken: Unbroken, cache: Path
) -> None:
    """kill -9 in the middle; another process that was waiting then finishes the job."""
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    command = [sys.executable, "-m", "emoctl", "stories", "write", "-c", str(config)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    path = answers_file(writer, model)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    n_killed = path.read_bytes().count(b"\n")
    assert 0 < n_killed < len(unbroken.lines), "control: it came in the middle"
    assert written(writer, model, Memory(None, unbroken.said)) == unbroken.choice
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(unbroken.lines)


def test_a_second_writer_waits_for_the_first(
    writer: Path, model: LoadedModel, unbroken: Unbroken
) -> None:
    path = answers_file(writer, model)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(unbroken.lines))
    held = FileLock(path.with_suffix(".lock"))
    held.acquire()
    waited: list[str] = []

    def on_wait() -> None:
        waited.append("waiting")
        held.release()

    commission = commission_of(configured(writer))
    for _ in range(2):
        write_stories(commission, model, SETUP, Memory(None), on_wait=on_wait)
    assert waited == ["waiting"]  # and the second time, nobody


def test_a_line_that_is_no_answer_is_an_error_that_names_it(
    writer: Path, model: LoadedModel, unbroken: Unbroken, cache: Path
) -> None:
    path = answers_file(writer, model)
    path.parent.mkdir(parents=True)
    path.write_bytes(unbroken.lines[0] + b"{}\n" + unbroken.lines[1])
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    assert run(["stories", "write", "-c", str(config)]) == 2


@pytest.fixture
def from_memory(unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands say again what was said, and time nothing."""
    said = Memory(None, unbroken.said).run
    monkeypatch.setattr(LocalExecutor, "run", lambda _self, tasks: said(tasks))
    monkeypatch.setattr(writing_estimate, "play_seconds", lambda *_: 0.25)


@pytest.mark.usefixtures("from_memory")
def test_the_command_writes_a_corpus_that_can_be_extracted(
    writer: Path,
    unbroken: Unbroken,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(cache.parent)
    Path("own.yaml").write_text(config_text(writer))
    plan = ["stories", "write", "-c", "own.yaml", "--dry-run", "--json"]
    assert run(plan) == 0
    assert json.loads(capsys.readouterr().out)["n_texts"] == N_CELLS
    assert run(["stories", "write", "-c", "own.yaml", "--out", "own.jsonl"]) == 0
    shown = capsys.readouterr()
    assert load_corpus("own.jsonl").stories == unbroken.choice.stories
    n_calm = sum(cell.emotion == "calm" for cell in unbroken.choice.kept)
    assert f"calm       2 asked, {n_calm} kept, {2 - n_calm} failed" in shown.out
    assert "next: emoctl stories lint own.jsonl, then emoctl extract --stories own" in shown.err

    assert run(plan) == 0
    assert json.loads(capsys.readouterr().out)["n_texts"] == 0
    assert run(["extract", "-c", "own.yaml", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["written_by"]["writer"]["n_kept"] == len(unbroken.choice.kept)
    assert run(["vectors", "show", made["path"]]) == 0
    assert f"stories: written by {writer}, weights sha256:" in capsys.readouterr().out
    again = ["extract", "-c", "own.yaml", "--stories", "own.jsonl", "--json"]
    neutral = ["--set", f"stories.neutral={writer.parent / 'neutral.jsonl'}"]
    assert run([*again, *neutral]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == made["path"]
    assert read_provenance(Path(made["path"])).written_by is not None


@pytest.mark.usefixtures("from_memory")
def test_extract_writes_what_is_missing_and_says_so(
    writer: Path,
    unbroken: Unbroken,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    assert run(["sweep", "-c", str(config), "--dry-run", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n_texts"] == N_CELLS
    assert "stories are missing: this is the plan of writing them" in shown.err
    assert run(["extract", "-c", str(config), "--json"]) == 0
    shown = capsys.readouterr()
    assert "stories are missing: " in shown.err
    assert json.loads(shown.out)["written_by"]["writer"]["n_asked"] == N_CELLS
    assert json.loads(shown.out)["n_stories"] == len(unbroken.choice.kept)
    assert run(["extract", "-c", str(config), "--json"]) == 0
    shown = capsys.readouterr()
    assert "from the cache" in shown.err and "missing" not in shown.err


@pytest.mark.usefixtures("from_memory")
def test_another_model_may_read_what_a_writer_wrote(
    writer: Path, world: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    reader = str(world / "models" / "tiny")
    named = ["--model", reader, "--set", f"stories.writing.writer={writer}"]
    assert run(["extract", "-c", str(config), "--json", *named]) == 0
    shown = capsys.readouterr()
    made = json.loads(shown.out)
    assert f"stories are missing: {writer} writes them first" in shown.err
    assert (made["model"]["id"], made["written_by"]["writer"]["model"]) == (reader, str(writer))
    assert made["d_model"] == 16


def test_too_few_stories_are_an_error_and_their_reasons_are_kept(
    writer: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    out = cache.parent / "own.jsonl"
    short = ["--set", "stories.writing.max_new_tokens=64", "--set", "stories.writing.attempts=1"]
    emotions = ["--emotions", "calm,zeal", "--per-cell", "1"]
    command = ["stories", "write", "-c", str(config), *short, *emotions, "--out", str(out)]
    topics = cache.parent / "topics.txt"
    topics.write_text("ferry\n\n lamp \n")
    assert run([*command, "--topics", str(topics)]) == 2
    error = capsys.readouterr().err
    assert "error: too few stories for a vector, which takes stories on 2 topics: " in error
    record = json.loads(out.with_suffix(".written.json").read_text())
    assert [c["n_asked"] for c in record["counts"]] == [2, 2]
    assert all(f["reasons"] for f in record["failed"]) and record["failed"]


@pytest.mark.usefixtures("from_memory")
def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(
    writer: Path,
    model: LoadedModel,
    unbroken: Unbroken,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))

    def interrupted(_self: LocalExecutor, tasks: Sequence[Task]) -> Iterator[Done]:
        yield from islice(Memory(None, unbroken.said).run(tasks), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "run", interrupted)
    assert run(["stories", "write", "-c", str(config)]) == 130
    assert "next: run it again to go on" in capsys.readouterr().err
    assert answers_file(writer, model).read_bytes().count(b"\n") == 3
    assert written(writer, model, Memory(None, unbroken.said)) == unbroken.choice


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topics", "none.txt"], "--topics none.txt: no such file or directory"),
        (["--emotions", "calm"], "--emotions: stories.writing.emotions: lists calm alone"),
        (["--emotions", "calm,calm"], "--emotions: stories.writing.emotions: lists calm twice"),
        (["--per-cell", "0"], "--per-cell: stories.writing.per_cell: needs a number of at least 1"),
        (["--out", "own.txt"], "--out own.txt: needs a name that ends in .jsonl"),
        (["--out", "no/own.jsonl"], "--out no/own.jsonl: there is no folder no"),
        (["--out", "mine.jsonl"], "--out mine.jsonl: stands there already, with other stories"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(
    arguments: list[str],
    says: str,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(cache.parent)
    monkeypatch.setattr(WritingJob, "__init__", None)
    Path("mine.jsonl").write_text('{"emotion": "calm", "topic": "t", "text": "x"}\n')
    assert run(["stories", "write", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_sweeping_an_emotion_that_nobody_writes_about_is_refused_at_once(
    writer: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = cache.parent / "own.yaml"
    config.write_text(config_text(writer))
    assert run(["sweep", "-c", str(config), "--vector", "hapy", "--dry-run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "error: steering.vectors: no story is written about 'hapy'",
        "hint:  did you mean 'happy'?",
    ]
