"""What was measured, in one JSON file that grows run by run: an interrupted benchmark goes on.

A record holds its own job's size: the file can be read and shown without the program that made it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.job import Outcome
from benchmarks.machine import Load
from benchmarks.roster import Size

SCHEMA = "emoctl-benchmarks/1"
Kind = Literal["gate", "trial", "run", "roofline"]


class ResultsError(Exception):
    """A results file that cannot be continued."""


@dataclass(frozen=True)
class Key:
    """Which measurement: one that is in the file is not made again."""

    kind: Kind
    case: str
    label: str
    layout: str
    repeat: int
    job: str
    """Digest."""


@dataclass(frozen=True)
class Record:
    """One measurement."""

    key: Key
    size: Size
    """Of the job that ran."""

    target: Size
    """Of the case; larger where the rest is extrapolated."""

    outcome: Outcome
    load: Load
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Results:
    """All records, saved after each."""

    path: Path
    machine: dict[str, Any]
    model: dict[str, Any]
    """Its name, shape and steered layer, and a digest of the engine's source."""

    records: list[Record] = field(default_factory=list)

    def find(self, key: Key) -> Record | None:
        """The record of a measurement that was made already."""
        return next((record for record in self.records if record.key == key), None)

    def add(self, record: Record) -> Record:
        """Keep it, on disk too. Long outputs, which only the gate needs, are left out."""
        self.records.append(record)
        self.save()
        return record

    def of(self, kind: Kind, group: str = "") -> Iterator[Record]:
        """Records of a kind, in a group of cases."""
        return (r for r in self.records if r.key.kind == kind and r.key.case.startswith(group))

    def save(self) -> None:
        """Whole, then renamed into place."""
        raw = {
            "schema": SCHEMA,
            "machine": self.machine,
            "model": self.model,
            "records": [_plain(record) for record in self.records],
        }
        unfinished = self.path.with_name(f".{self.path.name}.unfinished")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self.path)


def open_results(path: Path, machine: dict[str, Any], model: dict[str, Any]) -> Results:
    """The file's records if it is there, else none.

    Raises:
        ResultsError: it was made on another machine, or with another model or engine.
    """
    if not path.is_file():
        return Results(path, machine, model)
    found = read_results(path)
    pairs = (("machine", machine, found.machine), ("model or engine", model, found.model))
    for name, here, there in pairs:
        if here != there:
            raise ResultsError(f"{path} is of another {name}; give another file, or remove it")
    return found


def read_results(path: Path) -> Results:
    """What a file holds.

    Raises:
        ResultsError: it is not a results file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ResultsError(f"{path} is not a file of {SCHEMA}")
    records = [
        Record(
            Key(**r["key"]),
            Size(**r["size"]),
            Size(**r["target"]),
            Outcome.from_record(r["outcome"]),
            Load(**r["load"]),
            r["notes"],
        )
        for r in raw["records"]
    ]
    return Results(path, raw["machine"], raw["model"], records)


def _plain(record: Record) -> dict[str, Any]:
    raw = asdict(record)
    for name in ("first_logits", "tokens"):
        raw["outcome"].pop(name)
    return raw
