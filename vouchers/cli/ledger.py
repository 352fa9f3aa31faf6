"""``spkg voucher ledger``: list, export, void."""

from collections.abc import Iterable

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import print_document, print_lines, print_text
from spkg.cli.options import JSON
from spkg.common.documents import json_text
from spkg.common.printable import printable
from vouchers.cli.shared import LEDGER

__all__ = ["export_ledger", "list_ledger", "void_serial"]


@command("list")
@LEDGER
@click.option("--batch", metavar="NAME", help="Show only this batch.")
@click.option("--state", type=click.Choice(["reserved", "issued", "void"]), help="Show only this state.")
@click.option("--serial-number", metavar="NUMBER", help="Show only the device with this serial number.")
@JSON
def list_ledger(
    ledger: str, batch: str | None, state: str | None, serial_number: str | None, as_json: bool
) -> None:
    """List vouchers by serial number.

    Each line has the serial number, its state, the time of that state, the device and the Option.

    \b
    Example:
      spkg voucher ledger list --ledger ledger.db --batch december

    See: docs/vouchers.md
    """
    from vouchers.acs.ledger import Ledger
    from vouchers.report import entry_document, entry_line

    with Ledger(ledger, now, create=False) as opened:
        entries = opened.entries(batch=batch, state=state, serial_number=serial_number)
        if not as_json:
            print_lines(map(entry_line, entries))
            return
        # One document, whatever the number of entries.
        print_text('{"schema": "spkg.voucher.ledger.list/1", "entries": [')
        last: str | None = None
        for entry in entries:
            if last is not None:
                print_text(f"{last},")
            last = json_text(entry_document(entry))
        print_text(f"{last or ''}]}}")


@command("export")
@LEDGER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def export_ledger(ledger: str, as_json: bool) -> None:
    """Export the whole ledger as CSV or JSON lines.

    \b
    Example:
      spkg voucher ledger export --ledger ledger.db > ledger.csv

    See: docs/vouchers.md
    """
    import csv
    import io

    from vouchers.acs.ledger import Ledger, LedgerEntry
    from vouchers.report import entry_document

    def row(cells: Iterable[object]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        return line.getvalue()

    with Ledger(ledger, now, create=False) as opened:
        if not as_json:
            print_text(row(LedgerEntry.__dataclass_fields__))
        for entry in opened.entries():
            document = entry_document(entry)
            print_text(json_text(document) if as_json else printable(row(document.values())))


@command("void")
@click.argument("serial", type=click.IntRange(1, 0xFFFFFFFF))
@LEDGER
@JSON
def void_serial(serial: int, ledger: str, as_json: bool) -> None:
    """Void SERIAL: its batch never issues it again.

    This does not revoke a voucher on a device: to do that, issue one that disables the Option.

    \b
    Example:
      spkg voucher ledger void 1 --ledger ledger.db

    See: docs/vouchers.md
    """
    from vouchers.acs.ledger import Ledger

    with Ledger(ledger, now, create=False) as opened:
        opened.void(serial)
    if as_json:
        print_document({"schema": "spkg.voucher.ledger.void/1", "serial": serial, "state": "void"})
    else:
        print_text(f"{serial}: void")
