"""``spkg voucher verify``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, command, exit_status, host_error
from spkg.cli.arguments import about
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import EXPLAIN, FILE, JSON
from spkg.errors import SpkgError
from vouchers.cli.shared import read_voucher_file, read_voucher_trust, this_device
from vouchers.cli.voucher_options import VOUCHER_TRUST

if TYPE_CHECKING:
    from spkg.common.findings import Finding
    from spkg.trust.explanation import SignatureExplanation
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
@EXPLAIN
@JSON
def verify_voucher(
    file: Path,
    at: datetime | None,
    no_clock: bool,
    device_file: Path | None,
    explain: bool,
    as_json: bool,
    **trust: Any,
) -> None:
    """Verify the signature of a voucher.

    FILE is XML or base64.  Exit status 0: a trusted signer has signed all of it; 4: not trusted; --explain
    shows why.

    \b
    Example:
      spkg voucher verify v.xml --trust keys/ca.pem

    See: docs/vouchers.md
    """
    from spkg.report.lines import error_fields
    from vouchers.cpe.grant import grant
    from vouchers.report import verification_document, verification_lines
    from vouchers.signature.shape import read_voucher
    from vouchers.signature.verify import Verifier

    trusted: TrustedVoucher | None = None
    explained: SignatureExplanation | None = None
    error: SpkgError | None = None
    findings: tuple[Finding, ...] = ()
    try:
        options = read_voucher_trust(at=at, no_clock=no_clock, **trust)
        policy, time, findings = options.policy, options.time, options.findings
        device = None if device_file is None else this_device(device_file)
        octets = read_voucher_file(file)
        with about(file):
            document = read_voucher(octets)
            if explain:
                from vouchers.signature.explanation import explain_voucher

                explained = explain_voucher(document, policy, time)
            trusted = Verifier(policy).verify(document, time)
            if device is not None:
                grant(trusted, device, time)
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = host_error(exc)
    if as_json:
        result = verification_document(trusted, error, findings, explained)
        if error is not None:
            result |= error_fields(error, exit_status(error), error.STATUS, str(error))
        print_document(result)
    else:
        print_lines(verification_lines(trusted, error, explained))
    if error is not None:
        raise DocumentedError(error) from error
