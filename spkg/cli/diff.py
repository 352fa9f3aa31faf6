"""``spkg diff``."""

from contextlib import ExitStack
from pathlib import Path

import click

from spkg.cli.app import EXIT_DIFFERENT, command
from spkg.cli.arguments import about, package_source
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import FILE, JSON
from spkg.errors import UsageError

__all__ = ["diff"]


@command("diff")
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@click.option("--text", is_flag=True, help="Also show how text files change, line by line.")
@JSON
def diff(before: Path, after: Path, text: bool, as_json: bool) -> int:
    """Show what changes from package A to package B.

    The first line counts the files, and how much larger those of B are.
    Exit status 0: they are identical, byte for byte; 10: they differ.  Nothing is verified.

    \b
    Example:
      spkg diff gateway.spkg next.spkg

    See: docs/building.md
    """
    from spkg.build.compare import compare_packages
    from spkg.build.text_changes import text_changes
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
        texts = text_changes(found, *(payload for _, payload in pair)) if text and found.files else ()
    if as_json:
        print_document(difference_document(found, texts if text else None))
    else:
        print_lines(difference_lines(found, texts))
    for finding in found.warnings:
        warn(finding)
    return 0 if found.equal else EXIT_DIFFERENT
