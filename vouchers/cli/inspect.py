"""``spkg voucher inspect``."""

from itertools import chain
from pathlib import Path

import click

from spkg.cli.app import DocumentedError, command
from spkg.cli.arguments import about
from spkg.cli.console import print_document, print_lines, print_text
from spkg.cli.options import FILE, JSON
from spkg.common.documents import json_text
from spkg.errors import FormatError
from vouchers.cli.shared import read_voucher_files

__all__ = ["inspect_voucher"]


@command("inspect")
@click.argument("file", type=FILE)
@JSON
def inspect_voucher(file: Path, as_json: bool) -> None:
    """Show everything in a voucher, without verifying it.

    FILE is XML, base64, or what 'issue' wrote in another format, also its whole directory.  Malformed Options
    are marked, and the exit status is then 3.

    \b
    Example:
      spkg voucher inspect v.xml

    See: docs/vouchers.md
    """
    from vouchers.report import inspection, inspection_document, inspection_lines
    from vouchers.signature.shape import read_voucher

    vouchers = read_voucher_files(file)
    first, second = next(vouchers, None), next(vouchers, None)
    if first is None:
        raise FormatError("expected a voucher, got an empty file", source=str(file))
    single = second is None
    last: str | None = None
    problems: list[FormatError] = []
    if as_json and not single:
        # One document, whatever the number of vouchers.
        print_text('{"schema": "spkg.voucher.inspect/1", "verified": false, "vouchers": [')
    for name, octets in chain([first], [] if second is None else [second], vouchers):
        with about(Path(name)):
            document = read_voucher(octets)
        found = inspection(document)
        shown = inspection_document(document, found)
        if single and as_json:
            print_document(shown)
        elif as_json:
            if last is not None:
                print_text(f"{last},")
            kept = {key: value for key, value in shown.items() if key not in {"schema", "verified"}}
            last = json_text({"source": name} | kept)
        else:
            if not single:
                print_text(name)
            print_lines(inspection_lines(document, found))
        for _, problem in found:
            if problem is not None and not problems:
                problem.source = name
                problems.append(problem)
    if last is not None:
        print_text(f"{last}]}}")
    for problem in problems:
        raise DocumentedError(problem)
