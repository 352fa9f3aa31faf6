"""``spkg voucher renew``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import now
from spkg.cli.console import hint, print_lines, print_text
from spkg.cli.options import FILE, JOBS, NO_PROGRESS, STRICT
from spkg.common.documents import json_text
from spkg.common.printable import amount
from spkg.errors import UsageError
from vouchers.cli.bulk_run import BulkCommand, RunProgress, bulk_result_line, check_cluster
from vouchers.cli.shared import check_batch, existing_ledger, signing_checks, tell_findings
from vouchers.cli.voucher_options import (
    CLUSTER,
    LEDGER,
    OUT_DIR,
    SIGN_VOUCHER,
    VOUCHER_DIGEST,
    voucher_format,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from vouchers.acs.bulk import BulkReport
    from vouchers.acs.renewals import RenewalOrder
    from vouchers.signature.sign import VoucherSigner

__all__ = ["renew"]


@command("renew", last_line=bulk_result_line("renew", "batch"))
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
@SIGN_VOUCHER
@VOUCHER_DIGEST
@voucher_format("vouchers", default="ndjson")
@OUT_DIR
@STRICT
@JOBS
@CLUSTER
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
    cluster: str | None,
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
    from spkg.common.toml_document import read_duration
    from vouchers.months import span_of

    seconds = read_duration(within)
    if seconds is None or not within[-1].isalpha():
        raise UsageError(f"--within: expected a time such as 30d or 12h, got {within[:40]!r}")
    near = span_of(seconds)
    if batch is None:
        if out_dir is not None or options_file is not None or key["key"] is not None or cluster is not None:
            raise UsageError("--out-dir, --options, --key and --cluster need --batch")
        _list(ledger, near, as_json=as_json)
        return
    if out_dir is None:
        raise UsageError("--batch needs --out-dir")
    check_cluster(cluster, jobs, out_dir)
    check_batch(batch)
    from spkg.common.digests import Digest
    from vouchers.acs.renewals import RenewalOrder, check_renewal_options
    from vouchers.acs.templates import load_options
    from vouchers.acs.voucher_form import VoucherForm
    from vouchers.cli.worker_key import cluster_findings
    from vouchers.report import RENEW

    templates = () if options_file is None else load_options(options_file)
    check_renewal_options(templates)
    signer, check, found = signing_checks(
        key,
        Digest(digest),
        trust,
        at,
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        on_workers=cluster is not None,
    )
    if cluster is not None:
        found += cluster_findings(cluster)
    tell_findings(found, strict=strict)
    order = RenewalOrder(templates=templates, batch=batch, within=near, form=VoucherForm(form), check=check)
    run = BulkCommand(
        schema=RENEW,
        verb="renewing",
        unit="options",
        batch=batch,
        directory=out_dir,
        findings=found,
        cluster=cluster,
        jobs=jobs,
        no_progress=no_progress,
        as_json=as_json,
    )
    _issue(ledger, order, signer, run)


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


def _issue(ledger: str, order: "RenewalOrder", signer: "VoucherSigner", run: BulkCommand) -> None:
    from dataclasses import replace

    from vouchers.acs.renewals import renew_bulk

    estimated = 0

    def work(progress: RunProgress, executor: "Executor | None", jobs: int) -> "BulkReport":
        nonlocal estimated
        report = renew_bulk(
            *(replace(order, jobs=jobs), run.directory, signer, existing_ledger(ledger), now()),
            counted=progress.expect,
            progress=progress,
            executor=executor,
        )
        estimated = report.estimated
        if estimated:
            count = amount(estimated, "Option")
            hint(f"{count} without a StartDate may end soon: see 'spkg voucher renew' without --batch")
        return report

    run.carry_out(
        work,
        lambda count: f"{amount(count, 'device')} got no renewal",
        lambda _: {"estimated": estimated},
    )
