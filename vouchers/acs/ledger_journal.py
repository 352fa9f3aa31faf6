"""The journal of a ledger: each change is an entry, sealed by a digest that covers the one before.

An entry names the serial numbers that it changed, and has a digest of what it wrote for them.  So neither an
entry nor a row of the ledger can be changed, added or taken away afterwards without breaking the chain.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Row

from spkg.common.times import read_time, write_time
from spkg.errors import HostError, UsageError
from vouchers.acs.ledger_tables import AMONG, CHAIN, ENTRIES, LEDGER_JOURNAL, MAX_ACTOR, MAX_WHY
from vouchers.months import Units, end_of

__all__ = [
    "EARLIER_COLUMNS",
    "GENESIS",
    "TERMS_COLUMNS",
    "JournalEntry",
    "JournalWriter",
    "LedgerChange",
    "chain_problem",
    "check_actor",
    "check_reason",
    "journal_page",
    "rows_digest",
    "sound_entry",
]

GENESIS: Final = "0" * 64
"""What the first entry of a journal has in place of a digest before it."""
SERIALS_AT_ONCE: Final = 10_000
"""The most serial numbers in one entry."""
SERIAL_RANGE: Final = re.compile("([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)
ENTRIES_AT_ONCE: Final = 100
"""The number of entries read at a time."""
EARLIER_COLUMNS: Final = (
    *("oui", "product_class", "serial_number", "option", "digest", "signer", "batch", "reserved_at"),
)
"""What the journal covered of a reserved number before the entry that says ``migrate``, if there is one."""
TERMS_COLUMNS: Final = (
    *("manufacturer", "description", "mode", "start", "duration", "duration_units", "transferable", "extras"),
    *("renews", "renewal_duration", "renewal_units", "revokes"),
)
"""What the voucher does; the end is not among them, since it follows from them."""


class LedgerChange(Enum):
    """What an entry of the journal did to serial numbers."""

    RESERVE = "reserve"
    ISSUE = "issue"
    VOID = "void"
    MIGRATE = "migrate"
    """The tables were brought up to date; it has no serial numbers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it writes once and for all."""
        match self:
            case LedgerChange.RESERVE:
                return (*EARLIER_COLUMNS, *TERMS_COLUMNS)
            case LedgerChange.ISSUE:
                return ("issued_at",)
            case LedgerChange.VOID:
                return ("voided_at",)
            case LedgerChange.MIGRATE:
                return ()

    @property
    def column(self) -> str:
        """The column that names the entry of the journal; ``migrate`` has none."""
        return {
            LedgerChange.RESERVE: "reserved_in",
            LedgerChange.ISSUE: "issued_in",
            LedgerChange.VOID: "voided_in",
        }[self]


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One change."""

    number: int
    at: str
    actor: str
    """Who made it."""
    action: str
    reason: str
    batch: str | None
    serials: str
    """The serial numbers, as ranges in order: ``1-400,402``."""
    rows: str
    """The SHA-256 of what it wrote for them, in hex."""
    digest: str
    """The SHA-256 of all this and of the digest of the entry before, in hex."""

    def sealed(self, before: str) -> str:
        """Return what its digest must be."""
        fields = {name: value for name, value in vars(self).items() if name != "digest"} | {"before": before}
        text = json.dumps(fields, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=repr)
        return sha256(text.encode()).hexdigest()

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last of each range of its serial numbers.

        Raises:
            ValueError: It has none, or they are not in order.
        """
        last = 0
        for part in str(self.serials).split(","):
            found = SERIAL_RANGE.fullmatch(part)
            if found is None:
                raise ValueError(f"expected serial numbers as 1-400,402, got {part[:40]!r}")
            pair = int(found[1]), int(found[2] or found[1])
            if not last < pair[0] <= pair[1]:
                raise ValueError("the serial numbers are not in order")
            yield pair
            last = pair[1]


class JournalWriter:
    """Adds to the journal in one transaction, in which nobody else can.

    Args:
        connection: The transaction.
        ledger: The name of the ledger in errors.
        actor: Who makes the changes.
        at: When.

    Raises:
        HostError: The ledger is damaged.
    """

    def __init__(self, connection: Connection, ledger: str, actor: str, at: str) -> None:
        self._connection, self._ledger = connection, ledger
        self._actor, self._at = actor, at
        rows = connection.execute(sqlalchemy.select(CHAIN).with_for_update()).all()
        if len(rows) != 1:
            raise HostError(f"{ledger}: damaged: {chain_problem(len(rows))}")
        row = rows[0]
        if not isinstance(row.length, int) or row.length < 0 or not isinstance(row.head, str):
            raise HostError(f"{ledger}: damaged: the length or the head of the journal is not valid")
        self._length, self._head = row.length, row.head

    @property
    def following(self) -> int:
        """The number of the next entry."""
        return self._length + 1

    def reserved(self, rows: Sequence[Mapping[str, Any]], batch: str | None) -> None:
        """Record that rows have been inserted, whose ``reserved_in`` is :attr:`following`."""
        in_order = sorted(rows, key=lambda row: row["serial"])
        self._append(
            LedgerChange.RESERVE,
            "",
            batch,
            [row["serial"] for row in in_order],
            rows_digest(LedgerChange.RESERVE.columns, in_order),
        )

    def change(
        self, change: LedgerChange, serials: Sequence[int], *, reason: str = "", batch: str | None = None
    ) -> None:
        """Issue or void serial numbers, and record it."""
        in_order = sorted(serials)
        time = change.columns[0]
        state = {LedgerChange.ISSUE: "issued", LedgerChange.VOID: "void"}[change]
        for start in range(0, len(in_order), SERIALS_AT_ONCE):
            some = in_order[start : start + SERIALS_AT_ONCE]
            for begin in range(0, len(some), 1000):
                these = {"serials": some[begin : begin + 1000]}
                self._connection.execute(
                    sqlalchemy.update(ENTRIES)
                    .where(AMONG)
                    .values({"state": state, time: self._at, change.column: self.following}),
                    these,
                )
                if change is LedgerChange.ISSUE:
                    self._estimate_ends(these)
            digest = rows_digest(change.columns, [{"serial": serial, time: self._at} for serial in some])
            self._append(change, reason, batch, some, digest)

    def _estimate_ends(self, these: Mapping[str, Sequence[int]]) -> None:
        """Write the earliest end of what begins when a device applies it: as if it did that now."""
        open_ended = AMONG & ENTRIES.c.start.is_(None) & ENTRIES.c.duration.is_not(None)
        terms = (ENTRIES.c.duration, ENTRIES.c.duration_units)
        for duration, units in self._connection.execute(
            sqlalchemy.select(*terms).where(open_ended).distinct(), these
        ):
            try:
                end = write_time(end_of(read_time(self._at), duration, Units(units)))
            except (ValueError, TypeError, OverflowError) as exc:
                problem = f"expected a Duration in Days or Months, got {duration!r:.20} {units!r:.20}"
                raise HostError(f"{self._ledger}: damaged: {problem}") from exc
            self._connection.execute(
                sqlalchemy.update(ENTRIES)
                .where(open_ended, terms[0] == duration, terms[1] == units)
                .values(end=end),
                these,
            )

    def migrated(self, version: str) -> None:
        """Record that the tables were brought to a version; each entry before covers what they had then."""
        self._append(LedgerChange.MIGRATE, f"to version {version} of the tables", None, [], rows="")

    def adopt(self, change: LedgerChange, rows: Sequence[Row[Any]], reason: str) -> None:
        """Record a change of an earlier version, which kept no journal; all *rows* in order."""
        serials = [row.serial for row in rows]
        self._connection.execute(
            sqlalchemy.update(ENTRIES).where(AMONG).values({change.column: self.following}),
            {"serials": serials},
        )
        found = [row._mapping for row in rows]  # noqa: SLF001 - its public name
        columns = EARLIER_COLUMNS if change is LedgerChange.RESERVE else change.columns
        self._append(change, reason, None, serials, rows_digest(columns, found))

    def _append(
        self, change: LedgerChange, reason: str, batch: str | None, serials: Sequence[int], rows: str
    ) -> None:
        entry = JournalEntry(
            number=self.following,
            at=self._at,
            actor=self._actor,
            action=change.value,
            reason=reason,
            batch=batch,
            serials=_as_ranges(serials),
            rows=rows,
            digest="",
        )
        digest = entry.sealed(self._head)
        self._connection.execute(sqlalchemy.insert(LEDGER_JOURNAL).values(vars(entry) | {"digest": digest}))
        self._connection.execute(sqlalchemy.update(CHAIN).values(length=entry.number, head=digest))
        self._length, self._head = entry.number, digest


def journal_page(connection: Connection, last: int) -> list[JournalEntry]:
    """Return some entries of the journal after the one with this number, in order; none at its end."""
    query = (
        sqlalchemy.select(LEDGER_JOURNAL)
        .where(LEDGER_JOURNAL.c.number > last)
        .order_by(LEDGER_JOURNAL.c.number)
    )
    rows = connection.execute(query.limit(ENTRIES_AT_ONCE)).all()
    return [JournalEntry(**row._mapping) for row in rows]  # noqa: SLF001 - its public name


def sound_entry(entry: JournalEntry, ledger: str) -> JournalEntry:
    """Return an entry of the journal, whose values have the right types.

    Raises:
        HostError: They do not.
    """
    for name, value in vars(entry).items():
        wanted = int if name == "number" else str
        if not isinstance(value, wanted) and not (name == "batch" and value is None):
            raise HostError(
                f"{ledger}: damaged: journal entry {entry.number!r:.20}: {name}: "
                f"expected {wanted.__name__}, got {type(value).__name__}"
            )
    return entry


def chain_problem(count: int) -> str:
    """Return what is wrong with a ledger that has this number of ends of its journal."""
    return f"expected one row in spkg_ledger, the end of the journal, got {count}"


def rows_digest(columns: Sequence[str], rows: Iterable[Mapping[Any, Any]]) -> str:
    """Return the digest of what a change wrote into columns of rows, in the order of their serial numbers."""
    hashed = sha256()
    for row in rows:
        fields = [row["serial"], *(row[name] for name in columns)]
        hashed.update(
            json.dumps(fields, ensure_ascii=True, separators=(",", ":"), default=repr).encode() + b"\n"
        )
    return hashed.hexdigest()


def _check_note(name: str, text: str, most: int) -> str:
    """Return a text for the journal.

    Raises:
        UsageError: It is too long or has characters that are not printable.
    """
    if len(text) > most or not text.isprintable():
        raise UsageError(f"{name} must have at most {most} printable characters")
    return text


def check_actor(text: str) -> str:
    """Return the name of the user who changes a ledger."""
    return _check_note("the actor", text, MAX_ACTOR)


def check_reason(text: str) -> str:
    """Return the reason for a change."""
    return _check_note("the reason", text, MAX_WHY)


def _as_ranges(serials: Sequence[int]) -> str:
    """Return serial numbers, which are in order, as ranges."""
    ranges: list[list[int]] = []
    for serial in serials:
        if ranges and ranges[-1][1] == serial - 1:
            ranges[-1][1] = serial
        else:
            ranges.append([serial, serial])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
