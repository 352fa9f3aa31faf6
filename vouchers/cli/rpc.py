"""``spkg voucher rpc``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import read_input, time_of
from spkg.cli.console import hint, print_octets
from spkg.cli.options import FILE
from spkg.errors import RefusedError, SurroundingsError
from vouchers.cli.shared import STORE, VOUCHER_TRUST, read_verifier, this_device

__all__ = ["rpc"]


@command("rpc")
@STORE
@click.option("--device", "device_file", required=True, type=FILE, metavar="FILE", help="This device.")
@VOUCHER_TRUST
def rpc(store: Path, device_file: Path, at: datetime | None, no_clock: bool, **trust: Any) -> None:
    """Answer a request SetVouchers or GetOptions.

    The envelope comes from standard input, and the answer goes to standard output.  A fault is an answer,
    too, and the exit status 0; what is no envelope at all is 3.
    """
    from spkg.cwmp.faults import method_fault
    from spkg.cwmp.soap import MAX_ENVELOPE, fault_response, read_envelope
    from vouchers.cpe.rpc import answer
    from vouchers.cpe.store import OptionStore

    verifier, time = read_verifier(**trust), time_of(at, no_clock=no_clock)
    device = this_device(device_file)
    octets = read_input(Path("-"), MAX_ENVELOPE)
    try:
        request = read_envelope(octets)
    except RefusedError as exc:
        print_octets(fault_response(method_fault(exc), str(exc), None))
        return
    try:
        with OptionStore(store, create=True) as opened:
            response = answer(request, opened, verifier, device, time, supposed=at is not None)
    except SurroundingsError as exc:
        if request.is_empty:
            raise
        hint(str(exc))
        response = fault_response(method_fault(exc), str(exc), request.id)
    if response is not None:
        print_octets(response)
