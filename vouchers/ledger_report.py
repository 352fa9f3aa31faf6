"""What ``spkg voucher ledger`` prints, for people and for programs."""

import json
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from spkg.common.documents import Document
from spkg.common.printable import amount
from spkg.report.lines import Line, Tone, columns

if TYPE_CHECKING:  # a command imports only what it prints
    from vouchers.acs.ledger_audit import Audit
    from vouchers.acs.ledger_entry import LedgerEntry
    from vouchers.acs.ledger_journal import JournalEntry
    from vouchers.acs.ledger_statistics import LedgerStatistics

__all__ = [
    "audit_document",
    "audit_lines",
    "due_line",
    "entry_cells",
    "entry_document",
    "entry_line",
    "journal_line",
    "statistics_lines",
]

MAX_RANGES: Final = 60
"""How much of the serial numbers of an entry of the journal is printed, in characters."""


def entry_document(entry: "LedgerEntry") -> Document:
    """Return an entry of the ledger as JSON."""
    return {name: value.value if isinstance(value, Enum) else value for name, value in vars(entry).items()}


def entry_cells(entry: "LedgerEntry") -> Iterator[object]:
    """Yield the cells of an entry of the ledger in a table."""
    for value in entry_document(entry).values():
        yield json.dumps(value) if isinstance(value, tuple | bool) else value


def entry_line(entry: "LedgerEntry") -> Line:
    """Return a line of what ``voucher ledger list`` prints."""
    time = entry.voided_at or entry.issued_at or entry.reserved_at
    device = f"{entry.oui} {entry.product_class} {entry.serial_number}"
    batch = f", batch {entry.batch}" if entry.batch else ""
    return Tone.PLAIN, f"{entry.serial:>10}  {entry.state.value:<8}  {time}  {device}: {entry.option}{batch}"


def due_line(entry: "LedgerEntry") -> Line:
    """Return a line of what ``voucher renew`` prints without a batch."""
    device = f"{entry.oui} {entry.product_class} {entry.serial_number}"
    end = f"{entry.end} or later" if entry.end_estimated else entry.end
    return Tone.PLAIN, f"{entry.serial:>10}  {device}: {entry.option} ends {end}"


def journal_line(entry: "JournalEntry") -> Line:
    """Return a line of what ``voucher ledger journal`` prints."""
    batch = f", batch {entry.batch}" if entry.batch else ""
    reason = f": {entry.reason}" if entry.reason else ""
    serials = entry.serials if len(entry.serials) <= MAX_RANGES else f"{entry.serials[:MAX_RANGES]}..."
    what = f"{entry.action} {serials}" if serials else entry.action
    return (
        Tone.PLAIN,
        f"{entry.number:>8}  {entry.at}  {entry.actor or '-'}  {what}{batch}{reason}",
    )


def audit_document(audit: "Audit") -> Document:
    """Return what ``voucher ledger audit --json`` prints of a ledger that is right."""
    return {
        "schema": "spkg.voucher.ledger.audit/1",
        "status": "right",
        "exit": 0,
        "entries": audit.entries,
        "serials": audit.serials,
        "head": audit.head,
        "problems": list(audit.problems),
        "problem_count": audit.problem_count,
    }


def audit_lines(audit: "Audit") -> Iterator[Line]:
    """Yield the lines that ``voucher ledger audit`` prints."""
    for problem in audit.problems:
        yield Tone.BAD, problem
    if audit.problem_count > len(audit.problems):
        yield Tone.BAD, f"and {audit.problem_count - len(audit.problems)} more"
    tone = Tone.BAD if audit.problem_count else Tone.GOOD
    serials, entries = amount(audit.serials, "serial number"), f"{audit.entries} journal entries"
    yield tone, f"{serials}, {entries}, {amount(audit.problem_count, 'problem')}"
    yield Tone.PLAIN, f"last digest: {audit.head}"


def statistics_lines(found: "LedgerStatistics") -> Iterator[Line]:
    """Yield the lines that ``voucher ledger stats`` prints."""
    yield Tone.PLAIN, amount(found.serials, "serial number")
    for title, counts in (
        ("by state", found.by_state),
        ("by Option", found.by_option),
        ("by batch", found.by_batch),
        ("issued by month", found.by_month),
    ):
        yield Tone.PLAIN, f"{title}:"
        for line in columns([(name or "(none)", str(count)) for name, count in counts.items()]):
            yield Tone.PLAIN, f"  {line}"
