"""A journal, which begins with what the ledger has, and the devices and Options of each batch."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy
from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, Connection, Integer, Row, String, Text

from vouchers.acs.ledger_journal import EARLIER_COLUMNS, GENESIS, JournalWriter, LedgerChange

__all__ = ["down_revision", "revision", "upgrade"]

revision: Final = "2"
down_revision: Final = "1"
ADOPTED: Final = "from a ledger of version 0.1, which kept no journal"
ADOPTED_AT_ONCE: Final = 1000
"""The number of rows adopted at a time."""
FIRST_ROWS: Final = sqlalchemy.table(
    "spkg_voucher", *map(sqlalchemy.column, ("serial", *EARLIER_COLUMNS, "issued_at", "voided_at"))
)
DEVICE: Final = ("batch", "oui", "product_class", "serial_number")


def upgrade(op: Operations, *, ledger: str, actor: str, at: str) -> None:
    """Add the tables, and write the journal of what there is."""
    for name in ("reserved_in", "issued_in", "voided_in"):
        op.add_column("spkg_voucher", Column(name, BigInteger))
    devices = op.create_table(
        "spkg_batch_device",
        Column("batch", String(128), primary_key=True),
        Column("oui", String(6), primary_key=True),
        Column("product_class", String(64), primary_key=True),
        Column("serial_number", String(64), primary_key=True),
    )
    op.create_table(
        "spkg_batch",
        Column("batch", String(128), primary_key=True),
        Column("terms", String(64), nullable=False),
    )
    op.create_table(
        "spkg_journal",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("at", String(20), nullable=False),
        Column("actor", String(128), nullable=False),
        Column("action", String(8), nullable=False),
        Column("reason", String(1000), nullable=False),
        Column("batch", String(128)),
        Column("serials", Text, nullable=False),
        Column("rows", String(64), nullable=False),
        Column("digest", String(64), nullable=False),
    )
    chain = op.create_table(
        "spkg_ledger",
        Column("one", Integer, primary_key=True, autoincrement=False),
        Column("version", Integer, nullable=False),
        Column("length", BigInteger, nullable=False),
        Column("head", String(64), nullable=False),
    )
    connection = op.get_bind()
    connection.execute(sqlalchemy.insert(chain).values(one=1, version=2, length=0, head=GENESIS))
    known = sqlalchemy.select(*(FIRST_ROWS.c[name] for name in DEVICE)).where(FIRST_ROWS.c.batch.is_not(None))
    connection.execute(sqlalchemy.insert(devices).from_select([*DEVICE], known.distinct()))
    journal = JournalWriter(connection, ledger, actor, at)
    for change, where in (
        (LedgerChange.RESERVE, sqlalchemy.true()),
        (LedgerChange.ISSUE, FIRST_ROWS.c.issued_at.is_not(None)),
        (LedgerChange.VOID, FIRST_ROWS.c.voided_at.is_not(None)),
    ):
        for rows in _pages(connection, where):
            journal.adopt(change, rows, ADOPTED)


def _pages(connection: Connection, where: Any) -> Iterator[Sequence[Row[Any]]]:
    last = -1
    while True:
        query = sqlalchemy.select(FIRST_ROWS).where(where, FIRST_ROWS.c.serial > last)
        rows = connection.execute(query.order_by(FIRST_ROWS.c.serial).limit(ADOPTED_AT_ONCE)).all()
        if rows:
            yield rows
        if len(rows) < ADOPTED_AT_ONCE:
            return
        last = rows[-1].serial
