"""``spkg voucher prepare``."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, now, spare_inputs
from spkg.cli.console import hint, print_lines, warn
from spkg.cli.options import CERTIFICATE, FILE, FORCE, UNFIT
from spkg.common.printable import amount
from spkg.errors import FormatError, UsageError
from vouchers.cli.shared import ISSUE_WHAT, open_ledger, this_device

if TYPE_CHECKING:
    from io import FileIO

    from cryptography import x509

    from vouchers.acs.bulk import BulkReport
    from vouchers.acs.templates import Template
    from vouchers.model import DeviceId
    from vouchers.signature.sign import VoucherSigner

__all__ = ["prepare_voucher"]

NAMED_LINES = 10
"""How many lines of a list that get no request are named."""


@command("prepare")
@ISSUE_WHAT
@CERTIFICATE
@UNFIT
@click.option("-o", "output", required=True, type=FILE, metavar="REQUEST", help="Write to REQUEST.")
@FORCE
def prepare_voucher(
    device_file: Path | None,
    devices: Path | None,
    options_file: Path,
    digest: str,
    ledger: str | None,
    serial: int | None,
    batch: str | None,
    cert: Path,
    chain: Path | None,
    at: datetime | None,
    unsafe_unfit_certificate: bool,
    output: Path,
    force: bool,
) -> None:
    """Write vouchers without a signature, to be signed elsewhere.

    REQUEST has a line of JSON for each voucher; 'spkg voucher attach' adds the signatures.  Serial numbers
    count as issued from then on.

    \b
    Example:
      spkg voucher prepare --device device.toml --options options.toml \\
          --cert keys/voucher.pem --ledger ledger.db -o request.json

    See: docs/vouchers.md
    """
    from spkg.common.digests import Digest
    from spkg.trust.certificate_files import load_certificates
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.acs.templates import load_options
    from vouchers.acs.two_steps import unsigned_signer

    if (device_file is None) == (devices is None):
        raise UsageError("expected either --device or --devices")
    if (ledger is None) == (serial is None) or (serial is not None and (batch or devices)):
        raise UsageError("expected either --ledger, or --serial for one voucher without --batch")
    check_output(output, force=force)
    inputs = [
        ("--device", device_file),
        ("--devices", devices),
        ("--options", options_file),
        ("--cert", cert),
    ]
    spare_inputs(output, [*inputs, ("--chain", chain), ("--ledger", Path(ledger or ""))])
    templates = load_options(options_file)
    leaf, *others = load_certificates(cert) + ([] if chain is None else load_certificates(chain))
    found = check_fitness(
        leaf, VOUCHER_PURPOSES, at=at or now(), unsafe_unfit_certificate=unsafe_unfit_certificate
    )
    for finding in (*found, *chain_findings(leaf, others)):
        warn(finding)
    signer = unsigned_signer(leaf, tuple(others), Digest(digest))
    if device_file is not None:
        from vouchers.cpe.identity import identity_of

        device = identity_of(this_device(device_file))
        _one(device, templates, signer, leaf, ledger, serial, batch, output, force=force)
        return
    assert devices is not None  # as checked above
    assert ledger is not None  # as checked above
    _many(devices, templates, signer, leaf, ledger, batch, output, force=force)


def _one(
    device: "DeviceId",
    templates: "Sequence[Template]",
    signer: "VoucherSigner",
    certificate: "x509.Certificate",
    url: str | None,
    serial: int | None,
    batch: str | None,
    output: Path,
    *,
    force: bool,
) -> None:
    from spkg.common.atomic_output import new_file, write_all
    from spkg.report.lines import Tone
    from vouchers.acs.two_steps import request_for
    from vouchers.cli.shared import issuing

    with issuing(device, tuple(templates), signer, url, serial, batch, []) as issued:
        with new_file(output, force=force) as file:
            write_all(file, request_for(issued, certificate, signer.digest))
        numbers = ", ".join(map(str, issued.serials))
    print_lines(
        [(Tone.PLAIN, f"{output}: {amount(len(issued.serials), 'Option')} to be signed, serials {numbers}")]
    )


def _many(
    devices: Path,
    templates: "Sequence[Template]",
    signer: "VoucherSigner",
    certificate: "x509.Certificate",
    url: str,
    batch: str | None,
    output: Path,
    *,
    force: bool,
) -> None:
    from spkg.common.atomic_output import new_file
    from spkg.report.lines import Tone
    from vouchers.acs.bulk import BulkOrder
    from vouchers.acs.device_list import read_devices
    from vouchers.acs.two_steps import write_requests
    from vouchers.cli.shared import new_batch

    order = BulkOrder(templates=tuple(templates), batch=batch or new_batch())
    named: list[str] = []

    def reject(line: int, reason: str) -> None:
        if len(named) < NAMED_LINES:
            named.append(f"line {line}: {reason}")

    def write(file: "FileIO") -> "BulkReport":
        return write_requests(
            order, read_devices(devices), file, signer, certificate=certificate, ledger=ledger, reject=reject
        )

    with open_ledger(url, []) as ledger:
        with new_file(output, force=force) as file:
            report = write(file)
        ledger.confirm_batch(order.batch, report.run)
    for problem in named:
        hint(problem)
    print_lines(
        [(Tone.GOOD, f"{output}: {amount(report.issued, 'voucher')} to be signed, batch {order.batch}")]
    )
    if report.rejected:
        raise FormatError(f"{amount(report.rejected, 'line')} of the list got no voucher")
