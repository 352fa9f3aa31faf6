"""``spkg agent fleet``."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from spkg.cli.app import DocumentedError, command, exit_status
from spkg.cli.console import print_document, print_lines, say, warn
from spkg.cli.options import FILE, JSON, Delay, no_stream
from spkg.common.printable import amount
from spkg.errors import SpkgError, TransferError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spkg.agent.fleet import FleetOrder
    from spkg.agent.fleet_jobs import FleetRun
    from spkg.agent.fleet_profile import FleetProfile
    from spkg.common.documents import Document

__all__ = ["fleet"]

LEAST_INTERVAL: Final = 2.0
"""The shortest interval that --rate may lead to: a device waits a second between two sessions."""
BUSY_SHARE: Final = 0.9
"""A process that uses so much of a core may be what limits the rate."""
LEAST_MEASURED: Final = 5.0
"""In a shorter time, in seconds, that says nothing."""
LATE_BEGIN: Final = 1.0
"""Sessions that begin so many seconds late are not what was ordered."""


@command("fleet")
@click.option("--acs", required=True, metavar="URL", help="The ACS.")
@click.option(
    "--count", required=True, type=click.IntRange(1, 1_000_000), metavar="N", help="Simulate N devices."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 1_000_000, min_open=True),
    metavar="R",
    help="Have R sessions a second of all devices.  [default: by the interval of the profile]",
)
@click.option(
    "--profile",
    "profile_file",
    type=FILE,
    callback=no_stream,
    metavar="FILE",
    help="Simulate devices as FILE describes them (TOML).",
)
@click.option(
    "--trust",
    type=FILE,
    multiple=True,
    metavar="PEM",
    help="Verify what is downloaded with the certificates in PEM.  Repeatable.",
)
@click.option("--duration", type=Delay(), metavar="TIME", help="End after TIME, such as 10min.")
@click.option("--sessions", type=click.IntRange(1), metavar="N", help="End after N sessions.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    metavar="N",
    help="Have at most N connections at once.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Use N processes, for more than one can do.",
)
@JSON
def fleet(
    acs: str,
    count: int,
    rate: float | None,
    profile_file: Path | None,
    trust: tuple[Path, ...],
    duration: int | None,
    sessions: int | None,
    at_once: int,
    jobs: int,
    as_json: bool,
) -> None:
    """Simulate devices, to find out what an ACS can do.

    Each device begins with BOOTSTRAP and BOOT, informs periodically, and answers what it is asked.  Packages
    are downloaded and verified, and never applied.  Without --duration and --sessions it runs until it is
    interrupted, and then prints its report.  The exit status is 8 if no session came through.

    \b
    Example:
      spkg agent fleet --acs http://acs.example.com/cwmp --count 1000 --rate 50 --duration 10min

    See: docs/agent-fleet.md
    """
    from spkg.agent.acs_response import acs_location
    from spkg.agent.fleet import FleetOrder, FleetOutside
    from spkg.agent.fleet_jobs import allow_connections, run_fleet
    from spkg.agent.fleet_profile import FleetProfile
    from spkg.agent.fleet_profile_file import load_fleet_profile
    from spkg.download.tls import TlsContexts
    from spkg.download.url import Login
    from spkg.report.fleet import fleet_lines

    profile = FleetProfile() if profile_file is None else load_fleet_profile(profile_file)
    location = acs_location(acs)
    if jobs > count:
        raise UsageError(f"--jobs: {amount(count, 'device')} can't be simulated by {jobs} processes")
    profile = _with_rate(profile, count, rate)
    context = TlsContexts(Login(ca_bundle=profile.ca_bundle)).unknown
    allow_connections(-(-at_once // jobs))
    orders = [
        FleetOrder(
            acs=location,
            profile=profile,
            numbers=range(profile.first + index, profile.first + count, jobs),
            most_at_once=max(1, at_once // jobs),
            most_sessions=None if sessions is None else -(-(sessions - index) // jobs),
            duration=duration,
        )
        for index in range(jobs)
    ]
    run = run_fleet(
        [one for one in orders if one.most_sessions != 0],
        FleetOutside(
            clock=monotonic,
            when=lambda: datetime.now(UTC),
            draw=random.random,
            context=context,
            verify=_verifier(trust),
        ),
        lambda done, failed: say(f"spkg: {done} sessions, {failed} failed"),
    )
    document = _document(run, orders[0], count, rate)
    error = _failure(run)
    if as_json:
        from spkg.report.lines import error_fields

        if error is not None:
            document |= error_fields(error, exit_status(error), error.STATUS, str(error))
        print_document(document)
    else:
        print_lines(fleet_lines(document))
    if document["generator_limited"]:
        warn("the load generator may be the limit: use more --jobs, a larger --at-once, or another host")
    if error is not None:
        if as_json:
            raise DocumentedError(error) from error
        raise error


def _with_rate(profile: "FleetProfile", count: int, rate: float | None) -> "FleetProfile":
    """Return the profile with the interval that leads to a rate."""
    from dataclasses import replace

    if rate is None:
        return profile
    interval = count / rate
    if interval < LEAST_INTERVAL:
        least = ceil(rate * LEAST_INTERVAL)
        raise UsageError(
            f"--rate: {amount(count, 'device')} can't have {rate:g} sessions a second",
            hint=f"a device informs every {LEAST_INTERVAL:g} s at most: use --count {least} or more",
        )
    return replace(profile, interval=interval)


def _verifier(trust: Sequence[Path]) -> "Callable[[BinaryIO], None] | None":
    """Return what verifies a package; None where nobody is trusted by name."""
    from spkg.cli.trust import device_policy

    policy = device_policy(trust)
    if policy is None:
        return None
    from spkg.verify.contents import check_payload
    from spkg.verify.payload import open_package
    from spkg.verify.signatures import verify_package

    def verify(file: Any) -> None:
        with open_package(file) as (opened, payload):
            check_payload(verify_package(opened, policy, at=datetime.now(UTC)), payload)

    return verify


def _document(run: "FleetRun", order: "FleetOrder", count: int, rate: float | None) -> "Document":
    """Return the report as a document."""
    figures = run.figures
    sessions, seconds = figures.counts["sessions"], run.seconds
    workers: list[dict[str, float | int]] = [
        {
            "elapsed": round(one.seconds, 3),
            "cpu_seconds": round(one.cpu, 3),
            "busy": round(one.cpu / one.seconds, 3) if one.seconds else 0.0,
            "memory_bytes": one.memory,
        }
        for one in run.workers
    ]
    cpu = sum(one.cpu for one in run.workers)
    late = figures.late.percentile(99) >= LATE_BEGIN
    return {
        "schema": "spkg.agent.fleet/1",
        "acs": str(order.acs),
        "devices": count,
        "interval": round(order.profile.interval, 3),
        "wanted_rate": rate,
        "elapsed": round(seconds, 3),
        "rate": round(sessions / seconds, 3) if seconds else 0.0,
        **figures.document(),
        "workers": workers,
        "cpu_seconds_per_session": round(cpu / sessions, 6) if sessions else None,
        "generator_limited": late
        or any(one["busy"] >= BUSY_SHARE and one["elapsed"] >= LEAST_MEASURED for one in workers),
    }


def _failure(run: "FleetRun") -> SpkgError | None:
    """Return the error of a fleet of which not one session came through; None if one did, or none failed."""
    figures = run.figures
    if figures.counts["sessions"] or not figures.failures:
        return None
    kind = figures.failures.most_common(1)[0][0]
    return TransferError(f"no session came through: {figures.examples[kind]}")
