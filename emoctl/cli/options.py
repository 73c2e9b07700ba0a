"""Flags that several commands share, and how flags change an experiment file.

A flag is short for a `--set`: what it changes is a key of the file, checked like the file.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from emoctl.config import ExperimentConfig, load_config, parse_scales, strength_text
from emoctl.config.overrides import read_override
from emoctl.errors import UsageError

ConfigFile = Annotated[
    str,
    typer.Option("--config", "-c", metavar="FILE", help="A file, or default, demo, ci or paper."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key; may be repeated."),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="A name, a hub id, a folder or a GGUF file.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
READOUTS = ("sample", "choice", "likelihood")


def configured(
    file: str,
    *,
    vectors: Sequence[str] = (),
    scale: str | None = None,
    scenarios: Sequence[str] = (),
    variants: Sequence[str] = (),
    readouts: Sequence[str] = (),
    n: int | None = None,
    controls: int | None = None,
    seed: int | None = None,
    model: str | None = None,
    flags: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> ExperimentConfig:
    """The experiment in `file`, changed by flags, then by `--set`.

    `flags` are changes that a command of its own makes: `key=value` → the flag that was typed.

    Raises:
        ConfigError: the file, or what a flag makes of it, says something impossible.
        UsageError: a flag cannot be understood, or has nothing to change.
    """
    typed: dict[str, str] = dict(flags or {})
    if vectors:
        typed[f"steering.vectors={json.dumps(list(vectors))}"] = "--vector"
    if scale is not None:
        strengths = ", ".join(strength_text(s) for s in parse_scales(scale))
        typed[f"steering.strengths=[{strengths}]"] = "--scale"
    if scenarios:
        typed[f"scenarios={json.dumps(list(scenarios))}"] = "--scenario"
    if controls is not None:
        typed |= {f"controls.{kind}={controls}": "--controls" for kind in ("sample", "exact")}
    if seed is not None:
        typed[f"seed={seed}"] = "--seed"
    if model is not None:
        typed[f"model.id={json.dumps(model)}"] = "--model"
    if variants or readouts or n is not None:
        named = {"--readout": readouts, "--variant": variants, "--n": n is not None}
        flag = ", ".join(name for name, given in named.items() if given)
        typed[_readouts(load_config(file), variants, readouts, n)] = flag
    try:
        return load_config(file, [*typed, *overrides])
    except UsageError as error:
        raise _as_typed(error, typed) from None


def _as_typed(error: UsageError, typed: Mapping[str, str]) -> UsageError:
    """The same error, about the flag that a person typed instead of the key that it changes."""
    for change, flag in typed.items():
        start = f"--set {read_override(change).argument}: "
        if str(error).startswith(start):
            return UsageError(f"{flag}: {str(error).removeprefix(start)}", hint=error.hint)
    return error


def _readouts(
    config: ExperimentConfig, variants: Sequence[str], readouts: Sequence[str], n: int | None
) -> str:
    """The readouts section with other readouts, variants or rollouts, as one `--set`."""
    unknown = [name for name in readouts if name not in READOUTS]
    if unknown:
        raise UsageError(
            f"--readout {unknown[0]!r} is not a readout", hint=f"it is one of {', '.join(READOUTS)}"
        )
    present = config.canonical()["readouts"]
    wanted = readouts or [name for name in READOUTS if present[name] is not None]
    section = {name: dict(present[name] or {}) for name in wanted}
    for part in section.values():
        if variants:
            part["variants"] = list(variants)
    if n is not None:
        if "sample" not in section:
            raise UsageError(
                "--n changes the number of rollouts, and no readout samples any",
                hint="add --readout sample",
            )
        section["sample"]["n"] = n
    return f"readouts={json.dumps(section)}"
