"""The kinds of fields in a command's Value: how each is read, checked, written and shown.

The records of :mod:`spkg.format.commands` name these in their annotations, in wire order; decoding, encoding
and ``inspect`` all use that one declaration.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

from spkg.common.frozen import dataclass
from spkg.common.reader import U32_MAX, Reader
from spkg.format.paths import RootPath

__all__ = [
    "UNSAFE",
    "Codec",
    "Digests",
    "Entries",
    "Flags",
    "Integer",
    "Integers",
    "Located",
    "LocatedDigest",
    "LocatedPath",
    "Magic",
    "Modes",
    "Only",
    "Remainder",
    "Span",
    "Text",
    "read_entries",
]

UNSAFE: Final = 1
"""Bit 0 of Flags: a failure after this command leaves the device unsafe (Tables 69 to 71)."""


class Codec(ABC):
    """How one field is stored in a Value."""

    size: ClassVar[int] = 4
    """The size of the fixed part of the field, in bytes."""

    @abstractmethod
    def decode(self, reader: Reader, field: str) -> Any:
        """Read the field.

        Raises:
            FormatError: It is cut off, or not allowed by the table.
        """

    @abstractmethod
    def check(self, value: Any) -> None:
        """Raise ``ValueError`` if *value* is not something that :meth:`decode` would return."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Return the bytes from which :meth:`decode` reads *value*."""

    @abstractmethod
    def show(self, value: Any) -> Any:
        """Return *value* for JSON."""


class Integer(Codec):
    """A 32-bit number."""

    def decode(self, reader: Reader, field: str) -> int:
        return reader.u32(field)

    def check(self, value: int) -> None:
        if not 0 <= value <= U32_MAX:
            raise ValueError(f"must be a number from 0 to {U32_MAX}, got {value}")

    def encode(self, value: int) -> bytes:
        return value.to_bytes(4, "big")

    def show(self, value: int) -> int:
        return value


class Flags(Integer):
    """The bit field of the file commands.  Reserved bits are ignored, but kept for a round trip."""


class Only(Integer):
    """A number with only one allowed value: all others are reserved, so a reader could not use them."""

    def __init__(self, value: int, name: str) -> None:
        self.value = value
        self.name = name

    def decode(self, reader: Reader, field: str) -> int:
        start = reader.position
        value = super().decode(reader, field)
        try:
            self.check(value)
        except ValueError as exc:
            raise reader.error(field, str(exc), offset=start) from exc
        return value

    def check(self, value: int) -> None:
        if value != self.value:
            raise ValueError(f"must be {self.value} ({self.name}), got the reserved value {value}")


class Integers(Codec):
    """An array of 32-bit numbers up to the end of the Value, never empty."""

    def decode(self, reader: Reader, field: str) -> tuple[int, ...]:
        if not reader.left or reader.left % 4:
            raise reader.error(field, f"expected an array of 32-bit integers, got {reader.left} bytes")
        return tuple(reader.u32(field) for _ in range(reader.left // 4))

    def check(self, value: tuple[int, ...]) -> None:
        if not value:
            raise ValueError("the array is empty")
        for element in value:
            Integer().check(element)

    def encode(self, value: tuple[int, ...]) -> bytes:
        return b"".join(element.to_bytes(4, "big") for element in value)

    def show(self, value: tuple[int, ...]) -> list[int]:
        return list(value)


class Modes(Codec):
    """File modes of at most 0777, 32 bits each, up to the end of the Value."""

    MAX: ClassVar[int] = 0o777

    def decode(self, reader: Reader, field: str) -> tuple[int, ...]:
        if reader.left % 4:
            raise reader.error(field, f"expected an array of 32-bit modes, got {reader.left} bytes")
        modes = []
        while reader.left:
            start = reader.position
            modes.append(reader.u32(field))
            if modes[-1] > self.MAX:
                problem = f"0{modes[-1]:o} has bits above 0{self.MAX:o}"
                raise reader.error(f"{field}[{len(modes) - 1}]", problem, offset=start)
        return tuple(modes)

    def check(self, value: tuple[int, ...]) -> None:
        if any(not 0 <= mode <= self.MAX for mode in value):
            raise ValueError(f"a file mode must be at most 0{self.MAX:o}")

    def encode(self, value: tuple[int, ...]) -> bytes:
        return Integers().encode(value)

    def show(self, value: tuple[int, ...]) -> list[str]:
        return [f"{mode:04o}" for mode in value]


class Text(Codec):
    """One UTF-8 string that fills the Value."""

    def decode(self, reader: Reader, field: str) -> str:
        start = reader.position
        octets = reader.take(reader.left, field)
        try:
            return octets.decode()
        except UnicodeDecodeError as exc:
            raise reader.error(field, f"not UTF-8: {exc.reason}", offset=start + exc.start) from exc

    def check(self, value: str) -> None:
        value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError

    def encode(self, value: str) -> bytes:
        return value.encode()

    def show(self, value: str) -> str:
        return value


class Remainder(Codec):
    """All bytes up to the end of the Value."""

    def decode(self, reader: Reader, field: str) -> bytes:
        return reader.take(reader.left, field)

    def check(self, value: bytes) -> None:
        """Accept any bytes."""

    def encode(self, value: bytes) -> bytes:
        return value

    def show(self, value: bytes) -> str:
        return value.hex()


class Magic(Codec):
    """Eight fixed bytes by which an extension recognizes its own vendor commands."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def decode(self, reader: Reader, field: str) -> bytes:
        return reader.take(len(self.octets), field)

    def check(self, value: bytes) -> None:
        if value != self.octets:
            raise ValueError(f"the mark of this extension must be {self.octets!r}")

    def encode(self, value: bytes) -> bytes:
        return value

    def show(self, value: bytes) -> str:
        return value.decode("ascii")


class Digests(Codec):
    """SHA-256 digests, 32 bytes each, up to the end of the Value."""

    SIZE: ClassVar[int] = 32

    def decode(self, reader: Reader, field: str) -> tuple[bytes, ...]:
        if reader.left % self.SIZE:
            raise reader.error(
                field, f"expected an array of {self.SIZE}-byte digests, got {reader.left} bytes"
            )
        return tuple(reader.take(self.SIZE, field) for _ in range(reader.left // self.SIZE))

    def check(self, value: tuple[bytes, ...]) -> None:
        if any(len(digest) != self.SIZE for digest in value):
            raise ValueError(f"a SHA-256 digest must have {self.SIZE} bytes")

    def encode(self, value: tuple[bytes, ...]) -> bytes:
        return b"".join(value)

    def show(self, value: tuple[bytes, ...]) -> list[str]:
        return [digest.hex() for digest in value]


class Entries(Codec):
    """A JSON object of strings up to the end of the Value, in the one form in which it is written."""

    MOST: ClassVar[int] = 16 << 10

    def decode(self, reader: Reader, field: str) -> tuple[tuple[str, str], ...]:
        entries = read_entries(reader.take(reader.left, field))
        if entries is None:
            raise reader.error(field, "expected a JSON object of strings, sorted and without blanks")
        return entries

    def check(self, value: tuple[tuple[str, str], ...]) -> None:
        if [name for name, _ in value] != sorted({name for name, _ in value}):
            raise ValueError("the keys must be unique and sorted")
        size = len(self.encode(value))
        if size > self.MOST:
            raise ValueError(f"the metadata has {size} bytes, the limit is {self.MOST}")

    def encode(self, value: tuple[tuple[str, str], ...]) -> bytes:
        return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")).encode()

    def show(self, value: tuple[tuple[str, str], ...]) -> dict[str, str]:
        return dict(value)


def read_entries(octets: bytes) -> tuple[tuple[str, str], ...] | None:
    """Return the entries that :class:`Entries` writes as *octets*; None if it never writes that."""
    codec = Entries()
    if len(octets) > codec.MOST:
        return None
    try:
        found = json.loads(octets.decode())
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            return None
        entries = tuple(found.items())
        codec.check(entries)
        return entries if codec.encode(entries) == octets else None
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class Span:
    """Where a located field is in its Value: an offset and a length, in bytes."""

    offset: int
    length: int
    at: int = 0
    """Where its offset is stored in the input."""

    @property
    def end(self) -> int:
        """The position after its last byte."""
        return self.offset + self.length


class Located(Codec):
    """A field with an offset and a length in the fixed part, and its contents after that.

    ``decode`` and ``encode`` handle the fixed part, ``convert`` and ``octets`` what it points to.
    """

    size: ClassVar[int] = 8

    def decode(self, reader: Reader, field: str) -> Span:
        at = reader.position
        return Span(reader.u32(f"{field}_offset"), reader.u32(f"{field}_length"), at)

    def encode(self, value: Span) -> bytes:
        return value.offset.to_bytes(4, "big") + value.length.to_bytes(4, "big")

    @abstractmethod
    def convert(self, octets: bytes) -> Any:
        """Return the value that the bytes encode; raise ``ValueError`` if they encode none."""

    @abstractmethod
    def octets(self, value: Any) -> bytes:
        """Return the bytes of *value*."""


class LocatedPath(Located):
    """A path, of the kind that the command needs."""

    def __init__(self, kind: Callable[[bytes], RootPath] = RootPath) -> None:
        self.kind = kind

    def convert(self, octets: bytes) -> RootPath:
        return self.kind(octets)

    def check(self, value: RootPath) -> None:
        if type(value) is not self.kind:
            raise ValueError(f"{value} is not the kind of path this command needs")

    def octets(self, value: RootPath) -> bytes:
        return value.octets

    def show(self, value: RootPath) -> str:
        return str(value)


class LocatedDigest(Located):
    """The SHA-1 digest of a payload file."""

    DIGEST_SIZE: ClassVar[int] = 20

    def convert(self, octets: bytes) -> bytes:
        self.check(octets)
        return octets

    def check(self, value: bytes) -> None:
        if len(value) != self.DIGEST_SIZE:
            raise ValueError(f"a SHA-1 digest must have {self.DIGEST_SIZE} bytes, got {len(value)}")

    def octets(self, value: bytes) -> bytes:
        return value

    def show(self, value: bytes) -> str:
        return value.hex()
