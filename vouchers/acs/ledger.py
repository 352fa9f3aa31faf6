"""The ledger of a server of vouchers: every serial number once, for ever (TR-069 C.3, Table 62).

It may be shared by many issuers at the same time.  A number is taken before anything is signed with it, in
one transaction with what it stands for; whatever happens then, nobody takes it again.
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
"""The largest serial number: GetOptions tells it as an unsignedInt."""
MAX_BATCH: Final = 128
"""The longest name of a batch, in characters."""
LEDGER_LOCK_TIMEOUT: Final = 60
"""Seconds to wait for other issuers."""
QUERY: Final = {"host", "port", "service", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout"}
"""What the URL of a ledger may say behind its question mark."""
LEDGER_MARK: Final = 0x53504B4C
"""What tells a ledger from other SQLite files."""
ROUNDS: Final = 64
"""How often numbers are asked for that somebody else took in the meantime."""
ROWS_AT_ONCE: Final = 1000
"""How many entries are read at a time."""

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
    """How a serial number stands."""

    RESERVED = "reserved"
    """Taken; the voucher may not have been written."""
    ISSUED = "issued"
    VOID = "void"
    """Never to be issued, or not to be counted."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One serial number, and what it stands for."""

    serial: int
    oui: str
    product_class: str
    serial_number: str
    option: str
    digest: str
    """The SHA-256 of what the Option says, in hex."""
    signer: str
    """The SHA-256 of the signer's public key, in hex."""
    batch: str | None
    state: SerialState
    reserved_at: str
    issued_at: str | None
    voided_at: str | None


@dataclass(frozen=True, kw_only=True)
class Want:
    """A voucher that is wanted: Options for one device."""

    device: DeviceId
    templates: tuple[Template, ...]

    def voucher(self, serials: Sequence[int]) -> Voucher:
        """Return it under serial numbers, one for each Option.

        Raises:
            ValueError: It would be none.
        """
        pairs = zip(self.templates, serials, strict=True)
        return Voucher(options=tuple(template.option(serial, self.device) for template, serial in pairs))


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What the ledger says to a wish."""

    serials: tuple[int, ...] = ()
    """The serial number of each Option; none where it is refused."""
    refusal: str | None = None
    """Why there is to be no such voucher."""


class Ledger:
    """A database of serial numbers.

    Args:
        url: A file of SQLite, or a URL as ``postgresql://host/name``.
        clock: What time it is.
        create: Whether a file is made where it is not there.

    Raises:
        UsageError: The URL is none, or has a password in it.
        HostError: The database can't be used.
    """

    def __init__(self, url: str, clock: Callable[[], datetime], *, create: bool = True) -> None:
        self._clock = clock
        self._name, self._engine = _open(url)
        self._create = create
        if not create and self._engine.dialect.name == "sqlite" and not Path(self._name).exists():
            raise HostError(f"{self._name}: there is no such ledger")
        # Both know ON CONFLICT, which the language that they share lacks.
        self._insert: Any = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}").insert
        self.created = False
        """Whether there was no ledger before."""
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
        """Make sure that a database is a ledger, or nobody's."""
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        self.created = _ENTRIES.name not in tables
        if self.created and not self._create:
            raise HostError(f"{self._name} holds no ledger")
        if self._engine.dialect.name != "sqlite":
            # One database has the tables of many; issuers that meet here make them one after the other.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LEDGER_MARK})")
            return
        mark = connection.exec_driver_sql("PRAGMA application_id").scalar()
        if self.created and tables:
            raise HostError(f"{self._name} is a database, and no ledger")
        if mark != (0 if self.created else LEDGER_MARK):
            raise HostError(f"{self._name} is no ledger that this program knows")
        if self.created:
            connection.exec_driver_sql(f"PRAGMA application_id = {LEDGER_MARK}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @staticmethod
    def new_run() -> str:
        """Return a name for one run of an issuer, which tells it from all others."""
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
        """Take serial numbers for vouchers, or find those that the batch has taken for them before.

        Args:
            wants: The vouchers, whose Options have different names.
            run: Who asks: a device may be in one run once.
            batch: What makes wishes the same.  Without one each is new.
            signer: Whose key signs: the SHA-256 of the public one, in hex.
            unpredictable: Whether nobody may guess the next number, which SHA-1 wants.

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
        raise HostError(f"{self._name}: there are hardly any serial numbers left")

    def confirm(self, serials: Sequence[int]) -> None:
        """Note that a voucher has been issued.

        Raises:
            RefusedError: One of them was made void meanwhile.
            HostError: The database can't be written.
        """
        self._issued(_ENTRIES.c.serial.in_(serials))
        void = sqlalchemy.select(_ENTRIES.c.serial).where(_ENTRIES.c.serial.in_(serials))
        with self._transaction(writes=False) as connection:
            found = connection.scalar(void.where(_ENTRIES.c.state == SerialState.VOID.value))
        if found is not None:
            raise RefusedError(f"the serial number {found} was made void meanwhile")

    def confirm_batch(self, batch: str, run: str) -> int:
        """Note that all vouchers of a batch have been issued that one run was given; return how many numbers.

        Raises:
            HostError: The database can't be written.
        """
        return self._issued((_ENTRIES.c.batch == batch) & (_ENTRIES.c.run == run))

    def void(self, serial: int) -> None:
        """Note that a serial number is never to be issued, or that its voucher does not count.

        Raises:
            RefusedError: Nobody has taken it, or it is void already.
            HostError: The database can't be written.
        """
        changed = self._update(
            sqlalchemy.update(_ENTRIES)
            .where(_ENTRIES.c.serial == serial, _ENTRIES.c.state != SerialState.VOID.value)
            .values(state=SerialState.VOID.value, voided_at=write_time(self._clock()))
        )
        if not changed:
            known = next(self.entries(serial=serial), None)
            problem = "is void already" if known else "is none of this ledger"
            raise RefusedError(f"the serial number {serial} {problem}")

    def entries(self, **wanted: object) -> Iterator[LedgerEntry]:
        """Give the entries that have these values, in the order of their serial numbers, in flat memory.

        Args:
            wanted: Fields of :class:`LedgerEntry`; what is None does not matter.

        Raises:
            HostError: The database can't be read.
        """
        query = sqlalchemy.select(_ENTRIES).order_by(_ENTRIES.c.serial).limit(ROWS_AT_ONCE)
        for name, value in wanted.items():
            if value is not None:
                plain = value.value if isinstance(value, SerialState) else value
                if isinstance(plain, str) and not plain.isprintable():
                    raise UsageError(f"{name}: printable characters belong here")
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
        """Return the wishes by their place; of one device in a batch the first one alone."""
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
        """Answer the wishes that the batch knows already."""
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
        """Take numbers for wishes, and answer those for which nobody else took one in the meantime."""
        # In one order everywhere, so that two issuers of one batch can't wait for each other.
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
            # A voucher has all its numbers, or none.
            partial = [serial for index in lost for serial in taken[index] if serial in got]
            if partial:
                connection.execute(sqlalchemy.delete(_ENTRIES).where(_ENTRIES.c.serial.in_(partial)))
        for index in order:
            if index not in lost:
                outcomes[index] = Reservation(serials=tuple(taken[index]))
                del waiting[index]

    def _numbers(self, count: int, *, unpredictable: bool) -> Sequence[int]:
        """Return numbers that are free as far as can be told."""
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


_TWICE: Final = Reservation(refusal="the device is there twice")


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
    """Answer a wish that the batch knows: with the same numbers, if it is still the same wish."""
    by_name = {row.option: row for row in rows}
    if by_name.keys() != {template.ident for template in want.templates}:
        return Reservation(refusal="the batch has other Options for this device")
    found = [by_name[template.ident] for template in want.templates]
    for row in found:
        if row.state == SerialState.VOID.value:
            return Reservation(refusal=f"the voucher {row.serial} of this batch is void")
        if row.run == run:
            return _TWICE
        if row.signer != signer:
            return Reservation(refusal="the batch was signed with another key")
    serials = tuple(row.serial for row in found)
    contents = [content_of(option).hex() for option in want.voucher(serials).options]
    if contents != [row.digest for row in found]:
        return Reservation(refusal="the batch has something else to say to this device")
    return Reservation(serials=serials)


def _entry(row: Row[Any]) -> LedgerEntry:
    fields = dict(row._mapping)  # noqa: SLF001 - its public name
    del fields["run"]
    return LedgerEntry(**fields | {"state": SerialState(fields["state"])})


def _open(url: str) -> tuple[str, sqlalchemy.Engine]:
    """Return what a database is called in errors, and the way to it."""
    address = _address(url)
    kind = address.get_backend_name()
    if kind == "sqlite":
        if address.host or address.query or address.database in {None, "", ":memory:"}:
            raise UsageError("a ledger of SQLite is a file: its path is enough")
        engine = sqlalchemy.create_engine(
            address.set(drivername="sqlite"), connect_args={"timeout": LEDGER_LOCK_TIMEOUT}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return str(address.database), engine
    if kind != "postgresql":
        raise UsageError(f"a ledger is kept by SQLite or PostgreSQL, not by {kind[:40]!r}")
    strange = sorted({*address.query} - QUERY)
    if address.password is not None or any("password" in name for name in strange):
        hint = "libpq takes it from PGPASSFILE or ~/.pgpass"
        raise UsageError("a password in the URL of the ledger can be seen by others", hint=hint)
    if strange:
        raise UsageError(f"the URL of the ledger has no {strange[0][:40]!r}: {', '.join(sorted(QUERY))}")
    patience = f"-c lock_timeout={LEDGER_LOCK_TIMEOUT}s"
    try:
        engine = sqlalchemy.create_engine(
            address.set(drivername="postgresql+psycopg"), connect_args={"options": patience}
        )
    except ImportError as exc:
        hint = "pip install 'psycopg[binary]>=3.2'"
        raise HostError("PostgreSQL wants psycopg, which is not installed", hint=hint) from exc
    return address.set(query={}).render_as_string(), engine


def _address(url: str) -> sqlalchemy.URL:
    """Return the address of a database: a URL, or the path of a file."""
    if not url.isprintable() or not url:
        raise UsageError("the URL of the ledger is none")
    if "://" not in url:
        return sqlalchemy.URL.create("sqlite", database=url)
    try:
        address = sqlalchemy.make_url(url)
        _ = address.port, address.get_backend_name(), address.render_as_string()
    except (sqlalchemy.exc.ArgumentError, ValueError) as exc:
        raise UsageError("the URL of the ledger is none") from exc
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
    """Return what a database says, in one line and without what it was asked."""
    said = str(getattr(exc, "orig", None) or exc).strip().partition("\n")[0]
    return said[:1].lower() + said[1:200]
