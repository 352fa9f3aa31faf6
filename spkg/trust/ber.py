"""BER elements, framed within limits: the structure of a signature block without its meaning.

Real blocks are not DER: indefinite lengths and unsorted sets occur.  This module finds where a block ends,
returns the unchanged bytes of each element, and turns the framing of an element into DER.  No length is
trusted before it is checked, and nesting costs a counter, not the stack.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Final

from spkg.common.frozen import dataclass
from spkg.common.reader import Reader
from spkg.errors import FormatError

__all__ = [
    "INTEGER",
    "MAX_BLOCK",
    "MAX_DER",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "BerElement",
    "read_element",
    "set_of",
    "tlv",
]

MAX_BLOCK: Final = 1 << 20
"""The largest signature block that is read, in bytes (decision 2)."""
MAX_DER: Final = 1 << 16
"""The largest element that is turned into DER, in bytes: no certificate, name or attribute needs as much."""
MAX_BER_DEPTH: Final = 32
"""How deep elements may be nested."""
MAX_BER_ELEMENTS: Final = 20_000
"""The most elements that are read in one block."""
MAX_LENGTH_OCTETS: Final = 4
"""The most bytes of a length: what 1 MiB needs, and one to spare."""

SECTION: Final = "E.5"
CONSTRUCTED: Final = 0x20
LONG_TAG: Final = 0x1F
INDEFINITE: Final = 0x80
END_MARK: Final = 0
END_MARK_SIZE: Final = 2
INTEGER: Final = 0x02
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30
OCTET_STRING: Final = 0x04
CONSTRUCTED_OCTET_STRING: Final = 0x24


class _Budget:
    """Counts the elements read, so that no block costs more than the limit."""

    def __init__(self) -> None:
        self._left = MAX_BER_ELEMENTS

    def spend(self, offset: int, field: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise _error(offset, field, f"more than {MAX_BER_ELEMENTS} elements")


@dataclass(frozen=True)
class _Head:
    """An identifier and a length as found; a length of None is indefinite."""

    tag: int
    size: int
    length: int | None


@dataclass(frozen=True, kw_only=True)
class BerElement:
    """One element as found in the input."""

    tag: int
    octets: bytes
    """The whole element: identifier, length, contents and, with an indefinite length, the end mark."""
    offset: int
    """Where it begins in the input."""
    field: str
    """What it is, for errors."""
    head: int
    """The size of identifier and length."""
    tail: int
    """The size of the end mark."""
    depth: int
    budget: _Budget

    @property
    def contents(self) -> bytes:
        """The bytes between the length and the end."""
        return self.octets[self.head : len(self.octets) - self.tail]

    def error(self, problem: str) -> FormatError:
        """Return the error that states *problem* for this element."""
        return _error(self.offset, self.field, problem)

    def expect(self, tag: int) -> "BerElement":
        """Return the element itself.

        Raises:
            FormatError: It has another tag.
        """
        if self.tag != tag:
            raise self.error(f"expected tag 0x{tag:02x}, got 0x{self.tag:02x}")
        return self

    def children(self, *names: str, most: int = 4096) -> list["BerElement"]:
        """Return the elements inside; the first are called by *names*, all others by number.

        Raises:
            FormatError: They don't fill the element, are more than *most*, or are nested too deeply.
        """
        if not self.tag & CONSTRUCTED:
            raise self.error("expected a constructed element, got a primitive one")
        if self.depth == MAX_BER_DEPTH:
            raise self.error(f"nested more than {MAX_BER_DEPTH} levels deep")
        contents = self.contents
        reader = Reader(BytesIO(contents), section=SECTION, base=self.offset + self.head)
        found: list[BerElement] = []
        with reader.within(len(contents), "", SECTION):
            while reader.left:
                if len(found) == most:
                    raise self.error(f"more than {most} elements")
                name = f".{names[len(found)]}" if len(found) < len(names) else f"[{len(found)}]"
                found.append(_element(reader, self.field + name, reader.left, self.budget, self.depth + 1))
        return found

    def integer(self, *, most: int = 4) -> int:
        """Return the value of the element as a number.

        Raises:
            FormatError: It is not an INTEGER of at most *most* bytes.
        """
        contents = self.expect(INTEGER).contents
        if not 1 <= len(contents) <= most:
            raise self.error(f"expected a number of 1 to {most} bytes, got {len(contents)}")
        return int.from_bytes(contents, "big", signed=True)

    def der(self) -> bytes:
        """Return the element in DER framing: definite, shortest lengths, primitive strings.

        Sets are not sorted and contents not changed, so DER input stays as it was.

        Raises:
            FormatError: The element is larger than a certificate may be, or nested too deeply.
        """
        if len(self.octets) > MAX_DER:  # each level costs a copy
            raise self.error(f"{len(self.octets)} bytes exceed the limit of {MAX_DER}")
        if not self.tag & CONSTRUCTED:
            return tlv(self.tag, self.contents)
        if self.tag == CONSTRUCTED_OCTET_STRING:
            return tlv(OCTET_STRING, self.string())
        return tlv(self.tag, *(child.der() for child in self.children()))

    def string(self) -> bytes:
        """Return the contents of an OCTET STRING, which BER may split into pieces.

        Raises:
            FormatError: It is not an OCTET STRING.
        """
        if self.tag == CONSTRUCTED_OCTET_STRING:
            return b"".join(child.string() for child in self.children())
        return self.expect(OCTET_STRING).contents


def read_element(reader: Reader, field: str, *, limit: int = MAX_BLOCK) -> BerElement:
    """Read exactly one element from *reader*, and not one byte after it.

    Raises:
        FormatError: It is cut off, larger than *limit*, or not BER.
    """
    return _element(reader, field, limit, _Budget(), 0)


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return a DER element."""
    inner = b"".join(contents)
    size = len(inner)
    if size < INDEFINITE:
        return bytes((tag, size)) + inner
    width = (size.bit_length() + 7) // 8
    return bytes((tag, INDEFINITE | width)) + size.to_bytes(width, "big") + inner


def set_of(elements: Iterable[bytes], tag: int = 0x31) -> bytes:
    """Return a DER set of *elements*, each once and in DER order."""
    return tlv(tag, *sorted(set(elements)))


def _error(offset: int, field: str, problem: str) -> FormatError:
    return FormatError(problem, offset=offset, field=field, section=SECTION)


def _element(reader: Reader, field: str, limit: int, budget: _Budget, depth: int) -> BerElement:
    """Read one element of at most *limit* bytes.

    An element of indefinite length ends where its end marks balance; the elements in it are only counted.
    """
    start = reader.position
    first: _Head | None = None
    unended = 0
    while first is None or unended:
        at = reader.position
        budget.spend(at, field)
        head = _head(reader, field)
        first = first or head
        if head.tag == END_MARK:
            if not unended or head.size != END_MARK_SIZE or head.length:
                raise _error(at, field, "unexpected end mark")
            unended -= 1
        elif head.length is None:
            unended += 1
            if depth + unended > MAX_BER_DEPTH:
                raise _error(at, field, f"nested more than {MAX_BER_DEPTH} levels deep")
        elif reader.position - start + head.length > limit:
            raise _error(at, field, f"{head.length} bytes exceed the limit of {limit}")
        else:
            reader.take(head.length, field)
        if reader.position - start > limit:
            raise _error(start, field, f"exceeds the limit of {limit} bytes")
    octets = reader.octets(start, reader.position)
    return BerElement(
        tag=first.tag,
        octets=octets,
        offset=start,
        field=field,
        head=first.size,
        tail=0 if first.length is not None else END_MARK_SIZE,
        depth=depth,
        budget=budget,
    )


def _head(reader: Reader, field: str) -> _Head:
    """Read an identifier and a length."""
    at = reader.position
    tag, first = reader.take(2, field)
    if tag & LONG_TAG == LONG_TAG:
        raise _error(at, field, "tags above 30 are not supported")
    if first < INDEFINITE:
        return _Head(tag, 2, first)
    if first == INDEFINITE:
        if not tag & CONSTRUCTED:
            raise _error(at, field, "a primitive element must not have an indefinite length")
        return _Head(tag, 2, None)
    width = first & ~INDEFINITE
    if width > MAX_LENGTH_OCTETS:
        raise _error(at, field, f"expected a length of at most {MAX_LENGTH_OCTETS} bytes, got {width}")
    return _Head(tag, 2 + width, int.from_bytes(reader.take(width, field), "big"))
