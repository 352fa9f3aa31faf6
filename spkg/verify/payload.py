"""A package and its payload: the stream behind the front matter, read in order and once (TR-069 E.3).

A payload is never held in memory.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Final, Protocol

from spkg.errors import FormatError
from spkg.format.package import Command, Package, Survey, survey
from spkg.format.ranges import Range
from spkg.format.states import InstallationState

__all__ = [
    "CHUNK",
    "ArrivingPayload",
    "ByteSource",
    "Payload",
    "Standing",
    "StartedOverError",
    "TimeLeft",
    "inspect_package",
    "open_package",
]

CHUNK: Final = 1 << 18
"""How many octets are read at once: enough to be fast, few enough to stay in a core's cache."""


class StartedOverError(Exception):
    """A stream may go on with octets of another version: what is not whole yet has to be read again."""


class ByteSource(Protocol):
    """What a payload is read from: any binary file of Python's."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* octets."""
        ...

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read octets into *buffer*, and return how many; none at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to an octet."""
        ...


class Payload:
    """The octets behind the front matter, in order and once.

    Args:
        stream: Stands at the first octet of the payload.
        offset: Where that is, in octets from the beginning of the package.
        length: How many octets the header states.
        descriptor: Of a regular file that *stream* reads from the beginning of; None for any other stream.
    """

    def __init__(
        self, stream: ByteSource, *, offset: int, length: int, descriptor: int | None = None
    ) -> None:
        self._stream = stream
        self._position = 0
        self.offset = offset
        self.length = length
        self.descriptor = descriptor
        self.measure()

    def read_into(self, view: memoryview) -> int:
        """Read at least one octet into *view*, and return how many.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        count = self._stream.readinto(view) or 0
        if not count:
            self.check_size(self._position)
        self._position += count
        return count

    def skip_to(self, position: int) -> None:
        """Leave out the octets up to *position*, which nobody wants."""
        if self.descriptor is not None:
            self._stream.seek(self.offset + position)
            self._position = position
            return
        scrap = memoryview(bytearray(CHUNK))
        while self._position < position:
            self.read_into(scrap[: position - self._position])

    def read_range(self, wanted: Range) -> Iterator[memoryview]:
        """Give the octets of a range in pieces, of a payload in a regular file; each is gone at the next.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        assert self.descriptor is not None  # whoever asks for a range has a file
        buffer = memoryview(bytearray(CHUNK))
        position = wanted.start
        while position < wanted.end:
            count = os.preadv(self.descriptor, [buffer[: wanted.end - position]], self.offset + position)
            if not count:
                self.check_size(position)
            yield buffer[:count]
            position += count

    def finish(self) -> None:
        """Make sure that nothing follows.

        Raises:
            FormatError: Something does.
        """
        self.skip_to(self.length)
        if self._stream.read(1):
            self.check_size(self.length + 1)

    def measure(self) -> None:
        """Check the size of a regular file, as it is now.

        Raises:
            FormatError: The payload is shorter or longer than the header states.
        """
        if self.descriptor is not None:
            self.check_size(os.fstat(self.descriptor).st_size - self.offset)

    def check_size(self, size: int) -> None:
        """Raise unless *size* octets are what the header states (decision 1)."""
        if size == self.length:
            return
        if size < self.length:
            problem = f"{self.length - size} of {self.length} octets are missing"
        else:
            problem = f"octets follow behind the {self.length} that the header states"
        place = self.offset + min(size, self.length)
        raise FormatError(problem, offset=place, field="payload", section="E.3")


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """The deadline in force, as it is at some time."""

    title: str
    """The name of its timeout (Table 73)."""
    seconds: float
    """The timeout that was set."""
    left: float
    """How many seconds are left of it; fewer than none once it has passed."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a package on its way stands at some time."""

    state: InstallationState
    """That of Figure 9."""
    command: int | None
    """The index of the last command that was processed; None before the first."""
    deadline: TimeLeft | None
    """None where no timeout limits the transfer."""


class ArrivingPayload(Payload, ABC):
    """The payload of a package on its way: it may be late, or never come (E.4.7).

    Commands move its deadlines, so it has to be told what becomes of each.  Whoever reads it has to be
    ready for :class:`StartedOverError`, and to go back.
    """

    @abstractmethod
    def expect(self) -> None:
        """Ask for the payload: nothing of it comes before.

        Raises:
            TransferError: It is known to be longer or shorter than the header states.
        """

    @abstractmethod
    def may_repeat(self, wanted: Range) -> bool:
        """Whether a range that is not what was signed may well be so when it is read again."""

    @abstractmethod
    def process(self, command: Command) -> None:
        """Count a command as processed, all its data being here: the state and the deadline may change."""

    @abstractmethod
    def heed(self, command: Command) -> None:
        """Heed a command that is not carried out: a timeout is set, the state stays."""

    @abstractmethod
    def resume(self, done: Iterable[Command], state: InstallationState) -> None:
        """Count commands as processed by an installation that is resumed behind them, in a state."""

    @abstractmethod
    def conclude(self) -> None:
        """Count all commands as processed; nothing more is wanted."""

    @abstractmethod
    def supervise(self, *, note: Callable[[str], object], wanted: Callable[[], bool]) -> None:
        """Set who hears of the transfer.

        Args:
            note: Is told what people may want to know.
            wanted: Whether anybody still wants the package; asked now and then while nothing comes.
        """

    @abstractmethod
    def standing(self, now: float) -> Standing:
        """Return how it stands.

        Args:
            now: The time, in seconds, by the clock that its deadlines are measured with.
        """


@contextmanager
def open_package(source: Path | BufferedIOBase) -> Iterator[tuple[Package, Payload]]:
    """Read the front matter of a package, and give its payload as a stream.

    Args:
        source: A file, or a stream that stands at the beginning of the package.

    Raises:
        FormatError: The package is malformed.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        package = Package.read(file)
        payload = Payload(
            file,
            offset=package.payload_offset,
            length=package.header.payload_length,
            descriptor=descriptor,
        )
        yield package, payload


def inspect_package(source: Path | BufferedIOBase) -> Survey:
    """Return all that frames in a package, and all that is wrong with it.

    The payload is not read, but where it can be told without, its size is checked.

    Raises:
        FormatError: Already the header is malformed.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        surveyed = survey(file)
        if surveyed.block is not None:
            offset = len(surveyed.signed) + len(surveyed.block.octets)
            length = surveyed.header.payload_length
            try:
                Payload(file, offset=offset, length=length, descriptor=descriptor)
            except FormatError as exc:
                return replace(surveyed, problems=(*surveyed.problems, exc))
        return surveyed


@contextmanager
def _opened(source: Path | BufferedIOBase) -> Iterator[tuple[BufferedIOBase, int | None]]:
    """Open a source, and give its descriptor where it is a regular file."""
    if not isinstance(source, Path):
        yield source, None
        return
    with source.open("rb") as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file, file.fileno() if regular else None
