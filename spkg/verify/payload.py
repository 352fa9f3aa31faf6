"""A package and its payload: the stream after the front matter, read in order and once (TR-069 E.3).

A payload is never held in memory.
"""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from io import BufferedIOBase
from itertools import cycle
from pathlib import Path
from typing import Final, Protocol

from spkg.common.frozen import dataclass
from spkg.errors import FormatError
from spkg.format.installation_state import InstallationState
from spkg.format.package import Command, Package, Survey, survey
from spkg.format.ranges import Range

__all__ = [
    "CHUNK",
    "PARALLEL_FROM",
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
"""How many bytes are read at once: enough to be fast, few enough to stay in a core's cache."""
PARALLEL_FROM: Final = 1 << 22
"""The fewest bytes that are worth threads."""


class StartedOverError(Exception):
    """A stream may continue with bytes of another version: whatever is incomplete must be read again."""


class ByteSource(Protocol):
    """What a payload is read from: any Python binary file."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes."""
        ...

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read bytes into *buffer*, and return how many; 0 at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to an offset."""
        ...


class Payload:
    """The bytes after the front matter, in order and once.

    Args:
        stream: Positioned at the first byte of the payload.
        offset: The offset of that byte in the package.
        length: How many bytes the header states.
        descriptor: The regular file that *stream* reads, from its beginning; None for any other stream.
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
        """Read at least one byte into *view*, and return how many.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        count = self._stream.readinto(view) or 0
        if not count:
            self.check_size(self._position)
        self._position += count
        return count

    def skip_to(self, position: int) -> None:
        """Skip the bytes up to *position*, which are not needed."""
        if self.descriptor is not None:
            self._stream.seek(self.offset + position)
            self._position = position
            return
        scrap = memoryview(bytearray(CHUNK))
        while self._position < position:
            self.read_into(scrap[: position - self._position])

    def read_range(self, wanted: Range, *, pieces: int = 1) -> Iterator[memoryview]:
        """Yield a range in pieces, if the payload is a regular file.

        Args:
            wanted: The range.
            pieces: How many of them are valid at a time: the first one is until so many more are taken.

        Raises:
            FormatError: The payload is shorter than the header states.
        """
        assert self.descriptor is not None  # ranges are only read from regular files
        buffers = cycle([memoryview(bytearray(min(CHUNK, wanted.length))) for _ in range(pieces)])
        position = wanted.start
        while position < wanted.end:
            buffer = next(buffers)
            count = os.preadv(self.descriptor, [buffer[: wanted.end - position]], self.offset + position)
            if not count:
                self.check_size(position)
            yield buffer[:count]
            position += count

    def finish(self) -> None:
        """Check that nothing follows.

        Raises:
            FormatError: Something follows, or the payload is shorter than the header states.
        """
        self.skip_to(self.length)
        if self._stream.read(1):
            self.check_size(self.length + 1)

    def measure(self) -> None:
        """Check the current size, if the payload is a regular file.

        Raises:
            FormatError: The payload is shorter or longer than the header states.
        """
        if self.descriptor is not None:
            self.check_size(os.fstat(self.descriptor).st_size - self.offset)

    def check_size(self, size: int) -> None:
        """Raise unless *size*, in bytes, is what the header states (decision 1)."""
        if size == self.length:
            return
        if size < self.length:
            problem = f"{self.length - size} of {self.length} bytes are missing"
        else:
            problem = f"more data follows after the {self.length} bytes that the header states"
        place = self.offset + min(size, self.length)
        raise FormatError(problem, offset=place, field="payload", section="E.3")


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """The deadline in force at some time."""

    title: str
    """The name of its timeout (Table 73)."""
    seconds: float
    """The timeout that was set, in seconds."""
    left: float
    """How many seconds are left; negative once it has passed."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The progress of an arriving package at some time."""

    state: InstallationState
    """The state in Figure 9."""
    command: int | None
    """The index of the last command that was processed; None before the first."""
    deadline: TimeLeft | None
    """None if no timeout limits the transfer."""


class ArrivingPayload(Payload, ABC):
    """The payload of an arriving package: it may be late, or never arrive (E.4.7).

    Commands move its deadlines, so each command has to be reported to it.  A reader of it must handle
    :class:`StartedOverError`, and be able to go back.
    """

    @abstractmethod
    def expect(self) -> None:
        """Request the payload: no part of it arrives before.

        Raises:
            TransferError: It is known to be longer or shorter than the header states.
        """

    @abstractmethod
    def may_repeat(self, wanted: Range) -> bool:
        """Whether a range that does not match what was signed may match when it is read again."""

    @abstractmethod
    def process(self, command: Command) -> None:
        """Count a command as processed, with all its data here: the state and the deadline may change."""

    @abstractmethod
    def heed(self, command: Command) -> None:
        """Take note of a command that is not carried out: a timeout is set, the state does not change."""

    @abstractmethod
    def resume(self, done: Iterable[Command], state: InstallationState) -> None:
        """Count the commands *done* as processed, for an installation that resumes after them in *state*."""

    @abstractmethod
    def conclude(self) -> None:
        """Count all commands as processed: none needs more data, and no timeout runs any more."""

    @abstractmethod
    def supervise(self, *, note: Callable[[str], object], wanted: Callable[[], bool]) -> None:
        """Set the callbacks of the transfer.

        Args:
            note: Called with messages for the user.
            wanted: Whether the package is still needed; called now and then while no data arrives.
        """

    @abstractmethod
    def waiting(self) -> AbstractContextManager[None]:
        """Return a context for waiting for something else: no deadline comes closer."""

    @abstractmethod
    def standing(self, now: float) -> Standing:
        """Return the progress of the transfer.

        Args:
            now: The time, in seconds, on the clock of its deadlines.
        """


@contextmanager
def open_package(source: Path | BufferedIOBase) -> Iterator[tuple[Package, Payload]]:
    """Read the front matter of a package, and yield it with its payload as a stream.

    Args:
        source: A file, or a stream positioned at the beginning of the package.

    Raises:
        FormatError: The package is malformed.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        with _naming(source):
            package = Package.read(file)
        payload = Payload(
            file,
            offset=package.payload_offset,
            length=package.header.payload_length,
            descriptor=descriptor,
        )
        yield package, payload


def inspect_package(source: Path | BufferedIOBase) -> Survey:
    """Return everything readable in a package, and everything that is wrong with it.

    The payload is not read; its size is checked if that is possible without reading it.

    Raises:
        FormatError: The header is malformed, so nothing else can be read.
        OSError: It can't be read.
    """
    with _opened(source) as (file, descriptor):
        with _naming(source):
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
    """Open a source, and yield it with its descriptor, if it is a regular file."""
    if not isinstance(source, Path):
        yield source, None
        return
    with source.open("rb") as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file, file.fileno() if regular else None


@contextmanager
def _naming(source: Path | BufferedIOBase) -> Iterator[None]:
    """Name the file in the error that it is of another kind: its name says most."""
    try:
        yield
    except FormatError as exc:
        if isinstance(source, Path) and exc.field == "header.preamble":
            exc.source = str(source)
            exc.hint = exc.hint and exc.hint.replace("MANIFEST", exc.source)
        raise
