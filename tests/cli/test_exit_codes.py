"""Every way in which a command can end has its exit code, its lines, and nothing else."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import typer

from emoctl import __main__ as entry
from emoctl import errors


def ends_with(failure: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.callback(invoke_without_command=True)
    def fail() -> None:
        raise failure

    return app


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    def end(failure: BaseException) -> int:
        monkeypatch.setattr(entry, "app", ends_with(failure))
        return entry.run(["--"])

    return end


ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.EmoctlError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_a_deliberate_error_is_two_lines_and_its_code(
    kind: type[errors.EmoctlError],
    ending: Callable[[BaseException], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ending(kind("it broke", hint="mend it")) == kind.exit_code
    captured = capsys.readouterr()
    assert captured.err == "error: it broke\nhint:  mend it\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("failure", "code", "err"),
    [
        (typer.Exit(0), 0, ""),
        (typer.Exit(4), 4, ""),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (typer.Abort(), 130, "interrupted\n"),
        (typer.BadParameter("Not a number."), 2, "error: invalid value: Not a number\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x/rollouts.sqlite"),
            3,
            "error: the disk is full while writing runs/x/rollouts.sqlite\n",
        ),
    ],
)
def test_other_endings(
    failure: BaseException,
    code: int,
    err: str,
    ending: Callable[[BaseException], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ending(failure) == code
    written = capsys.readouterr().err
    assert written.partition("hint:")[0] == err


@pytest.mark.parametrize("bug", [ValueError("x"), PermissionError("x"), AssertionError("x")])
def test_a_bug_keeps_its_traceback(
    bug: BaseException, ending: Callable[[BaseException], int]
) -> None:
    with pytest.raises(type(bug)):
        ending(bug)


def emoctl(
    *arguments: str, stdout: int | IO[str] = subprocess.PIPE
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "emoctl", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "emoctl", "config", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == entry.PIPE_CLOSED
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = emoctl("config", "schema", stdout=full)
    assert done.returncode == 3
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        "error: the disk is full"
    ]
    assert "Traceback" not in done.stderr


def test_version_and_help_go_to_stdout() -> None:
    version, bare = emoctl("--version"), emoctl()
    assert (version.returncode, bare.returncode) == (0, 0)
    assert version.stdout.startswith("emoctl ")
    assert bare.stdout.startswith("Usage: emoctl")
    assert version.stderr == bare.stderr == ""
