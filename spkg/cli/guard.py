"""``spkg guard``."""

import os
from pathlib import Path

import click

from spkg.cli.app import CliCommand, command
from spkg.cli.arguments import this_boot, timestamp
from spkg.cli.console import print_lines, say, warn
from spkg.cli.options import ROOT
from spkg.errors import HostError

__all__ = ["guard"]


class _Guard(CliCommand):
    """A command whose option ``--reboot`` takes all that follows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let what follows the program be its arguments, whatever it looks like."""
        for index, word in enumerate(args):
            if word == "--reboot" or word.startswith("--reboot="):
                behind = index + (2 if word == "--reboot" else 1)
                return super().parse_args(ctx, [*args[:behind], "--", *args[behind:]])
        return super().parse_args(ctx, args)


@command("guard", kind=_Guard)
@ROOT
@click.option(
    "--reboot", required=True, metavar="CMD", help="After going back, run CMD; all that follows is its own."
)
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
def guard(root: Path, reboot: str, arguments: tuple[str, ...]) -> None:
    """Wait for the end of a trial; if nobody confirms it, go back and reboot.

    Sleeps until the delay of 'apply --back-up' has passed, by the clock that counts from the boot.  Ends at
    once if there is no trial, and within seconds if it ends otherwise.  CMD is run without a shell.

    \b
    Example:
      spkg guard --root root --reboot /sbin/reboot

    See: docs/going-back.md
    """
    from time import monotonic, sleep

    from spkg.common.programs import run_program
    from spkg.common.stop_signals import hold_stop_signals
    from spkg.install.guard import guard_trial
    from spkg.report.trial import rollback_lines

    done = guard_trial(root, boot=this_boot, sleep=sleep, timestamp=lambda: timestamp(no_clock=False))
    if done is None:
        return
    print_lines(rollback_lines(done, str(root), planned=False))
    for finding in done.warnings:
        warn(finding)
    hold_stop_signals()  # the reboot may end this process before the program that reboots
    say(f"spkg: running {reboot}")
    ended = run_program([reboot, *arguments], environment=os.environ, clock=monotonic)
    if not ended.succeeded:
        raise HostError(f"{reboot} {ended.end}", hint="the old files are back; reboot the device")
