"""Every error that emoctl raises on purpose, and every exit code.

    exit  0   ok
    exit  1   a gate failed, or a check found something
    exit  2   usage or config: a file or a flag says something impossible
    exit  3   the model, the vectors or the machine cannot do it
    exit  4   incomplete, or nothing was scored
    exit 130  interrupted, and resumable
    exit 141  the program that read the output closed it

EmoctlError              exit 3   something a person can mend; one line, never a traceback
├─ UsageError            exit 2   a flag, or a combination of flags
├─ ConfigError           exit 2   an experiment file
├─ StoriesError          exit 2   a corpus
├─ ScenarioError         exit 2   a scenario is unknown or malformed
├─ UnknownEmotionError   exit 2   an emotion that the vectors do not hold
├─ ModelError            exit 3   a model cannot be found, loaded or asked this
├─ PromptError           exit 3   a prompt does not fit the model: too long, doubled BOS
├─ VectorError           exit 3   vectors are missing, broken, or another model's
├─ SteeringError         exit 3   a condition met no position, or no layer
├─ StoreError            exit 3   a run folder is unreadable, owned by another process, or full
├─ GateError             exit 1   a gate failed, or a check found something
└─ IncompleteError       exit 4   a run is unfinished, or nothing in it could be scored

Anything else that escapes is a bug in emoctl, and keeps its traceback.
"""

from difflib import get_close_matches
from typing import ClassVar


class EmoctlError(Exception):
    """A one-line message that names key and value; `hint` says what to do about it."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(EmoctlError):
    exit_code = 2


class ConfigError(EmoctlError):
    exit_code = 2


class StoriesError(EmoctlError):
    exit_code = 2


class ScenarioError(EmoctlError):
    exit_code = 2


class UnknownEmotionError(EmoctlError):
    exit_code = 2


class ModelError(EmoctlError):
    exit_code = 3


class PromptError(EmoctlError):
    exit_code = 3


class VectorError(EmoctlError):
    exit_code = 3


class SteeringError(EmoctlError):
    exit_code = 3


class StoreError(EmoctlError):
    exit_code = 3


class GateError(EmoctlError):
    exit_code = 1


class IncompleteError(EmoctlError):
    exit_code = 4


INTERRUPTED = 130
"""Exit code of a run that a person stopped and that `--resume` continues."""


def did_you_mean(word: str, known: list[str], *, listing: str) -> str:
    """A hint for an unknown `word`: its nearest known spelling, or where the known ones stand."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else listing
