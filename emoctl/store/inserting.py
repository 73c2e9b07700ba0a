"""One row into its table: kept once, never changed, or refused in words."""

import sqlite3

from emoctl.errors import StoreError
from emoctl.store.rows import Record, Row, Table


def insert(connection: sqlite3.Connection, table: Table[Record], row: Row) -> None:
    """Add a row; one with the same content that is kept already is left alone.

    Raises:
        StoreError: the key is kept with other content, what the row cites is not kept, or a text
            is none.
    """
    key = table.key_of(row)
    named = f"{table.name} row {'/'.join(map(str, key))}"
    try:
        added = connection.execute(table.insert, row).rowcount
    except UnicodeEncodeError:
        raise StoreError(f"{named} holds a lone surrogate, which is not text") from None
    except sqlite3.IntegrityError as e:
        if e.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise
        raise StoreError(
            f"{named} cites a scenario, variant, condition or rollout that the run does not hold",
            hint="add scenarios, then variants and conditions, then rollouts and scores",
        ) from None
    if not added:
        where = " AND ".join(f"{column} = ?" for column in table.key)
        kept = connection.execute(f"{table.select} WHERE {where}", key).fetchone()
        if not table.same(row, kept):
            raise StoreError(
                f"{named} is kept already, with other content",
                hint="the run folder belongs to another experiment; start a new run",
            )
