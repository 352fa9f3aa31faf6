"""``spkg voucher apply``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import time_of
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON
from spkg.errors import UsageError
from vouchers.cli.shared import STORE, VOUCHER_TRUST, read_verifier, read_voucher_file, this_device

__all__ = ["apply_vouchers"]


@command("apply")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@VOUCHER_TRUST
@click.option("--device", "device_file", required=True, type=FILE, metavar="FILE", help="This device.")
@STORE
@JSON
def apply_vouchers(
    files: tuple[Path, ...],
    at: datetime | None,
    no_clock: bool,
    device_file: Path,
    store: Path,
    as_json: bool,
    **trust: Any,
) -> None:
    """Apply vouchers as SetVouchers does: all, or none.

    Each FILE, XML or base64, is verified first, and has to be for this device, now, and not seen before.
    A voucher that governs its Options already changes nothing, and is no failure.
    """
    from vouchers.cpe.apply import check_vouchers, set_vouchers
    from vouchers.cpe.store import OptionStore
    from vouchers.report import applied_document, applied_lines

    verifier, time = read_verifier(**trust), time_of(at, no_clock=no_clock)
    device, real = this_device(device_file), time if at is None else None
    if [str(file) for file in files].count("-") > 1:
        raise UsageError("only one of the vouchers can come from standard input")
    if store.is_file() and store.stat().st_size:
        with OptionStore(store) as known:  # a new provider is one also where the vouchers are refused
            known.observe(device.provisioning_code, real)
    octets = [(str(file), read_voucher_file(file)) for file in files]
    checked = check_vouchers(octets, verifier, device, time)
    assert time is not None  # or nothing would be granted
    with OptionStore(store, create=True) as opened:
        opened.observe(device.provisioning_code, real)
        done = set_vouchers(checked, opened, time, device.provisioning_code, real=at is None)
    if as_json:
        print_document(applied_document(done))
    else:
        print_lines(applied_lines(done, time))
