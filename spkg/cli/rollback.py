"""``spkg rollback``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import timestamp
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import JSON, ROOT

__all__ = ["roll_back"]


@command("rollback")
@ROOT
@click.option("--dry-run", is_flag=True, help="Show what would change without changing it.")
@JSON
def roll_back(root: Path, dry_run: bool, as_json: bool) -> None:
    """Go back to before the package on trial, all or nothing.

    Everything that the package touched becomes as before.  What others made meanwhile stays; where it is in
    the way, it is moved to .spkg/aside below the root.

    \b
    Example:
      spkg rollback --root root --dry-run

    See: docs/going-back.md
    """
    from spkg.install.trial_end import preview_rollback, rollback
    from spkg.report.trial import rollback_document, rollback_lines

    done = preview_rollback(root) if dry_run else rollback(root, when=timestamp(no_clock=False))
    if as_json:
        print_document(rollback_document(done, planned=dry_run))
    else:
        print_lines(rollback_lines(done, str(root), planned=dry_run))
    for finding in done.warnings:
        warn(finding)
