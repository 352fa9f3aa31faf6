"""Which voucher governs an Option of a device, by the ledger: the last one that is not void.

A device goes by the last voucher that it applies.  The ledger knows in which order they were reserved.
"""

from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement

from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_tables import ENTRIES

__all__ = ["governs", "is_last", "is_revoked"]


def governs() -> ColumnElement[bool]:
    """Whether a row is issued and governs its Option."""
    return sqlalchemy.and_(ENTRIES.c.state == SerialState.ISSUED.value, is_last())


def is_last() -> ColumnElement[bool]:
    """Whether no later voucher for the Option of a row is reserved or issued."""
    later = ENTRIES.alias()
    same: Any = sqlalchemy.and_(
        *(later.c[name] == ENTRIES.c[name] for name in ("oui", "product_class", "serial_number", "option")),
        later.c.state != SerialState.VOID.value,
        sqlalchemy.tuple_(later.c.reserved_in, later.c.serial)
        > sqlalchemy.tuple_(ENTRIES.c.reserved_in, ENTRIES.c.serial),
    )
    return ~sqlalchemy.exists().where(same)


def is_revoked() -> ColumnElement[bool]:
    """Whether a voucher that is not void revokes a row."""
    other = ENTRIES.alias()
    return sqlalchemy.exists().where(
        other.c.revokes == ENTRIES.c.serial, other.c.state != SerialState.VOID.value
    )
