"""``spkg guard``."""

import os
from pathlib import Path
from typing import Final

import click

from spkg.cli.app import CliCommand, command
from spkg.cli.arguments import this_boot, timestamp
from spkg.cli.console import ClosedOutput, OutputError, print_lines, say, warn
from spkg.cli.options import ROOT
from spkg.errors import HostError, UsageError

__all__ = ["guard"]

METAVAR: Final = "[OPTIONS] --reboot CMD"


class _Guard(CliCommand):
    """A command whose option ``--reboot`` takes all that follows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let what follows the program be its arguments, whatever it looks like."""
        for index, word in enumerate(args):
            option, equals, value = word.partition("=")
            if option == "--reboot":
                own, program = args[:index], [value] * bool(equals) + args[index + 1 :]
                if program[:1] == ["--"]:  # it may be meant to end the options, and no program has this name
                    del program[0]
                _check_program(own, program)
                return super().parse_args(ctx, [*own, f"--reboot={program[0]}", "--", *program[1:]])
        return super().parse_args(ctx, args)


def _check_program(own: list[str], program: list[str]) -> None:
    """Refuse what can't be meant.

    Raises:
        UsageError: The program is missing, or has our option.
    """
    if not program or not program[0]:
        raise UsageError("--reboot needs a program", hint=f"Usage: spkg guard {METAVAR} [ARGUMENT]...")
    stated = [{word.partition("=")[0] for word in words} for words in (own, program)]
    if "--root" in stated[1] - stated[0]:
        raise UsageError("--root must come before --reboot: all that follows belongs to the program")


@command("guard", kind=_Guard, options_metavar=METAVAR)
@ROOT
@click.option(
    "--reboot",
    required=True,
    metavar="CMD",
    help="After going back, run CMD with everything that follows it.",
)
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
def guard(root: Path, reboot: str, arguments: tuple[str, ...]) -> None:
    """Wait for the end of a trial; if nobody confirms it, go back and reboot.

    Sleeps until the delay of 'apply --back-up' has passed, by the clock that counts from the boot.  Ends at
    once if there is no trial, and within seconds if it ends otherwise.  Everything after --reboot is the
    program and its arguments; there is no shell.

    \b
    Example:
      spkg guard --root root --reboot /sbin/reboot

    See: docs/going-back.md
    """
    from shutil import which
    from time import monotonic, sleep

    from spkg.common.findings import Finding
    from spkg.common.programs import run_program
    from spkg.common.stop_signals import hold_stop_signals
    from spkg.install.guard import guard_trial
    from spkg.report.trial import rollback_lines

    if which(reboot) is None:
        problem = f"{reboot} does not exist or is not executable, so that nothing would reboot"
        warn(Finding(code="no-reboot", message=problem))
    done = guard_trial(
        root, boot=this_boot, sleep=sleep, timestamp=lambda: timestamp(no_clock=False), warn=warn
    )
    if done is None:
        return
    hold_stop_signals()  # the reboot may end this process before the program that reboots
    try:
        print_lines(rollback_lines(done, str(root), planned=False))
    except (ClosedOutput, OutputError) as exc:  # the reboot matters more
        warn(str(exc) or "nobody reads standard output")
    for finding in done.warnings:
        warn(finding)
    say(f"spkg: running {reboot}")
    ended = run_program([reboot, *arguments], environment=os.environ, clock=monotonic)
    if not ended.succeeded:
        raise HostError(f"{reboot} {ended.end}", hint="the old files are back; reboot the device")
