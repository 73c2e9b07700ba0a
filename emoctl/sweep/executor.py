"""Where tasks are done: in this process, or in worker processes of one thread each.

On a CPU, several one-thread workers beat one process of several threads, and one thread is what
makes a row's logits independent of its batch. A worker ends when its parent does, however that
ends.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from emoctl.config.schema import ModelConfig
from emoctl.engine.choice import EngineSetup
from emoctl.engine.readings import Probe
from emoctl.engine.steering import Steering
from emoctl.errors import EmoctlError, ModelError
from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.loading import LoadedModel, load_model
from emoctl.sweep.tasks import Done, Task, Workbench

MAX_AUTO_WORKERS = 4


@runtime_checkable
class Executor(Protocol):
    """Does tasks in any order."""

    @property
    def workers(self) -> int:
        """How many tasks are done at a time."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Every result of every task, each as soon as it is there."""
        ...


def n_workers(wanted: int | str, device: torch.device) -> int:
    """Processes for `engine.workers`; one on an accelerator."""
    if device.type != "cpu":
        return 1
    if isinstance(wanted, int):
        return wanted
    return min(os.cpu_count() or 1, MAX_AUTO_WORKERS)


@dataclass(frozen=True, eq=False)
class LocalExecutor:
    """Does tasks in this process, with one thread."""

    model: LoadedModel
    engine: EngineSetup
    steerings: Mapping[str, Steering]
    probe: Probe | None = None

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Every result of every task, in order."""
        bench = Workbench(self.model, self.engine, self.steerings, self.probe)
        with one_thread():
            for task in tasks:
                yield from bench.do(task)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Failure:
    """What ended a worker's task. `error` is None for a bug, whose traceback is told instead."""

    error: EmoctlError | None
    trace: str


_FINISHED = "finished"
_PROBE = tuple[tuple[int, ...], "np.ndarray[Any, np.dtype[np.float32]]", bool] | None
_ARRAYS = Mapping[str, tuple[int, "np.ndarray[tuple[int], np.dtype[np.float32]]", bool]]


@dataclass(frozen=True, eq=False)
class ProcessExecutor:
    """Does tasks in worker processes, each with the model in memory."""

    config: ModelConfig
    identity: ModelIdentity
    engine: EngineSetup
    steerings: Mapping[str, Steering]
    probe: Probe | None = None

    @property
    def workers(self) -> int:
        """Processes."""
        return self.engine.workers

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Every result of every task.

        Raises:
            EmoctlError: what a worker raised.
            ModelError: a worker died.
        """
        workers: dict[Connection, SpawnProcess] = {}
        try:
            for _ in range(min(self.engine.workers, len(tasks))):
                connection, process = self._start()
                workers[connection] = process
            yield from _distribute(list(tasks), list(workers))
        finally:
            for connection, process in workers.items():
                connection.close()
                process.terminate()
                process.join()

    def _start(self) -> tuple[Connection, SpawnProcess]:
        context = multiprocessing.get_context("spawn")
        arrays = {
            name: (s.layer, s.added.numpy(), s.everywhere) for name, s in self.steerings.items()
        }
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work,
            args=(theirs, self.config, self.identity, self.engine, arrays, _packed(self.probe)),
            daemon=True,
        )
        try:
            process.start()
        except ConnectionError:
            raise _died() from None
        theirs.close()
        return ours, process


def _distribute(tasks: list[Task], connections: list[Connection]) -> Iterator[Done]:
    waiting = list(reversed(tasks))
    busy = list(connections)
    for connection in connections:
        _send(connection, waiting.pop())
    while busy:
        for connection in [c for c in wait(busy) if isinstance(c, Connection)]:
            message = _receive(connection)
            if isinstance(message, _Failure):
                raise message.error or RuntimeError(f"a worker failed:\n{message.trace}")
            if message != _FINISHED:
                yield message
            elif waiting:
                _send(connection, waiting.pop())
            else:
                busy.remove(connection)


def _send(connection: Connection, task: Task) -> None:
    try:
        connection.send(task)
    except ConnectionError:
        raise _died() from None


def _receive(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):  # a plain OSError where a message was cut in its middle
        raise _died() from None


def _died() -> ModelError:
    return ModelError(
        "a worker process died",
        hint="the machine may be out of memory: lower engine.workers or engine.rows; "
        "--resume continues",
    )


def _packed(probe: Probe | None) -> _PROBE:
    return (probe.layers, probe.directions.numpy(), probe.prompt) if probe else None


def _unpacked(packed: _PROBE) -> Probe | None:
    if packed is None:
        return None
    layers, directions, prompt = packed
    return Probe(layers, torch.from_numpy(directions.copy()), prompt)


def _work(
    connection: Connection,
    config: ModelConfig,
    identity: ModelIdentity,
    engine: EngineSetup,
    arrays: _ARRAYS,
    probe: _PROBE,
) -> None:
    """The life of a worker: load the model, then do one task after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        steerings = {
            name: Steering(layer, torch.from_numpy(added.copy()), everywhere)
            for name, (layer, added, everywhere) in arrays.items()
        }
        bench = Workbench(load_model(config, identity), engine, steerings, _unpacked(probe))
        while True:
            for done in bench.do(connection.recv()):
                connection.send(done)
            connection.send(_FINISHED)
    except EOFError:
        return
    except EmoctlError as error:
        connection.send(_Failure(error, ""))
    except BaseException:
        connection.send(_Failure(None, traceback.format_exc()))
        raise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_executor(
    model: LoadedModel,
    config: ModelConfig,
    engine: EngineSetup,
    steerings: Mapping[str, Steering],
    probe: Probe | None = None,
) -> Executor:
    """Worker processes where more than one is wanted, else this process."""
    if engine.workers > 1:
        return ProcessExecutor(config, model.identity, engine, steerings, probe)
    return LocalExecutor(model, engine, steerings, probe)
