"""Making a ledger, and bringing one of an earlier version up to date, each in one transaction."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Row

from spkg.errors import HostError
from vouchers.acs.ledger_database import LEDGER_MARK, LedgerDatabase
from vouchers.acs.ledger_journal import GENESIS, SCHEMA_VERSION, JournalWriter, LedgerChange
from vouchers.acs.ledger_tables import (
    ANSWERS,
    BATCH_DEVICES,
    CHAIN,
    ENTRIES,
    LEDGER_TABLES,
    NEXT,
)

__all__ = ["Opening", "open_tables"]

ADOPTED: Final = "from a ledger of version 0.1, which kept no journal"
ADOPTED_AT_ONCE: Final = 1000
"""The number of rows adopted at a time."""


class Opening:
    """What was found in a database."""

    created: bool = False
    """Whether there was no ledger."""
    migrated: bool = False
    """Whether there was one of an earlier version."""


def open_tables(database: LedgerDatabase, *, create: bool, actor: str, at: str) -> Opening:
    """Make sure that a database has the tables of a ledger of this version.

    Args:
        database: The database.
        create: Whether to make a missing ledger.
        actor: Who brings an earlier version up to date, for the journal.
        at: When.

    Raises:
        HostError: It has none, or something else in it; or it is of a later version, or damaged.
    """
    opening = Opening()
    with database.transaction() as connection:
        if not database.in_file:
            # The lock makes issuers create or migrate the tables one by one.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LEDGER_MARK})")
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        opening.created = ENTRIES.name not in tables
        if opening.created and not create:
            raise HostError(f"{database.name}: the database has no ledger in it", hint=_hint(database))
        if database.in_file:
            _check_mark(connection, database.name, tables, created=opening.created)
        if opening.created:
            LEDGER_TABLES.create_all(connection)
            connection.execute(sqlalchemy.insert(NEXT).values(next=1))
            _begin_chain(connection)
        elif CHAIN.name not in tables:
            _adopt(connection, database.name, actor, at)
            opening.migrated = True
        else:
            version = connection.scalar(sqlalchemy.select(CHAIN.c.version))
            if version != SCHEMA_VERSION:
                raise HostError(
                    f"{database.name}: expected a ledger of version {SCHEMA_VERSION}, got version {version}"
                )
            if ANSWERS.name not in tables:  # one that was made before there was a service
                ANSWERS.create(connection)
    return opening


def _hint(database: LedgerDatabase) -> str:
    return f"create one with 'spkg voucher ledger init {database.name}'"


def _check_mark(connection: Connection, name: str, tables: set[str], *, created: bool) -> None:
    """Make sure that a file of SQLite is a ledger, or free to become one."""
    mark = connection.exec_driver_sql("PRAGMA application_id").scalar()
    if created and tables:
        raise HostError(f"{name}: expected a ledger, got a database with other tables")
    if mark != (0 if created else LEDGER_MARK):
        raise HostError(f"{name}: expected a ledger, got another kind of SQLite file")
    if created:
        connection.exec_driver_sql(f"PRAGMA application_id = {LEDGER_MARK}")


def _begin_chain(connection: Connection) -> None:
    connection.execute(sqlalchemy.insert(CHAIN).values(one=1, version=SCHEMA_VERSION, length=0, head=GENESIS))


def _adopt(connection: Connection, ledger: str, actor: str, at: str) -> None:
    """Add to a ledger of version 0.1 what came later, and begin its journal with what it has."""
    for column in ("reserved_in", "issued_in", "voided_in"):
        connection.exec_driver_sql(f"ALTER TABLE {ENTRIES.name} ADD COLUMN {column} BIGINT")
    LEDGER_TABLES.create_all(connection)
    _begin_chain(connection)
    device = (ENTRIES.c.batch, ENTRIES.c.oui, ENTRIES.c.product_class, ENTRIES.c.serial_number)
    connection.execute(
        sqlalchemy.insert(BATCH_DEVICES).from_select(
            [column.name for column in device],
            sqlalchemy.select(*device).where(ENTRIES.c.batch.is_not(None)).distinct(),
        )
    )
    journal = JournalWriter(connection, ledger, actor, at)
    for change, where in (
        (LedgerChange.RESERVE, sqlalchemy.true()),
        (LedgerChange.ISSUE, ENTRIES.c.issued_at.is_not(None)),
        (LedgerChange.VOID, ENTRIES.c.voided_at.is_not(None)),
    ):
        for rows in _pages(connection, where):
            journal.adopt(change, rows, ADOPTED)


def _pages(connection: Connection, where: Any) -> Iterator[Sequence[Row[Any]]]:
    last = -1
    while True:
        query = sqlalchemy.select(ENTRIES).where(where, ENTRIES.c.serial > last)
        rows = connection.execute(query.order_by(ENTRIES.c.serial).limit(ADOPTED_AT_ONCE)).all()
        if rows:
            yield rows
        if len(rows) < ADOPTED_AT_ONCE:
            return
        last = rows[-1].serial
