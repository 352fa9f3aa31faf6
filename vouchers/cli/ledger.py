"""``spkg voucher ledger``: make one, list and export it, void what is in it."""

from collections.abc import Iterable

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import print_document, print_lines, print_text
from spkg.cli.options import JSON
from spkg.common.documents import json_text
from spkg.common.printable import amount, printable
from spkg.errors import UsageError
from vouchers.cli.shared import existing_ledger, login_name
from vouchers.cli.voucher_options import LEDGER

__all__ = ["export_ledger", "init_ledger", "list_ledger", "migrate_ledger", "void_serials"]


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
    from vouchers.ledger_report import entry_document, entry_line

    with existing_ledger(ledger) as opened:
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
    import io

    from vouchers.acs.ledger_entry import LedgerEntry
    from vouchers.acs.spreadsheet import SpreadsheetWriter
    from vouchers.ledger_report import entry_cells, entry_document

    def row(cells: Iterable[object]) -> str:
        line = io.StringIO()
        SpreadsheetWriter(line, "").row(cells)
        return line.getvalue()

    with existing_ledger(ledger) as opened:
        if not as_json:
            print_text(row(LedgerEntry.__dataclass_fields__))
        for entry in opened.entries():
            print_text(json_text(entry_document(entry)) if as_json else printable(row(entry_cells(entry))))


@command("init")
@click.argument("url")
@JSON
def init_ledger(url: str, as_json: bool) -> None:
    """Create a ledger: an SQLite file or tables in PostgreSQL.

    Its serial numbers begin with 1.  One that exists is left as it is.

    \b
    Example:
      spkg voucher ledger init ledger.db

    See: docs/vouchers.md
    """
    from vouchers.acs.ledger import Ledger

    with Ledger(url, now, actor=login_name()) as opened:
        if not opened.created:
            raise UsageError(f"{opened.database.name}: the ledger already exists")
        name = opened.database.name
    if as_json:
        print_document({"schema": "spkg.voucher.ledger.init/1", "ledger": name, "created": True})
    else:
        print_text(f"{name}: created")


@command("migrate")
@click.argument("url")
@JSON
def migrate_ledger(url: str, as_json: bool) -> None:
    """Bring a ledger of an earlier version up to date.

    Every other command does this, too, when it first uses the ledger.

    \b
    Example:
      spkg voucher ledger migrate ledger.db

    See: docs/vouchers.md
    """
    with existing_ledger(url) as opened:
        name, migrated = opened.database.name, opened.migrated
    if as_json:
        print_document({"schema": "spkg.voucher.ledger.migrate/1", "ledger": name, "migrated": migrated})
    else:
        print_text(f"{name}: {'brought up to date' if migrated else 'already up to date'}")


@command("void")
@click.argument("serials", nargs=-1, type=click.IntRange(1, 0xFFFFFFFF), metavar="[SERIAL]...")
@LEDGER
@click.option("--batch", metavar="NAME", help="Void this batch.")
@click.option(
    "--device",
    metavar="OUI/CLASS/SERIAL",
    help="Void what this device has; write % as %25 and / as %2F.",
)
@click.option("--reason", default="", metavar="TEXT", help="Write this into the journal as the reason.")
@click.option(
    "--actor", metavar="NAME", help="Write this into the journal as who did it.  [default: login name]"
)
@JSON
def void_serials(
    serials: tuple[int, ...],
    ledger: str,
    batch: str | None,
    device: str | None,
    reason: str,
    actor: str | None,
    as_json: bool,
) -> None:
    """Void serial numbers: no batch issues them again.

    Give SERIALs, or a batch, a device, or both for a device in a batch.  This does not revoke a voucher on a
    device: to do that, issue one that disables the Option.

    \b
    Example:
      spkg voucher ledger void 1 --ledger ledger.db --reason "sold twice"

    See: docs/vouchers.md
    """
    from vouchers.acs.device_list import device_identity

    where = batch is not None or device is not None
    if where == bool(serials):
        raise UsageError("expected either SERIALs, or --batch or --device")
    identity = None if device is None else device_identity(device)
    with existing_ledger(ledger, actor) as opened:
        if serials:
            opened.void(*serials, reason=reason)
            count = len({*serials})
        else:
            count = opened.void_where(batch=batch, device=identity, reason=reason)
    if as_json:
        named = {"serial": serials[0]} if len(serials) == 1 else {"serials": list(serials)} if serials else {}
        document = {"schema": "spkg.voucher.ledger.void/1", **named, "state": "void", "voided": count}
        print_document(document)
    elif serials:
        print_text(f"{', '.join(map(str, serials))}: void")
    else:
        print_text(f"{amount(count, 'serial number')}: void")
