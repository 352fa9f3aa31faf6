"""``spkg voucher issue``."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spkg.cli.app import command
from spkg.cli.arguments import check_output, key_files, spare_inputs
from spkg.cli.console import print_line, print_lines, print_octets
from spkg.cli.options import FORCE, JOBS, NO_PROGRESS, STRICT
from spkg.common.findings import Finding
from spkg.errors import UsageError
from vouchers.cli.bulk_run import BulkCommand, RunProgress, bulk_result_line, check_cluster, unserved_lines
from vouchers.cli.shared import (
    check_batch,
    issue_findings,
    issuing,
    list_findings,
    new_batch,
    open_ledger,
    signing_checks,
    tell_findings,
    this_device,
)
from vouchers.cli.voucher_options import (
    CLUSTER,
    ISSUE_WHAT,
    LINES_OF_JSON,
    OUT_DIR,
    SIGN_VOUCHER,
    voucher_format,
    voucher_output,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from vouchers.acs.bulk import BulkOrder, BulkReport
    from vouchers.acs.issuer import Issued
    from vouchers.acs.ledger import Ledger
    from vouchers.model import DeviceId
    from vouchers.signature.sign import VoucherSigner

__all__ = ["issue"]


@command("issue", last_line=bulk_result_line("issue", "out_dir"))
@ISSUE_WHAT
@SIGN_VOUCHER
@voucher_format("vouchers", note="  [default: xml with -o, ndjson with --out-dir]")
@voucher_output(required=False)
@OUT_DIR
@STRICT
@JOBS
@CLUSTER
@FORCE
@NO_PROGRESS
@LINES_OF_JSON
def issue(
    device_file: Path | None,
    devices: Path | None,
    options_file: Path,
    digest: str,
    ledger: str | None,
    new_ledger: bool,
    serial: int | None,
    batch: str | None,
    form: str | None,
    output: Path | None,
    out_dir: Path | None,
    strict: bool,
    jobs: int | None,
    cluster: str | None,
    force: bool,
    no_progress: bool,
    as_json: bool,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    **key: Any,
) -> None:
    """Issue vouchers to one device or to many.

    Serial numbers come from the ledger, and each is used once.  The same batch, run again, writes the same
    vouchers and completes an interrupted run.

    \b
    Example:
      spkg voucher issue --device device.toml --options options.toml \\
          --key keys/signer.key --cert keys/signer.pem --ledger ledger.db -o v.xml

    See: docs/vouchers.md
    """
    from spkg.common.digests import Digest
    from vouchers.acs.bulk import BulkOrder
    from vouchers.acs.templates import load_options
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.cli.worker_key import cluster_findings
    from vouchers.cpe.identity import identity_of
    from vouchers.report import ISSUE

    if (device_file is None) == (devices is None):
        raise UsageError("expected either --device or --devices")
    if (output is None) == (out_dir is None):
        raise UsageError("expected either -o or --out-dir")
    if devices is not None and out_dir is None:
        raise UsageError("--devices needs --out-dir")
    if as_json and str(output) == "-":
        raise UsageError("-o - and --json exclude each other")
    if (ledger is None) == (serial is None) or (serial is not None and (batch or out_dir)):
        raise UsageError("expected either --ledger, or --serial for one voucher without --batch")
    check_cluster(cluster, jobs, out_dir)
    if new_ledger and ledger is None:
        raise UsageError("--new-ledger needs --ledger")
    check_batch(batch)
    if output is not None and str(output) != "-":
        check_output(output, force=force)
        inputs = [("--device", device_file), ("--options", options_file), ("--ledger", Path(ledger or ""))]
        spare_inputs(output, [*inputs, *key_files(key)])
    templates = load_options(options_file)
    signer, check, found = signing_checks(
        key,
        Digest(digest),
        trust,
        at,
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        on_workers=cluster is not None,
    )
    found += issue_findings(templates, serial) + list_findings(devices)
    if cluster is not None:
        found += cluster_findings(cluster)
    tell_findings(found, strict=strict)
    books = None if ledger is None else open_ledger(ledger, found, create=new_ledger)
    device = None if device_file is None else identity_of(this_device(device_file))
    if out_dir is None:
        assert device is not None  # as checked above
        with issuing(device, templates, signer, books, serial, batch) as issued:
            if check is not None:
                check.check(issued.octets)
            _write_issued(issued, form or "xml", output, found, force=force, as_json=as_json)
        return
    assert books is not None  # as checked above
    many = device or devices
    assert many is not None  # as checked above
    order = BulkOrder(
        templates=templates,
        batch=batch or new_batch(),
        form=VoucherForm(form or "ndjson"),
        check=check,
    )
    run = BulkCommand(
        schema=ISSUE,
        verb="issuing",
        unit="octets",
        batch=order.batch,
        directory=out_dir,
        findings=found,
        cluster=cluster,
        jobs=jobs,
        no_progress=no_progress,
        as_json=as_json,
    )
    _issue_many(many, order, signer, books, run)


def _write_issued(
    issued: "Issued",
    form: str,
    output: Path | None,
    findings: Sequence[Finding],
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Write a voucher to a file, or to standard output, which then has nothing else."""
    from spkg.common.atomic_output import new_file, write_all
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.report import issued_document, issued_lines

    octets = VoucherForm(form).write(issued)
    if output is None or str(output) == "-":
        print_octets(octets)
        return
    with new_file(output, force=force) as file:
        write_all(file, octets)
    if as_json:
        print_line(issued_document(issued, str(output), findings))
    else:
        print_lines(issued_lines(issued, str(output)))


def _issue_many(
    devices: "DeviceId | Path",
    order: "BulkOrder",
    signer: "VoucherSigner",
    ledger: "AbstractContextManager[Ledger]",
    run: BulkCommand,
) -> None:
    """Issue a voucher to each of many devices."""
    from dataclasses import replace

    from vouchers.acs.bulk import issue_bulk

    def work(progress: RunProgress, executor: "Executor | None", jobs: int) -> "BulkReport":
        progress.expect(devices.stat().st_size if isinstance(devices, Path) else 0)
        return issue_bulk(
            *(replace(order, jobs=jobs), devices, run.directory, signer, ledger),
            progress=progress,
            executor=executor,
        )

    run.carry_out(work, unserved_lines)
