"""``spkg voucher revoke``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, key_files, spare_inputs
from spkg.cli.console import print_document, print_lines, print_octets
from spkg.cli.options import FORCE, JSON, STRICT
from spkg.errors import UsageError
from vouchers.cli.shared import existing_ledger, signing_checks, tell_findings
from vouchers.cli.voucher_options import (
    LEDGER,
    SIGN_VOUCHER,
    VOUCHER_DIGEST,
    voucher_format,
    voucher_output,
)

__all__ = ["revoke"]


@command("revoke")
@LEDGER
@click.option(
    "--serial", type=click.IntRange(1, 0xFFFFFFFF), metavar="N", help="Revoke the voucher of this number."
)
@click.option(
    "--device",
    metavar="OUI/CLASS/SERIAL",
    help="Revoke all that this device has; write % as %25 and / as %2F.",
)
@SIGN_VOUCHER
@VOUCHER_DIGEST
@voucher_format("the voucher", default="xml")
@voucher_output(required=True)
@click.option(
    "--actor", metavar="NAME", help="Write this into the journal as who did it.  [default: login name]"
)
@STRICT
@FORCE
@JSON
def revoke(
    ledger: str,
    serial: int | None,
    device: str | None,
    digest: str,
    form: str,
    output: Path,
    actor: str | None,
    strict: bool,
    force: bool,
    as_json: bool,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    **key: Any,
) -> None:
    """Issue the voucher that disables what another one enables.

    It has a serial number of its own, and the ledger links the two.  Run again, it writes the same voucher.
    The device loses the Option once it applies the voucher.

    \b
    Example:
      spkg voucher revoke --serial 1 --ledger ledger.db --key keys/signer.key \\
          --cert keys/signer.pem -o revocation.xml

    See: docs/vouchers.md
    """
    from spkg.common.atomic_output import new_file, write_all
    from spkg.common.digests import Digest
    from vouchers.acs.device_list import device_identity
    from vouchers.acs.revocations import revoking
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.report import issued_lines, revoked_document

    if (serial is None) == (device is None):
        raise UsageError("expected either --serial or --device")
    if as_json and str(output) == "-":
        raise UsageError("-o - and --json exclude each other")
    what = device_identity(device) if device is not None else serial
    assert what is not None  # as checked above
    if str(output) != "-":
        check_output(output, force=force)
        spare_inputs(output, [("--ledger", Path(ledger)), *key_files(key)])
    signer, check, found = signing_checks(
        key, Digest(digest), trust, at, unsafe_unfit_certificate=unsafe_unfit_certificate
    )
    tell_findings(found, strict=strict)
    with existing_ledger(ledger, actor) as opened, revoking(opened, signer, what) as issued:
        if check is not None:
            check.check(issued.octets)
        octets = VoucherForm(form).write(issued)
        if str(output) == "-":
            print_octets(octets)
            return
        with new_file(output, force=force) as file:
            write_all(file, octets)
    if as_json:
        print_document(revoked_document(issued, str(output), found))
    else:
        print_lines(issued_lines(issued, str(output)))
