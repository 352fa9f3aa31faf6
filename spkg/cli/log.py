"""``spkg log``."""

from pathlib import Path

from spkg.cli.app import command
from spkg.cli.console import print_document, print_lines
from spkg.cli.options import JSON, ROOT

__all__ = ["log"]


@command("log")
@ROOT
@JSON
def log(root: Path, as_json: bool) -> None:
    """Show what happened in a root, the oldest first.

    Packages that were applied, confirmed, rolled back or forgiven, by whom, and why: the last 64 events.

    \b
    Example:
      spkg log --root root

    See: docs/going-back.md
    """
    from spkg.install.status import root_events
    from spkg.report.trial import log_document, log_lines

    found = root_events(root)
    if as_json:
        print_document(log_document(found))
    else:
        print_lines(log_lines(found))
