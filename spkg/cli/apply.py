"""``spkg apply``."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

from spkg.cli.app import (
    DocumentedError,
    Stopped,
    command,
    exit_status,
    failure_fields,
    host_error,
    stop_words,
)
from spkg.cli.arguments import (
    boot_of,
    cores,
    device_of,
    key_files,
    read_timeouts,
    spare_inputs,
    standard_input,
    timestamp,
)
from spkg.cli.console import ClosedOutput, OutputError, hint, print_line, print_lines, progress_bar, warn
from spkg.cli.options import (
    FILE,
    JOBS,
    NO_PROGRESS,
    ROOT,
    TRANSFER,
    TRANSFER_OPTIONS,
    TRUST,
    Delay,
    at_most_characters,
    timeout_options,
)
from spkg.cli.server_login import login, url_of
from spkg.cli.trust import read_trust
from spkg.common.documents import json_text
from spkg.common.stop_signals import hold_stop_signals
from spkg.device import VENDOR_ROLE, Device
from spkg.errors import HostError, SpkgError, TransferError, UsageError
from spkg.format.commands import ROLES

if TYPE_CHECKING:
    from spkg.common.documents import Document
    from spkg.common.findings import Finding
    from spkg.install.applied import Applied
    from spkg.install.hooks import HookRun
    from spkg.install.supervisor import Advance, Note
    from spkg.verify.signatures import TrustedPackage

__all__ = ["apply"]

MAX_COMMAND_KEY: Final = 32
"""The longest CommandKey, in characters (Table 28)."""
WISHES: Final = ("in_place", "unsafe_streaming", "refuse_unknown", "again", "unsafe_force")
"""The options that are passed on to the installation."""


def _print_failure(error: SpkgError | None, status: int, message: str) -> None:
    """Print the last line of ``apply --json`` for a failure before there is a package to apply."""
    from spkg.report.apply import failure_document

    now = timestamp(no_clock=False)
    known = SpkgError(message) if error is None else error
    fields = failure_fields(error, status, message)
    print_line(failure_document(known, fields, start=now, end=now, command_key=None))


@command("apply", last_line=lambda _options: _print_failure)
@click.argument("source", metavar="[SOURCE]", required=False)
@ROOT
@TRUST
@click.option(
    "--device", "device_file", type=FILE, metavar="FILE", help="Read facts about the device from FILE."
)
@click.option("--software-version", metavar="VERSION", help="Use VERSION instead of the device file's.")
@click.option("--provisioning-code", metavar="CODE", help="Use CODE instead of the device file's.")
@click.option(
    "--expect-role",
    "expected_roles",
    multiple=True,
    type=click.Choice([*ROLES, VENDOR_ROLE]),
    help="Refuse a package with another role than ROLE.  May be repeated.",
    metavar="ROLE",
)
@click.option("--dry-run", is_flag=True, help="Show what would change without changing it.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Carry out commands one by one, if there is no room for old and new files together.",
)
@click.option(
    "--unsafe-streaming",
    is_flag=True,
    help="With --in-place: start before the whole package has arrived.",
)
@click.option(
    "--back-up",
    type=Delay(),
    metavar="DELAY",
    help="Install on trial: go back after DELAY unless 'spkg confirm' comes.  Needs 'spkg guard'.",
)
@click.option(
    "--back-up-boots",
    type=click.IntRange(0),
    metavar="N",
    help="Also go back when N boots have passed unconfirmed.  Needs 'spkg recover --boot'.",
)
@click.option("--refuse-unknown", is_flag=True, help="Refuse a package with commands of unknown type.")
@click.option(
    "--again", is_flag=True, help="Apply the package even if it was installed last, or was rolled back."
)
@click.option("--unsafe-force", is_flag=True, help="Accept any package, even if the root needs recovery.")
@click.option("--report", type=FILE, metavar="FILE", help="Also write the result to FILE, as JSON.")
@click.option(
    "--command-key",
    metavar="KEY",
    callback=at_most_characters(MAX_COMMAND_KEY),
    help="Put the CommandKey of the Download into the result.",
)
@timeout_options(600)
@TRANSFER_OPTIONS
@JOBS
@NO_PROGRESS
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object per line; the last one is the result."
)
def apply(
    source: str | None,
    root: Path,
    at: datetime | None,
    no_clock: bool,
    device_file: Path | None,
    software_version: str | None,
    provisioning_code: str | None,
    expected_roles: tuple[str, ...],
    dry_run: bool,
    back_up: int | None,
    back_up_boots: int | None,
    report: Path | None,
    command_key: str | None,
    timeout: int,
    idle_timeout: int,
    size: int,
    jobs: int | None,
    no_progress: bool,
    as_json: bool,
    url_fd: int | None,
    **rest: Any,
) -> None:
    """Install the package SOURCE in a root, all or nothing.

    SOURCE is a file, a URL (http, https, ftp, ftps, tftp, file), or - for standard input.  An interrupted
    installation is first finished or undone; an interrupted download is resumed from what is staged.

    \b
    Example:
      spkg apply gateway.spkg --root root --device samples/gateway/device.toml --trust keys/ca.pem

    See: docs/installing.md
    """
    from spkg.download.source import STREAM, local_file, open_source
    from spkg.install.applied import ApplyRequest
    from spkg.install.hooks import Hooks
    from spkg.install.supervisor import apply_package, preview_package
    from spkg.install.trial import BackUp
    from spkg.report.apply import applied_lines, applied_warnings, failure_document, result_document
    from spkg.report.lines import NO_DATES, warning_documents
    from spkg.verify.payload import ArrivingPayload
    from spkg.verify.signatures import verify_package

    source = url_of(source, url_fd, name="SOURCE")
    wishes = {name: rest.pop(name) for name in WISHES}
    server = {name: rest.pop(name) for name in TRANSFER}
    start = timestamp(no_clock=no_clock)
    trusted: TrustedPackage | None = None
    request: ApplyRequest | None = None
    applied: Applied | None = None
    findings: tuple[Finding, ...] = ()
    error: SpkgError | None = None
    stopped: Stopped | None = None
    hooks: list[Document] = []
    status, end = 0, ""
    opening = ExitStack()

    def settled() -> None:
        """Close connection and progress bar before a recovery command runs; nothing stops us now."""
        nonlocal end
        hold_stop_signals()
        end = timestamp(no_clock=no_clock)
        opening.close()

    try:
        if str(report) == "-":
            report = None
            raise UsageError(
                "--report takes a file, not standard output", hint="use --json to print the result"
            )
        if report is not None:
            anchors = [("--trust", file) for file in rest["trust"]]
            lists = [("--crl", file) for file in rest["crls"]]
            wanted, report = report, None  # until it is known to overwrite no input
            spare_inputs(
                wanted,
                [
                    ("--device", device_file),
                    ("--policy", rest["policy"]),
                    *anchors,
                    *lists,
                    *key_files(server),
                ],
                what="report",
            )
            spare_inputs(wanted, [("SOURCE", Path(source))], what="report")
            report = wanted
        package = local_file(source)
        if report is not None:
            wanted, report = report, None
            spare_inputs(wanted, [("SOURCE", package)], what="report")
            if wanted.parent.resolve().is_relative_to(root.resolve() / ".spkg"):
                raise UsageError(f"{wanted}: the report would lie among the installer's own files")
            _clear_report(wanted)
            report = wanted
        if back_up is None and back_up_boots is not None:
            raise UsageError("--back-up-boots needs --back-up")
        options = read_trust(at=at, no_clock=no_clock, **rest)
        findings = options.findings
        device = device_of(device_file, software_version, provisioning_code)
        if expected_roles:
            device = (device or Device()).expecting(expected_roles)
        request = ApplyRequest(
            device=device,
            when=start,
            jobs=jobs or cores(),
            boot=boot_of(needed=back_up is not None),
            command_key=command_key,
            back_up=None if back_up is None else BackUp(delay=back_up, boots=back_up_boots),
            **wishes,
        )
        with opening:
            opened, payload = opening.enter_context(
                open_source(
                    source,
                    clock=monotonic,
                    timeouts=read_timeouts(timeout, idle_timeout) if package is None else None,
                    login=login(**server, source=source, no_clock=no_clock) if package is None else None,
                    size=size,
                    stream=standard_input() if source == STREAM else None,
                    note=warn,
                )
            )
            trusted = verify_package(opened, options.policy, at=options.time)
            if dry_run:
                applied = preview_package(trusted, payload, root, request)
            else:
                # In place, each file is written separately, even if several share a part of the payload.
                sizes = sum(file.range.length for file in opened.files)
                total = sizes if request.in_place else payload.length
                slow = isinstance(payload, ArrivingPayload)
                progress = opening.enter_context(
                    progress_bar("installing", total, wanted=not no_progress, slow=slow)
                )
                applied = apply_package(
                    trusted,
                    payload,
                    root,
                    request,
                    clock=monotonic,
                    hear=_listener(total, progress, hooks, as_json=as_json),
                    settled=settled,
                    environment=os.environ,
                )
    except SpkgError as exc:
        error = exc
        if trusted is None and isinstance(exc, TransferError) and request is not None and not dry_run:
            settled()
            hear = _listener(0, None, hooks, as_json=False)
            failed = Hooks(None, root, request, os.environ, monotonic, hear).failed(exc.STATUS)
            if failed:
                warn(failed)
    except OSError as exc:
        error = host_error(exc)
    except Stopped as exc:
        stopped = exc
        word, status = stop_words(exc.number)
        error = SpkgError(word)
    end = end or timestamp(no_clock=no_clock)
    if error is not None:
        fields = failure_fields(error, status or exit_status(error), str(error))
        document = failure_document(error, fields, start=start, end=end, command_key=command_key, hooks=hooks)
    else:
        assert applied is not None  # otherwise there is an error
        document = result_document(
            applied, planned=dry_run, start=start, end=end, command_key=command_key, hooks=hooks
        )
    undated = [NO_DATES] if applied is not None and trusted is not None and not trusted.dates_checked else []
    document["warnings"] += warning_documents([*findings, *undated])
    lost: Finding | None = None
    done = applied is not None and not dry_run
    if report is not None:
        lost = _write_report(report, document, root, done=done)
        document["warnings"] += warning_documents([] if lost is None else [lost])
    try:
        if as_json:
            print_line(document)
        elif applied is not None:
            print_lines(applied_lines(applied, str(root), planned=dry_run))
    except (ClosedOutput, OutputError):
        if dry_run and error is None:
            raise
        if done:
            lost = _unreported(root, "standard output can't be written", done=done)
    if lost is not None:
        warn(lost)
    if stopped is not None:
        stopped.told = True
        raise stopped
    if applied is not None:
        for finding in (*applied_warnings(applied), *undated):
            warn(finding)
        if applied.on_trial:
            hint("it is on trial: 'spkg confirm' keeps it, 'spkg rollback' goes back")
        elif applied.already:
            hint("to apply it again, use --again")
    if error is not None:
        raise DocumentedError(error) from error


def _listener(
    total: int, progress: Callable[..., object] | None, hooks: "list[Document]", *, as_json: bool
) -> "Callable[[Advance | Note | HookRun], object]":
    """Return the listener for progress: it moves a bar, or prints a line for each hundredth of the bytes.

    What programs of the device have done goes to *hooks*.
    """
    from spkg.install.hooks import HookRun
    from spkg.install.supervisor import Note
    from spkg.report.apply import SCHEMA, standing_document
    from spkg.report.lines import progress_document

    done, told = 0, 0

    def hear(event: "Advance | Note | HookRun") -> None:
        nonlocal done, told
        if isinstance(event, HookRun):
            hooks.append(event.to_document())
            return
        if isinstance(event, Note):
            warn(event.text)
            return
        standing = {} if event.standing is None else standing_document(event.standing)
        done += event.octets
        if progress is not None:
            progress(event.octets, **standing)
        if as_json and (abs(done - told) >= total / 100 or done == total != told):
            told = done
            with suppress(ClosedOutput, OutputError):  # a closed output stops no installation
                print_line(progress_document(SCHEMA, done, total, **standing))

    return hear


def _clear_report(path: Path) -> None:
    """Remove an old report, and make sure that a new one can be written, before anything changes.

    Raises:
        HostError: It can't.
    """
    from spkg.common.atomic_output import vacate

    try:
        vacate(path)
    except (OSError, SpkgError) as exc:
        problem = host_error(exc) if isinstance(exc, OSError) else exc
        raise HostError(f"the report can't be written: {problem}") from exc


def _write_report(path: Path, document: Mapping[str, Any], root: Path, *, done: bool) -> "Finding | None":
    """Write the result, and return a warning if that fails: it does not undo the installation."""
    from spkg.common.atomic_output import new_file, write_all

    try:
        with new_file(path, force=True) as file:
            write_all(file, json_text(document, indent=2).encode() + b"\n")
    except (OSError, SpkgError) as exc:
        problem = host_error(exc) if isinstance(exc, OSError) else exc
        return _unreported(root, f"the report can't be written: {problem}", done=done)
    return None


def _unreported(root: Path, problem: str, *, done: bool) -> "Finding":
    """Return the warning about a result that is lost; note it in the root if something is *done*."""
    from spkg.common.findings import Finding

    if done:
        from spkg.install.supervisor import mark_unreported

        try:
            mark_unreported(root, problem)
        except (OSError, SpkgError) as exc:
            problem += f"; and status won't show that: {exc}"
    return Finding(code="not-reported", message=problem)
