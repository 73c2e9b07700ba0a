"""rollouts.sqlite: every row of a run, written in transactions that a kill cannot tear.

It keeps and gives back records. It does not know how one was made, who owns the run folder, or
what any of it is counted for.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from emoctl.errors import StoreError, did_you_mean
from emoctl.scenarios import Scenario
from emoctl.store.inserting import insert
from emoctl.store.records import (
    ConditionRecord,
    ProbeRecord,
    ReadingsRecord,
    Readout,
    RolloutRecord,
    ScoreRecord,
    VariantRecord,
)
from emoctl.store.rows import (
    CONDITIONS,
    PROBE,
    READINGS,
    ROLLOUTS,
    SCENARIOS,
    SCORES,
    VARIANTS,
    Record,
    Row,
    Table,
)
from emoctl.store.schema import (
    DATABASE,
    connect_to_read,
    connect_to_write,
    mendable_errors,
    transaction,
)

RolloutKey = tuple[str, str, str, int]
"""Scenario, variant, condition id, rollout."""

ScoreKey = tuple[str, str, str, str, str, str]
"""Scenario, variant, condition id, readout, item, order."""

Filters = Mapping[str, str | Sequence[str] | None]


class RunStore:
    """The rows of one run; use it as a context manager, in one thread.

    Each `add_…` call is one transaction: after it returns, its rows survive a kill and a power
    cut; if it raises, none of them is there. Scenarios are added before their variants, and
    these and the conditions before rollouts and scores.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, write: bool) -> None:
        self.path = folder / DATABASE
        self._connection = connection
        self._write = write

    @classmethod
    def create(cls, folder: Path) -> Self:
        """An empty store in an existing folder.

        Raises:
            StoreError: there is one already, the run is done, or the disk refuses.
        """
        return cls(folder, connect_to_write(folder, new=True), write=True)

    @classmethod
    def open(cls, folder: Path, write: bool) -> Self:
        """The store of a folder. To write, one is made where a kill came before its first row.

        Raises:
            StoreError: missing, broken, of another version; or a write to a done run.
        """
        if write:
            return cls(folder, connect_to_write(folder, new=False), write=True)
        return cls(folder, connect_to_read(folder), write=False)

    def close(self) -> None:
        """Fold the write-ahead log into the file, and let go of it."""
        if self._write:
            with suppress(sqlite3.OperationalError):  # the log itself keeps what is committed
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_scenarios(self, scenarios: Sequence[Scenario]) -> None:
        """Raises StoreError where one of the name is kept with other content, or the disk is full.

        Every `add_…` does, for its own key; content that is kept already is left alone.
        """
        self._add(SCENARIOS, scenarios)

    def add_variants(self, variants: Sequence[VariantRecord]) -> None:
        """Raises StoreError as `add_scenarios` does, or where the scenario is not kept."""
        self._add(VARIANTS, variants)

    def add_conditions(self, conditions: Sequence[ConditionRecord]) -> None:
        """Raises StoreError as `add_scenarios` does."""
        self._add(CONDITIONS, conditions)

    def add_probe(self, probe: ProbeRecord) -> None:
        """Raises StoreError as `add_scenarios` does; a run has one probe, or none."""
        self._add(PROBE, [probe])

    def add_rollouts(
        self, rollouts: Sequence[RolloutRecord], readings: Sequence[ReadingsRecord] = ()
    ) -> None:
        """Rollouts and what was read of them, in one transaction.

        Raises StoreError as `add_scenarios` does, or where variant or condition is not kept.
        """
        with self._adding():
            for rollout in rollouts:
                insert(self._connection, ROLLOUTS, ROLLOUTS.encode(rollout))
            for read in readings:
                insert(self._connection, READINGS, READINGS.encode(read))

    def add_scores(self, scores: Sequence[ScoreRecord]) -> None:
        """Raises StoreError as `add_scenarios` does, or where variant or condition is not kept."""
        self._add(SCORES, scores)

    def done_rollouts(self) -> set[RolloutKey]:
        """The keys of all rollouts that are kept."""
        return {(a, b, c, d) for a, b, c, d in self._keys(ROLLOUTS)}

    def done_scores(self) -> set[ScoreKey]:
        """The keys of all scores that are kept."""
        return {(a, b, c, d, e, f) for a, b, c, d, e, f in self._keys(SCORES)}

    def scenarios(self) -> list[Scenario]:
        """Every scenario of the run, by name."""
        return self._read(SCENARIOS, {})

    def scenario_digests(self) -> dict[str, str]:
        """Scenario name → digest of its content."""
        return {name: digest for name, digest, _ in self._rows(SCENARIOS.select, ())}

    def variants(self, *, scenario: str | None = None) -> list[VariantRecord]:
        """Every prompt as it was asked, by scenario and variant."""
        return self._read(VARIANTS, {"scenario": scenario})

    def conditions(self, *, ids: Sequence[str] | None = None) -> list[ConditionRecord]:
        """Every condition, or those of `ids`, by id."""
        return self._read(CONDITIONS, {"id": ids})

    def rollouts(
        self,
        *,
        scenario: str | None = None,
        variant: str | None = None,
        condition_ids: Sequence[str] | None = None,
    ) -> list[RolloutRecord]:
        """Rollouts in the order of their key; None takes all."""
        return self._read(
            ROLLOUTS, {"scenario": scenario, "variant": variant, "condition_id": condition_ids}
        )

    def scores(
        self,
        *,
        scenario: str | None = None,
        variant: str | None = None,
        readout: Readout | None = None,
        condition_ids: Sequence[str] | None = None,
    ) -> list[ScoreRecord]:
        """Exact scores in the order of their key; None takes all."""
        return self._read(
            SCORES,
            {
                "scenario": scenario,
                "variant": variant,
                "readout": readout,
                "condition_id": condition_ids,
            },
        )

    def probe(self) -> ProbeRecord | None:
        """What was read of every token; None where nothing was."""
        return next(iter(self._read(PROBE, {})), None)

    def readings(self, rollout_id: str | None = None) -> Iterator[ReadingsRecord]:
        """What was read, in the order of the rollouts' key, one rollout in memory at a time;
        None takes all."""
        where, values = (" WHERE rollout_id = ?", [rollout_id]) if rollout_id else ("", [])
        columns = ", ".join(f"readings.{column}" for column in READINGS.columns)
        with mendable_errors(self.path):
            rows = self._connection.execute(
                f"SELECT {columns} FROM rollouts JOIN readings USING (rollout_id){where} "
                f"ORDER BY {', '.join(ROLLOUTS.key)}",
                values,
            )
            yield from map(READINGS.decode, rows)

    def n_rollouts(self) -> int:
        """How many rollouts are kept."""
        return int(self._rows("SELECT count(*) FROM rollouts", ())[0][0])

    def n_scores(self) -> int:
        """How many exact scores are kept."""
        return int(self._rows("SELECT count(*) FROM scores", ())[0][0])

    def outcome_counts(self) -> dict[str, dict[str, int]]:
        """Scenario → outcome → rollouts; those without an outcome count under their status."""
        counts: dict[str, dict[str, int]] = {}
        for scenario, outcome, n in self._rows(
            "SELECT scenario, coalesce(outcome, status) AS label, count(*) FROM rollouts "
            "GROUP BY scenario, label ORDER BY scenario, label",
            (),
        ):
            counts.setdefault(scenario, {})[outcome] = n
        return counts

    def rollout(self, rollout_id: str) -> RolloutRecord:
        """The rollout of an id, of a unique beginning of one, or of either without its `r-`.

        Raises:
            StoreError: none has it, or several do.
        """
        wanted = rollout_id if rollout_id.startswith("r-") else f"r-{rollout_id}"
        where = " WHERE substr(rollout_id, 1, ?) = ? ORDER BY rollout_id LIMIT 4"
        rows = self._rows(ROLLOUTS.select + where, (len(wanted), wanted))
        if not rows or wanted == "r-":
            known = [row[0] for row in self._rows("SELECT rollout_id FROM rollouts", ())]
            listing = "a cell lists its ids: emoctl runs show RUN --cell …"
            raise StoreError(
                f"no rollout has the id {rollout_id!r}",
                hint=did_you_mean(wanted, known, listing=listing),
            )
        if len(rows) > 1:
            several = ", ".join(row[0] for row in rows[:3])
            raise StoreError(
                f"several rollouts begin with {rollout_id!r}: {several}", hint="give more digits"
            )
        return ROLLOUTS.decode(rows[0])

    def _keys(self, table: Table[Record]) -> list[Row]:
        return self._rows(f"SELECT {', '.join(table.key)} FROM {table.name}", ())

    def _read(self, table: Table[Record], filters: Filters) -> list[Record]:
        clauses: list[str] = []
        values: list[str] = []
        for column, wanted in filters.items():
            if wanted is not None:
                among = (wanted,) if isinstance(wanted, str) else tuple(wanted)
                clauses.append(f"{column} IN ({', '.join('?' * len(among))})")
                values.extend(among)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        rows = self._rows(table.select + where + table.ordered, values)
        return [table.decode(row) for row in rows]

    def _rows(self, statement: str, values: Sequence[object]) -> list[Row]:
        with mendable_errors(self.path):
            return self._connection.execute(statement, values).fetchall()

    def _add(self, table: Table[Record], records: Iterable[Record]) -> None:
        with self._adding():
            for record in records:
                insert(self._connection, table, table.encode(record))

    @contextmanager
    def _adding(self) -> Iterator[None]:
        if not self._write:
            raise ValueError("the store was opened for reading only")
        with mendable_errors(self.path), transaction(self._connection):
            yield


def settle(folder: Path) -> None:
    """Leave one plain database file behind: fold in the write-ahead log, and remove it.

    Raises:
        StoreError: the store is missing or broken, or the run is done.
    """
    with RunStore.open(folder, write=True):
        pass
