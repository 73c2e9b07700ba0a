"""The `emoctl` command: runs the app, and turns every deliberate error into lines and a code.

typer app ──► ok: 0 ──► EmoctlError, bad flag: `error:` and `hint:`, its code ──► bug: traceback
"""

import errno
import os
import sys
from collections.abc import Sequence

import typer

from emoctl.cli.app import app
from emoctl.cli.console import note, show_error
from emoctl.errors import INTERRUPTED, EmoctlError, StoreError, UsageError

ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""ClickException, of the click that this typer carries or depends on."""

PIPE_CLOSED = 141
"""What a shell reports for a program that a closed pipe ended."""


def main() -> None:
    """The console script: the exit codes are those of `emoctl.errors`."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """What `emoctl ARGUMENTS` does, and its exit code. A bug propagates."""
    try:
        _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return INTERRUPTED
    except EmoctlError as error:
        return _refuse(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        hint = "free some space; a sweep goes on with --resume"
        where = f" while writing {error.filename}" if error.filename else ""
        return _refuse(StoreError(f"the disk is full{where}", hint=hint))
    except ClickError as error:
        return _refuse_usage(error)
    return 0


def _invoke(arguments: Sequence[str]) -> None:
    """Run the app without the part of typer that prints errors and exits by itself."""
    command = typer.main.get_command(app)
    with command.make_context("emoctl", list(arguments) or ["--help"]) as context:
        command.invoke(context)


def _refuse(error: EmoctlError) -> int:
    show_error(str(error), error.hint)
    return error.exit_code


def _refuse_usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "emoctl"
    if type(error).__name__ == "NoArgsIsHelpError":
        return _refuse(UsageError(f"{path} needs a command", hint=f"see {path} --help"))
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    what, _, near = message.replace(" (Possible options: ", "Did you mean ").partition(
        "Did you mean"
    )
    what = what[:1].lower() + what[1:].strip().removesuffix(".")
    near = near.strip(" ?)")
    return _refuse(UsageError(what, hint=f"did you mean {near}?" if near else f"see {path} --help"))


if __name__ == "__main__":
    main()
