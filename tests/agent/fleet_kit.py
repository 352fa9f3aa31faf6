"""What tests of simulated devices share: a fleet run to its end against a server."""

import asyncio
import random
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, BinaryIO

from spkg.agent.fleet import Fleet, FleetOrder, FleetOutside
from spkg.agent.fleet_device import FleetDevice
from spkg.agent.fleet_figures import FleetFigures
from spkg.agent.fleet_profile import FleetProfile
from spkg.cwmp.envelopes import Message, read_message
from spkg.cwmp.schedule import Moment
from spkg.download.url import Location
from tests.support.acs import Answer, Plan, Post, inform_response, request
from tests.support.cwmp_schema import assert_valid

__all__ = ["NOW", "asked", "downloading", "outside", "profile", "run_devices"]

NOW = Moment(1_800_000_000.0, 100.0)
PATIENCE = 30
DOWNLOAD = (
    "<CommandKey>new</CommandKey><FileType>{kind}</FileType><URL>{url}</URL><Username>{user}</Username>"
    "<Password>p</Password><FileSize>{size}</FileSize><TargetFileName></TargetFileName>"
    "<DelaySeconds>0</DelaySeconds><SuccessURL></SuccessURL><FailureURL></FailureURL>"
)


def profile(**stated: Any) -> FleetProfile:
    """Return a profile whose devices wait for nothing longer than a test does."""
    return FleetProfile(**{"interval": 86_400.0, "at_once": True, "timeout": 5.0, "reboot": 0.0, **stated})


def outside(
    context: ssl.SSLContext | None = None, verify: Callable[[BinaryIO], None] | None = None
) -> FleetOutside:
    """Return what comes from outside."""
    return FleetOutside(
        clock=monotonic,
        when=lambda: datetime.now(UTC),
        draw=random.Random(1).random,
        context=context,
        verify=verify,
    )


def run_devices(
    url: str,
    stated: FleetProfile,
    count: int = 1,
    *,
    context: ssl.SSLContext | None = None,
    verify: Callable[[BinaryIO], None] | None = None,
    **order: Any,
) -> FleetFigures:
    """Run devices until they have had as many sessions as there are devices, or as the order says."""
    fleet = Fleet(
        FleetOrder(
            acs=Location.parse(url),
            profile=stated,
            numbers=range(1, count + 1),
            **{"most_at_once": 50, "most_sessions": count, **order},
        ),
        outside(context, verify),
    )

    async def run() -> FleetFigures:
        async with asyncio.timeout(PATIENCE):
            return await fleet.run()

    return asyncio.run(run())


def asked(device: FleetDevice, method: str, arguments: str = "", now: Moment = NOW) -> tuple[Message, int]:
    """Have a device answer a call; return the answer, which is valid, and the fault, 0 for none."""
    octets, fault = device.answer(read_message(request(method, arguments)), now)
    assert_valid(octets)
    return read_message(octets), 0 if fault is None else int(fault)


def downloading(url: str, size: int = 0, kind: str = "2 Web Content", user: str = "") -> Plan:
    """Ask each session for a download, but for those that report one."""

    def plan(post: Post) -> Answer:
        if post.method == "Inform":
            plan_of[post.connection] = "M Download" in post.texts("EventCode")
            return Answer(body=inform_response(post.id))
        if post.method == "TransferComplete":
            return Answer(body=request("TransferCompleteResponse", id=post.id))
        if plan_of.setdefault(post.connection, True):
            return Answer()
        plan_of[post.connection] = True
        return Answer(body=request("Download", DOWNLOAD.format(url=url, size=size, kind=kind, user=user)))

    plan_of: dict[int, bool] = {}
    return plan
