"""The tables of a ledger of this version.

A ledger of an earlier version gets them step by step (``ledger_steps``).
"""

from typing import Any, Final

import sqlalchemy
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

__all__ = [
    "AMONG",
    "ANSWERS",
    "BATCHES",
    "BATCH_DEVICES",
    "CHAIN",
    "ENTRIES",
    "LEDGER_JOURNAL",
    "LEDGER_TABLES",
    "LEDGER_VERSION",
    "MAX_ACTOR",
    "MAX_ANSWER_KEY",
    "MAX_BATCH",
    "MAX_WHY",
    "NEXT",
    "STATES",
    "TABLES_VERSION",
    "device_columns",
]

MAX_BATCH: Final = 128
"""The longest name of a batch, in characters."""
MAX_ACTOR: Final = 128
"""The longest name of the user who changes a ledger, in characters."""
MAX_WHY: Final = 1000
"""The longest reason for a change, in characters."""

MAX_ANSWER_KEY: Final = 255
"""The longest key under which an answer of a service is kept, in characters."""

LEDGER_TABLES: Final = MetaData()
ENTRIES: Final = Table(
    "spkg_voucher",
    LEDGER_TABLES,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("oui", String(6), nullable=False),
    Column("product_class", String(64), nullable=False),
    Column("serial_number", String(64), nullable=False),
    Column("option", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signer", String(64), nullable=False),
    Column("batch", String(MAX_BATCH)),
    Column("run", String(16), nullable=False),
    Column("state", String(8), nullable=False),
    Column("reserved_at", String(20), nullable=False),
    Column("issued_at", String(20)),
    Column("voided_at", String(20)),
    Column("reserved_in", BigInteger),
    Column("issued_in", BigInteger),
    Column("voided_in", BigInteger),
    Column("manufacturer", String(64)),
    Column("description", String(256)),
    Column("mode", String(24)),
    Column("start", String(20)),
    Column("duration", BigInteger),
    Column("duration_units", String(8)),
    Column("transferable", Integer),
    Column("extras", Text),
    Column("end", String(20)),
    Column("renews", BigInteger),
    Column("renewal_duration", BigInteger),
    Column("renewal_units", String(8)),
    Column("revokes", BigInteger),
    UniqueConstraint("batch", "oui", "product_class", "serial_number", "option"),
)
"""One row for each serial number.

``reserved_in``, ``issued_in`` and ``voided_in`` name entries of the journal.  What follows them is what the
voucher does, as in Table 62; it is NULL where an earlier version reserved the number.
"""
NOT_VOID: Final = ENTRIES.c.state != "void"
AMONG: Final = ENTRIES.c.serial.in_(sqlalchemy.bindparam("serials", expanding=True))
"""Entries of the serial numbers that are given when a statement runs, as ``{"serials": [...]}``.

Expressions refer to each other in circles, so that numbers in them stay in memory until garbage is collected.
"""
STATES: Final = sqlalchemy.select(ENTRIES.c.serial, ENTRIES.c.state).where(AMONG)
Index("spkg_voucher_device", ENTRIES.c.oui, ENTRIES.c.product_class, ENTRIES.c.serial_number)
Index("spkg_voucher_end", ENTRIES.c.end, ENTRIES.c.serial)
# These two let a serial number have one renewal and one revocation, whoever asks for them at the same time.
for _link in (ENTRIES.c.renews, ENTRIES.c.revokes):
    Index(f"spkg_voucher_{_link.name}", _link, unique=True, sqlite_where=NOT_VOID, postgresql_where=NOT_VOID)
NEXT: Final = Table(
    "spkg_serial", LEDGER_TABLES, Column("next", BigInteger, primary_key=True, autoincrement=False)
)
"""The next serial number."""
BATCH_DEVICES: Final = Table(
    "spkg_batch_device",
    LEDGER_TABLES,
    Column("batch", String(MAX_BATCH), primary_key=True),
    Column("oui", String(6), primary_key=True),
    Column("product_class", String(64), primary_key=True),
    Column("serial_number", String(64), primary_key=True),
)
"""Its key lets a device have one voucher in a batch, whatever its Options."""
BATCHES: Final = Table(
    "spkg_batch",
    LEDGER_TABLES,
    Column("batch", String(MAX_BATCH), primary_key=True),
    Column("terms", String(64), nullable=False),
)
"""The Options, as a digest, of each batch that is issued to lists."""
LEDGER_JOURNAL: Final = Table(
    "spkg_journal",
    LEDGER_TABLES,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(20), nullable=False),
    Column("actor", String(MAX_ACTOR), nullable=False),
    Column("action", String(8), nullable=False),
    Column("reason", String(MAX_WHY), nullable=False),
    Column("batch", String(MAX_BATCH)),
    Column("serials", Text, nullable=False),
    Column("rows", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)
"""Every change of the entries, in order; nothing is ever changed or removed here."""
ANSWERS: Final = Table(
    "spkg_answer",
    LEDGER_TABLES,
    Column("client", String(MAX_ACTOR), primary_key=True),
    Column("key", String(MAX_ANSWER_KEY), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("at", String(20), nullable=False, index=True),
    Column("serials", Text, nullable=False),
    Column("status", Integer),
    Column("media", String(64)),
    Column("body", Text),
)
"""What a service answered to the requests of a client that have a key; without a status it has not yet.

The request is a digest; the serial numbers are those that were reserved for it, in order.
"""
CHAIN: Final = Table(
    "spkg_ledger",
    LEDGER_TABLES,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("length", BigInteger, nullable=False),
    Column("head", String(64), nullable=False),
)
"""One row: the number of entries of the journal, and the digest of the last."""
TABLES_VERSION: Final = "3"
"""The version of these tables; those of 0.1 were the first."""
LEDGER_VERSION: Final = Table(
    "spkg_ledger_version",
    LEDGER_TABLES,
    Column("version_num", String(32), nullable=False),
    sqlalchemy.PrimaryKeyConstraint("version_num", name="spkg_ledger_version_pkc"),
)
"""One row: the version of these tables, where Alembic keeps it."""


def device_columns() -> Any:
    """Return the columns that identify a device."""
    return sqlalchemy.tuple_(ENTRIES.c.oui, ENTRIES.c.product_class, ENTRIES.c.serial_number)
