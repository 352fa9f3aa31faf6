"""A fleet in one process or in several: what each did, and what it took of the machine."""

import asyncio
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from spkg.agent.fleet import Fleet, FleetOrder, FleetOutside
from spkg.agent.fleet_figures import FleetFigures
from spkg.common.child_process import ChildKilledError, Parent, run_child
from spkg.common.documents import Document
from spkg.errors import FailedError, HostError

__all__ = ["FleetRun", "FleetWorker", "allow_connections", "run_fleet"]

STOPS: Final = (signal.SIGINT, signal.SIGTERM)
PROGRESS_PERIOD: Final = 10.0
"""How often progress is reported, in seconds."""
SPARE_DESCRIPTORS: Final = 64
"""How many descriptors a process needs besides those of its connections."""
KIB: Final = 1024

FleetProgress = Callable[[int, int], None]
"""Called with the numbers of sessions that ended cleanly and that failed."""


@dataclass(frozen=True, kw_only=True)
class FleetWorker:
    """What one process of a fleet took."""

    seconds: float
    """From its first session to its end."""
    cpu: float
    """Seconds of CPU, its own and the system's for it."""
    memory: int
    """The most memory that it had at once, in bytes."""


@dataclass(frozen=True, kw_only=True)
class FleetRun:
    """What came of a fleet."""

    figures: FleetFigures
    workers: tuple[FleetWorker, ...]

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return max(one.seconds for one in self.workers)


def allow_connections(count: int) -> None:
    """Have this process and its children have so many connections at once.

    Raises:
        HostError: The system does not allow it.
    """
    wanted = count + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        problem = f"{count} connections at once need {wanted} open files, and {hard} are allowed"
        raise HostError(problem, hint="use a smaller --at-once, or raise the limit: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_fleet(
    orders: Sequence[FleetOrder],
    outside: FleetOutside,
    progress: FleetProgress,
    *,
    period: float = PROGRESS_PERIOD,
) -> FleetRun:
    """Run a fleet, each order in a process of its own; SIGINT and SIGTERM end it with what has come of it.

    Args:
        orders: What each process is to do; a single one is done in this process.
        outside: What comes from outside.
        progress: Called with what has come of it so far.
        period: How often, in seconds.

    Raises:
        ContactError: The name of the ACS can't be resolved.
        FailedError: A process was killed.
        OSError: There can be no more processes.
    """
    if len(orders) == 1:
        figures, worker = _run(orders[0], outside, progress, period)
        return FleetRun(figures=figures, workers=(worker,))
    reading, writing = os.pipe()
    states = [(0, 0)] * len(orders)

    def hear(index: int, document: Document) -> None:
        states[index] = (document["sessions"], document["failed"])
        if index == 0:
            progress(sum(one[0] for one in states), sum(one[1] for one in states))

    def work(order: FleetOrder, parent: Parent) -> Document:
        os.close(writing)  # or the end of this program would not be noticed
        figures, worker = _run(
            order,
            outside,
            lambda sessions, failed: parent({"sessions": sessions, "failed": failed}),
            period,
            reading,
        )
        return {"figures": figures.packed(), "worker": vars(worker)}

    def child(index: int) -> Document:
        try:
            return run_child(
                lambda parent: work(orders[index], parent), lambda document: hear(index, document)
            )
        except ChildKilledError as exc:
            cause = exc.problem.rpartition(" by ")[2]
            raise FailedError(f"a process of the fleet was ended by {cause}") from exc

    still_open = [writing]

    def stop() -> None:
        while still_open:
            os.close(still_open.pop())

    figures, workers = FleetFigures(), []
    with ThreadPoolExecutor(len(orders)) as pool, _stopping(stop):
        try:
            # What ends one of them ends all.
            for done in as_completed([pool.submit(child, index) for index in range(len(orders))]):
                answer = done.result()
                figures.take(answer["figures"])
                workers.append(FleetWorker(**answer["worker"]))
        finally:
            stop()
    os.close(reading)
    return FleetRun(figures=figures, workers=tuple(workers))


def _run(
    order: FleetOrder,
    outside: FleetOutside,
    progress: FleetProgress,
    period: float,
    stop: int | None = None,
) -> tuple[FleetFigures, FleetWorker]:
    """Run devices in this process, until they are done, a signal comes, or *stop* can be read."""
    begun, before = outside.clock(), resource.getrusage(resource.RUSAGE_SELF)

    async def work() -> FleetFigures:
        fleet, loop = Fleet(order, outside), asyncio.get_running_loop()
        if stop is not None:
            loop.add_reader(stop, _ended, loop, stop, fleet)
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                loop.add_signal_handler(number, fleet.stop)
        reporter = loop.create_task(_report(fleet.figures, progress, period))
        try:
            return await fleet.run()
        finally:
            reporter.cancel()

    with _stopping(None):
        figures = asyncio.run(work())
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    seconds = outside.clock() - begun
    return figures, FleetWorker(seconds=seconds, cpu=cpu, memory=used.ru_maxrss * KIB)


def _ended(loop: asyncio.AbstractEventLoop, stop: int, fleet: Fleet) -> None:
    loop.remove_reader(stop)
    fleet.stop()


async def _report(figures: FleetFigures, progress: FleetProgress, period: float) -> None:
    while True:
        await asyncio.sleep(period)
        progress(figures.counts["sessions"], figures.counts["failed"])


@contextmanager
def _stopping(stop: Callable[[], None] | None) -> Iterator[None]:
    """Have signals call *stop* within, and what they called before afterwards; asyncio forgets that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        if stop is not None:
            for number in STOPS:
                signal.signal(number, lambda _number, _frame: stop())
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # one that was not set by Python can't be set again
                signal.signal(number, handler)
