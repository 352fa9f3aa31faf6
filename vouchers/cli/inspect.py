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
    """Show everything that a voucher says, XML or base64.

    Nothing is verified.  What is malformed is marked, and the exit status is 3.
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
