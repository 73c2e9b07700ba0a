"""Flags that several commands share, and how flags change an experiment file.

A flag is short for a `--set`: what it changes is a key of the file, checked like the file.
"""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from emoctl.config import ExperimentConfig, load_config, parse_scales, strength_text
from emoctl.errors import UsageError

ConfigFile = Annotated[
    str, typer.Option("--config", "-c", metavar="FILE", help="A file, or default, ci or paper.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key; may be repeated."),
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="A name, a hub id, a folder or a GGUF file.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
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
    overrides: Sequence[str] = (),
) -> ExperimentConfig:
    """The experiment in `file`, changed by flags, then by `--set`.

    Raises:
        ConfigError: the file, or what a flag makes of it, says something impossible.
        UsageError: a flag cannot be understood, or has nothing to change.
    """
    changes: list[str] = []
    if vectors:
        changes.append(f"steering.vectors={json.dumps(list(vectors))}")
    if scale is not None:
        strengths = ", ".join(strength_text(s) for s in parse_scales(scale))
        changes.append(f"steering.strengths=[{strengths}]")
    if scenarios:
        changes.append(f"scenarios={json.dumps(list(scenarios))}")
    if controls is not None:
        changes += [f"controls.sample={controls}", f"controls.exact={controls}"]
    if seed is not None:
        changes.append(f"seed={seed}")
    if model is not None:
        changes.append(f"model.id={json.dumps(model)}")
    if variants or readouts or n is not None:
        changes.append(_readouts(load_config(file), variants, readouts, n))
    return load_config(file, [*changes, *overrides])


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
