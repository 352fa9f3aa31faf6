"""The tables of a ledger, and what their rows mean."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import sqlalchemy
from sqlalchemy import BigInteger, Column, Integer, MetaData, Row, String, Table, Text, UniqueConstraint

from spkg.errors import HostError

__all__ = [
    "ANSWERS",
    "BATCHES",
    "BATCH_DEVICES",
    "CHAIN",
    "ENTRIES",
    "LEDGER_JOURNAL",
    "LEDGER_TABLES",
    "MAX_ACTOR",
    "MAX_ANSWER_KEY",
    "MAX_BATCH",
    "MAX_WHY",
    "NEXT",
    "LedgerEntry",
    "SerialState",
    "device_columns",
    "entry_of",
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
    UniqueConstraint("batch", "oui", "product_class", "serial_number", "option"),
)
"""One row for each serial number; the last three columns name entries of the journal."""
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
    Column("version", Integer, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("head", String(64), nullable=False),
)
"""One row: the version of these tables, the number of entries of the journal, and the digest of the last."""


class SerialState(Enum):
    """The state of a serial number."""

    RESERVED = "reserved"
    """Taken; the voucher may not have been written."""
    ISSUED = "issued"
    VOID = "void"
    """Never to be issued, or issued and no longer to be counted."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One serial number, with the device and the Option that it is for."""

    serial: int
    oui: str
    product_class: str
    serial_number: str
    option: str
    digest: str
    """The SHA-256 of the contents of the Option, in hex."""
    signer: str
    """The SHA-256 of the signer's public key, in hex."""
    batch: str | None
    state: SerialState
    reserved_at: str
    issued_at: str | None
    voided_at: str | None


ENTRY_NAMES: Final = tuple(LedgerEntry.__dataclass_fields__)
NULLABLE: Final = {"batch", "issued_at", "voided_at"}
STATES: Final = {state.value: state for state in SerialState}


def entry_of(row: Row[Any], ledger: str) -> LedgerEntry:
    """Return the entry in a row of the ledger with this name.

    Raises:
        HostError: It has values that no issuer writes.
    """
    fields = {name: row._mapping[name] for name in ENTRY_NAMES}  # noqa: SLF001 - its public name
    for name, value in fields.items():
        # SQLite keeps whatever type it is given.
        wanted = int if name == "serial" else str
        if not isinstance(value, wanted) and not (value is None and name in NULLABLE):
            kind = type(value).__name__
            raise HostError(
                f"{ledger}: damaged: serial number {row.serial}: {name}: "
                f"expected {wanted.__name__}, got {kind}"
            )
    if fields["state"] not in STATES:
        raise HostError(
            f"{ledger}: damaged: serial number {row.serial}: state: "
            f"expected one of {', '.join(STATES)}, got {fields['state'][:20]!r}"
        )
    return LedgerEntry(**fields | {"state": STATES[fields["state"]]})


def device_columns() -> Any:
    """Return the columns that identify a device."""
    return sqlalchemy.tuple_(ENTRIES.c.oui, ENTRIES.c.product_class, ENTRIES.c.serial_number)
