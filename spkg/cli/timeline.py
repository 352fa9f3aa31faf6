"""``spkg timeline``."""

from pathlib import Path

import click

from spkg.cli.app import command
from spkg.cli.arguments import package_source, read_timeouts
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import FILE, JSON, Rate, timeout_options

__all__ = ["timeline"]


@command("timeline")
@click.argument("package", metavar="PKG", type=FILE)
@click.option(
    "--rate",
    required=True,
    type=Rate(),
    metavar="RATE",
    help="Assume this rate, in bytes or bits per second: 40kB/s, 2Mbit/s.",
)
@timeout_options(600)
@JSON
def timeline(package: Path, rate: float, timeout: int, idle_timeout: int, as_json: bool) -> None:
    """Show states and deadlines of a download of PKG at RATE.

    Use it to choose the timeouts of a package (E.4.7).  Nothing is verified, and commands are assumed to take
    no time.

    \b
    Example:
      spkg timeline gateway.spkg --rate 40kB/s

    See: docs/downloads.md
    """
    from spkg.download.timeline import draw_timeline
    from spkg.report.timeline import timeline_document, timeline_lines, timeline_warnings
    from spkg.verify.payload import open_package

    with open_package(package_source(package)) as (opened, _):
        found = draw_timeline(opened, rate, read_timeouts(timeout, idle_timeout))
    if as_json:
        print_document(timeline_document(found))
    else:
        print_lines(timeline_lines(found))
    for finding in timeline_warnings(found):
        warn(finding)
