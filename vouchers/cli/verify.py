"""``spkg voucher verify``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, command, exit_status, host_error
from spkg.cli.arguments import about
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON
from spkg.errors import SpkgError
from vouchers.cli.shared import VOUCHER_TRUST, read_verifier, read_voucher_file, this_device

if TYPE_CHECKING:
    from vouchers.signature.verify import TrustedVoucher

__all__ = ["verify_voucher"]


@command("verify")
@click.argument("file", type=FILE)
@VOUCHER_TRUST
@click.option(
    "--device",
    "device_file",
    type=FILE,
    metavar="FILE",
    help="Also require a voucher for this device that has not ended.",
)
@JSON
def verify_voucher(
    file: Path, at: datetime | None, no_clock: bool, device_file: Path | None, as_json: bool, **trust: Any
) -> None:
    """Verify the signature of a voucher.

    FILE is XML or base64.  Exit status 0 means that a trusted signer has signed all of it.

    \b
    Example:
      spkg voucher verify v.xml --trust keys/ca.pem

    See: docs/vouchers.md
    """
    from spkg.report.lines import error_fields
    from vouchers.cpe.grant import grant
    from vouchers.report import verification_document, verification_lines
    from vouchers.signature.shape import read_voucher

    trusted: TrustedVoucher | None = None
    error: SpkgError | None = None
    try:
        verifier, time = read_verifier(at=at, no_clock=no_clock, **trust)
        device = None if device_file is None else this_device(device_file)
        octets = read_voucher_file(file)
        with about(file):
            trusted = verifier.verify(read_voucher(octets), time)
            if device is not None:
                grant(trusted, device, time)
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = host_error(exc)
    if as_json:
        document = verification_document(trusted, error)
        if error is not None:
            document |= error_fields(error, exit_status(error), error.STATUS, str(error))
        print_document(document)
    elif trusted is not None:
        print_lines(verification_lines(trusted, error))
    if error is not None:
        raise DocumentedError(error) from error
