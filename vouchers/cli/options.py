"""``spkg voucher options``."""

from datetime import datetime
from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import hint, print_document, print_lines
from spkg.cli.options import FILE, JSON, Time
from vouchers.cli.voucher_options import STORE

__all__ = ["options"]


@command("options")
@STORE
@click.option(
    "--device",
    "device_file",
    type=FILE,
    metavar="FILE",
    help="Use this device file, and list its supported Options.",
)
@click.option("--name", default="", metavar="NAME", help="Show only this Option.")
@click.option("--at", type=Time(), help="Show the state at TIME, and store nothing.  [default: now]")
@JSON
def options(store: Path, device_file: Path | None, name: str, at: datetime | None, as_json: bool) -> None:
    """Show the state of the device's Options.

    The states are those that GetOptions reports, with the time when the next one changes.

    \b
    Example:
      spkg voucher options --store options.db --device device.toml

    See: docs/vouchers.md
    """
    from spkg.device import load_device
    from vouchers.cpe.apply import known_options
    from vouchers.report import options_document, options_lines

    device = None if device_file is None else load_device(device_file)
    found = known_options(store, device, at or now(), name, supposed=at is not None, note=hint)
    if as_json:
        print_document(options_document(found))
    else:
        print_lines(options_lines(found))
