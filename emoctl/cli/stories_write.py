"""`emoctl stories write`: a model writes a corpus."""

from dataclasses import asdict
from json import dumps as json_text
from pathlib import Path
from typing import Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.options import ConfigFile, Json, Overrides, configured
from emoctl.cli.writing import (
    WritingJob,
    estimate_line,
    show_writing_plan,
    story_path,
    summary_lines,
)
from emoctl.config import ExperimentConfig
from emoctl.errors import StoriesError, UsageError

CHANGES = ("source=model", "emotional=null")
"""Whatever the experiment file says, these stories are written."""


def write(
    model: Annotated[
        str | None, typer.Option("--model", help="The writer: a name, hub id, folder or GGUF file.")
    ] = None,
    emotions: Annotated[
        str | None, typer.Option("--emotions", metavar="A,B,…", help="A list of words, or all.")
    ] = None,
    topics: Annotated[
        Path | None, typer.Option("--topics", metavar="FILE", help="A text file, one topic a line.")
    ] = None,
    per_cell: Annotated[
        int | None, typer.Option("--per-cell", help="Stories of each emotion on each topic.")
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.jsonl", help="Where to; default: in the cache."),
    ] = None,
    config: ConfigFile = "default",
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Have a model write stories, and keep those that pass the lint.

    A story that names its emotion, copies another, is no story or too short is asked for again, up
    to `stories.writing.attempts` times. Every finished text is kept: after Ctrl-C or a crash the
    same command goes on, and more emotions or topics later write only their own.
    Exit codes: 0 ok, 2 usage or too few stories, 3 model, 130 stopped.

    Example: emoctl stories write --emotions desperate,calm,happy --out own.jsonl
    """
    flags = _flags(model, emotions, topics, per_cell)
    experiment = configured(config, flags=flags, overrides=overrides or ())
    if out_file is not None:
        _check_ours(out_file)
    job = WritingJob(experiment)
    if dry_run:
        show_writing_plan(job, json=json)
        return
    _write(job, experiment, out_file, json=json)


def _write(
    job: WritingJob, experiment: ExperimentConfig, out_file: Path | None, *, json: bool
) -> None:
    from emoctl.stories.authorship import record_path
    from emoctl.stories.choosing import check_enough
    from emoctl.stories.publishing import counts_of
    from emoctl.sweep.commission import writer_of

    so_far = job.so_far()
    if so_far.wanted:
        note(f"estimate: {estimate_line(job.estimate(so_far))}")
    choice = job.write() if so_far.wanted else so_far
    path = out_file or story_path(choice)
    job.publish(choice, path)
    cells = job.commission.cells
    if json:
        failed = [{**asdict(cell), "reasons": why} for cell, why in choice.failed.items()]
        print_json(
            {
                "path": str(path),
                "record": str(record_path(path)),
                "counts": [asdict(count) for count in counts_of(choice, cells)],
                "failed": failed,
                "writer": asdict(writer_of(job.commission, job.model.identity, choice)),
            }
        )
    else:
        for line in summary_lines(choice, cells, path):
            print_line(line)
    check_enough(choice, cells)
    writer = job.commission.writer
    reader = "" if writer == experiment.model else f" --model {writer.id}"
    next_step(f"emoctl stories lint {path}, then emoctl extract --stories {path}{reader}")


def _flags(
    model: str | None, emotions: str | None, topics: Path | None, per_cell: int | None
) -> dict[str, str]:
    """What the flags change in the experiment file."""
    flags = {f"stories.{change}": "" for change in CHANGES} | {"steering.file=null": ""}
    if model is not None:
        flags[f"stories.writing.writer={json_text(model)}"] = "--model"
        flags["stories.writing.revision=null"] = "--model"
    if emotions is not None:
        words = [word.strip() for word in emotions.split(",")]
        value = "all" if words == ["all"] else json_text(words)
        flags[f"stories.writing.emotions={value}"] = "--emotions"
    if topics is not None:
        flags[f"stories.writing.topics={json_text(_lines(topics))}"] = "--topics"
    if per_cell is not None:
        flags[f"stories.writing.per_cell={per_cell}"] = "--per-cell"
    return flags


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--topics {path}: is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(
            f"--topics {path}: {(error.strerror or 'unreadable').lower()}",
            hint="give a text file with one topic a line",
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _check_ours(path: Path) -> None:
    """Refuse to write where a file stands that this command has not written, or none can."""
    from emoctl.stories import load_corpus

    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}")
    if path.suffix != ".jsonl":
        raise UsageError(f"--out {path}: needs a name that ends in .jsonl")
    if not path.exists():
        return
    try:
        writer = load_corpus(str(path)).written_by.writer
    except StoriesError:
        writer = None
    if writer is None or writer.edited:
        raise UsageError(
            f"--out {path}: stands there already, with other stories than a model wrote into it",
            hint="name another file, or move that one away",
        )
