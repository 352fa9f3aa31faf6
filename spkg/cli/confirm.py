"""``spkg confirm``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import timestamp
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import JSON, ROOT

__all__ = ["confirm_trial"]


@command("confirm")
@ROOT
@click.option("--forgive", is_flag=True, help="Also accept packages again that were rolled back.")
@JSON
def confirm_trial(root: Path, forgive: bool, as_json: bool) -> None:
    """End a trial: the package stays, and the old files are removed.

    Without a trial nothing changes.

    \b
    Example:
      spkg confirm --root root

    See: docs/going-back.md
    """
    from spkg.install.trial_end import confirm
    from spkg.report.trial import confirmed_document, confirmed_lines

    done = confirm(root, when=timestamp(no_clock=False), forgive=forgive)
    if as_json:
        print_document(confirmed_document(done))
    else:
        print_lines(confirmed_lines(done, str(root)))
    for finding in done.warnings:
        warn(finding)
