"""``spkg voucher options``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import hint, print_document, print_lines
from spkg.cli.options import FILE, JSON, Time
from spkg.errors import SurroundingsError
from vouchers.cli.shared import STORE

if TYPE_CHECKING:
    from spkg.device import Device
    from vouchers.cpe.store import OptionStore

__all__ = ["options"]


def _observe(store: "OptionStore", device: "Device | None", now: datetime) -> None:
    """Have a store remember what is seen now; one that can't be written is read all the same."""
    try:
        store.observe(None if device is None else device.provisioning_code, now)
    except SurroundingsError as exc:
        hint(f"what is seen now is not remembered: {exc}")


@command("options")
@STORE
@click.option("--device", "device_file", type=FILE, metavar="FILE", help="This device, and what it supports.")
@click.option("--name", default="", metavar="NAME", help="This Option alone.")
@click.option("--at", type=Time(), help="Tell how they stand at TIME, and remember nothing.  [default: now]")
@JSON
def options(store: Path, device_file: Path | None, name: str, at: datetime | None, as_json: bool) -> None:
    """Show how Options stand, as GetOptions does."""
    from spkg.device import load_device
    from vouchers.cpe.apply import get_options
    from vouchers.cpe.store import OptionStore
    from vouchers.report import options_document, options_lines

    device = None if device_file is None else load_device(device_file)
    time = at or now()
    with OptionStore(store) as opened:
        if at is None:
            _observe(opened, device, time)
        supported = None if device is None else device.supported_options
        code = None if device is None or at is not None else device.provisioning_code
        found = get_options(opened, time, supported, name, real=at is None, provisioning_code=code)
        due = opened.next_change(time, {option.name for option in found}, real=at is None)
    if as_json:
        print_document(options_document(found, time, due))
    else:
        print_lines(options_lines(found, time, due))
