"""``spkg fetch``."""

from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, key_files, read_timeouts, spare_inputs
from spkg.cli.console import hint, print_document, print_lines, progress_bar, warn
from spkg.cli.options import (
    FILE,
    FORCE,
    JSON,
    NO_PROGRESS,
    TRANSFER,
    TRANSFER_OPTIONS,
    TRUST,
    timeout_options,
)
from spkg.cli.server_login import login, url_of
from spkg.cli.trust import read_trust
from spkg.errors import UsageError

__all__ = ["fetch"]


@command("fetch")
@click.argument("url", metavar="[URL]", required=False)
@click.option("-o", "--output", required=True, type=FILE, metavar="FILE", help="Write the package to FILE.")
@FORCE
@TRUST
@timeout_options(3600)
@TRANSFER_OPTIONS
@NO_PROGRESS
@JSON
def fetch(
    url: str | None,
    output: Path,
    force: bool,
    at: datetime | None,
    no_clock: bool,
    timeout: int,
    idle_timeout: int,
    size: int,
    no_progress: bool,
    as_json: bool,
    url_fd: int | None,
    **rest: Any,
) -> None:
    """Download the package at URL and verify it.

    Nothing is installed.  Without a trusted signature the download stops before the payload; if a file does
    not match its signed digest, it stops at that file.  FILE appears once everything is verified.  What a
    download that was interrupted or killed left beside FILE is resumed by the next one.

    \b
    Example:
      spkg fetch https://acs.example.com/gateway.spkg -o gateway.spkg --trust keys/ca.pem

    See: docs/downloads.md
    """
    from spkg.common.atomic_output import new_file
    from spkg.common.printable import size as octets
    from spkg.download.fetch import can_resume_fetch, fetch_package
    from spkg.download.source import local_file, open_source
    from spkg.download.url import is_url
    from spkg.report.fetch import fetched_document, fetched_lines
    from spkg.report.lines import NO_DATES
    from spkg.verify.signatures import verify_package

    url = url_of(url, url_fd, name="URL")
    if not is_url(url):
        raise UsageError(f"{url!r} is not a URL", hint="'spkg verify' verifies a file")
    server = {name: rest.pop(name) for name in TRANSFER}
    check_output(output, force=force)
    anchors = [("--trust", file) for file in rest["trust"]]
    lists = [("--crl", file) for file in rest["crls"]]
    spare_inputs(output, [*anchors, *lists, ("--policy", rest["policy"]), *key_files(server)])
    options = read_trust(at=at, no_clock=no_clock, **rest)

    def leave(reason: BaseException, part: Path) -> bool:
        """Keep what has arrived, if the next run can resume it, and say so."""
        if can_resume_fetch(reason):
            hint(f"{octets(part.stat().st_size)} are kept in {part}: the same command resumes there")
        return can_resume_fetch(reason)

    with open_source(
        url,
        clock=monotonic,
        timeouts=read_timeouts(timeout, idle_timeout),
        login=login(**server, source=url, no_clock=no_clock) if local_file(url) is None else None,
        size=size,
        note=warn,
    ) as (opened, payload):
        trusted = verify_package(opened, options.policy, at=options.time)
        with (
            progress_bar("fetching", payload.length, wanted=not no_progress, slow=True) as progress,
            new_file(output, force=force, leave=leave) as file,
        ):
            report = fetch_package(trusted, payload, file, progress)
    undated = [] if trusted.dates_checked else [NO_DATES]
    if as_json:
        print_document(fetched_document(trusted, report, output, [*options.findings, *undated]))
    else:
        print_lines(fetched_lines(trusted, report, output))
    for finding in undated:
        warn(finding)
