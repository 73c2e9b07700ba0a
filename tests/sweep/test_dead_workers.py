"""A worker that dies at any moment is told of in one line, and the run goes on with --resume."""

import multiprocessing
import os
import struct
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from emoctl.__main__ import run
from emoctl.errors import ModelError
from emoctl.store.run_folder import list_runs
from emoctl.sweep import executor

CONFIG = """
schema: emoctl/1
name: dying
model: {world}/models/tiny
steering: {{file: {world}/vectors/good.safetensors, vectors: [desperate], strengths: [0.5]}}
controls: {{sample: 1}}
readouts: {{sample: {{variants: [short], n: 3}}}}
sampling: {{max_new_tokens: 6}}
engine: {{workers: 2, rows: 4}}
"""
Dying = Callable[[Connection], None]


def with_its_task_unread(worker: Connection) -> None:
    worker.close()


def after_reading_its_task(worker: Connection) -> None:
    worker.recv()
    worker.close()


def in_the_middle_of_a_result(worker: Connection) -> None:
    worker.recv()
    os.write(worker.fileno(), struct.pack("!i", 100) + b"cut")
    worker.close()


def before_its_next_task(worker: Connection) -> None:
    worker.recv()
    worker.send(executor._FINISHED)
    worker.close()


def distribute_to_one(monkeypatch: pytest.MonkeyPatch, die: Dying, tasks: list[Any]) -> list[Any]:
    """What comes of tasks whose worker dies while the parent waits for it."""
    ours, worker = multiprocessing.Pipe()

    def wait(busy: list[Connection]) -> list[Connection]:
        die(worker)
        return busy

    monkeypatch.setattr(executor, "wait", wait)
    with ours:
        return list(executor._distribute(tasks, [ours]))


@pytest.mark.parametrize(
    "die",
    [
        with_its_task_unread,
        after_reading_its_task,
        in_the_middle_of_a_result,
        before_its_next_task,
    ],
)
def test_a_death_is_told_whenever_it_comes(monkeypatch: pytest.MonkeyPatch, die: Dying) -> None:
    with pytest.raises(ModelError, match="a worker process died") as caught:
        distribute_to_one(monkeypatch, die, ["one task", "another"])
    assert "out of memory" in (caught.value.hint or "")


def test_a_death_after_the_last_task_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distribute_to_one(monkeypatch, before_its_next_task, ["one task"]) == []


def test_a_death_before_the_first_task_is_told() -> None:
    ours, worker = multiprocessing.Pipe()
    worker.close()
    with ours, pytest.raises(ModelError, match="a worker process died"):
        list(executor._distribute(["one task"], [ours]))  # type: ignore[list-item]


def test_a_death_while_the_process_starts_is_told(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(_process: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(executor.SpawnProcess, "start", start)
    assert sweep(tmp_path, world) == 3
    assert "a worker process died" in capsys.readouterr().err


def test_a_sweep_whose_workers_are_killed_says_so_and_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    distribute = executor._distribute

    def kill_then_distribute(tasks: list[Any], connections: list[Connection]) -> Iterator[Any]:
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        yield from distribute(tasks, connections)

    with monkeypatch.context() as killing:
        killing.setattr(executor, "_distribute", kill_then_distribute)
        assert sweep(tmp_path, world) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "error: a worker process died" in said
    assert "lower engine.workers or engine.rows; --resume continues" in said
    assert sweep(tmp_path, world, "--resume", "--set", "engine.workers=1") in (0, 4)
    (folder,) = list_runs(tmp_path / "runs")
    assert folder.is_done


def sweep(here: Path, world: Path, *flags: str) -> int:
    (here / "c.yaml").write_text(CONFIG.format(world=world), encoding="utf-8")
    return run(["sweep", "-c", str(here / "c.yaml"), "--out", str(here / "runs"), *flags])
