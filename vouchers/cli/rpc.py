"""``spkg voucher rpc``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import read_input
from spkg.cli.console import hint, print_octets
from spkg.cli.options import FILE
from vouchers.cli.shared import read_verifier, this_device
from vouchers.cli.voucher_options import STORE, VOUCHER_TRUST

__all__ = ["rpc"]


@command("rpc")
@STORE
@click.option(
    "--device",
    "device_file",
    required=True,
    type=FILE,
    metavar="FILE",
    help="Use this device file.",
)
@VOUCHER_TRUST
def rpc(store: Path, device_file: Path, at: datetime | None, no_clock: bool, **trust: Any) -> None:
    """Answer a SetVouchers or GetOptions request.

    The SOAP envelope comes from standard input, and the answer goes to standard output.  The exit status is 0
    if the answer is a fault, too, and 3 if the input is not an envelope.

    \b
    Example:
      spkg voucher rpc --store options.db --device device.toml --trust keys/ca.pem < request.xml

    See: docs/vouchers.md
    """
    from spkg.cwmp.envelopes import MAX_ENVELOPE
    from vouchers.cpe.rpc import answer_rpc

    verifier, time = read_verifier(at=at, no_clock=no_clock, **trust)
    device = this_device(device_file)
    octets = read_input(Path("-"), MAX_ENVELOPE)
    response = answer_rpc(octets, store, verifier, device, time, supposed=at is not None, note=hint)
    if response is not None:
        print_octets(response)
