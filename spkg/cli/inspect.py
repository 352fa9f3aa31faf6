"""``spkg inspect``."""

from pathlib import Path

import click

from spkg.cli.app import DocumentedError, command
from spkg.cli.arguments import package_source
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON

__all__ = ["inspect"]


@command("inspect")
@click.argument("package", metavar="PKG", type=FILE)
@JSON
def inspect(package: Path, as_json: bool) -> None:
    """Show everything in PKG; nothing is verified.

    The output has the header, commands, signers, certificates and payload.  Malformed parts are marked, and
    the exit status is then 3.

    \b
    Example:
      spkg inspect gateway.spkg

    See: docs/tour.md
    """
    from spkg.report.inspect import inspection_document, inspection_lines
    from spkg.verify.payload import inspect_package

    surveyed = inspect_package(package_source(package))
    if as_json:
        print_document(inspection_document(surveyed))
    else:
        print_lines(inspection_lines(surveyed))
    if surveyed.problems:
        raise DocumentedError(surveyed.problems[0])
