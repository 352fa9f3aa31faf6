"""What is looked up in a ledger while it is in use: pages of entries, batches and the journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import LedgerEntry, entries_after, entry_columns, entry_of
from vouchers.acs.ledger_journal import JournalEntry, sound_entry
from vouchers.acs.ledger_tables import ENTRIES, LEDGER_JOURNAL

__all__ = ["BatchSummary", "batches_page", "entries_page", "ping_ledger", "recent_journal"]


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    """How many serial numbers a batch has."""

    batch: str
    by_state: Mapping[str, int]


def ping_ledger(ledger: Ledger) -> None:
    """Make sure that the database answers, and has the ledger.

    Raises:
        HostError: It does not.
    """
    with ledger.database.transaction(writes=False) as connection:
        connection.execute(sqlalchemy.select(ENTRIES.c.serial).limit(1)).all()


def entries_page(ledger: Ledger, wanted: Mapping[str, Any], *, after: int, limit: int) -> list[LedgerEntry]:
    """Return entries with these values and larger serial numbers, in order.

    Args:
        ledger: The ledger.
        wanted: Columns and their values.
        after: The last serial number that is known already.
        limit: The most entries.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    query = sqlalchemy.select(*entry_columns()).where(entries_after(after, wanted))
    with ledger.database.transaction(writes=False) as connection:
        rows = connection.execute(query.order_by(ENTRIES.c.serial).limit(limit)).all()
    return [entry_of(row, ledger.database.name) for row in rows]


def batches_page(ledger: Ledger, *, after: str, limit: int) -> list[BatchSummary]:
    """Return batches whose names come after one, in order.

    Raises:
        HostError: The database can't be read.
    """
    names = (
        sqlalchemy.select(ENTRIES.c.batch)
        .where(ENTRIES.c.batch > after)
        .distinct()
        .order_by(ENTRIES.c.batch)
        .limit(limit)
    )
    count = sqlalchemy.func.count()
    found: dict[str, dict[str, int]] = {}
    with ledger.database.transaction(writes=False) as connection:
        found = {name: {} for name in connection.scalars(names)}
        counts = (
            sqlalchemy.select(ENTRIES.c.batch, ENTRIES.c.state, count)
            .where(ENTRIES.c.batch.in_([*found]))
            .group_by(ENTRIES.c.batch, ENTRIES.c.state)
        )
        for name, state, number in connection.execute(counts):
            found[name][state] = number
    return [BatchSummary(batch=name, by_state=states) for name, states in found.items()]


def recent_journal(ledger: Ledger, *, before: int | None, limit: int) -> list[JournalEntry]:
    """Return entries of the journal, the newest first.

    Args:
        ledger: The ledger.
        before: Only those with smaller numbers; None for the newest of all.
        limit: The most entries.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    query = sqlalchemy.select(LEDGER_JOURNAL).order_by(LEDGER_JOURNAL.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(LEDGER_JOURNAL.c.number < before)
    with ledger.database.transaction(writes=False) as connection:
        rows = connection.execute(query).all()
    name = ledger.database.name
    return [sound_entry(JournalEntry(**row._mapping), name) for row in rows]  # noqa: SLF001 - its public name
