"""``spkg voucher ledger``: its journal, an audit of it, and statistics."""

import click

from spkg.cli.app import DocumentedError, command, exit_status, failure_fields
from spkg.cli.console import print_document, print_lines, print_text
from spkg.cli.options import JSON
from spkg.common.documents import json_text
from spkg.errors import UntrustedError, UsageError
from vouchers.cli.shared import existing_ledger
from vouchers.cli.voucher_options import LEDGER

__all__ = ["ledger_audit", "ledger_journal", "ledger_stats"]


@command("journal")
@LEDGER
@JSON
def ledger_journal(ledger: str, as_json: bool) -> None:
    """Show every change of a ledger: who, when, what and why.

    Nothing is verified here; 'spkg voucher ledger audit' does that.

    \b
    Example:
      spkg voucher ledger journal --ledger ledger.db

    See: docs/vouchers.md
    """
    from vouchers.ledger_report import journal_line

    with existing_ledger(ledger) as opened:
        if not as_json:
            print_lines(map(journal_line, opened.journal()))
            return
        # One document, whatever the number of entries.
        print_text('{"schema": "spkg.voucher.ledger.journal/1", "verified": false, "entries": [')
        last: str | None = None
        for entry in opened.journal():
            if last is not None:
                print_text(f"{last},")
            last = json_text(vars(entry))
        print_text(f"{last or ''}]}}")


@command("audit")
@LEDGER
@JSON
def ledger_audit(ledger: str, as_json: bool) -> None:
    """Verify the journal of a ledger, and each serial number by it.

    Each entry of the journal has a digest of itself and of the entry before.  Keep the last digest elsewhere:
    then nobody can write the journal anew.

    \b
    Example:
      spkg voucher ledger audit --ledger ledger.db

    See: docs/vouchers.md
    """
    from vouchers.acs.ledger_audit import audit_ledger
    from vouchers.ledger_report import audit_document, audit_lines

    with existing_ledger(ledger) as opened:
        audit, name = audit_ledger(opened), opened.database.name
    error = None
    if audit.problem_count:
        error = UntrustedError(f"{name}: the ledger is not what its journal says, or the journal is broken")
    if as_json:
        failed = {} if error is None else failure_fields(error, exit_status(error), str(error))
        print_document(audit_document(audit) | failed)
    else:
        print_lines(audit_lines(audit))
    if error is not None:
        raise DocumentedError(error) if as_json else error


@command("stats")
@LEDGER
@click.option("--prometheus", is_flag=True, help="Print the text format of Prometheus.")
@JSON
def ledger_stats(ledger: str, prometheus: bool, as_json: bool) -> None:
    """Count serial numbers by state, Option, batch and month of issue.

    \b
    Example:
      spkg voucher ledger stats --ledger ledger.db --prometheus

    See: docs/vouchers.md
    """
    from vouchers.acs.ledger_statistics import ledger_statistics, prometheus_text
    from vouchers.ledger_report import statistics_lines

    if prometheus and as_json:
        raise UsageError("--prometheus and --json exclude each other")
    with existing_ledger(ledger) as opened:
        found = ledger_statistics(opened)
    if as_json:
        print_document({"schema": "spkg.voucher.ledger.stats/1", **vars(found)})
    elif prometheus:
        for line in prometheus_text(found):
            print_text(line)
    else:
        print_lines(statistics_lines(found))
