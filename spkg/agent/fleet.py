"""A fleet of simulated devices in one process: who is due, their sessions, their downloads.

Everything runs in one asyncio loop.  Each device is a few objects; its connection exists during a session
alone, so memory grows with the number of devices only a little.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from typing import Final

from spkg.agent.acs_login import AcsLogin
from spkg.agent.contact import ContactError
from spkg.agent.fleet_device import FleetDevice, FleetTransfer
from spkg.agent.fleet_download import FleetDownloads, FleetVerifier
from spkg.agent.fleet_figures import FleetFigures
from spkg.agent.fleet_http import FleetConnection
from spkg.agent.fleet_profile import FleetProfile
from spkg.agent.fleet_session import FleetSession, ResponseReader
from spkg.agent.fleet_wire import FleetNetwork
from spkg.cwmp.events import merged
from spkg.cwmp.schedule import Due, Moment, due
from spkg.download.url import Location
from spkg.errors import TransferError

__all__ = ["Fleet", "FleetOrder", "FleetOutside"]

LAST_SESSIONS: Final = 5.0
"""How long sessions may take to end once the fleet is stopped, in seconds."""


@dataclass(frozen=True, kw_only=True)
class FleetOrder:
    """What a fleet is to do."""

    acs: Location
    profile: FleetProfile
    numbers: range
    """The numbers of its devices."""
    most_at_once: int
    """The most sessions and downloads at the same time."""
    most_sessions: int | None = None
    """After how many sessions it ends; None if only its end is given otherwise."""
    duration: float | None = None
    """After how many seconds it ends."""


@dataclass(frozen=True, kw_only=True)
class FleetOutside:
    """What comes from outside."""

    clock: Callable[[], float]
    """Gives seconds of a clock that does not jump."""
    when: Callable[[], datetime]
    """Gives the time, in UTC."""
    draw: Callable[[], float]
    """Gives a random number from 0 up to 1."""
    context: ssl.SSLContext | None
    """The settings for TLS."""
    verify: FleetVerifier | None
    """Verifies a package; None if packages are only downloaded."""


class Fleet:
    """Devices, and what comes of their sessions.

    Args:
        order: What to do.
        outside: What comes from outside.
    """

    def __init__(self, order: FleetOrder, outside: FleetOutside) -> None:
        self._order = order
        self._outside = outside
        self._profile = order.profile
        self.figures = FleetFigures()
        self._reader = ResponseReader()
        self._network = FleetNetwork()
        self._downloads = FleetDownloads(
            network=self._network,
            context=outside.context,
            timeout=order.profile.timeout,
            clock=outside.clock,
            most=order.profile.max_size,
            verify=outside.verify,
        )
        self._queue: list[tuple[float, int, FleetDevice]] = []
        """When each device wants to be looked at; an entry that its device does not know is void."""
        self._running: set[asyncio.Task[None]] = set()
        self._started = outside.clock()
        self._news = asyncio.Event()
        self._begun = 0
        """How many sessions were begun."""
        self._stopped = False
        self._defect: BaseException | None = None
        """What a session raised that nothing in a network can be the cause of."""

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._news.set()

    async def run(self) -> FleetFigures:
        """Run until the fleet is stopped, its time is over, or it has had its sessions.

        Raises:
            ContactError: The name of the ACS can't be resolved.
        """
        await self._network.address(self._order.acs)
        self._started = self._outside.clock()
        self._prepare()
        loop = asyncio.get_running_loop()
        ends = None if self._order.duration is None else loop.call_later(self._order.duration, self.stop)
        while not self._is_over():
            self._news.clear()
            wait = self._start_due()
            timer = None if wait is None else loop.call_later(wait, self._news.set)
            await self._news.wait()
            if timer is not None:
                timer.cancel()
        if ends is not None:
            ends.cancel()
        await self._finish()
        if self._defect is not None:
            raise self._defect
        return self.figures

    def _is_over(self) -> bool:
        most, counts = self._order.most_sessions, self.figures.counts
        return self._stopped or (most is not None and counts["sessions"] + counts["failed"] >= most)

    def _now(self) -> Moment:
        """Return the moment, by the clock of the fleet, which begins with it, and by the world's."""
        return Moment(self._outside.when().timestamp(), self._outside.clock() - self._started)

    def _prepare(self) -> None:
        """Have each device switched on: at its own time of the first interval, or now."""
        now = self._now()
        for number in self._order.numbers:
            device = FleetDevice(self._profile, number)
            periodic = device.facts.periodic
            assert periodic is not None  # it is as the profile says
            age = 0.0 if self._profile.at_once else periodic.interval - periodic.age(now)
            device.switch_on(now.boot + age)
            self._enqueue(device, device.since)

    def _enqueue(self, device: FleetDevice, wake: float) -> None:
        device.wake = wake
        heappush(self._queue, (wake, device.number, device))

    def _start_due(self) -> float | None:
        """Start what is due; return after how many seconds something else will be, if that is known."""
        while self._queue:
            wake, _, device = self._queue[0]
            if wake != device.wake:
                heappop(self._queue)
                continue
            remaining = wake - (self._outside.clock() - self._started)
            if remaining > 0:
                return remaining
            if len(self._running) >= self._order.most_at_once or self._begun == self._order.most_sessions:
                return None
            heappop(self._queue)
            self._look(device)
        return None

    def _look(self, device: FleetDevice) -> None:
        """Begin what a device has to do, or plan when to look at it again."""
        now, was_due = self._now(), device.wake
        if device.restart and now.boot >= device.off_until:
            device.start(now)
        found = due(device.facts, now)
        if found.session:
            device.begin_session()
            self._begun += 1
            self.figures.late.add(max(0.0, now.boot - was_due))
            self._spawn(self._session(device, found, now))
        elif found.transfer:
            transfer = device.begin_transfer(now)
            self._spawn(self._download(device, transfer))
            self._plan(device)
        else:
            self._plan(device)

    def _plan(self, device: FleetDevice) -> None:
        """Have a device looked at again when it has something to do; the end of a session does that, too."""
        if device.busy:
            return
        now = self._now()
        if device.restart:
            self._enqueue(device, max(device.off_until, now.boot))
            return
        found = due(device.facts, now)
        wake = now.boot if found.session or found.transfer else found.wake
        if wake is not None:
            self._enqueue(device, wake)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._defect = self._defect or defect
            self.stop()

    async def _finish(self) -> None:
        """Let sessions come to their end for a moment."""
        if self._running:
            await asyncio.wait(self._running, timeout=min(LAST_SESSIONS, self._profile.timeout))
        left = [*self._running]
        self.figures.counts["unfinished"] += len(left)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._network.close()

    async def _session(self, device: FleetDevice, found: Due, begun: Moment) -> None:
        """Carry a session of a device through, and count what came of it."""
        figures, clock, profile = self.figures, self._outside.clock, self._profile
        causes = merged(found.causes)
        started = clock()
        session = FleetSession(
            device,
            causes,
            figures=figures,
            reader=self._reader,
            now=self._now,
            when=self._outside.when,
            clock=clock,
        )
        username, password = device.parameters.login
        connection = FleetConnection(
            self._order.acs,
            AcsLogin(self._order.acs, username, password.encode()),
            network=self._network,
            context=self._outside.context,
            timeout=profile.timeout,
            clock=clock,
        )
        over, retry_after = False, None
        try:
            over = await session.run(connection)
        except TransferError as exc:
            figures.failed(exc)
            retry_after = exc.retry_after if isinstance(exc, ContactError) else None
        else:
            if not over:
                figures.dropped()
        finally:
            connection.close()
            figures.connected(connection.connections, connection.connecting)
        now = self._now()
        if over:
            figures.ended(clock() - started)
            device.session_over(begun, causes, now, periodic=found.periodic)
        else:
            device.session_failed(now, self._outside.draw, informed=session.informed, retry_after=retry_after)
        self._plan(device)

    async def _download(self, device: FleetDevice, transfer: FleetTransfer) -> None:
        """Download a file for a device."""
        began, when = self._outside.clock(), self._outside.when()
        fault, count = await self._downloads.run(
            transfer.url, transfer.username, transfer.password, transfer.size
        )
        self.figures.downloaded(fault.code, count, self._outside.clock() - began)
        device.transfer_ended(transfer, fault, (when, self._outside.when()), self._now())
        self._plan(device)
