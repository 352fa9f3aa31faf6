"""The ledger of a server that issues vouchers: each serial number is used once (TR-069 C.3, Table 62).

Many issuers may share it at the same time; one at a time writes.  A number is reserved before anything is
signed with it, in one transaction with the device and the Option that it is for.  Whatever happens then, it
is never reserved again.  Each change is an entry of the journal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from enum import Enum
from itertools import islice
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy
from sqlalchemy import Connection

from spkg.common.times import write_time
from spkg.errors import HostError, RefusedError, UsageError
from vouchers.acs.ledger_database import LedgerDatabase
from vouchers.acs.ledger_entry import LedgerEntry, SerialState, entries_after, entry_columns, entry_of
from vouchers.acs.ledger_journal import (
    JournalEntry,
    JournalWriter,
    LedgerChange,
    check_actor,
    check_reason,
    journal_page,
    sound_entry,
)
from vouchers.acs.ledger_reserve import Reserving, other_terms, terms_of_batch
from vouchers.acs.ledger_tables import ENTRIES, STATES
from vouchers.acs.ledger_versions import open_tables
from vouchers.acs.ledger_wants import Reservation, Want

__all__ = ["Ledger"]

ROUNDS: Final = 64
"""How often to try again if the numbers are taken."""
ROWS_AT_ONCE: Final = 1000
"""The number of entries read at a time."""


class Ledger:
    """A database of serial numbers.

    Args:
        url: An SQLite file, or a URL such as ``postgresql://host/name``.
        clock: Returns the current time.
        create: Whether to create a ledger that does not exist.
        actor: Who makes the changes, for the journal.

    Raises:
        UsageError: The URL is invalid, or has a password in it.
        HostError: The database can't be used.
    """

    def __init__(
        self, url: str, clock: Callable[[], datetime], *, create: bool = True, actor: str = ""
    ) -> None:
        self._clock, self._actor = clock, check_actor(actor)
        self._database = LedgerDatabase(url)
        self._name = self._database.name
        if not create and self._database.missing:
            hint = f"create it with 'spkg voucher ledger init {self._name}'"
            raise HostError(f"{self._name}: the ledger does not exist", hint=hint)
        try:
            opening = open_tables(self._database, create=create, actor=actor, at=write_time(clock()))
        except BaseException:
            self.close()
            raise
        self.created = opening.created
        """Whether the ledger did not exist before."""
        self.migrated = opening.migrated
        """Whether it was of an earlier version before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def database(self) -> LedgerDatabase:
        """Where it is kept, for those who only read it."""
        return self._database

    def on_behalf_of(self, actor: str) -> "Ledger":
        """Return this ledger for somebody else's changes; closing either one closes both.

        Raises:
            UsageError: The name is too long or has characters that are not printable.
        """
        other = copy(self)
        other._actor = check_actor(actor)  # noqa: SLF001 - of the same class
        return other

    def timestamp(self) -> str:
        """Return the current time as the ledger writes it."""
        return write_time(self._clock())

    def journal_writer(self, connection: Connection, actor: str) -> JournalWriter:
        """Return what makes the changes of one transaction; until its end nobody else makes any.

        Raises:
            HostError: The ledger is damaged.
        """
        return JournalWriter(connection, self._name, check_actor(actor), self.timestamp())

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
        terms: str | None = None,
    ) -> list[Reservation]:
        """Reserve serial numbers for vouchers, or find those that the batch has reserved for them before.

        Args:
            wants: The vouchers; their Options have different names.
            run: The name of the run; a device may occur in it once.
            batch: In one batch the same device gets the same numbers again; None for new ones.
            signer: The signing key: the SHA-256 of its public key, in hex.
            unpredictable: Whether the next number must be hard to guess, as SHA-1 needs.
            terms: What :func:`terms_of` returns for the Options of the whole batch; None if each of its
                devices may have its own.

        Raises:
            RefusedError: The batch was begun with other terms.
            HostError: The database can't be used, or there are no numbers left.
        """
        asked = Reserving(
            database=self._database,
            run=run,
            batch=batch,
            signer=signer,
            unpredictable=unpredictable,
            terms=terms,
        )
        asked.add(wants)
        for _ in range(ROUNDS):
            if not asked.waiting:
                break
            # Found or taken in one transaction, in which nobody else writes.
            with self._writing() as (connection, journal):
                asked.answer(connection, journal, write_time(self._clock()))
        if asked.waiting:
            raise HostError(f"{self._name}: too few serial numbers are left")
        return [asked.outcomes[index] for index in range(len(wants))]

    def check_terms(self, batch: str, terms: str) -> None:
        """Make sure that a batch was not begun with other Options.

        Raises:
            RefusedError: It was.
            HostError: The database can't be read.
        """
        with self._database.transaction(writes=False) as connection:
            known = terms_of_batch(connection, batch)
        if known not in {None, terms}:
            raise other_terms(batch)

    def confirm(self, serials: Sequence[int]) -> None:
        """Record that a voucher has been issued.

        Raises:
            RefusedError: One of its serial numbers has been voided in the meantime.
            HostError: The database can't be written.
        """
        self.confirm_all(serials)
        void = STATES.where(ENTRIES.c.state == SerialState.VOID.value)
        with self._database.transaction(writes=False) as connection:
            found = connection.scalar(void, {"serials": serials})
        if found is not None:
            raise RefusedError(f"serial number {found} has been voided in the meantime")

    def confirm_all(self, serials: Iterable[int]) -> int:
        """Record that vouchers have been issued, whichever run reserved their serial numbers last.

        Returns:
            How many of these serial numbers are issued now, void ones not counted.

        Raises:
            HostError: The database can't be written.
        """
        count = 0
        for some in _some(serials):
            with self._writing() as (connection, journal):
                states = {row.serial: row.state for row in connection.execute(STATES, {"serials": some})}
                journal.change(LedgerChange.ISSUE, _in(states, SerialState.RESERVED))
            count += len(states) - len(_in(states, SerialState.VOID))
        return count

    def confirm_batch(self, batch: str, run: str) -> int:
        """Record that all vouchers of one run of a batch have been issued; return how many numbers that are.

        What another run has been given meanwhile is left to that; :meth:`confirm_all` does not.

        Raises:
            HostError: The database can't be written.
        """
        return self._change(
            LedgerChange.ISSUE, (ENTRIES.c.batch == batch) & (ENTRIES.c.run == run), "", batch
        )

    def void(self, *serials: int, reason: str = "") -> None:
        """Record that serial numbers are never to be issued, or that their vouchers no longer count.

        Raises:
            RefusedError: One is not in this ledger, or already void; then all stay as they are.
            UsageError: The reason is too long.
            HostError: The database can't be written.
        """
        check_reason(reason)
        with self._writing() as (connection, journal):
            states: dict[int, str] = {}
            for some in _some(serials):
                states |= {row.serial: row.state for row in connection.execute(STATES, {"serials": some})}
            for serial in serials:
                if states.get(serial) in {None, SerialState.VOID.value}:
                    problem = "is already void" if serial in states else "is not in this ledger"
                    raise RefusedError(f"serial number {serial} {problem}")
            journal.change(LedgerChange.VOID, [*states], reason=reason)

    def void_where(
        self, *, batch: str | None = None, device: tuple[str, str, str] | None = None, reason: str = ""
    ) -> int:
        """Void all serial numbers of a batch, of a device, or of a device in a batch; return how many.

        Args:
            batch: The batch; None for any, and those without one.
            device: OUI, product class and serial number; None for any.
            reason: Why, for the journal.

        Raises:
            RefusedError: Nothing is left to void.
            UsageError: Neither is given, or the reason is too long.
            HostError: The database can't be written.
        """
        check_reason(reason)
        if batch is None and device is None:
            raise UsageError("expected a batch or a device to void")
        where: Any = sqlalchemy.true()
        if batch is not None:
            where &= ENTRIES.c.batch == _plain("batch", batch)
        if device is not None:
            for column, value in zip(("oui", "product_class", "serial_number"), device, strict=True):
                where &= ENTRIES.c[column] == _plain(column, value)
        count = self._change(LedgerChange.VOID, where, reason, batch)
        if not count:
            raise RefusedError("nothing to void: expected serial numbers that are not void")
        return count

    def entries(self, **wanted: object) -> Iterator[LedgerEntry]:
        """Yield the entries with these values, in the order of their serial numbers, in constant memory.

        Args:
            wanted: Fields of :class:`LedgerEntry`; None allows any value.

        Raises:
            UsageError: A value has characters that are not printable.
            HostError: The database can't be read, or is damaged.
        """
        query = sqlalchemy.select(*entry_columns()).order_by(ENTRIES.c.serial).limit(ROWS_AT_ONCE)
        values = {
            name: _plain(name, value.value if isinstance(value, Enum) else value)
            for name, value in wanted.items()
            if value is not None
        }
        last = -1
        while True:
            with self._database.transaction(writes=False) as connection:
                rows = connection.execute(query.where(entries_after(last, values))).all()
            for row in rows:
                yield entry_of(row, self._name)
            if len(rows) < ROWS_AT_ONCE:
                return
            last = rows[-1].serial

    def journal(self) -> Iterator[JournalEntry]:
        """Yield the entries of the journal in their order, in constant memory; nothing is verified.

        Raises:
            HostError: The database can't be read, or is damaged.
        """
        last = -1
        while True:
            with self._database.transaction(writes=False) as connection:
                some = journal_page(connection, last)
            for entry in some:
                yield sound_entry(entry, self._name)
            if not some:
                return
            last = some[-1].number

    def _change(self, change: LedgerChange, where: Any, reason: str, batch: str | None) -> int:
        """Issue the reserved numbers among some, or void those that are not; return how many."""
        reserved = ENTRIES.c.state == SerialState.RESERVED.value
        left = reserved if change is LedgerChange.ISSUE else ENTRIES.c.state != SerialState.VOID.value
        with self._writing() as (connection, journal):
            serials = [*connection.scalars(sqlalchemy.select(ENTRIES.c.serial).where(where, left))]
            journal.change(change, serials, reason=reason, batch=batch)
        return len(serials)

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, JournalWriter]]:
        """Begin a transaction in which nobody else writes, and in which each change goes to the journal."""
        with self._database.transaction() as connection:
            now = write_time(self._clock())
            yield connection, JournalWriter(connection, self._name, self._actor, now)


def _in(states: Mapping[int, str], state: SerialState) -> list[int]:
    return [serial for serial, one in states.items() if one == state.value]


def _some(serials: Iterable[int]) -> Iterator[list[int]]:
    """Yield serial numbers, as many at a time as go into one statement."""
    left = iter(serials)
    while some := [*islice(left, ROWS_AT_ONCE)]:
        yield some


def _plain(name: str, value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        raise UsageError(f"{name}: must have only printable characters")
    return value
