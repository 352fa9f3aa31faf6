"""``spkg extract``."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from spkg.cli.app import command
from spkg.cli.arguments import given_options, package_source
from spkg.cli.console import print_document, print_lines, progress_bar, warn
from spkg.cli.options import FILE, JSON, NO_PROGRESS, TRUST
from spkg.cli.trust import read_trust
from spkg.errors import UsageError

__all__ = ["extract"]


@command("extract")
@click.argument("package", metavar="PKG", type=FILE)
@click.argument("directory", metavar="DIR", type=FILE)
@TRUST
@click.option("--unsafe-skip-signatures", is_flag=True, help="Extract without checking signatures.")
@click.option("--manifest", is_flag=True, help="Also write DIR/manifest.toml; the files go to DIR/rootfs.")
@NO_PROGRESS
@JSON
def extract(
    package: Path,
    directory: Path,
    at: datetime | None,
    no_clock: bool,
    unsafe_skip_signatures: bool,
    manifest: bool,
    no_progress: bool,
    as_json: bool,
    **trust: Any,
) -> None:
    """Extract the files of PKG into DIR, installing nothing.

    DIR must be empty or not exist.  Each file is written under its path in DIR: all of them, or none.

    \b
    Example:
      spkg extract gateway.spkg out --manifest --trust keys/ca.pem

    See: docs/verifying.md
    """
    from spkg.build import extract as extraction
    from spkg.report.extract import extraction_document, extraction_lines, extraction_warnings
    from spkg.verify import signatures as verification
    from spkg.verify.payload import open_package

    asked = given_options([*trust, "at", "no_clock"])
    if unsafe_skip_signatures and asked:
        raise UsageError(f"{asked[0]} and --unsafe-skip-signatures are mutually exclusive")
    options = None if unsafe_skip_signatures else read_trust(at=at, no_clock=no_clock, **trust)
    with open_package(package_source(package)) as (opened, payload):
        trusted = (
            None if options is None else verification.verify_package(opened, options.policy, at=options.time)
        )
        with progress_bar("extracting", payload.length, wanted=not no_progress) as progress:
            if trusted is None:
                done = extraction.unsafe_extract_package(
                    opened, payload, directory, manifest=manifest, progress=progress
                )
            else:
                done = extraction.extract_package(
                    trusted, payload, directory, manifest=manifest, progress=progress
                )
    found = [*extraction_warnings(done, trusted)]
    for finding in found:
        warn(finding)
    if as_json:
        findings = [*(() if options is None else options.findings), *found]
        print_document(extraction_document(done, str(directory), trusted, findings))
    else:
        print_lines(extraction_lines(done, str(directory)))
