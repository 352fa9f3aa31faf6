"""``spkg status``."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from spkg.cli.app import command
from spkg.cli.arguments import boot_of, now
from spkg.cli.console import hint, print_document, print_lines, warn
from spkg.cli.options import JSON, ROOT

__all__ = ["status"]


@command("status")
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """Show the state of a root and what was installed there.

    The state is clean, trial (the last package waits for 'spkg confirm'), pending (interrupted: run 'spkg
    recover', or apply the same package with --in-place), partial (failed in place, but usable) or unsafe (in
    place, needs recovery).  The last package is first.

    \b
    Example:
      spkg status --root root

    See: docs/installing.md
    """
    from spkg.install.status import root_status
    from spkg.report.status import status_document, status_lines

    found = root_status(root)
    boot = boot_of(needed=False)
    left = None if found.trial is None or boot is None else found.trial.left(boot)
    until = None if left is None else _later(left)
    if as_json:
        print_document(status_document(found, until))
    else:
        print_lines(status_lines(found, str(root), until))
    for finding in found.warnings:
        warn(finding)
    if left is not None and left <= 0:
        hint("the delay of the trial has passed: is 'spkg guard' running?")


def _later(seconds: float) -> datetime:
    """Return the time after so many seconds; the end of all times if it is later than that."""
    try:
        return now() + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
