"""``spkg list``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import package_source
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON

__all__ = ["list_files"]


@command("list")
@click.argument("package", metavar="PKG", type=FILE)
@JSON
def list_files(package: Path, as_json: bool) -> None:
    """List the files in PKG; nothing is verified.

    Each line has the mode, if the package states one, the size in bytes, the SHA-1 digest and the path.  The
    order is that of the commands.

    \b
    Example:
      spkg list gateway.spkg

    See: docs/verifying.md
    """
    from spkg.report.list import listing_document, listing_lines
    from spkg.verify.payload import open_package

    with open_package(package_source(package)) as (opened, _):
        pass
    if as_json:
        print_document(listing_document(opened))
    else:
        print_lines(listing_lines(opened))
