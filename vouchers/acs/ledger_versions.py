"""Making a ledger, and bringing one of an earlier version up to date, each in one transaction.

What takes the steps between versions, with Alembic, is imported only for that.
"""

from importlib import import_module
from typing import Any

import sqlalchemy
from sqlalchemy import Connection

from spkg.errors import HostError
from vouchers.acs.ledger_database import LEDGER_MARK, LedgerDatabase
from vouchers.acs.ledger_journal import GENESIS
from vouchers.acs.ledger_tables import CHAIN, ENTRIES, LEDGER_TABLES, LEDGER_VERSION, NEXT, TABLES_VERSION

__all__ = ["Opening", "open_tables"]


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
        if opening.created and tables & LEDGER_TABLES.tables.keys():
            raise _without_table(database, ENTRIES.name)
        if database.in_file:
            _check_mark(connection, database.name, tables, created=opening.created)
        if opening.created and not create:
            raise HostError(f"{database.name}: the database has no ledger in it", hint=_hint(database))
        if opening.created:
            if database.in_file:
                connection.exec_driver_sql(f"PRAGMA application_id = {LEDGER_MARK}")
            LEDGER_TABLES.create_all(connection)
            connection.execute(sqlalchemy.insert(NEXT).values(next=1))
            connection.execute(sqlalchemy.insert(CHAIN).values(one=1, length=0, head=GENESIS))
            connection.execute(sqlalchemy.insert(LEDGER_VERSION).values(version_num=TABLES_VERSION))
            return opening
        version = _version(connection, tables)
        if version != TABLES_VERSION:
            migration: Any = import_module("vouchers.acs.ledger_migration")
            migration.migrate_tables(connection, version, ledger=database.name, actor=actor, at=at)
            opening.migrated = True
        elif missing := sorted(LEDGER_TABLES.tables.keys() - tables):
            raise _without_table(database, missing[0])
    return opening


def _hint(database: LedgerDatabase) -> str:
    return f"create one with 'spkg voucher ledger init {database.name}'"


def _without_table(database: LedgerDatabase, name: str) -> HostError:
    return HostError(f"{database.name}: damaged: the table {name} is missing")


def _check_mark(connection: Connection, name: str, tables: set[str], *, created: bool) -> None:
    """Make sure that a file of SQLite is a ledger, or free to become one."""
    mark = connection.exec_driver_sql("PRAGMA application_id").scalar()
    if created and tables:
        raise HostError(f"{name}: expected a ledger, got a database with other tables")
    if mark != (0 if created else LEDGER_MARK):
        raise HostError(f"{name}: expected a ledger, got another kind of SQLite file")


def _version(connection: Connection, tables: set[str]) -> str:
    """Return the version of the tables of a ledger."""
    if LEDGER_VERSION.name in tables:
        return str(connection.scalar(sqlalchemy.select(LEDGER_VERSION.c.version_num)))
    if CHAIN.name not in tables:
        return "1"
    columns = {column["name"] for column in sqlalchemy.inspect(connection).get_columns(CHAIN.name)}
    if "version" not in columns:  # so it is missing, which the caller tells
        return TABLES_VERSION
    return str(connection.scalar(sqlalchemy.select(sqlalchemy.column("version")).select_from(CHAIN)))
