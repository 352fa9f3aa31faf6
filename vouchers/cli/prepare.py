"""``spkg voucher prepare``."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, command, exit_status, failure_fields
from spkg.cli.arguments import check_output, now, spare_inputs
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import CERTIFICATE, FILE, FORCE, JSON, UNFIT
from spkg.common.printable import amount
from spkg.errors import FormatError, UsageError
from spkg.report.lines import Tone, warning_documents
from vouchers.cli.bulk_run import rejected_error, unserved_lines
from vouchers.cli.shared import (
    check_batch,
    issue_findings,
    list_findings,
    open_ledger,
    tell_findings,
    this_device,
)
from vouchers.cli.voucher_options import ISSUE_WHAT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cryptography import x509

    from spkg.common.documents import Document
    from spkg.common.findings import Finding
    from vouchers.acs.bulk import BulkReport
    from vouchers.acs.ledger import Ledger
    from vouchers.acs.templates import Template
    from vouchers.model import DeviceId
    from vouchers.signature.sign import VoucherSigner

__all__ = ["prepare_voucher"]


@command("prepare")
@ISSUE_WHAT
@CERTIFICATE
@UNFIT
@click.option("-o", "output", required=True, type=FILE, metavar="REQUEST", help="Write to REQUEST.")
@FORCE
@JSON
def prepare_voucher(
    device_file: Path | None,
    devices: Path | None,
    options_file: Path,
    digest: str,
    ledger: str | None,
    new_ledger: bool,
    serial: int | None,
    batch: str | None,
    cert: Path,
    chain: Path | None,
    at: datetime | None,
    unsafe_unfit_certificate: bool,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write vouchers without a signature, to be signed elsewhere.

    REQUEST has a line of JSON for each voucher; 'spkg voucher attach' adds the signatures.  Serial numbers
    count as issued from then on.  Lines of a list that get no voucher are in REQUEST.rejected.csv.

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
    if new_ledger and ledger is None:
        raise UsageError("--new-ledger needs --ledger")
    check_batch(batch)
    rejected = output.with_name(f"{output.name}.rejected.csv")
    inputs = [
        ("--device", device_file),
        ("--devices", devices),
        ("--options", options_file),
        ("--cert", cert),
    ]
    for path in [output] if devices is None else [output, rejected]:
        check_output(path, force=force)
        spare_inputs(path, [*inputs, ("--chain", chain), ("--ledger", Path(ledger or ""))])
    templates = load_options(options_file)
    leaf, *others = load_certificates(cert) + ([] if chain is None else load_certificates(chain))
    found = check_fitness(
        leaf,
        VOUCHER_PURPOSES,
        at=at or now(),
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        digest=Digest(digest),
    )
    found += [*chain_findings(leaf, others), *issue_findings(templates, serial), *list_findings(devices)]
    tell_findings(found, strict=False)
    books = None if ledger is None else open_ledger(ledger, found, create=new_ledger)
    signer = unsigned_signer(leaf, tuple(others), Digest(digest))
    if device_file is not None:
        from vouchers.cpe.identity import identity_of

        device = identity_of(this_device(device_file))
        serials = _one(device, templates, signer, leaf, books, serial, batch, output, force=force)
        if as_json:
            print_document(_prepared(output, found, serials=list(serials)))
        else:
            numbers, options = ", ".join(map(str, serials)), amount(len(serials), "Option")
            print_lines([(Tone.PLAIN, f"{output}: {options} to be signed, serials {numbers}")])
        return
    assert devices is not None  # as checked above
    assert books is not None  # as checked above
    name, report = _many(devices, templates, signer, leaf, books, batch, output, rejected, force=force)
    error: FormatError | None = None
    if report.rejected:
        error = rejected_error(unserved_lines(report.rejected), rejected)
    if as_json:
        counts = {"batch": name, "prepared": report.issued, "rejected": report.rejected}
        failed = {} if error is None else failure_fields(error, exit_status(error), str(error))
        print_document(_prepared(output, found, **counts) | failed)
    else:
        print_lines([(Tone.GOOD, f"{output}: {amount(report.issued, 'voucher')} to be signed, batch {name}")])
    if error is not None:
        raise DocumentedError(error) if as_json else error


def _prepared(output: Path, findings: "Sequence[Finding]", **what: Any) -> "Document":
    """Return what is printed with ``--json``."""
    warnings = warning_documents(findings)
    return {"schema": "spkg.voucher.prepare/1", "output": str(output), **what, "warnings": warnings}


def _one(
    device: "DeviceId",
    templates: "Sequence[Template]",
    signer: "VoucherSigner",
    certificate: "x509.Certificate",
    books: "AbstractContextManager[Ledger] | None",
    serial: int | None,
    batch: str | None,
    output: Path,
    *,
    force: bool,
) -> tuple[int, ...]:
    """Write the request for one device, and return the serial numbers."""
    from spkg.common.atomic_output import new_file, write_all
    from vouchers.acs.two_steps import request_for
    from vouchers.cli.shared import issuing

    with (
        issuing(device, tuple(templates), signer, books, serial, batch) as issued,
        new_file(output, force=force) as file,
    ):
        write_all(file, request_for(issued, certificate, signer.digest))
    return issued.serials


def _many(
    devices: Path,
    templates: "Sequence[Template]",
    signer: "VoucherSigner",
    certificate: "x509.Certificate",
    books: "AbstractContextManager[Ledger]",
    batch: str | None,
    output: Path,
    rejected: Path,
    *,
    force: bool,
) -> "tuple[str, BulkReport]":
    """Write the requests for a list, and return the name of the batch, and how many there are."""
    from spkg.common.atomic_output import new_pair
    from vouchers.acs.bulk import BulkOrder
    from vouchers.acs.device_list import read_devices
    from vouchers.acs.serial_log import SerialLog
    from vouchers.acs.two_steps import write_requests
    from vouchers.cli.shared import new_batch

    order = BulkOrder(templates=tuple(templates), batch=batch or new_batch())
    with books as ledger, SerialLog() as log, closing(read_devices(devices)) as listed:
        with new_pair(output, rejected, force=force) as (file, others):
            report = write_requests(
                *(order, listed, file, signer),
                certificate=certificate,
                ledger=ledger,
                rejected=others,
                log=log,
            )
        ledger.confirm_all(log)
    return order.batch, report
