"""A scenario folder → a `Scenario`, its files read in, and the hash of what it says.

Whether a readable scenario makes sense is `lint`'s to say.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from emoctl.config.strict_yaml import line_of, load_yaml
from emoctl.config.wording import shown
from emoctl.errors import ConfigError, ScenarioError, did_you_mean
from emoctl.scenarios.scenario import Scenario, Section

FILE_NAME = "scenario.yaml"


def load_scenario(folder: Path) -> Scenario:
    """The scenario in `folder`, with the text of every `file:` in its place.

    Raises:
        ScenarioError: scenario.yaml or a file that it names cannot be read, stands outside the
            folder, or says something that no scenario may say.
    """
    path = folder / FILE_NAME
    text = _read(path, f"the scenario {folder.name!r}", "list scenarios with: emoctl scenarios ls")
    try:
        content = load_yaml(text, source=str(path))
    except ConfigError as error:
        raise ScenarioError(str(error), hint=error.hint) from error
    if not isinstance(content, dict):
        raise ScenarioError(f"{path}: needs keys and values at the top level")
    resolved = _with_files(content, folder)
    try:
        return Scenario.model_validate(resolved)
    except ValidationError as error:
        raise _explained(error, path, text) from error


def scenario_digest(scenario: Scenario) -> str:
    """`sha256:` and the hash of all that the scenario says, texts of referenced files included."""
    said = scenario.model_dump(mode="json", by_alias=True)
    option_order = list(scenario.choice.options) if scenario.choice else []
    canonical = json.dumps(
        {"scenario": said, "option_order": option_order},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _read(path: Path, what: str, hint: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"{what} has no readable file {path}: {reason.lower()}"
        raise ScenarioError(message, hint=hint) from None


def _with_files(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`content` with every message's `file:` replaced by `content:`; other shapes stay as found."""
    variants = content.get("variants")
    if not isinstance(variants, dict):
        return content
    resolved: dict[str, Any] = {}
    for name, variant in variants.items():
        messages = variant.get("messages") if isinstance(variant, dict) else None
        if isinstance(messages, list):
            where = f"variants.{name}.messages"
            texts = [_with_file(m, folder, f"{where}.{i}") for i, m in enumerate(messages)]
            variant = {**variant, "messages": texts}
        resolved[name] = variant
    return {**content, "variants": resolved}


def _with_file(message: Any, folder: Path, where: str) -> Any:
    if not isinstance(message, dict) or "file" not in message:
        return message
    source = folder / FILE_NAME
    if "content" in message:
        raise ScenarioError(f"{source}: {where} has both file and content", hint="keep one")
    name = message["file"]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ScenarioError(f"{source}: {where}.file needs a file name; got {name!r}")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ScenarioError(
            f"{source}: {where}.file {name!r} leads out of the folder",
            hint="put the file beside scenario.yaml",
        )
    text = _read(path, f"{source}: {where}.file {name!r}", "put the file beside scenario.yaml")
    kept = {key: value for key, value in message.items() if key != "file"}
    return {**kept, "content": text.strip()}


def _explained(error: ValidationError, path: Path, text: str) -> ScenarioError:
    found = error.errors(include_url=False)
    details = sorted(found, key=lambda detail: detail["type"] != "extra_forbidden")
    first = details[0]
    key_path = ".".join(str(step) for step in first["loc"]) or "(top level)"
    line = line_of(text, [step for step in first["loc"] if step != "[key]"])
    place = f"{path}:{line}" if line else f"{path}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return ScenarioError(f"{place}: {key_path}: {_what(first)}{more}", hint=_hint(first))


def _what(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "is not a key"
    if detail["type"] == "missing":
        return "is missing"
    needed = " ".join(detail["msg"].split()).replace("Input should", "should")
    return f"{needed}; got {shown(detail['input'])}"


def _hint(detail: ErrorDetails) -> str | None:
    if detail["type"] != "extra_forbidden":
        return None
    known = {
        field.alias or name
        for section in Section.__subclasses__()
        for name, field in section.model_fields.items()
    }
    return did_you_mean(
        str(detail["loc"][-1]), sorted(known), listing="every key is described in docs/scenarios.md"
    )
