"""Which Options run out, by the ledger: what to renew."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Row

from spkg.common.times import write_time
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import LedgerEntry, entry_columns, entry_of
from vouchers.acs.ledger_governing import governs
from vouchers.acs.ledger_tables import AMONG, ENTRIES, device_columns
from vouchers.model import Mode
from vouchers.months import LAST

__all__ = ["count_estimated", "device_entries", "due_by_device", "due_renewals", "entries_of"]

DUE_AT_ONCE: Final = 500
"""The number of entries read at a time."""


def due_renewals(ledger: Ledger, within: timedelta, now: datetime) -> Iterator[LedgerEntry]:
    """Yield the Options that end soon and are not renewed, by their end, in constant memory.

    Left out are those that have ended, and whose voucher is void or no longer the last one for the Option.

    Args:
        ledger: The ledger.
        within: How soon they end.
        now: The current time.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    query = sqlalchemy.select(*entry_columns()).where(_is_due(within, now))
    query = query.order_by(ENTRIES.c.end, ENTRIES.c.serial)
    following: list[Any] = [sqlalchemy.true()]
    while True:
        rows: list[Row[Any]] = []
        with ledger.database.transaction(writes=False) as connection:
            for some in following:
                rows += connection.execute(query.where(some).limit(DUE_AT_ONCE - len(rows)))
        for row in rows:
            yield entry_of(row, ledger.database.name)
        if len(rows) < DUE_AT_ONCE:
            return
        end, serial = rows[-1].end, rows[-1].serial
        # Not as a pair of columns, for which SQLite reads all that end at the same time for each page.
        following = [(ENTRIES.c.end == end) & (ENTRIES.c.serial > serial), ENTRIES.c.end > end]


def due_by_device(
    ledger: Ledger, batch: str, idents: Iterable[str], within: timedelta, now: datetime
) -> Iterator[int]:
    """Yield the serial numbers of what is to be renewed, and of what a batch has renewed, device by device.

    Those whose end is only estimated are left out.  Nobody can write to an SQLite file until the last one.

    Args:
        ledger: The ledger.
        batch: The batch.
        idents: The Options; empty for all.
        within: How soon they end.
        now: The current time.

    Raises:
        HostError: The database can't be read.
    """
    due: Any = _is_due(within, now) & ENTRIES.c.start.is_not(None)
    if names := [*idents]:
        due &= ENTRIES.c.option.in_(names)
    done = (ENTRIES.c.batch == batch) & ENTRIES.c.renews.is_not(None)
    query = (
        sqlalchemy.select(ENTRIES.c.serial)
        .where(due | done)
        .order_by(ENTRIES.c.oui, ENTRIES.c.product_class, ENTRIES.c.serial_number, ENTRIES.c.serial)
    )
    with ledger.database.transaction(writes=False) as connection:
        yield from connection.execution_options(yield_per=1000).scalars(query)


def count_estimated(ledger: Ledger, within: timedelta, now: datetime) -> int:
    """Return how many Options may end soon, but have no StartDate, so that only their earliest end is known.

    Raises:
        HostError: The database can't be read.
    """
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(ENTRIES)
    with ledger.database.transaction(writes=False) as connection:
        return connection.scalar(query.where(_is_due(within, now), ENTRIES.c.start.is_(None))) or 0


def entries_of(ledger: Ledger, serials: Iterable[int]) -> Iterator[LedgerEntry]:
    """Yield the entries of serial numbers in their order, in constant memory; those it lacks are left out.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    query = sqlalchemy.select(*entry_columns()).where(AMONG)
    waiting: list[int] = []

    def found() -> Iterator[LedgerEntry]:
        with ledger.database.transaction(writes=False) as connection:
            rows = {row.serial: row for row in connection.execute(query, {"serials": waiting})}
        for serial in waiting:
            if serial in rows:
                yield entry_of(rows[serial], ledger.database.name)

    for serial in serials:
        waiting.append(serial)
        if len(waiting) == DUE_AT_ONCE:
            yield from found()
            waiting.clear()
    yield from found()


def device_entries(ledger: Ledger, device: tuple[str, str, str]) -> list[LedgerEntry]:
    """Return the entries of a device, given as OUI, product class and serial number, as they were reserved.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    query = sqlalchemy.select(*entry_columns()).where(device_columns() == device)
    with ledger.database.transaction(writes=False) as connection:
        rows = connection.execute(query.order_by(ENTRIES.c.reserved_in, ENTRIES.c.serial)).all()
    return [entry_of(row, ledger.database.name) for row in rows]


def _is_due(within: timedelta, now: datetime) -> Any:
    last = write_time(now + within if within < LAST - now else LAST)
    return sqlalchemy.and_(
        ENTRIES.c.mode == Mode.WITH_EXPIRATION.value,
        ENTRIES.c.end > write_time(now),
        ENTRIES.c.end <= last,
        ENTRIES.c.end < write_time(LAST),
        governs(),
    )
