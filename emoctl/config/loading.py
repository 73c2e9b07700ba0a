"""An experiment file → an ExperimentConfig, or one line that says why not.

    file ──► strict YAML ──► + `--set` overrides ──► schema ──► ExperimentConfig ──► resolved YAML

Knows where the program's own configs lie; not what any name in them means.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emoctl.config.overrides import Override, apply_override, read_override
from emoctl.config.problems import KeyPath, Problem, first_problem
from emoctl.config.schema import ExperimentConfig
from emoctl.config.strict_yaml import dump_yaml, line_of, load_yaml
from emoctl.config.wording import key_text
from emoctl.errors import ConfigError, UsageError, did_you_mean

DEFAULT = "default"
PACKAGE = Path(__file__).parent.parent


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The experiment that the file at `path` describes, or that a bundled config's name does.

    Raises:
        ConfigError: there is no such file, or it says something impossible.
        UsageError: an override does.
    """
    found = find_config(str(path))
    return parse_config(_read(found), str(found), overrides)


def parse_config(text: str, source: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The experiment that `text` describes; `source` is what errors call it.

    An override is `key.path=value`, its value YAML: `steering.strengths=[0.05, 0.1]`. The value
    `null` takes a key out, back to its default. Raises as `load_config` does.
    """
    data = load_yaml(text, source)
    empty = next(_empty_keys(data), None)
    if empty is not None:
        hint = "leave it out, or give it a value"
        if empty[0] == "readouts":
            hint = f"write `{empty[-1]}: {{}}` to take it with its defaults, or leave it out"
        if empty == ("readings",):
            hint = "write `readings: {}` to take them with their defaults, or leave it out"
        raise ConfigError(
            f"{_place(text, source, empty)}: {key_text(empty)}: says nothing", hint=hint
        )
    read = [read_override(argument) for argument in overrides]
    for override in read:
        apply_override(data, override)
    try:
        return ExperimentConfig.model_validate(data)
    except ValidationError as error:
        problem = first_problem(error, data, ExperimentConfig)
    raise _refusal(problem, text, source, read)


def render_yaml(config: ExperimentConfig) -> str:
    """The config with every default filled in, as YAML that `parse_config` reads back equal."""
    content = config.model_dump(by_alias=True, exclude_none=True)
    content["gates"] = [gate.text for gate in config.gates]
    return dump_yaml(_plain(content))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an experiment file, for editors."""
    schema = ExperimentConfig.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def default_config_text() -> str:
    """The default experiment file, comments and all."""
    return _read(find_config(DEFAULT))


def find_config(name: str) -> Path:
    """The file called `name`, or else the bundled config of that name (`default`, `ci`, `paper`).

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    bundled = bundled_configs()
    if name in bundled:
        return bundled[name]
    what = "is a folder, not a config file" if path.is_dir() else "no such config file"
    listing = f"give a file, or one of {', '.join(bundled)}"
    raise ConfigError(f"{name}: {what}", hint=did_you_mean(name, list(bundled), listing=listing))


def bundled_configs() -> dict[str, Path]:
    """The configs that come with the program, by name."""
    folders = (PACKAGE / "bundled" / "configs", PACKAGE.parent / "configs")
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what, hint = f"{path}:{line}: not UTF-8 text", "save the file as UTF-8"
    except OSError as error:
        what, hint = f"{path}: {(error.strerror or 'unreadable').lower()}", "check the path"
    raise ConfigError(what, hint=hint)


def _empty_keys(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path at which nothing stands, where a person may have meant anything."""
    if value is None:
        yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield from _empty_keys(item, (*path, key))


def _refusal(
    problem: Problem, text: str, source: str, overrides: Sequence[Override]
) -> ConfigError | UsageError:
    what = f"{problem.key}: {problem.what}" if problem.path else problem.what
    for override in reversed(overrides):
        if problem.path[: len(override.path)] == override.path:
            return UsageError(f"--set {override.argument}: {what}", hint=problem.hint)
    return ConfigError(f"{_place(text, source, problem.path)}: {what}", hint=problem.hint)


def _place(text: str, source: str, path: KeyPath) -> str:
    line = line_of(text, path)
    return source if line is None else f"{source}:{line}"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
