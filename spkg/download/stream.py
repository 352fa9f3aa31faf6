"""A package that is still arriving: its bytes may be late, or never come (TR-069 E.4.7).

Every read is limited by the deadline in force.  The bytes come from standard input here, or from a server in
:mod:`spkg.download.client`.
"""

import os
import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Final

from spkg.download.timeouts import Deadline, Timeouts, Watch
from spkg.errors import SIZE, TIMEOUT, TransferError
from spkg.format.installation_state import InstallationState
from spkg.format.package import Command, Package
from spkg.format.ranges import Range
from spkg.verify.payload import ArrivingPayload, Standing, StartedOverError, TimeLeft

__all__ = ["BEGIN_AGAIN", "Arrival", "Pipe", "StreamedPayload", "open_arrival"]

FRONT_MATTER_ATTEMPTS: Final = 8
"""How often reading the front matter is started, if its server can't resume the same version."""
BEGIN_AGAIN: Final = "start the transfer again"
"""The hint for a transfer that can't be resumed."""
GIVEN_UP_AFTER: Final = 3600
"""After how many seconds without a new byte a transfer is given up, if no timeout limits it."""
END_AWAITED: Final = 5
"""For how many seconds the end of a stream is awaited, once the whole package has arrived."""
WANTED_INTERVAL: Final = 1000
"""After how many milliseconds without data to check whether the package is still wanted."""


class Arrival(ABC):
    """The bytes of a package, in order, each of them once, with deadlines.

    Args:
        clock: Returns the time in seconds; it never jumps.
        timeouts: The timeouts until a command sets others.
        size: The expected size in bytes; 0 if unknown.
    """

    def __init__(
        self, clock: Callable[[], float], timeouts: Timeouts | None = None, *, size: int = 0
    ) -> None:
        self._clock = clock
        self.note: Callable[[str], object] = lambda _text: None
        """Called with notes for people."""
        self.wanted: Callable[[], bool] = lambda: True
        """Whether the package is still wanted; called now and then while no data comes."""
        self.watch = Watch.begin(clock(), timeouts)
        self.position = 0
        """The offset of the next byte."""
        self._wanted = 0
        """The size of the package, as its trusted header states it; 0 until then."""
        self._furthest = 0
        self._progressed = self.watch.begun
        """When the furthest byte came."""
        self.total: int | None = size or None
        """The size in bytes, as soon as it is known."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is ready when data is available."""

    @abstractmethod
    def _receive(self, view: memoryview) -> int | None:
        """Read the available bytes: 0 at the end, and None for anything other than bytes of the package.

        Raises:
            TransferError: The transfer failed.
            StartedOverError: The data that follows may be of another version; it begins at :attr:`position`.
        """

    def expect(self, total: int) -> None:
        """Set that *total* bytes are wanted, so that everything after the front matter may come.

        Raises:
            TransferError: The package is known to be longer or shorter.
        """
        if self.total is not None and self.total != total:
            problem = f"the package has {self.total} bytes, its header states {total}"
            raise TransferError(problem, section="E.3", reason=SIZE)
        self.total = self._wanted = total

    def seek(self, offset: int, /) -> bool:  # noqa: ARG002 - for servers that can
        """Go to another offset, if that is possible."""
        return False

    def may_repeat(self, wanted: range) -> bool:  # noqa: ARG002 - for transfers that were resumed
        """Whether bytes may be different when they are read again."""
        return False

    def readinto(self, view: memoryview, /) -> int:
        """Read at least one byte, and return how many; 0 at the end.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed.
            StartedOverError: The data that follows may be of another version.
        """
        while True:
            if not self._wait():
                return 0
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
        """Return *size* bytes.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed or ended early.
            StartedOverError: The data that follows may be of another version.
        """
        octets = bytearray(size)
        view = memoryview(octets)
        while view:
            count = self.readinto(view)
            if not count:
                raise self.ended(None)
            view = view[count:]
        return bytes(octets)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for something else: that time does not count."""
        begun = self._clock()
        try:
            yield
        finally:
            waited = self._clock() - begun
            self.watch = self.watch.later(waited)
            self._progressed += waited

    def is_over(self) -> bool:
        """Whether no more bytes follow.

        Raises:
            TransferError: The transfer failed before that was known.
        """
        return not self.readinto(memoryview(bytearray(1)))

    def ended(self, total: int | None) -> TransferError:
        """Return the error for an end that comes too early."""
        of = "" if total is None else f" of {total}"
        return TransferError(f"the transfer ended after {self.position}{of} bytes", offset=self.position)

    def _wait(self) -> bool:
        """Wait until data is available; return whether any is.

        Once the whole package has arrived, no deadline counts: only its end is awaited, for a short time.

        Raises:
            TransferError: The deadline in force has passed.
        """
        ready = select.poll()
        ready.register(self.fileno(), select.POLLIN)
        while True:
            now = self._clock()
            whole = 0 < self._wanted <= self.position
            deadline = self._deadline
            if deadline.passed(now) and not whole:
                problem = f"the {deadline.title} of {deadline.seconds:g} s has passed"
                section, hint = ("E.4.7", None) if deadline.stated else (None, self._hint)
                raise TransferError(problem, offset=self.position, section=section, hint=hint, reason=TIMEOUT)
            last = self._progressed + END_AWAITED if whole else deadline.at
            if ready.poll(max(0, min((last - now) * 1000 + 1, WANTED_INTERVAL))):
                return True
            if whole and now >= last:
                return False
            if not self.wanted():
                raise TransferError("the process that requested the package is gone", offset=self.position)

    @property
    def _hint(self) -> str | None:
        """How to change the deadline in force, which no command has set."""
        return None if self.watch.deadline is None else "set other limits with --timeout and --idle-timeout"

    @property
    def _deadline(self) -> Deadline:
        """The deadline in force, or a fixed limit if no timeout is in force."""
        forgotten = Deadline(
            at=self._progressed + GIVEN_UP_AFTER, seconds=GIVEN_UP_AFTER, title="time limit for new data"
        )
        return self.watch.deadline or forgotten


class Pipe(Arrival):
    """Bytes from a descriptor, such as standard input."""

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
    """The payload of a package that is still arriving, read from an :class:`Arrival`."""

    def __init__(self, arrival: Arrival, *, offset: int, length: int) -> None:
        super().__init__(arrival, offset=offset, length=length)
        self.arrival = arrival
        self.command: int | None = None
        """The index of the last command that was processed."""

    def expect(self) -> None:
        """Request the payload: none of it comes before.

        Raises:
            TransferError: It is known to be longer or shorter than the header states.
        """
        self.arrival.expect(self.offset + self.length)

    def read_into(self, view: memoryview) -> int:
        """Read at least one byte into *view*, and return how many.

        Raises:
            TransferError: The deadline in force has passed, or the transfer failed or ended early.
            StartedOverError: The data that follows may be of another version.
        """
        self._catch_up()
        count = self.arrival.readinto(view)
        if not count:
            raise self.arrival.ended(self.offset + self.length)
        self._position += count
        return count

    def skip_to(self, position: int) -> None:
        """Continue at another position, forward or back, with the next read."""
        self._position = position

    def may_repeat(self, wanted: Range) -> bool:
        """Whether a range that does not match its digest may match when it is read again."""
        return self.arrival.may_repeat(range(self.offset + wanted.start, self.offset + wanted.end))

    def process(self, command: Command) -> None:
        """Count a command as processed: the state and the deadline may change."""
        self.command = command.index
        self.arrival.watch = self.arrival.watch.process(command.record)

    def heed(self, command: Command) -> None:
        """Note a command that is not carried out: its timeout is set, the state stays."""
        watch = self.arrival.watch
        self.arrival.watch = replace(watch, timeouts=watch.timeouts.after(command.record))

    def resume(self, done: Iterable[Command], state: InstallationState) -> None:
        """Count commands as processed by an installation that is resumed after them, in a state."""
        for command in done:
            self.process(command)
        self.arrival.watch = replace(self.arrival.watch, state=state)

    def conclude(self) -> None:
        """Count all commands as processed: no command needs more data, and no timeout runs any more."""
        self.arrival.watch = self.arrival.watch.end()

    def supervise(self, *, note: Callable[[str], object], wanted: Callable[[], bool]) -> None:
        """Set the functions that the transfer calls."""
        self.arrival.note = note
        self.arrival.wanted = wanted

    def waiting(self) -> AbstractContextManager[None]:
        """Return a context in which no deadline comes closer."""
        return self.arrival.waiting()

    def standing(self, now: float) -> Standing:
        """Return the state of the installation, and the deadline in force."""
        watch = self.arrival.watch
        deadline = watch.deadline
        left = None
        if deadline is not None:
            left = TimeLeft(title=deadline.title, seconds=deadline.seconds, left=deadline.at - now)
        return Standing(state=watch.state, command=self.command, deadline=left)

    def finish(self) -> None:
        """Check that nothing follows the payload.

        Raises:
            TransferError: More bytes follow, or the payload is shorter than the header states.
        """
        while True:
            self.skip_to(self.length)
            with suppress(StartedOverError):  # all files are checked: only the end matters
                self._catch_up()
                over = self.arrival.is_over()
                break
        if not over:
            problem = f"more data follows after the {self.offset + self.length} bytes that the header states"
            raise TransferError(problem, offset=self.offset + self.length, section="E.3", reason=SIZE)
        self.conclude()

    def _catch_up(self) -> None:
        """Skip the bytes up to the position of the next read."""
        wanted = self.offset + self._position
        if wanted == self.arrival.position or self.arrival.seek(wanted):
            return
        if wanted < self.arrival.position:
            raise TransferError(
                "earlier bytes are needed again, but can't be requested", offset=wanted, hint=BEGIN_AGAIN
            )
        scrap = memoryview(bytearray(1 << 16))
        while self.arrival.position < wanted:
            if not self.arrival.readinto(scrap[: wanted - self.arrival.position]):
                raise self.arrival.ended(self.offset + self.length)


@contextmanager
def open_arrival(arrival: Arrival) -> Iterator[tuple[Package, StreamedPayload]]:
    """Read the front matter of a package that is still arriving, and give its payload, which is not yet read.

    Raises:
        FormatError: The package is malformed.
        TransferError: The deadline in force has passed, or the transfer failed.
    """
    for attempt in range(FRONT_MATTER_ATTEMPTS):
        try:
            package = Package.read(arrival)
        except StartedOverError:
            if attempt == FRONT_MATTER_ATTEMPTS - 1:
                problem = f"the front matter did not arrive whole in {FRONT_MATTER_ATTEMPTS} attempts"
                raise TransferError(problem, offset=arrival.position) from None
            continue
        break
    yield (
        package,
        StreamedPayload(arrival, offset=package.payload_offset, length=package.header.payload_length),
    )
