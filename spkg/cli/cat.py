"""``spkg cat``."""

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from spkg.cli.app import command
from spkg.cli.arguments import package_source
from spkg.cli.console import print_octets, warn
from spkg.cli.options import FILE, TRUST
from spkg.cli.trust import read_trust

__all__ = ["cat"]

IN_MEMORY: Final = 1 << 20
"""The largest file that waits in memory until it is verified; a larger one waits on disk."""


@command("cat")
@click.argument("package", metavar="PKG", type=FILE)
@click.argument("path", metavar="PATH")
@TRUST
def cat(package: Path, path: str, at: datetime | None, no_clock: bool, **trust: Any) -> None:
    """Print the contents of the file PATH in PKG.

    The signatures of PKG and the digest of the file are verified before the first byte is printed.  PATH is
    as in the package, with or without its first slash; if several files have it, the last one is printed.
    Exit status 5: there is no such file.

    \b
    Example:
      spkg cat gateway.spkg /etc/gateway-release --trust keys/ca.pem

    See: docs/verifying.md
    """
    from spkg.common.findings import Finding
    from spkg.report.lines import NO_DATES
    from spkg.verify.one_file import copy_file, find_file
    from spkg.verify.payload import CHUNK, open_package
    from spkg.verify.signatures import verify_package

    options = read_trust(at=at, no_clock=no_clock, **trust)
    # Typed in the locale's encoding, or pasted as the package has it.
    names = {path.encode("utf-8", "surrogateescape"), os.fsencode(path)}
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as waiting:
        with open_package(package_source(package)) as (opened, payload):
            trusted = verify_package(opened, options.policy, at=options.time)
            file = find_file(opened, names)
            try:
                copy_file(trusted, payload, file, waiting)
            except OSError as exc:
                exc.filename = exc.filename or tempfile.gettempdir()
                raise
        if not trusted.signers:
            message = "the package is not signed: this file may come from anyone"
            warn(Finding(code="not-signed", message=message))
        elif not trusted.dates_checked:
            warn(NO_DATES)
        waiting.seek(0)
        while octets := waiting.read(CHUNK):
            print_octets(octets)
