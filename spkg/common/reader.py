"""The bounded cursor: the only code that touches the bytes of an untrusted front matter.

Every read names its field, so that every error has a location.  A frame that is not read to its end is an
error: otherwise its tail would be read as what comes next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from spkg.errors import FormatError

__all__ = ["U32_MAX", "ByteStream", "Reader"]

U32_MAX: Final = (1 << 32) - 1
"""The largest number of four bytes."""


class ByteStream(Protocol):
    """Anything with a ``read`` that returns at most that many bytes, and none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most *size* bytes; only none means the end."""
        ...


class _Frame(NamedTuple):
    end: int | None
    path: str
    section: str


class Reader:
    """A cursor over a stream that never reads a byte more than requested.

    What was read stays in memory for :meth:`octets`, so the caller must bound every count before reading.
    Offsets are bytes from the beginning of the stream plus *base*.
    """

    def __init__(self, stream: ByteStream, *, section: str, base: int = 0, path: str = "") -> None:
        self._stream = stream
        self._base = base
        self._buffer = bytearray()
        self._position = 0
        self._frames = [_Frame(None, path, section)]

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self._base + self._position

    @property
    def left(self) -> int:
        """The bytes left in the innermost frame; only available inside a frame."""
        end = self._frames[-1].end
        if end is None:
            raise TypeError("the innermost frame has no known end")
        return end - self._position

    def take(self, count: int, field: str) -> bytes:
        """Return the next *count* bytes.

        Raises:
            FormatError: Fewer than *count* bytes are left.
        """
        limit, start = self._frames[-1].end, self._position
        end = start + count
        if limit is not None and end > limit:
            raise self.error(field, f"needs {count} bytes, only {limit - start} left")
        if end > len(self._buffer):
            self._pull(end, field)
        self._position = end
        return bytes(self._buffer[start:end])

    def u32(self, field: str) -> int:
        """Return the next four bytes as a number, most significant first (E.2.1).

        Raises:
            FormatError: Fewer than four bytes are left.
        """
        limit, start = self._frames[-1].end, self._position
        end = start + 4
        if end > len(self._buffer) or (limit is not None and end > limit):
            return int.from_bytes(self.take(4, field), "big")
        self._position = end
        return int.from_bytes(self._buffer[start:end], "big")

    def peek(self, start: int, count: int) -> bytes:
        """Return *count* bytes from offset *start*, inside the innermost frame, without moving the cursor."""
        end = self._frames[-1].end
        first = start - self._base
        if end is None or not 0 <= first <= first + count <= end:
            raise ValueError("only bytes of the innermost frame can be peeked at")
        self._pull(first + count, "")
        return bytes(self._buffer[first : first + count])

    def octets(self, start: int, end: int) -> bytes:
        """Return the bytes that were read between two offsets."""
        return bytes(self._buffer[start - self._base : end - self._base])

    def within(self, length: int, field: str, section: str) -> "_Within":
        """Limit all reads inside to the next *length* bytes, all of which must be read.

        Raises:
            FormatError: The frame runs past the one around it, or is not read to its end.
        """
        frame = self._frames[-1]
        if frame.end is not None and length > frame.end - self._position:
            raise self.error(field, f"needs {length} bytes, only {frame.end - self._position} left")
        end = self._position + length
        self._fetch(end)
        path = f"{frame.path}.{field}" if frame.path else field
        return _Within(self, self._frames, _Frame(end, path, section))

    @contextmanager
    def under(self, section: str) -> Iterator[None]:
        """Make the errors of all reads inside name *section*."""
        self._frames.append(self._frames[-1]._replace(section=section))
        try:
            yield
        finally:
            self._frames.pop()

    def error(self, field: str, problem: str, *, offset: int | None = None) -> FormatError:
        """Return the error for *field* of the innermost frame, located at *offset* or at the next byte."""
        frame = self._frames[-1]
        return FormatError(
            problem,
            offset=self.position if offset is None else offset,
            field=".".join(part for part in (frame.path, field) if part),
            section=frame.section,
        )

    def _fetch(self, end: int) -> None:
        """Read the contents of a frame in few pieces; missing bytes are reported only when they are read."""
        while len(self._buffer) < end:
            got = self._stream.read(end - len(self._buffer))
            if not got:
                break
            self._buffer += got

    def _pull(self, end: int, field: str) -> None:
        """Read from the stream until the buffer holds *end* bytes."""
        while len(self._buffer) < end:
            got = self._stream.read(end - len(self._buffer))
            if not got:
                missing = end - len(self._buffer)
                raise self.error(
                    field, f"the input ends {missing} bytes too early", offset=self._base + len(self._buffer)
                )
            self._buffer += got


class _Within:
    """The reads inside a frame; cheaper than a generator, since each command is one."""

    __slots__ = ("_frame", "_frames", "_reader")

    def __init__(self, reader: Reader, frames: list[_Frame], frame: _Frame) -> None:
        self._reader = reader
        self._frames = frames
        self._frame = frame

    def __enter__(self) -> None:
        self._frames.append(self._frame)

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        try:
            if kind is None and self._reader.left:
                raise self._reader.error("", f"{self._reader.left} unexpected bytes at the end")
        finally:
            self._frames.pop()
