"""Whether the books are right: the journal is one chain, and each row of the ledger is what it says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection, Row

from spkg.common.times import read_time, write_time
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit_batches import batch_problems
from vouchers.acs.ledger_journal import (
    EARLIER_COLUMNS,
    GENESIS,
    TERMS_COLUMNS,
    JournalEntry,
    LedgerChange,
    chain_problem,
    journal_page,
    rows_digest,
)
from vouchers.acs.ledger_reserve import MAX_SERIAL
from vouchers.acs.ledger_tables import CHAIN, ENTRIES, LEDGER_JOURNAL, NEXT
from vouchers.months import Units, end_of

__all__ = ["Audit", "audit_ledger"]

CHANGES: Final = {change.value: change for change in LedgerChange}
MOST_PROBLEMS: Final = 100
"""How many problems are listed; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found."""

    entries: int
    """Entries of the journal."""
    serials: int
    """Serial numbers in the ledger."""
    head: str
    """The digest of the last entry of the journal; keep it elsewhere to notice another journal."""
    problems: tuple[str, ...]
    """The first problems, where there are any."""
    problem_count: int


def audit_ledger(ledger: Ledger) -> Audit:
    """Verify the chain of the journal, and every row of the ledger by it, in constant memory.

    Raises:
        HostError: The database can't be read.
    """
    found: list[str] = []
    count = length = 0
    head = GENESIS
    totals = dict.fromkeys((LedgerChange.RESERVE, LedgerChange.ISSUE, LedgerChange.VOID), 0)
    # One transaction to read in, so that nobody's changes come in between.
    with ledger.database.transaction(writes=False) as connection:
        serials = connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(ENTRIES)) or 0
        migrated = connection.scalar(
            sqlalchemy.select(sqlalchemy.func.min(LEDGER_JOURNAL.c.number)).where(
                LEDGER_JOURNAL.c.action == LedgerChange.MIGRATE.value
            )
        )
        for entry in _journal(connection):
            length += 1
            problems = [] if entry.number == length else [f"expected number {length}"]
            if entry.sealed(head) != entry.digest:
                problems.append("the digest does not fit the entry and the one before")
            head = entry.digest
            problems += _rows_problems(
                connection, entry, totals, serials, earlier=migrated is not None and length < migrated
            )
            count += len(problems)
            found += [f"journal entry {entry.number}: {one}" for one in problems]
            del found[MOST_PROBLEMS:]
        for problem in _whole_problems(connection, length, head, totals):
            count += 1
            if count <= MOST_PROBLEMS:
                found.append(problem)
    return Audit(
        entries=length, serials=serials, head=head, problems=tuple(found[:MOST_PROBLEMS]), problem_count=count
    )


def _journal(connection: Connection) -> Iterator[JournalEntry]:
    last = -1
    while some := journal_page(connection, last):
        yield from some
        last = some[-1].number


def _rows_problems(
    connection: Connection,
    entry: JournalEntry,
    totals: dict[LedgerChange, int],
    most: int,
    *,
    earlier: bool,
) -> Iterator[str]:
    """Yield what is wrong with the rows that an entry of the journal wrote.

    Args:
        connection: The transaction.
        entry: The entry.
        totals: How many numbers each change has; added to.
        most: How many the ledger has.
        earlier: Whether an earlier version wrote the entry, which kept less of a voucher.
    """
    if entry.action == LedgerChange.MIGRATE.value:
        if entry.serials or entry.rows:
            yield "expected no serial numbers"
        return
    change = CHANGES.get(entry.action)
    if change is None:
        yield f"not valid: unknown action {entry.action!r:.40}"
        return
    try:
        ranges = [*entry.ranges()]
    except ValueError as exc:
        yield f"not valid: {exc}"
        return
    if sum(last - first + 1 for first, last in ranges) > most:
        yield f"names more serial numbers than the {most} of the ledger"
        return
    totals[change] += sum(last - first + 1 for first, last in ranges)
    rows: list[Row[Any]] = []
    for some in _grouped(ranges):
        where = sqlalchemy.or_(*(ENTRIES.c.serial.between(first, last) for first, last in some))
        rows += connection.execute(sqlalchemy.select(ENTRIES).where(where).order_by(ENTRIES.c.serial)).all()
    known = {row.serial for row in rows}
    for first, last in ranges:
        for serial in range(first, last + 1):
            if serial not in known:
                yield f"serial number {serial} is missing in the ledger"
    changed = [row.serial for row in rows if row._mapping[change.column] != entry.number]  # noqa: SLF001
    for serial in changed:
        yield f"serial number {serial} names another entry for this change"
    if (
        change is LedgerChange.RESERVE
        and any(row.batch != entry.batch for row in rows)
        and entry.batch is not None
    ):
        yield "the batch is not that of the ledger"
    whole = sum(last - first + 1 for first, last in ranges) == len(rows)
    columns = change.columns
    if change is LedgerChange.RESERVE:
        if earlier:
            columns = EARLIER_COLUMNS
            for row in rows:
                if any(row._mapping[name] is not None for name in TERMS_COLUMNS):  # noqa: SLF001
                    yield f"serial number {row.serial}: has what an earlier version did not keep"
        for row in rows:
            if row.end != _end(row):
                yield f"serial number {row.serial}: the end does not follow from its other columns"
    if whole and rows_digest(columns, [row._mapping for row in rows]) != entry.rows:  # noqa: SLF001
        names = (
            str(ranges[0][0]) if ranges[0] == ranges[-1] and ranges[0][0] == ranges[0][1] else entry.serials
        )
        yield f"the ledger has been changed for serial number {names[:80]}"


def _end(row: Row[Any]) -> str | None:
    """Return what the end of a row must be."""
    begin = row.start or row.issued_at
    if begin is None or row.duration is None:
        return None
    try:
        return write_time(end_of(read_time(begin), row.duration, Units(row.duration_units)))
    except (ValueError, TypeError, AttributeError):  # the digest of its row tells
        return None


def _grouped(ranges: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Yield as many ranges at a time as go into one statement."""
    for start in range(0, len(ranges), 100):
        yield ranges[start : start + 100]


def _whole_problems(
    connection: Connection, length: int, head: str, totals: dict[LedgerChange, int]
) -> Iterator[str]:
    """Yield what is wrong with the ledger as a whole."""
    chain = connection.execute(sqlalchemy.select(CHAIN)).all()
    if len(chain) != 1:
        yield chain_problem(len(chain))
    for row in chain[:1]:
        if (row.length, row.head) != (length, head):
            yield f"the journal ends with entry {length}; expected entry {row.length}, with the digest kept"
        if row.one != 1:
            yield f"{CHAIN.name}: expected 1 as its key, got {row.one}"
    for change, count in totals.items():
        column = ENTRIES.c[change.column]
        query = sqlalchemy.select(sqlalchemy.func.count()).select_from(ENTRIES).where(column.is_not(None))
        if (got := connection.scalar(query)) != count:
            yield f"the journal has {count} serial numbers for {change.value}, the ledger {got}"
    state = sqlalchemy.case(
        (ENTRIES.c.voided_in.is_not(None), "void"),
        (ENTRIES.c.issued_in.is_not(None), "issued"),
        else_="reserved",
    )
    wrong = sqlalchemy.or_(
        ENTRIES.c.state != state,
        ENTRIES.c.reserved_in.is_(None),
        ENTRIES.c.issued_in.is_(None) != ENTRIES.c.issued_at.is_(None),
        ENTRIES.c.voided_in.is_(None) != ENTRIES.c.voided_at.is_(None),
    )
    query = sqlalchemy.select(ENTRIES.c.serial).where(wrong).order_by(ENTRIES.c.serial)
    for serial in connection.scalars(query.execution_options(yield_per=1000)):
        yield f"serial number {serial}: its state is not what the journal says"
    yield from batch_problems(connection)
    following = connection.scalar(sqlalchemy.select(NEXT.c.next))
    if not isinstance(following, int) or not 1 <= following <= MAX_SERIAL + 1:
        yield "the next serial number is not valid"
