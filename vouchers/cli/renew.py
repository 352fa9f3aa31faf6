"""``spkg voucher renew``."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import DocumentedError, FailureReporter, command, exit_status, failure_fields, host_error
from spkg.cli.arguments import cores, now
from spkg.cli.console import hint, print_line, print_lines, print_text, progress_bar, warn
from spkg.cli.options import FILE, JOBS, KEY, NO_PROGRESS, STRICT, UNFIT, VERIFY_VOUCHER
from spkg.common.documents import json_text
from spkg.common.findings import Finding, refuse_findings, warning_documents
from spkg.common.printable import amount
from spkg.errors import FormatError, SpkgError, UsageError
from vouchers.cli.shared import LEDGER, existing_ledger, signing_checks

if TYPE_CHECKING:
    from vouchers.acs.renewals import RenewalOrder
    from vouchers.signature.sign import VoucherSigner

__all__ = ["renew"]


def _print_failure(error: SpkgError | None, status: int, message: str) -> None:
    """Print the last line of a run that failed before it started."""
    from vouchers.report import RENEW

    print_line({"schema": RENEW, "event": "result", **failure_fields(error, status, message)})


def _last_line(options: Mapping[str, Any]) -> FailureReporter | None:
    """Return what prints the result of a failure; a batch always ends with a result line."""
    return _print_failure if options.get("batch") is not None else None


@command("renew", last_line=_last_line)
@LEDGER
@click.option(
    "--within", required=True, metavar="TIME", help="Renew what ends within this time, for example 30d."
)
@click.option(
    "--options",
    "options_file",
    type=FILE,
    metavar="FILE",
    help="Renew only the Options in this options file, by its durations.  [default: as before]",
)
@click.option("--batch", metavar="NAME", help="Issue renewals in this batch; run it again to complete it.")
@KEY
@UNFIT
@VERIFY_VOUCHER
@click.option(
    "--digest",
    type=click.Choice(["sha256", "sha1"]),
    default="sha256",
    show_default=True,
    help="Sign with this digest; sha1 is the form of 2004.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["xml", "base64", "soap", "ndjson"]),
    default="ndjson",
    show_default=True,
    help="Write vouchers in this format.",
)
@click.option("--out-dir", type=FILE, metavar="DIR", help="Write vouchers into DIR, a new directory.")
@STRICT
@JOBS
@NO_PROGRESS
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document; with --batch one object per line, the last one the result.",
)
def renew(
    ledger: str,
    within: str,
    options_file: Path | None,
    batch: str | None,
    digest: str,
    form: str,
    out_dir: Path | None,
    strict: bool,
    jobs: int | None,
    no_progress: bool,
    as_json: bool,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    **key: Any,
) -> None:
    """List the Options that end soon, or issue renewals for them.

    A renewal keeps the first StartDate and states the whole Duration, so the Option stays on.  Void vouchers,
    disabled Options and those that are renewed already are left out.  An Option without a StartDate may end
    later than the ledger knows: it is listed, but never renewed.

    \b
    Example:
      spkg voucher renew --ledger ledger.db --within 30d

    See: docs/vouchers.md
    """
    from datetime import timedelta

    from spkg.common.toml_document import read_duration

    seconds = read_duration(within)
    if seconds is None or not within[-1].isalpha():
        raise UsageError(f"--within: expected a time such as 30d or 12h, got {within[:40]!r}")
    near = timedelta(seconds=seconds)
    if batch is None:
        if out_dir is not None or options_file is not None or key["key"] is not None:
            raise UsageError("--out-dir, --options and --key need --batch")
        _list(ledger, near, as_json=as_json)
        return
    if out_dir is None:
        raise UsageError("--batch needs --out-dir")
    from spkg.common.digests import Digest
    from vouchers.acs.ledger_tables import MAX_BATCH
    from vouchers.acs.renewals import RenewalOrder, check_renewal_options
    from vouchers.acs.templates import load_options
    from vouchers.acs.voucher_form import VoucherForm

    if not (0 < len(batch) <= MAX_BATCH and batch.isprintable()):
        raise UsageError(f"--batch must have 1 to {MAX_BATCH} printable characters")
    templates = () if options_file is None else load_options(options_file)
    check_renewal_options(templates)
    signer, check, found = signing_checks(
        key, Digest(digest), trust, at, unsafe_unfit_certificate=unsafe_unfit_certificate
    )
    for finding in found:
        warn(finding)
    if strict:
        refuse_findings(found)
    order = RenewalOrder(
        templates=templates,
        batch=batch,
        within=near,
        form=VoucherForm(form),
        jobs=jobs or cores(),
        check=check,
    )
    _issue(ledger, out_dir, order, signer, found, no_progress=no_progress, as_json=as_json)


def _list(ledger: str, near: Any, *, as_json: bool) -> None:
    from vouchers.acs.ledger_due import due_renewals
    from vouchers.ledger_report import due_line, entry_document
    from vouchers.report import RENEW

    with existing_ledger(ledger) as opened:
        due = due_renewals(opened, near, now())
        if not as_json:
            print_lines(map(due_line, due))
            return
        # One document, whatever the number of entries.
        print_text(f'{{"schema": "{RENEW}", "entries": [')
        last: str | None = None
        for entry in due:
            if last is not None:
                print_text(f"{last},")
            last = json_text(entry_document(entry))
        print_text(f"{last or ''}]}}")


def _issue(
    ledger: str,
    directory: Path,
    order: "RenewalOrder",
    signer: "VoucherSigner",
    findings: list[Finding],
    *,
    no_progress: bool,
    as_json: bool,
) -> None:
    from vouchers.acs.renewals import renew_bulk
    from vouchers.report import RENEW, bulk_document, bulk_lines

    error: SpkgError | None = None
    document: dict[str, Any] = {"schema": RENEW, "event": "result", "batch": order.batch}
    try:
        with ExitStack() as stack:
            drawn: list[Callable[..., object] | None] = []

            def advance(count: int) -> None:
                if not drawn:  # drawing starts a thread; fork all processes before
                    bar = progress_bar("renewing", 0, wanted=not no_progress, slow=True)
                    drawn.append(stack.enter_context(bar))
                if drawn[0] is not None:
                    drawn[0](count)

            opened = stack.enter_context(existing_ledger(ledger))
            report = renew_bulk(order, directory, signer, opened, now(), progress=advance)
        document |= bulk_document(report, str(directory)) | {"estimated": report.estimated}
        if report.rejected:
            error = FormatError(
                f"{amount(report.rejected, 'device')} got no renewal",
                hint=f"see {directory}/rejected.csv for the reasons",
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
    if document.get("estimated"):
        count = amount(document["estimated"], "Option")
        hint(f"{count} without a StartDate may end soon: see 'spkg voucher renew' without --batch")
    if error is not None:
        raise DocumentedError(error) from error
