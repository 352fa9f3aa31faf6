"""A package on its way: octets that may be late, or never come (TR-069 E.4.7).

Whatever is read is read against the deadline in force.  Where octets come from is decided elsewhere: standard
input here, a server in :mod:`spkg.download.client`.
"""

import os
import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from spkg.download.timeouts import Deadline, Timeouts, Watch
from spkg.errors import SIZE, TIMEOUT, TransferError
from spkg.format.commands import End
from spkg.format.package import Command, Package
from spkg.format.ranges import Range
from spkg.format.states import InstallationState
from spkg.verify.payload import ArrivingPayload, Standing, StartedOverError, TimeLeft

__all__ = ["BEGIN_AGAIN", "Arrival", "Pipe", "StreamedPayload", "open_arrival"]

FRONT_MATTER_ATTEMPTS: Final = 8
"""How often a front matter is begun, where its server can't go on with the same version."""
BEGIN_AGAIN: Final = "begin again"
"""The hint where a transfer can't be resumed."""
GIVEN_UP_AFTER: Final = 3600
"""After how many seconds without a new octet a transfer is given up, where no timeout limits it."""
WANTED_INTERVAL: Final = 1000
"""After how many milliseconds without an octet it is asked whether the package is still wanted."""


class Arrival(ABC):
    """Octets of a package, from the first one on, each of them once, and against the clock.

    Args:
        clock: Gives the time in seconds; it never jumps.
        timeouts: What holds until a command says otherwise.
        size: How many octets there are to be; 0 where nobody knows.
    """

    def __init__(
        self, clock: Callable[[], float], timeouts: Timeouts | None = None, *, size: int = 0
    ) -> None:
        self._clock = clock
        self.note: Callable[[str], object] = lambda _text: None
        """Is told what people may want to know."""
        self.wanted: Callable[[], bool] = lambda: True
        """Whether anybody still wants the package; asked now and then while nothing comes."""
        self.watch = Watch.begin(clock(), timeouts)
        self.position = 0
        """The offset of the next octet."""
        self._furthest = 0
        self._progressed = self.watch.begun
        """When the furthest octet came."""
        self.total: int | None = size or None
        """How many octets there are, as soon as that is known."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is ready when octets are there."""

    @abstractmethod
    def _receive(self, view: memoryview) -> int | None:
        """Read what is there: 0 octets at the end, and None where something else was there.

        Raises:
            TransferError: It failed.
            StartedOverError: What comes now may be of another version; it begins where :attr:`position` says.
        """

    def expect(self, total: int) -> None:
        """Take notice that *total* octets are wanted, and that what follows may come.

        Raises:
            TransferError: There are known to be more or fewer.
        """
        if self.total is not None and self.total != total:
            problem = f"it has {self.total} octets, its header states {total}"
            raise TransferError(problem, section="E.3", reason=SIZE)
        self.total = total

    def seek(self, offset: int, /) -> bool:  # noqa: ARG002 - for servers that can
        """Go to another octet, where that is possible."""
        return False

    def may_repeat(self, wanted: range) -> bool:  # noqa: ARG002 - for servers that went on after a break
        """Whether octets may be others when they are read again."""
        return False

    def readinto(self, view: memoryview, /) -> int:
        """Read at least one octet, and return how many; none at the end.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed.
            StartedOverError: What comes now may be of another version.
        """
        while True:
            self._wait()
            count = self._receive(view)
            if count is None:
                continue
            if count:
                self.watch = self.watch.octets(self._clock())
                self.position += count
                if self.position > self._furthest:
                    self._furthest, self._progressed = self.position, self.watch.received
            return count

    def read(self, size: int, /) -> bytes:
        """Return *size* octets.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed or ended before.
            StartedOverError: What comes now may be of another version.
        """
        octets = bytearray(size)
        view = memoryview(octets)
        while view:
            count = self.readinto(view)
            if not count:
                raise self.ended(None)
            view = view[count:]
        return bytes(octets)

    def is_over(self) -> bool:
        """Whether no octets follow.

        Raises:
            TransferError: That could not be found out.
        """
        return not self.readinto(memoryview(bytearray(1)))

    def ended(self, total: int | None) -> TransferError:
        """Return the error of an end that comes too early."""
        of = "" if total is None else f" of {total}"
        return TransferError(f"it ended after {self.position}{of} octets", offset=self.position)

    def _wait(self) -> None:
        """Wait until something is there.

        Raises:
            TransferError: The deadline in force has passed.
        """
        ready = select.poll()
        ready.register(self.fileno(), select.POLLIN)
        while True:
            now = self._clock()
            deadline = self._deadline
            if deadline.passed(now):
                problem = f"the {deadline.title} of {deadline.seconds:g} s has passed"
                section = None if self.watch.deadline is None else "E.4.7"  # or the limit is ours
                raise TransferError(problem, offset=self.position, section=section, reason=TIMEOUT)
            if ready.poll(min((deadline.at - now) * 1000 + 1, WANTED_INTERVAL)):
                return
            if not self.wanted():
                raise TransferError("whoever asked for it is gone", offset=self.position)

    @property
    def _deadline(self) -> Deadline:
        """The deadline in force, or what takes its place where there is none."""
        forgotten = Deadline(
            at=self._progressed + GIVEN_UP_AFTER, seconds=GIVEN_UP_AFTER, title="time without a new octet"
        )
        return self.watch.deadline or forgotten


class Pipe(Arrival):
    """Octets from a descriptor, as that of standard input."""

    def __init__(
        self,
        descriptor: int,
        clock: Callable[[], float],
        timeouts: Timeouts | None = None,
        *,
        size: int = 0,
    ) -> None:
        super().__init__(clock, timeouts, size=size)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def _receive(self, view: memoryview) -> int | None:
        return os.readv(self._descriptor, [view])


class StreamedPayload(ArrivingPayload):
    """The payload of a package on its way, read from an :class:`Arrival`."""

    def __init__(self, arrival: Arrival, *, offset: int, length: int) -> None:
        super().__init__(arrival, offset=offset, length=length)
        self.arrival = arrival
        self.command: int | None = None
        """The index of the last command that was processed."""

    def expect(self) -> None:
        """Ask for the payload: nothing of it comes before.

        Raises:
            TransferError: It is known to be longer or shorter than the header states.
        """
        self.arrival.expect(self.offset + self.length)

    def read_into(self, view: memoryview) -> int:
        """Read at least one octet into *view*, and return how many.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed or ended before.
            StartedOverError: What comes now may be of another version.
        """
        self._catch_up()
        count = self.arrival.readinto(view)
        if not count:
            raise self.arrival.ended(self.offset + self.length)
        self._position += count
        return count

    def skip_to(self, position: int) -> None:
        """Go on elsewhere, forward or back, once octets are wanted there."""
        self._position = position

    def may_repeat(self, wanted: Range) -> bool:
        """Whether a range that is not what was signed may well be so when it is read again."""
        return self.arrival.may_repeat(range(self.offset + wanted.start, self.offset + wanted.end))

    def process(self, command: Command) -> None:
        """Count a command as processed: the state and the deadline may change."""
        self.command = command.index
        if not isinstance(command.record, End):  # as long as octets are waited for a deadline holds
            self.arrival.watch = self.arrival.watch.process(command.record)

    def heed(self, command: Command) -> None:
        """Heed a command that is not carried out: a timeout is set, the state stays."""
        watch = self.arrival.watch
        self.arrival.watch = replace(watch, timeouts=watch.timeouts.after(command.record))

    def resume(self, done: Iterable[Command], state: InstallationState) -> None:
        """Count commands as processed by an installation that is resumed behind them, in a state."""
        for command in done:
            self.process(command)
        self.arrival.watch = replace(self.arrival.watch, state=state)

    def conclude(self) -> None:
        """Count all commands as processed; nothing more is wanted."""
        self.arrival.watch = self.arrival.watch.end()

    def supervise(self, *, note: Callable[[str], object], wanted: Callable[[], bool]) -> None:
        """Set who hears of the transfer."""
        self.arrival.note = note
        self.arrival.wanted = wanted

    def standing(self, now: float) -> Standing:
        """Return how it stands."""
        watch = self.arrival.watch
        deadline = watch.deadline
        left = None
        if deadline is not None:
            left = TimeLeft(title=deadline.title, seconds=deadline.seconds, left=deadline.at - now)
        return Standing(state=watch.state, command=self.command, deadline=left)

    def finish(self) -> None:
        """Make sure that nothing follows.

        Raises:
            TransferError: Something does, or the payload is shorter than the header states.
        """
        while True:
            self.skip_to(self.length)
            with suppress(StartedOverError):  # all files are what they should be: it is about the end alone
                self._catch_up()
                over = self.arrival.is_over()
                break
        if not over:
            problem = f"octets follow behind the {self.offset + self.length} that the header states"
            raise TransferError(problem, offset=self.offset + self.length, section="E.3", reason=SIZE)
        self.conclude()

    def _catch_up(self) -> None:
        """Leave out the octets up to where reading goes on."""
        wanted = self.offset + self._position
        if wanted == self.arrival.position or self.arrival.seek(wanted):
            return
        if wanted < self.arrival.position:
            raise TransferError(
                "it would have to be read once more from before", offset=wanted, hint=BEGIN_AGAIN
            )
        scrap = memoryview(bytearray(1 << 16))
        while self.arrival.position < wanted:
            if not self.arrival.readinto(scrap[: wanted - self.arrival.position]):
                raise self.arrival.ended(self.offset + self.length)


@contextmanager
def open_arrival(arrival: Arrival) -> Iterator[tuple[Package, StreamedPayload]]:
    """Read the front matter of a package on its way, and give its payload, of which nothing is read yet.

    Raises:
        FormatError: The package is malformed.
        TransferError: The deadline in force has passed, or the transfer failed.
    """
    for attempt in range(FRONT_MATTER_ATTEMPTS):
        try:
            package = Package.read(arrival)
        except StartedOverError:
            if attempt == FRONT_MATTER_ATTEMPTS - 1:
                problem = f"not even its front matter came in one piece, {FRONT_MATTER_ATTEMPTS} times"
                raise TransferError(problem, offset=arrival.position) from None
            continue
        break
    yield (
        package,
        StreamedPayload(arrival, offset=package.payload_offset, length=package.header.payload_length),
    )
