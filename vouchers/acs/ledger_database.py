"""The database of a ledger: where it is, and how a transaction begins there.

Nothing outlives a transaction, so that a pooler may give each transaction another connection.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, event

from spkg.errors import HostError, UsageError

__all__ = ["LEDGER_MARK", "LedgerAwayError", "LedgerDatabase"]

LEDGER_LOCK_TIMEOUT: Final = 60
"""Seconds to wait for other issuers."""
QUERY: Final = {"host", "port", "service", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"}
"""The parameters that the URL of a ledger may have after its question mark."""
LEDGER_MARK: Final = 0x53504B4C
"""Marks an SQLite file as a ledger: its application_id."""
LIBPQ: Final = re.compile(
    r"\s*(host|hostaddr|port|dbname|user|password|passfile|service|options|sslmode|connect_timeout)\s*="
)
URL_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""What a URL begins with; a drive of Windows has one letter."""
AWAY: Final = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
"""The errors of a database that may be there again later."""
TRANSACTION_STATE: Final = "25"
"""The class of SQLSTATE for what a transaction does not allow at the moment."""
CONNECT_TIMEOUT: Final = 10
"""Seconds to wait for PostgreSQL to take a connection, unless the URL says otherwise."""


class LedgerAwayError(HostError):
    """The database can't be reached, or is too busy: what was asked of it may work later."""


class LedgerDatabase:
    """A database in SQLite or PostgreSQL.

    Args:
        url: An SQLite file, or a URL such as ``postgresql://host/name``.

    Raises:
        UsageError: The URL is invalid, or has a password in it.
        HostError: The driver is missing.
    """

    def __init__(self, url: str) -> None:
        self.name, self._engine = _open(url)
        # Both dialects have ON CONFLICT; the generic insert() does not.
        self.insert: Any = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}").insert

    @property
    def in_file(self) -> bool:
        """Whether it is a file of SQLite."""
        return self._engine.dialect.name == "sqlite"

    @property
    def missing(self) -> bool:
        """Whether it is a file that does not exist."""
        return self.in_file and not Path(self.name).exists()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        """Begin a transaction, which is undone if the block raises.

        Raises:
            LedgerAwayError: The database can't be reached, or is too busy, at the moment.
            HostError: The database can't be used.
        """
        try:
            connection = self._begun(writes=writes)
            with connection, connection.get_transaction() or connection.begin():
                yield connection
        except sqlalchemy.exc.SQLAlchemyError as exc:
            raise (LedgerAwayError if _is_away(exc) else HostError)(f"{self.name}: {_problem(exc)}") from exc

    def _begun(self, *, writes: bool) -> Connection:
        """Return a connection in a transaction; one that has died in the pool is replaced, once."""
        for last in (False, True):
            connection = self._engine.connect().execution_options(writes=writes)
            try:
                connection.begin()
            except sqlalchemy.exc.DBAPIError as exc:
                connection.close()
                if last or not exc.connection_invalidated:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise AssertionError  # pragma: no cover - the second turn returns or raises


def _open(url: str) -> tuple[str, sqlalchemy.Engine]:
    """Return the name of a database in errors, and its engine."""
    address = _address(url)
    kind = address.get_backend_name()
    if kind == "sqlite":
        if address.host or address.query or address.database in {None, "", ":memory:"}:
            raise UsageError("an SQLite ledger must be given as the path of a file")
        engine = sqlalchemy.create_engine(
            address.set(drivername="sqlite"), connect_args={"timeout": LEDGER_LOCK_TIMEOUT}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return str(address.database), engine
    if kind != "postgresql":
        raise UsageError(f"expected a ledger in SQLite or PostgreSQL, got {kind[:40]!r}")
    strange = sorted({*address.query} - QUERY)
    if address.password is not None or any("password" in name for name in strange):
        hint = "put the password into ~/.pgpass, or into the file that PGPASSFILE names"
        raise UsageError(
            "the URL of the ledger must not have a password, which other users could see", hint=hint
        )
    if strange:
        raise UsageError(
            f"unknown parameter {strange[0][:40]!r} in the URL of the ledger; "
            f"expected one of {', '.join(sorted(QUERY))}"
        )
    try:
        # PgBouncer gives each transaction another connection: nothing may be prepared in one for the next.
        engine = sqlalchemy.create_engine(
            address.set(drivername="postgresql+psycopg"),
            connect_args={"prepare_threshold": None}
            | ({} if "connect_timeout" in address.query else {"connect_timeout": CONNECT_TIMEOUT}),
        )
    except ImportError as exc:
        hint = "pip install 'psycopg[binary]>=3.2'"
        raise HostError("PostgreSQL needs psycopg, which is not installed", hint=hint) from exc
    event.listen(engine, "begin", _begin_postgresql)
    return address.set(query={}).render_as_string(), engine


def _address(url: str) -> sqlalchemy.URL:
    """Return the address of a database: a URL, or the path of a file."""
    if not url.isprintable() or not url:
        raise UsageError("the URL of the ledger is not valid")
    if "://" not in url:
        return sqlalchemy.URL.create("sqlite", database=_path(url))
    try:
        address = sqlalchemy.make_url(url)
        _ = address.port, address.get_backend_name(), address.render_as_string()
    except (sqlalchemy.exc.ArgumentError, ValueError) as exc:
        raise UsageError("the URL of the ledger is not valid") from exc
    if address.get_backend_name() == "postgres":
        return address.set(drivername="postgresql")
    return address


def _path(text: str) -> str:
    """Return the path of a file; what only looks like one must not become a ledger that counts from 1."""
    if LIBPQ.match(text):
        raise UsageError(
            "expected the path of a file or a URL as the ledger, got a connection string of libpq",
            hint="write it as postgresql://USER@HOST/DATABASE",
        )
    if text != ":memory:" and URL_SCHEME.match(text):
        raise UsageError(
            f"expected the path of a file or postgresql://host/name as the ledger, got {text[:40]!r}",
            hint=f"a file of this name is ./{text[:40]}",
        )
    return text


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute("PRAGMA synchronous = EXTRA")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("writes", True):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LEDGER_LOCK_TIMEOUT * 1000)}")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _is_away(exc: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Say whether the database may be there again later.

    A server that ends while it answers, or a pooler that gives a connection of which the server has ended the
    transaction, leads to internal errors: of the protocol, without a state, or of the class of transactions.
    """
    if isinstance(exc, sqlalchemy.exc.InternalError):
        state = getattr(exc.orig, "sqlstate", None)
        return state is None or state.startswith(TRANSACTION_STATE)
    return isinstance(exc, AWAY) or (
        isinstance(exc, sqlalchemy.exc.DBAPIError) and exc.connection_invalidated
    )


def _problem(exc: Exception) -> str:
    """Return the message of a database, in one line and without the statement."""
    said = str(getattr(exc, "orig", None) or exc).strip().partition("\n")[0]
    return said[:200] if said[1:2].isupper() else said[:1].lower() + said[1:200]
