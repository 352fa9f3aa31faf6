"""``spkg voucher inspect``."""

from pathlib import Path

import click

from spkg.cli.app import DocumentedError, command
from spkg.cli.arguments import about
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON
from vouchers.cli.shared import read_voucher_file

__all__ = ["inspect_voucher"]


@command("inspect")
@click.argument("file", type=FILE)
@JSON
def inspect_voucher(file: Path, as_json: bool) -> None:
    """Show everything in a voucher, without verifying it.

    FILE is XML or base64.  Malformed Options are marked, and the exit status is then 3.

    \b
    Example:
      spkg voucher inspect v.xml

    See: docs/vouchers.md
    """
    from vouchers.report import inspection, inspection_document, inspection_lines
    from vouchers.signature.shape import read_voucher

    octets = read_voucher_file(file)
    with about(file):
        document = read_voucher(octets)
    found = inspection(document)
    if as_json:
        print_document(inspection_document(document, found))
    else:
        print_lines(inspection_lines(document, found))
    for _, problem in found:
        if problem is not None:
            problem.source = str(file)
            raise DocumentedError(problem)
