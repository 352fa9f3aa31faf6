"""``spkg diff``."""

from contextlib import ExitStack
from pathlib import Path

import click

from spkg.cli.app import EXIT_DIFFERENT, command
from spkg.cli.arguments import about, package_source
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import FILE, JSON
from spkg.errors import UsageError

__all__ = ["diff"]


@command("diff")
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@JSON
def diff(before: Path, after: Path, as_json: bool) -> int:
    """Show what changes from package A to package B.

    Exit status 0: they are identical, byte for byte; 10: they differ.  Nothing is verified.

    \b
    Example:
      spkg diff gateway.spkg next.spkg

    See: docs/building.md
    """
    from spkg.build.compare import compare_packages
    from spkg.report.diff import difference_document, difference_lines
    from spkg.verify.payload import open_package

    if str(before) == str(after) == "-":
        raise UsageError("only one of the packages can come from standard input")
    with ExitStack() as stack:
        pair = []
        for name in (before, after):
            with about(name):
                pair.append(stack.enter_context(open_package(package_source(name))))
        found = compare_packages(*pair)
    if as_json:
        print_document(difference_document(found))
    else:
        print_lines(difference_lines(found))
    return 0 if found.equal else EXIT_DIFFERENT
