"""``spkg recover``."""

from pathlib import Path

import click

from spkg.cli.app import DocumentedError, command
from spkg.cli.arguments import boot_of, this_boot, timestamp
from spkg.cli.console import hint, print_document, print_lines, warn
from spkg.cli.options import JSON, ROOT
from spkg.errors import UnsafeError

__all__ = ["recover"]


@command("recover")
@ROOT
@click.option(
    "--boot",
    "boots",
    is_flag=True,
    help="Count this boot for a package on trial; when all of its boots have passed, go back.",
)
@click.option("--discard-staged", is_flag=True, help="Also delete what an interrupted download has staged.")
@click.option("--discard-aside", is_flag=True, help="Also delete what going back has set aside.")
@JSON
def recover(root: Path, boots: bool, discard_staged: bool, discard_aside: bool, as_json: bool) -> None:
    """Finish or undo an interrupted installation.

    Afterwards the root is as it was before, or as the package leaves it.  Running this again changes nothing.
    What an interrupted download has staged is kept: applying the same package resumes it.

    \b
    Example:
      spkg recover --root root

    See: docs/installing.md
    """
    from spkg.install.status import RootState
    from spkg.install.supervised_recovery import recover_root
    from spkg.report.recover import recovery_document, recovery_lines

    boot = boot_of(needed=False) if boots else None
    done = recover_root(
        root,
        discard=discard_staged,
        discard_aside=discard_aside,
        boot=boot,
        when=timestamp(no_clock=False),
    )
    if boots and boot is None and done.state is RootState.TRIAL:
        this_boot()  # says why this boot can't be counted
    if as_json:
        print_document(recovery_document(done))
    else:
        print_lines(recovery_lines(done, str(root)))
    for finding in done.warnings:
        warn(finding)
    if done.state in {RootState.PARTIAL, RootState.PENDING}:
        hint("to continue, apply the same package with --in-place")
    if done.state is RootState.UNSAFE:
        problem = f"{root} is unsafe: an installation in place failed or was interrupted"
        recovery = "apply a package whose role is software-recovery"
        way_out = recovery if done.failed else f"apply the same package with --in-place, or {recovery[6:]}"
        raise DocumentedError(UnsafeError(problem, hint=way_out))
