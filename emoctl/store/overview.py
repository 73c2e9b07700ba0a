"""One run at a glance: its state, its counts, and what to do next. Knows nothing of terminals."""

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from emoctl.errors import StoreError
from emoctl.store.cells import cell_name
from emoctl.store.database import RunStore
from emoctl.store.manifest import Manifest, read_manifest
from emoctl.store.records import UNSTEERED
from emoctl.store.run_folder import RunFolder

State = Literal["done", "unfinished", "owned"]


@dataclass(frozen=True)
class Overview:
    """What can be told of a run; None for what a broken or very young one does not say."""

    run: RunFolder
    state: State
    started: datetime | None
    manifest: Manifest | None
    n_rollouts: int | None
    n_scores: int | None
    counts: dict[str, dict[str, int]] | None
    """Scenario → outcome (or status, where there is none) → rollouts."""

    example_cell: str | None
    """A cell with rollouts, a steered one if there is any."""

    problems: tuple[str, ...]
    """Why something is None, a line each."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the table files that are there."""
        folder = self.run.tables
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def next_step(self, called: str) -> str:
        """The command that most likely comes next; `called` is how commands find this run."""
        if self.state == "owned":
            return f"emoctl runs show {called}, when the sweep has ended"
        if self.state == "unfinished":
            argv = list(self.manifest.argv[1:]) if self.manifest else []
            again = [word for word in argv or ["sweep"] if word != "--resume"]
            return shlex.join(["emoctl", *again, "--resume"])
        if self.example_cell:
            return f"emoctl runs show {called} --cell {shlex.quote(self.example_cell)}"
        return f"open {self.run.name}/{self.run.tables.name}"


def overview(run: RunFolder) -> Overview:
    """Look at a run without changing it. What is broken in it becomes a problem, not an error."""
    state: State = "done" if run.is_done else "owned" if run.is_owned else "unfinished"
    problems: list[str] = []
    manifest = None
    try:
        manifest = read_manifest(run)
    except StoreError as e:
        problems.append(str(e))
    n_rollouts = n_scores = counts = cell = None
    try:
        with RunStore.open(run.path, write=False) as store:
            n_rollouts, n_scores = store.n_rollouts(), store.n_scores()
            counts, cell = store.outcome_counts(), _example_cell(store)
    except StoreError as e:
        problems.append(str(e))
    started = run.started or (manifest.started if manifest else None)
    return Overview(
        run, state, started, manifest, n_rollouts, n_scores, counts, cell, tuple(problems)
    )


def _example_cell(store: RunStore) -> str | None:
    conditions = {record.id: record for record in store.conditions()}
    keys = sorted(
        store.done_rollouts(),
        key=lambda key: (
            conditions[key[2]].control != "none",
            conditions[key[2]].vector == UNSTEERED,
            key,
        ),
    )
    if not keys:
        return None
    scenario, variant, condition_id, _ = keys[0]
    return cell_name(scenario, variant, conditions[condition_id])
