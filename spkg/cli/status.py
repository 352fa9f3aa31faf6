"""``spkg status``."""

from pathlib import Path

from spkg.cli.app import command
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import JSON, ROOT

__all__ = ["status"]


@command("status")
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """Show how a root stands, and what was installed there, the last one first.

    It is clean, pending (cut off: 'spkg recover', or the same package in place), partial (in place, failed
    but usable) or unsafe (in place, needs recovery).
    """
    from spkg.install.status import root_status
    from spkg.report.status import status_document, status_lines

    found = root_status(root)
    if as_json:
        print_document(status_document(found))
    else:
        print_lines(status_lines(found, str(root)))
