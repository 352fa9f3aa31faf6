"""``spkg voucher issue``."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, FailureReporter, command, exit_status, failure_fields, host_error
from spkg.cli.arguments import check_output, cores, key_files, spare_inputs
from spkg.cli.console import print_line, print_lines, print_octets, progress_bar, warn
from spkg.cli.options import FILE, FORCE, JOBS, KEY, NO_PROGRESS, STRICT, UNFIT, VERIFY_VOUCHER
from spkg.common.findings import Finding, refuse_findings, warning_documents
from spkg.common.printable import amount
from spkg.errors import FormatError, SpkgError, UsageError
from vouchers.cli.shared import (
    ISSUE_WHAT,
    issue_findings,
    issuing,
    list_findings,
    new_batch,
    open_ledger,
    signing_checks,
    this_device,
)

if TYPE_CHECKING:
    from spkg.common.documents import Document
    from vouchers.acs.bulk import BulkOrder
    from vouchers.acs.issuer import Issued
    from vouchers.acs.ledger import Ledger
    from vouchers.model import DeviceId
    from vouchers.signature.sign import VoucherSigner

__all__ = ["issue"]


def _print_failure(error: SpkgError | None, status: int, message: str) -> None:
    """Print the last line of a bulk run that failed before it started."""
    from vouchers.report import ISSUE

    print_line({"schema": ISSUE, "event": "result", **failure_fields(error, status, message)})


def _last_line(options: Mapping[str, Any]) -> FailureReporter | None:
    """Return what prints the result of a failure; a bulk run always ends with a result line."""
    return _print_failure if options.get("out_dir") is not None else None


@command("issue", last_line=_last_line)
@ISSUE_WHAT
@KEY
@UNFIT
@VERIFY_VOUCHER
@click.option(
    "--format",
    "form",
    type=click.Choice(["xml", "base64", "soap", "ndjson"]),
    help="Write vouchers in this format.  [default: xml with -o, ndjson with --out-dir]",
)
@click.option(
    "-o", "output", type=FILE, metavar="OUT", help="Write the voucher to OUT; - is standard output."
)
@click.option("--out-dir", type=FILE, metavar="DIR", help="Write vouchers into DIR, a new directory.")
@STRICT
@JOBS
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Sign on the workers of this Dask scheduler, with --key of their own machines.",
)
@FORCE
@NO_PROGRESS
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object per line; the last one is the result."
)
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
    from vouchers.acs.ledger_tables import MAX_BATCH
    from vouchers.acs.templates import load_options
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.cli.worker_key import cluster_findings
    from vouchers.cpe.identity import identity_of

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
    if cluster is not None and (jobs is not None or out_dir is None):
        raise UsageError("--cluster excludes --jobs" if out_dir else "--cluster needs --out-dir")
    if new_ledger and ledger is None:
        raise UsageError("--new-ledger needs --ledger")
    if batch is not None and not (0 < len(batch) <= MAX_BATCH and batch.isprintable()):
        raise UsageError(f"--batch must have 1 to {MAX_BATCH} printable characters")
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
    for finding in found:
        warn(finding)
    if strict:
        refuse_findings(found)
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
        jobs=jobs or cores(),
        check=check,
    )
    _issue_many(
        many, out_dir, order, signer, books, found, cluster=cluster, no_progress=no_progress, as_json=as_json
    )


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
    directory: Path,
    order: "BulkOrder",
    signer: "VoucherSigner",
    ledger: "AbstractContextManager[Ledger]",
    findings: list[Finding],
    *,
    cluster: str | None,
    no_progress: bool,
    as_json: bool,
) -> None:
    """Issue a voucher to each of many devices."""
    from dataclasses import replace

    from spkg.report.lines import progress_document
    from vouchers.acs.bulk import issue_bulk
    from vouchers.report import ISSUE, bulk_document, bulk_lines

    error: SpkgError | None = None
    document: Document = {"schema": ISSUE, "event": "result", "batch": order.batch}
    try:
        with ExitStack() as stack:
            total = devices.stat().st_size if isinstance(devices, Path) else 0
            drawn: list[Callable[..., object] | None] = []
            done = told = 0

            def advance(octets: int) -> None:
                nonlocal done, told
                done += octets
                if not drawn:  # drawing starts a thread; fork all processes before
                    bar = progress_bar("issuing", total, wanted=not no_progress, slow=True)
                    drawn.append(stack.enter_context(bar))
                if drawn[0] is not None:
                    drawn[0](octets)
                if as_json and done - told >= total / 100:
                    told = done
                    print_line(progress_document(ISSUE, done, total))

            workers = None
            if cluster is not None:
                from vouchers.acs.cluster import cluster_executor

                workers = stack.enter_context(cluster_executor(cluster))
                order = replace(order, jobs=workers.threads)
            report = issue_bulk(order, devices, directory, signer, ledger, progress=advance, executor=workers)
        document |= bulk_document(report, str(directory))
        if report.rejected:
            lines = amount(report.rejected, "line")
            error = FormatError(
                f"{lines} of the list got no voucher", hint=f"see {directory}/rejected.csv for the reasons"
            )
    except SpkgError as exc:
        error = exc
    except OSError as exc:
        error = host_error(exc)
    document["warnings"] = warning_documents(findings)
    if error is not None:
        document |= failure_fields(error, exit_status(error), str(error))
    if as_json:
        print_line(document)
    elif error is None or "issued" in document:
        print_lines(bulk_lines(report, str(directory), order.batch))
    if error is not None:
        raise DocumentedError(error) from error
