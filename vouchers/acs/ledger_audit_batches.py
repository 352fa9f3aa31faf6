"""Whether what a ledger keeps of its batches, their devices and Options, is what their serial numbers are."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Row

from spkg.errors import HostError
from vouchers.acs.ledger_entry import LedgerEntry, entry_columns, entry_of
from vouchers.acs.ledger_tables import BATCH_DEVICES, BATCHES, ENTRIES
from vouchers.acs.ledger_wants import device_key, terms_of

__all__ = ["batch_problems"]

ROWS_AHEAD: Final = 1000
"""The number of rows read at a time."""
SHA_256: Final = re.compile("[0-9a-f]{64}")
DEVICE_NAMES: Final = ("batch", "oui", "product_class", "serial_number")


def batch_problems(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with the tables of batches, in constant memory.

    The terms of renewals can't be found again from what was issued; only their form is looked at.
    """
    for one, other, problem in (
        (BATCH_DEVICES, ENTRIES, "has no serial number"),
        (ENTRIES, BATCH_DEVICES, "is missing"),
    ):
        query = _without(one, other, DEVICE_NAMES).where(one.c.batch.is_not(None))
        for batch, *device in connection.execute(query.execution_options(yield_per=ROWS_AHEAD)):
            name = " ".join(map(_shown, device))
            yield f"{BATCH_DEVICES.name}: the device {name} of batch {_shown(batch)} {problem}"
    for (batch,) in connection.execute(_without(BATCHES, ENTRIES, ("batch",))):
        yield f"{BATCHES.name}: the batch {_shown(batch)} has no serial number"
    for row in connection.execute(sqlalchemy.select(BATCHES).order_by(BATCHES.c.batch)):
        if not _fit(connection, row):
            yield f"{BATCHES.name}: the terms of batch {_shown(row.batch)} are not those of its vouchers"


def _without(one: sqlalchemy.Table, other: sqlalchemy.Table, names: Sequence[str]) -> Any:
    """Return what selects the rows of a table that are missing in another one."""
    same = sqlalchemy.and_(*(other.c[name] == one.c[name] for name in names))
    columns = [one.c[name] for name in names]
    return sqlalchemy.select(*columns).where(~sqlalchemy.exists().where(same)).distinct().order_by(*columns)


def _fit(connection: Connection, begun: Row[Any]) -> bool:
    """Whether the terms of a batch are those of a device in it; single ones may have others."""
    if not isinstance(begun.terms, str) or SHA_256.fullmatch(begun.terms) is None:
        return False
    query = (
        sqlalchemy.select(*entry_columns())
        .where(ENTRIES.c.batch == begun.batch)
        .order_by(*(ENTRIES.c[name] for name in DEVICE_NAMES), ENTRIES.c.serial)
    )
    none = True
    with connection.execute(query.execution_options(yield_per=ROWS_AHEAD)) as rows:
        entries = (entry_of(row, "") for row in rows)
        try:
            for _, some in groupby(entries, key=lambda entry: device_key(entry.device)):
                none = False
                if _terms([*some]) in {None, begun.terms}:
                    return True
        except HostError:  # damaged, which is told of its row
            return True
    return none


def _terms(entries: Sequence[LedgerEntry]) -> str | None:
    """Return the terms of a batch in which a device has these entries; None if they are not known."""
    if any(entry.mode is None or entry.renews is not None for entry in entries):
        return None
    return terms_of(entry.template for entry in entries)


def _shown(value: object) -> str:
    return f"{value!s:.80}"
