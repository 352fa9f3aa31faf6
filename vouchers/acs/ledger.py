"""The ledger of a server that issues vouchers: each serial number is used once (TR-069 C.3, Table 62).

Many issuers may share it at the same time.  A number is reserved before anything is signed with it, in one
transaction with the device and the Option that it is for.  Whatever happens then, it is never reserved again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from importlib import import_module
from pathlib import Path
from secrets import randbelow, token_hex
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy
from sqlalchemy import BigInteger, Column, Connection, MetaData, Row, String, Table, UniqueConstraint, event

from spkg.common.times import write_time
from spkg.errors import HostError, RefusedError, UsageError
from vouchers.acs.templates import Template
from vouchers.model import DeviceId, Voucher
from vouchers.signature.option_elements import content_of

__all__ = ["MAX_BATCH", "MAX_SERIAL", "Ledger", "LedgerEntry", "Reservation", "SerialState", "Want"]

MAX_SERIAL: Final = (1 << 32) - 1
"""The largest serial number: GetOptions reports it as an unsignedInt."""
MAX_BATCH: Final = 128
"""The longest name of a batch, in characters."""
LEDGER_LOCK_TIMEOUT: Final = 60
"""Seconds to wait for other issuers."""
QUERY: Final = {"host", "port", "service", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"}
"""The parameters that the URL of a ledger may have after its question mark."""
LEDGER_MARK: Final = 0x53504B4C
"""Marks an SQLite file as a ledger: its application_id."""
ROUNDS: Final = 64
"""How often to try again if other issuers have taken the numbers in the meantime."""
ROWS_AT_ONCE: Final = 1000
"""The number of entries read at a time."""

_META: Final = MetaData()
_ENTRIES: Final = Table(
    "spkg_voucher",
    _META,
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
    UniqueConstraint("batch", "oui", "product_class", "serial_number", "option"),
)
_NEXT: Final = Table("spkg_serial", _META, Column("next", BigInteger, primary_key=True, autoincrement=False))
_DEVICE: Final = sqlalchemy.tuple_(_ENTRIES.c.oui, _ENTRIES.c.product_class, _ENTRIES.c.serial_number)


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


@dataclass(frozen=True, kw_only=True)
class Want:
    """A voucher to issue: Options for one device."""

    device: DeviceId
    templates: tuple[Template, ...]

    def voucher(self, serials: Sequence[int]) -> Voucher:
        """Return the voucher with serial numbers, one for each Option.

        Raises:
            ValueError: The voucher would be invalid.
        """
        pairs = zip(self.templates, serials, strict=True)
        return Voucher(options=tuple(template.option(serial, self.device) for template, serial in pairs))


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """The answer of the ledger to a request."""

    serials: tuple[int, ...] = ()
    """The serial number of each Option; empty if the request is refused."""
    refusal: str | None = None
    """Why the request is refused; None if it is not."""


class Ledger:
    """A database of serial numbers.

    Args:
        url: An SQLite file, or a URL such as ``postgresql://host/name``.
        clock: Returns the current time.
        create: Whether to create a ledger that does not exist.

    Raises:
        UsageError: The URL is invalid, or has a password in it.
        HostError: The database can't be used.
    """

    def __init__(self, url: str, clock: Callable[[], datetime], *, create: bool = True) -> None:
        self._clock = clock
        self._name, self._engine = _open(url)
        self._create = create
        if not create and self._engine.dialect.name == "sqlite" and not Path(self._name).exists():
            raise HostError(f"{self._name}: the ledger does not exist")
        # Both dialects have ON CONFLICT; the generic insert() does not.
        self._insert: Any = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}").insert
        self.created = False
        """Whether the ledger did not exist before."""
        try:
            with self._transaction() as connection:
                self._claim(connection)
                _META.create_all(connection)
                if connection.scalar(sqlalchemy.select(_NEXT.c.next)) is None:
                    connection.execute(self._insert(_NEXT).values(next=1).on_conflict_do_nothing())
        except BaseException:
            self.close()
            raise

    def _claim(self, connection: Connection) -> None:
        """Make sure that the database is a ledger, or free to become one."""
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        self.created = _ENTRIES.name not in tables
        if self.created and not self._create:
            raise HostError(f"{self._name}: the database has no ledger in it")
        if self._engine.dialect.name != "sqlite":
            # A PostgreSQL database may have other tables, too; the lock makes issuers create ours one by one.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LEDGER_MARK})")
            return
        mark = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if self.created and tables:
            raise HostError(f"{self._name}: expected a ledger, got a database with other tables")
        if mark != (0 if self.created else LEDGER_MARK):
            raise HostError(f"{self._name}: expected a ledger, got another kind of SQLite file")
        if self.created:
            connection.exec_driver_sql(f"PRAGMA application_id = {LEDGER_MARK}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @staticmethod
    def new_run() -> str:
        """Return a unique name for one run of an issuer."""
        return token_hex(8)

    def reserve(
        self,
        wants: Sequence[Want],
        *,
        run: str,
        batch: str | None = None,
        signer: str = "",
        unpredictable: bool = False,
    ) -> list[Reservation]:
        """Reserve serial numbers for vouchers, or find those that the batch has reserved for them before.

        Args:
            wants: The vouchers; their Options have different names.
            run: The name of the run; a device may occur in it once.
            batch: In one batch the same device gets the same numbers again; None for new ones.
            signer: The signing key: the SHA-256 of its public key, in hex.
            unpredictable: Whether the next number must be hard to guess, as SHA-1 needs.

        Raises:
            HostError: The database can't be used, or there are no numbers left.
        """
        outcomes: dict[int, Reservation] = {}
        waiting = self._first_of_each(wants, batch, outcomes)
        for _ in range(ROUNDS):
            if batch is not None:
                self._find(waiting, batch, run, signer, outcomes)
            if not waiting:
                return [outcomes[index] for index in range(len(wants))]
            self._take(waiting, batch, run, signer, outcomes, unpredictable=unpredictable)
        raise HostError(f"{self._name}: too few serial numbers are left")

    def confirm(self, serials: Sequence[int]) -> None:
        """Record that a voucher has been issued.

        Raises:
            RefusedError: One of its serial numbers has been voided in the meantime.
            HostError: The database can't be written.
        """
        self._issued(_ENTRIES.c.serial.in_(serials))
        void = sqlalchemy.select(_ENTRIES.c.serial).where(_ENTRIES.c.serial.in_(serials))
        with self._transaction(writes=False) as connection:
            found = connection.scalar(void.where(_ENTRIES.c.state == SerialState.VOID.value))
        if found is not None:
            raise RefusedError(f"serial number {found} has been voided in the meantime")

    def confirm_batch(self, batch: str, run: str) -> int:
        """Record that all vouchers of one run of a batch have been issued; return how many numbers that are.

        Raises:
            HostError: The database can't be written.
        """
        return self._issued((_ENTRIES.c.batch == batch) & (_ENTRIES.c.run == run))

    def void(self, serial: int) -> None:
        """Record that a serial number is never to be issued, or that its voucher no longer counts.

        Raises:
            RefusedError: It is not in this ledger, or already void.
            HostError: The database can't be written.
        """
        changed = self._update(
            sqlalchemy.update(_ENTRIES)
            .where(_ENTRIES.c.serial == serial, _ENTRIES.c.state != SerialState.VOID.value)
            .values(state=SerialState.VOID.value, voided_at=write_time(self._clock()))
        )
        if not changed:
            known = next(self.entries(serial=serial), None)
            problem = "is already void" if known else "is not in this ledger"
            raise RefusedError(f"serial number {serial} {problem}")

    def entries(self, **wanted: object) -> Iterator[LedgerEntry]:
        """Yield the entries with these values, in the order of their serial numbers, in constant memory.

        Args:
            wanted: Fields of :class:`LedgerEntry`; None allows any value.

        Raises:
            UsageError: A value has characters that are not printable.
            HostError: The database can't be read.
        """
        query = sqlalchemy.select(_ENTRIES).order_by(_ENTRIES.c.serial).limit(ROWS_AT_ONCE)
        for name, value in wanted.items():
            if value is not None:
                plain = value.value if isinstance(value, SerialState) else value
                if isinstance(plain, str) and not plain.isprintable():
                    raise UsageError(f"{name}: must have only printable characters")
                query = query.where(_ENTRIES.c[name] == plain)
        last = -1
        while True:
            with self._transaction(writes=False) as connection:
                rows = connection.execute(query.where(_ENTRIES.c.serial > last)).all()
            for row in rows:
                yield _entry(row)
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1].serial

    def _first_of_each(
        self, wants: Sequence[Want], batch: str | None, outcomes: dict[int, Reservation]
    ) -> dict[int, Want]:
        """Return the requests by their index; of one device in a batch only the first."""
        if batch is None:
            return dict(enumerate(wants))
        first: dict[tuple[str, str, str], int] = {}
        for index, want in enumerate(wants):
            if first.setdefault(_key(want.device), index) != index:
                outcomes[index] = _TWICE
        return {index: wants[index] for index in first.values()}

    def _find(
        self, waiting: dict[int, Want], batch: str, run: str, signer: str, outcomes: dict[int, Reservation]
    ) -> None:
        """Answer the requests for which the batch already has serial numbers."""
        places = {_key(want.device): index for index, want in waiting.items()}
        query = sqlalchemy.select(_ENTRIES).where(_ENTRIES.c.batch == batch, _DEVICE.in_([*places]))
        found: dict[int, list[Row[Any]]] = {}
        with self._transaction() as connection:
            for row in connection.execute(query):
                found.setdefault(places[row.oui, row.product_class, row.serial_number], []).append(row)
            for index, rows in found.items():
                outcomes[index] = _again(waiting.pop(index), rows, run, signer)
            kept = [serial for index in found for serial in outcomes[index].serials]
            if kept:
                connection.execute(
                    sqlalchemy.update(_ENTRIES).where(_ENTRIES.c.serial.in_(kept)).values(run=run)
                )

    def _take(
        self,
        waiting: dict[int, Want],
        batch: str | None,
        run: str,
        signer: str,
        outcomes: dict[int, Reservation],
        *,
        unpredictable: bool,
    ) -> None:
        """Reserve numbers, and answer the requests whose numbers no other issuer took in the meantime."""
        # The same order everywhere, or two issuers of one batch could wait for each other.
        order = sorted(waiting, key=lambda index: _key(waiting[index].device))
        count = sum(len(waiting[index].templates) for index in order)
        numbers = iter(self._numbers(count, unpredictable=unpredictable))
        now = write_time(self._clock())
        taken = {index: [next(numbers) for _ in waiting[index].templates] for index in order}
        with self._transaction() as connection:
            common = {"batch": batch, "run": run, "signer": signer, "reserved_at": now}
            rows = [{**row, **common} for index in order for row in _rows(waiting[index], taken[index])]
            statement = self._insert(_ENTRIES).on_conflict_do_nothing().returning(_ENTRIES.c.serial)
            got = set(connection.scalars(statement, rows))
            lost = [index for index in order if not got.issuperset(taken[index])]
            # A voucher gets all its numbers, or none.
            partial = [serial for index in lost for serial in taken[index] if serial in got]
            if partial:
                connection.execute(sqlalchemy.delete(_ENTRIES).where(_ENTRIES.c.serial.in_(partial)))
        for index in order:
            if index not in lost:
                outcomes[index] = Reservation(serials=tuple(taken[index]))
                del waiting[index]

    def _numbers(self, count: int, *, unpredictable: bool) -> Sequence[int]:
        """Return numbers that are probably free; reserving them decides."""
        if unpredictable:
            found: set[int] = set()
            while len(found) < count:
                found.add(1 + randbelow(MAX_SERIAL))
            return [*found]
        with self._transaction() as connection:
            following: int = connection.execute(
                sqlalchemy.update(_NEXT).values(next=_NEXT.c.next + count).returning(_NEXT.c.next)
            ).scalar_one()
        if following - 1 > MAX_SERIAL:
            raise HostError(f"{self._name}: no serial numbers are left")
        return range(following - count, following)

    def _issued(self, which: Any) -> int:
        reserved = _ENTRIES.c.state == SerialState.RESERVED.value
        now = write_time(self._clock())
        return self._update(
            sqlalchemy.update(_ENTRIES)
            .where(which, reserved)
            .values(state=SerialState.ISSUED.value, issued_at=now)
        )

    def _update(self, statement: Any) -> int:
        with self._transaction() as connection:
            return int(connection.execute(statement).rowcount)

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                yield connection
        except sqlalchemy.exc.SQLAlchemyError as exc:
            raise HostError(f"{self._name}: {_problem(exc)}") from exc


_TWICE: Final = Reservation(refusal="the device occurs twice")


def _key(device: DeviceId) -> tuple[str, str, str]:
    return device.oui, device.product_class, device.serial_number


def _rows(want: Want, serials: Sequence[int]) -> Iterator[Mapping[str, object]]:
    oui, product_class, serial_number = _key(want.device)
    for option, serial in zip(want.voucher(serials).options, serials, strict=True):
        yield {
            "serial": serial,
            "oui": oui,
            "product_class": product_class,
            "serial_number": serial_number,
            "option": option.ident,
            "digest": content_of(option).hex(),
            "state": SerialState.RESERVED.value,
        }


def _again(want: Want, rows: Sequence[Row[Any]], run: str, signer: str) -> Reservation:
    """Answer a request that the batch already has: with the same numbers if it is unchanged."""
    by_name = {row.option: row for row in rows}
    if by_name.keys() != {template.ident for template in want.templates}:
        return Reservation(refusal="this batch already has other Options for this device")
    found = [by_name[template.ident] for template in want.templates]
    for row in found:
        if row.state == SerialState.VOID.value:
            return Reservation(refusal=f"voucher {row.serial} of this batch is void")
        if row.run == run:
            return _TWICE
        if row.signer != signer:
            return Reservation(refusal="this batch was signed with a different key")
    serials = tuple(row.serial for row in found)
    contents = [content_of(option).hex() for option in want.voucher(serials).options]
    if contents != [row.digest for row in found]:
        return Reservation(refusal="this batch already has a different voucher for this device")
    return Reservation(serials=serials)


def _entry(row: Row[Any]) -> LedgerEntry:
    fields = dict(row._mapping)  # noqa: SLF001 - its public name
    del fields["run"]
    return LedgerEntry(**fields | {"state": SerialState(fields["state"])})


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
    patience = f"-c lock_timeout={LEDGER_LOCK_TIMEOUT}s"
    try:
        engine = sqlalchemy.create_engine(
            address.set(drivername="postgresql+psycopg"), connect_args={"options": patience}
        )
    except ImportError as exc:
        hint = "pip install 'psycopg[binary]>=3.2'"
        raise HostError("PostgreSQL needs psycopg, which is not installed", hint=hint) from exc
    return address.set(query={}).render_as_string(), engine


def _address(url: str) -> sqlalchemy.URL:
    """Return the address of a database: a URL, or the path of a file."""
    if not url.isprintable() or not url:
        raise UsageError("the URL of the ledger is not valid")
    if "://" not in url:
        return sqlalchemy.URL.create("sqlite", database=url)
    try:
        address = sqlalchemy.make_url(url)
        _ = address.port, address.get_backend_name(), address.render_as_string()
    except (sqlalchemy.exc.ArgumentError, ValueError) as exc:
        raise UsageError("the URL of the ledger is not valid") from exc
    if address.get_backend_name() == "postgres":
        return address.set(drivername="postgresql")
    return address


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    connection.execute("PRAGMA synchronous = EXTRA")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _problem(exc: Exception) -> str:
    """Return the message of a database, in one line and without the statement."""
    said = str(getattr(exc, "orig", None) or exc).strip().partition("\n")[0]
    return said[:1].lower() + said[1:200]
