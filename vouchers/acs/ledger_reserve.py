"""Reserving serial numbers: found or taken, in a transaction in which nobody else writes (TR-069 C.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import randbelow
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Row

from spkg.errors import HostError, RefusedError
from vouchers.acs.ledger_database import LedgerDatabase
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_governing import governs, is_revoked
from vouchers.acs.ledger_journal import JournalWriter
from vouchers.acs.ledger_tables import AMONG, BATCH_DEVICES, BATCHES, ENTRIES, NEXT
from vouchers.acs.ledger_wants import Reservation, Want, device_key, reserved_rows
from vouchers.signature.option_elements import content_of

__all__ = ["MAX_SERIAL", "TWICE", "Reserving", "other_terms", "terms_of_batch"]

MAX_SERIAL: Final = (1 << 32) - 1
"""The largest serial number: GetOptions reports it as an unsignedInt."""
TWICE: Final = Reservation(refusal="the device occurs twice")
IN_BATCH: Final = sqlalchemy.select(ENTRIES).where(
    *(ENTRIES.c[name] == sqlalchemy.bindparam(name) for name in ("batch", "oui", "product_class")),
    ENTRIES.c.serial_number.in_(sqlalchemy.bindparam("numbers", expanding=True)),
)
"""The entries of devices in a batch, of one product: for a list of triples, SQLite reads the whole batch."""


@dataclass(frozen=True, kw_only=True)
class Reserving:
    """One request: vouchers of one run, until each has its serial numbers or is refused."""

    database: LedgerDatabase
    run: str
    batch: str | None
    signer: str
    unpredictable: bool
    """Whether the numbers must be hard to guess."""
    terms: str | None
    """What the whole batch is about; None if each of its devices may have its own."""
    outcomes: dict[int, Reservation] = field(default_factory=dict)
    waiting: dict[int, Want] = field(default_factory=dict)

    def add(self, wants: Sequence[Want]) -> None:
        """Add the requests by their index; of one device in a batch only the first."""
        first: dict[tuple[str, str, str], int] = {}
        for index, want in enumerate(wants):
            if self.batch is not None and first.setdefault(device_key(want.device), index) != index:
                self.outcomes[index] = TWICE
            else:
                self.waiting[index] = want

    def answer(self, connection: Connection, journal: JournalWriter, at: str) -> None:
        """Answer what can be answered in one transaction.

        Raises:
            RefusedError: The batch was begun with other terms.
            HostError: There are no numbers left.
        """
        known = None
        if self.batch is not None:
            known = terms_of_batch(connection, self.batch)
            if self.terms is not None and known not in {None, self.terms}:
                raise other_terms(self.batch)
            self._find(connection, self.batch)
        self._refuse_outdated(connection)
        if self.waiting:
            self._take(connection, journal, at)
            if self.batch is not None and self.terms is not None and known is None:
                connection.execute(sqlalchemy.insert(BATCHES).values(batch=self.batch, terms=self.terms))

    def _find(self, connection: Connection, batch: str) -> None:
        """Answer the requests for which the batch already has serial numbers."""
        places = {device_key(want.device): index for index, want in self.waiting.items()}
        products: dict[tuple[str, str], list[str]] = {}
        for oui, product_class, number in places:
            products.setdefault((oui, product_class), []).append(number)
        found: dict[int, list[Row[Any]]] = {}
        for (oui, product_class), numbers in products.items():
            named = {"batch": batch, "oui": oui, "product_class": product_class, "numbers": numbers}
            for row in connection.execute(IN_BATCH, named):
                found.setdefault(places[oui, product_class, row.serial_number], []).append(row)
        for index, rows in found.items():
            self.outcomes[index] = _again(self.waiting.pop(index), rows, self.run, self.signer)
        kept = [serial for index in found for serial in self.outcomes[index].serials]
        if kept:
            statement = sqlalchemy.update(ENTRIES).where(AMONG).values(run=self.run)
            connection.execute(statement, {"serials": kept})

    def _refuse_outdated(self, connection: Connection) -> None:
        """Refuse to renew what no longer governs its Option, and to revoke twice: others may be faster."""
        for name, usable in (("renews", governs()), ("revokes", ~is_revoked())):
            named = {
                serial: index
                for index, want in self.waiting.items()
                for one in want.before
                if (serial := getattr(one, name)) is not None
            }
            if not named:
                continue
            query = sqlalchemy.select(ENTRIES.c.serial).where(AMONG, usable)
            for serial in sorted(named.keys() - {*connection.scalars(query, {"serials": [*named]})}):
                refusal = {
                    "renews": f"voucher {serial} no longer governs its Option",
                    "revokes": f"voucher {serial} is already revoked",
                }[name]
                self.outcomes[named[serial]] = Reservation(refusal=refusal, outdated=True)
                self.waiting.pop(named[serial], None)

    def _take(self, connection: Connection, journal: JournalWriter, at: str) -> None:
        """Reserve numbers, and answer the requests whose numbers are all free."""
        waiting = self.waiting
        order = sorted(waiting, key=lambda index: device_key(waiting[index].device))
        count = sum(len(waiting[index].templates) for index in order)
        numbers = iter(self._numbers(connection, count))
        taken = {index: [next(numbers) for _ in waiting[index].templates] for index in order}
        common: dict[str, object] = {
            "batch": self.batch,
            "run": self.run,
            "signer": self.signer,
            "reserved_at": at,
            "reserved_in": journal.following,
        }
        rows = [{**row, **common} for index in order for row in reserved_rows(waiting[index], taken[index])]
        # Only a serial number that is taken is no failure here.
        free = self.database.insert(ENTRIES).on_conflict_do_nothing(index_elements=["serial"])
        got = set(connection.scalars(free.returning(ENTRIES.c.serial), rows))
        lost = {index for index in order if not got.issuperset(taken[index])}
        # A voucher gets all its numbers, or none.
        partial = {serial for index in lost for serial in taken[index] if serial in got}
        if partial:
            connection.execute(sqlalchemy.delete(ENTRIES).where(AMONG), {"serials": [*partial]})
        given = [row for row in rows if row["serial"] in got - partial]
        if given:
            journal.reserved(given, self.batch)
        devices: list[dict[str, object]] = []
        for index in order:
            if index not in lost:
                self.outcomes[index] = Reservation(serials=tuple(taken[index]))
                names = ("oui", "product_class", "serial_number")
                key = device_key(waiting.pop(index).device)
                devices.append({"batch": self.batch, **dict(zip(names, key, strict=True))})
        if self.batch is not None and devices:
            connection.execute(sqlalchemy.insert(BATCH_DEVICES), devices)

    def _numbers(self, connection: Connection, count: int) -> Sequence[int]:
        """Return numbers that are probably free; reserving them decides."""
        if self.unpredictable:
            found: set[int] = set()
            while len(found) < count:
                found.add(1 + randbelow(MAX_SERIAL))
            return [*found]
        rows = connection.execute(
            sqlalchemy.update(NEXT).values(next=NEXT.c.next + count).returning(NEXT.c.next)
        ).all()
        if len(rows) != 1:
            problem = f"expected one row in spkg_serial, the next serial number, got {len(rows)}"
            raise HostError(f"{self.database.name}: damaged: {problem}")
        ((following,),) = rows
        if not isinstance(following, int) or following - count < 1:
            raise HostError(f"{self.database.name}: damaged: the next serial number is not valid")
        if following - 1 > MAX_SERIAL:
            raise HostError(f"{self.database.name}: no serial numbers are left")
        return range(following - count, following)


def terms_of_batch(connection: Connection, batch: str) -> str | None:
    """Return what a batch is about; None if it was not begun, or is about different things."""
    found: str | None = connection.scalar(sqlalchemy.select(BATCHES.c.terms).where(BATCHES.c.batch == batch))
    return found


def other_terms(batch: str) -> RefusedError:
    """Return the error of a batch that is about something else."""
    hint = "give changed Options another --batch"
    return RefusedError(f"the batch {batch} was begun with other Options", hint=hint)


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
            return TWICE
        if row.signer != signer:
            return Reservation(refusal="this batch was signed with a different key")
    serials = tuple(row.serial for row in found)
    contents = [content_of(option).hex() for option in want.voucher(serials).options]
    if contents != [row.digest for row in found]:
        return Reservation(refusal="this batch already has a different voucher for this device")
    return Reservation(serials=serials)
