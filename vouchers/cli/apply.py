"""``spkg voucher apply``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON
from spkg.errors import UsageError
from vouchers.cli.shared import read_verifier, read_voucher_files, this_device
from vouchers.cli.voucher_options import STORE, VOUCHER_TRUST

__all__ = ["apply_vouchers"]


@command("apply")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@VOUCHER_TRUST
@click.option(
    "--device",
    "device_file",
    required=True,
    type=FILE,
    metavar="FILE",
    help="Use this device file.",
)
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
    """Apply vouchers to this device: all of them or none.

    FILE is XML, base64, or what 'issue' wrote in another format, also its whole directory.  Each voucher must
    have a trusted signature, be for this device and not have ended, and not have been applied before.  One
    that already governs its Options changes nothing and is accepted.

    \b
    Example:
      spkg voucher apply v.xml --trust keys/ca.pem --device device.toml --store options.db

    See: docs/vouchers.md
    """
    from itertools import islice

    from vouchers.cpe.apply import apply_vouchers as apply_all
    from vouchers.model import MAX_VOUCHERS
    from vouchers.report import applied_document, applied_lines

    verifier, time = read_verifier(at=at, no_clock=no_clock, **trust)
    device = this_device(device_file)
    if [str(file) for file in files].count("-") > 1:
        raise UsageError("only one voucher can come from standard input")

    def read() -> list[tuple[str, bytes]]:
        every = (one for file in files for one in read_voucher_files(file))
        return [*islice(every, MAX_VOUCHERS + 1)]

    done = apply_all(read, verifier, device, store, time, supposed=at is not None)
    assert time is not None  # or it would have been refused
    if as_json:
        print_document(applied_document(done))
    else:
        print_lines(applied_lines(done, time))
