"""The command list: every type of Table 68 as a record, declared once (TR-069 E.4).

The annotations of a record are its fields in wire order.  Decoding, encoding, ``inspect`` and its JSON use
them, so a new command is one class here.  A type that this module does not know becomes an
:class:`UnknownCommand`, kept byte for byte and skipped, as E.4 requires.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, get_type_hints

from spkg.common.frozen import dataclass
from spkg.common.reader import Reader
from spkg.format.fields import (
    UNSAFE,
    Codec,
    Digests,
    Entries,
    Flags,
    Integer,
    Integers,
    Located,
    LocatedDigest,
    LocatedPath,
    Magic,
    Modes,
    Only,
    Remainder,
    Span,
    Text,
    read_entries,
)
from spkg.format.paths import RootPath, TreePath, VersionedPath

__all__ = [
    "METADATA_MARK",
    "RECORDS",
    "ROLES",
    "STRONG_DIGESTS_MARK",
    "VENDOR_TYPES",
    "Add",
    "AddVersioned",
    "Description",
    "End",
    "Extract",
    "ExtractVersioned",
    "FileModes",
    "Format",
    "InitialActivityTimeout",
    "InitialTimeout",
    "Layout",
    "MaximumVersion",
    "Metadata",
    "MinimumNonVolatileStorage",
    "MinimumVersion",
    "MinimumVolatileStorage",
    "Move",
    "MoveCommand",
    "MoveVersioned",
    "PayloadCommand",
    "Reboot",
    "Record",
    "RecoverableTimeout",
    "Remove",
    "RemoveCommand",
    "RemoveSubTree",
    "RemoveVersioned",
    "RequiredAttributes",
    "Role",
    "StorageCommand",
    "StrongDigests",
    "TimeoutCommand",
    "UncheckedCommand",
    "UnknownCommand",
    "UnrecoverableTimeout",
    "Version",
    "VersionCommand",
    "decode",
]

VENDOR_TYPES: Final = range(1000, 10_000)
"""The types that vendors define (Table 68)."""
SHA1: Final = 1
"""The one Hash Type that is not reserved (Table 69)."""
SHA256: Final = 1
"""The one algorithm of Strong Digests."""
STRONG_DIGESTS_MARK: Final = b"SPKG-D01"
"""What the Value of our command 9256 begins with; otherwise the command is another vendor's."""
FILE_MODES_MARK: Final = b"SPKG-M01"
"""What the Value of our command 9257 begins with."""
METADATA_MARK: Final = b"SPKG-T01"
"""What the Value of our command 9258 begins with."""


ROLES: Final = {
    "software-upgrade": 1,
    "software-recovery": 2,
    "web-content": 3,
    "vendor-configuration": 4,
}
"""The standard roles (Table 75)."""


@dataclass(frozen=True)
class Layout:
    """An arrangement of located fields other than back to back, in order, after the fixed part.

    Some packages in the field have one (decision 4), and it has to survive a round trip.

    Args:
        offsets: The offset of each located field in its Value, in the order of the fields.
        gaps: The bytes outside all fields: runs, each with its offset.
    """

    offsets: tuple[int, ...]
    gaps: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The base of all commands: a declared Value and how to read and write it."""

    CODE: ClassVar[int]
    """The Type on the wire (Table 68)."""
    TITLE: ClassVar[str]
    """The name in Table 68."""
    SECTION: ClassVar[str]
    """The clause that defines the command."""
    MARK: ClassVar[bytes] = b""
    """What the Value begins with, if this is one of our own vendor commands."""

    rest: bytes = field(default=b"", repr=False)
    """What a later minor version of the format has added to the end of the Value (decision 3)."""

    def __init_subclass__(cls, code: int | None = None, title: str = "", section: str = "E.4") -> None:
        if code is not None:
            cls.CODE, cls.TITLE, cls.SECTION = code, title, section
            RECORDS[code] = cls

    @property
    def code(self) -> int:
        """The Type on the wire."""
        return self.CODE

    @property
    def title(self) -> str:
        """The name of the type, for people."""
        return self.TITLE

    def __post_init__(self) -> None:
        for name, codec in self.codecs().items():
            codec.check(getattr(self, name))

    @classmethod
    @cache
    def codecs(cls) -> dict[str, Codec]:
        """The fields of the Value in wire order, each with its codec."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}

    @classmethod
    @cache
    def located(cls) -> dict[str, Located]:
        """Those of them that have an offset and a length in the fixed part."""
        return {name: codec for name, codec in cls.codecs().items() if isinstance(codec, Located)}

    @classmethod
    def place_of(cls, name: str) -> int:
        """Return the position of a field in the fixed part, in bytes from the beginning of the Value."""
        names = list(cls.codecs())
        return sum(cls.codecs()[before].size for before in names[: names.index(name)])

    @classmethod
    def decode(cls, reader: Reader, *, later: bool = False) -> Self:
        """Read the Value, which is the innermost frame of *reader*.

        Args:
            reader: Positioned at the Value.
            later: Whether the package is of a later minor version, whose Values may be longer.

        Raises:
            FormatError: The Value breaks the rules of its section.
        """
        start, length = reader.position, reader.left
        values = {name: codec.decode(reader, name) for name, codec in cls.codecs().items()}
        located = cls.located()
        make: Callable[..., Self] = cls
        if not located:
            return make(**values, rest=reader.take(reader.left if later else 0, "rest"))

        spans: dict[str, Span] = {name: values[name] for name in located}
        fixed = reader.position - start
        layout: Layout | None = None
        if not _is_back_to_back(spans.values(), fixed, length):
            _check_spans(spans, fixed, length, reader)
            layout = _layout(tuple(spans.values()), start, fixed, length, reader)
        for name, span in spans.items():
            octets = reader.peek(start + span.offset, span.length)
            try:
                values[name] = located[name].convert(octets)
            except ValueError as exc:
                raise reader.error(name, str(exc), offset=start + span.offset) from exc
        reader.take(reader.left, "")
        return make(**values, layout=layout)

    def encode(self) -> bytes:
        """Return the Value: for a decoded record, the bytes it was decoded from."""
        codecs, located = self.codecs(), self.located()
        if not located:
            return b"".join(codec.encode(getattr(self, name)) for name, codec in codecs.items()) + self.rest

        fixed = sum(codec.size for codec in codecs.values())
        contents = {name: codec.octets(getattr(self, name)) for name, codec in located.items()}
        layout: Layout | None = getattr(self, "layout", None)
        spans: dict[str, Span] = {}
        position = fixed
        for index, (name, octets) in enumerate(contents.items()):
            spans[name] = Span(position if layout is None else layout.offsets[index], len(octets))
            position = spans[name].end
        pieces = [(spans[name].offset, octets) for name, octets in contents.items()]
        pieces += () if layout is None else layout.gaps
        value = b"".join(
            codec.encode(spans[name] if name in located else getattr(self, name))
            for name, codec in codecs.items()
        )
        for offset, octets in sorted(pieces):
            if offset != len(value):
                raise ValueError("the layout does not fit the fields")
            value += octets
        return value

    def show(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        shown: dict[str, Any] = {}
        for name, codec in self.codecs().items():
            shown[name.rstrip("_")] = codec.show(getattr(self, name))
            if isinstance(codec, Flags):
                shown["unsafe"] = bool(getattr(self, name) & UNSAFE)
        if self.rest:
            shown["rest"] = self.rest.hex()
        return shown


RECORDS: Final[dict[int, type[Record]]] = {}
"""Every type that has a record, by its code: Table 68 and docs/extensions.md."""


def _is_back_to_back(spans: Iterable[Span], fixed: int, length: int) -> bool:
    """Whether fields follow the fixed part and each other, in their order, up to the end of the Value."""
    position = fixed
    for span in spans:
        if span.offset != position:
            return False
        position += span.length
    return position == length


def _check_spans(spans: Mapping[str, Span], fixed: int, length: int, reader: Reader) -> None:
    """Check that fields are behind the fixed part, in the Value, and apart from each other.

    Raises:
        FormatError: One is not.
    """
    taken: list[Span] = []
    for name, span in spans.items():
        if span.offset < fixed:
            problem = f"must be at least {fixed}, the size of the fixed part, got {span.offset}"
            raise reader.error(f"{name}_offset", problem, offset=span.at)
        if span.end > length:
            problem = f"the field ends at {span.end}, after the Value of {length} bytes"
            raise reader.error(f"{name}_length", problem, offset=span.at + 4)
        if any(span.offset < other.end and other.offset < span.end for other in taken):
            raise reader.error(f"{name}_offset", "the field overlaps another field", offset=span.at)
        taken.append(span)


def _layout(spans: tuple[Span, ...], start: int, fixed: int, length: int, reader: Reader) -> Layout | None:
    """Return the layout of the fields, or None if it is as we would write them."""
    position = fixed
    gaps: list[tuple[int, bytes]] = []
    for span in sorted(spans, key=lambda span: span.offset):
        if span.offset > position:
            gaps.append((position, reader.peek(start + position, span.offset - position)))
        position = span.end
    if position < length:
        gaps.append((position, reader.peek(start + position, length - position)))
    offsets = tuple(span.offset for span in spans)
    if not gaps and list(offsets) == sorted(offsets):
        return None
    return Layout(offsets=offsets, gaps=tuple(gaps))


# The Values that several commands share (Tables 69 to 72, 74 and 76).


@dataclass(frozen=True, kw_only=True)
class PayloadCommand(Record):
    """Installs a file of the payload (E.4.3, Table 69)."""

    flags: Annotated[int, Flags()] = 0
    path: Annotated[RootPath, LocatedPath()]
    hash_type: Annotated[int, Only(SHA1, "SHA-1")] = SHA1
    hash: Annotated[bytes, LocatedDigest()]
    file_offset: Annotated[int, Integer()]
    file_length: Annotated[int, Integer()]
    layout: Layout | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class RemoveCommand(Record):
    """Removes what is at a path (E.4.4, Table 70)."""

    flags: Annotated[int, Flags()] = 0
    path: Annotated[RootPath, LocatedPath()]
    layout: Layout | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class MoveCommand(Record):
    """Renames a file (E.4.5, Table 71)."""

    flags: Annotated[int, Flags()] = 0
    source_path: Annotated[RootPath, LocatedPath()]
    destination_path: Annotated[RootPath, LocatedPath()]
    layout: Layout | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class TimeoutCommand(Record):
    """Sets a timeout of the download, in seconds from its beginning; 0 is infinite (E.4.7, Table 72)."""

    timeout: Annotated[int, Integer()]


@dataclass(frozen=True, kw_only=True)
class VersionCommand(Record):
    """Limits the software versions that the package is for (E.4.10, Table 74)."""

    version: Annotated[tuple[int, ...], Integers()]


@dataclass(frozen=True, kw_only=True)
class StorageCommand(Record):
    """Requires storage, in bytes (E.4.12, Table 76)."""

    storage_size: Annotated[int, Integer()]


# Table 68, in its order.  A class without fields of its own needs no decorator, which saves start-up time.


class End(Record, code=0, title="End", section="E.4.2"):
    """Ends the command list; anything after it is ignored."""


class Extract(PayloadCommand, code=1, title="Extract File", section="E.4.3"):
    """Installs a file, and replaces one of the same name."""


class ExtractVersioned(PayloadCommand, code=2, title="Extract Versioned File", section="E.4.3"):
    """Installs a file, and replaces all of the same base name."""

    path: Annotated[VersionedPath, LocatedPath(VersionedPath)]


class Add(PayloadCommand, code=3, title="Add File", section="E.4.3"):
    """Installs a file unless there is one of the same name."""


class AddVersioned(PayloadCommand, code=4, title="Add Versioned File", section="E.4.3"):
    """Installs a file unless there is one of the same base name."""

    path: Annotated[VersionedPath, LocatedPath(VersionedPath)]


class Remove(RemoveCommand, code=5, title="Remove File", section="E.4.4"):
    """Removes a file, if it exists."""


class RemoveVersioned(RemoveCommand, code=6, title="Remove Versioned File", section="E.4.4"):
    """Removes all files of the same base name."""

    path: Annotated[VersionedPath, LocatedPath(VersionedPath)]


class RemoveSubTree(RemoveCommand, code=7, title="Remove Sub-Tree", section="E.4.4"):
    """Removes all files and directories beneath and including a path."""

    path: Annotated[TreePath, LocatedPath(TreePath)]


class Move(MoveCommand, code=8, title="Move File", section="E.4.5"):
    """Renames a file, and replaces one that has the new name."""


class MoveVersioned(MoveCommand, code=9, title="Move Versioned File", section="E.4.5"):
    """Renames one file of the source's base name and removes the others."""

    source_path: Annotated[VersionedPath, LocatedPath(VersionedPath)]
    destination_path: Annotated[VersionedPath, LocatedPath(VersionedPath)]


@dataclass(frozen=True, kw_only=True)
class Version(Record, code=10, title="Version", section="E.4.6"):
    """States the version of the package, for people and logs."""

    text: Annotated[str, Text()]


@dataclass(frozen=True, kw_only=True)
class Description(Record, code=11, title="Description", section="E.4.6"):
    """Describes the package, for people and logs."""

    text: Annotated[str, Text()]


class RecoverableTimeout(TimeoutCommand, code=12, title="Recoverable Timeout", section="E.4.7"):
    """Applies in the recoverable state."""


class UnrecoverableTimeout(TimeoutCommand, code=13, title="Unrecoverable Timeout", section="E.4.7"):
    """Applies in the unrecoverable state."""


class InitialTimeout(TimeoutCommand, code=14, title="Initial Timeout", section="E.4.7"):
    """Applies in the initial state."""


class InitialActivityTimeout(TimeoutCommand, code=15, title="Initial Activity Timeout", section="E.4.7"):
    """Applies in the initial state, counted from the last byte received."""


class Reboot(Record, code=16, title="Reboot", section="E.4.8"):
    """Asks the recipient to reboot; the last command, except for End."""


class Format(Record, code=17, title="Format File System", section="E.4.9"):
    """Clears the file system."""


class MinimumVersion(VersionCommand, code=18, title="Minimum Version", section="E.4.10"):
    """The oldest software that the package is for."""


class MaximumVersion(VersionCommand, code=19, title="Maximum Version", section="E.4.10"):
    """The newest software that the package is for."""


@dataclass(frozen=True, kw_only=True)
class Role(Record, code=20, title="Role", section="E.4.11"):
    """States what the package is for (Table 75)."""

    role: Annotated[int, Integer()]
    arguments: Annotated[bytes, Remainder()] = b""

    @classmethod
    def decode(cls, reader: Reader, *, later: bool = False) -> Self:
        """Read the Value; only a vendor's role can have arguments, so all others have a fixed length.

        Raises:
            FormatError: The Value breaks the rules of its section.
        """
        record = super().decode(reader, later=later)
        if record.arguments and record.role in ROLES.values() and not later:
            problem = f"a standard role has no arguments, got {len(record.arguments)} bytes"
            raise reader.error("arguments", problem)
        return record


class MinimumNonVolatileStorage(
    StorageCommand, code=21, title="Minimum Non-Volatile Storage", section="E.4.12"
):
    """Requires this much storage that survives a power cut."""


class MinimumVolatileStorage(
    StorageCommand, code=22, title="Minimum Volatile Storage Size", section="E.4.12"
):
    """Requires this much memory."""


@dataclass(frozen=True, kw_only=True)
class RequiredAttributes(Record, code=25, title="Required Attributes", section="E.4.13"):
    """Requires the recipient to have one of several attributes (Table 77)."""

    defining_entity: Annotated[int, Integer()]
    class_: Annotated[int, Integer()]
    attributes: Annotated[tuple[int, ...], Integers()]


# Extensions, in the vendor range: a reader that does not know them skips them (docs/extensions.md).


@dataclass(frozen=True, kw_only=True)
class StrongDigests(Record, code=9256, title="Strong Digests", section="E.4"):
    """A SHA-256 digest for each extract and add command before End, in the same order."""

    MARK: ClassVar[bytes] = STRONG_DIGESTS_MARK

    mark: Annotated[bytes, Magic(STRONG_DIGESTS_MARK)] = STRONG_DIGESTS_MARK
    algorithm: Annotated[int, Only(SHA256, "SHA-256")] = SHA256
    digests: Annotated[tuple[bytes, ...], Digests()]


@dataclass(frozen=True, kw_only=True)
class FileModes(Record, code=9257, title="File Modes", section="E.4"):
    """A file mode for each extract and add command before End, in the same order; 0 means none."""

    MARK: ClassVar[bytes] = FILE_MODES_MARK

    mark: Annotated[bytes, Magic(FILE_MODES_MARK)] = FILE_MODES_MARK
    modes: Annotated[tuple[int, ...], Modes()]


@dataclass(frozen=True, kw_only=True)
class Metadata(Record, code=9258, title="Metadata", section="E.4"):
    """Keys and values for people and programs; nothing acts on them."""

    MARK: ClassVar[bytes] = METADATA_MARK

    mark: Annotated[bytes, Magic(METADATA_MARK)] = METADATA_MARK
    entries: Annotated[tuple[tuple[str, str], ...], Entries()]


@dataclass(frozen=True, kw_only=True)
class UnknownCommand(Record):
    """A type that this reader does not know: skipped, kept and shown (E.4)."""

    SECTION: ClassVar[str] = "E.4"

    number: int
    value: Annotated[bytes, Remainder()]

    @property
    def code(self) -> int:
        """The Type on the wire."""
        return self.number

    @property
    def title(self) -> str:
        """What Table 68 calls such a type."""
        return "Vendor-specific" if self.code in VENDOR_TYPES else "Unknown"


@dataclass(frozen=True, kw_only=True)
class UncheckedCommand(UnknownCommand):
    """An extract or add command with a hash of a later minor version: kept and shown, never carried out.

    Skipping it would install half a package, so a package that has one is refused.
    """

    hash_type: int

    @property
    def title(self) -> str:
        """What Table 68 calls it."""
        return RECORDS[self.code].TITLE


def decode(code: int, reader: Reader, *, later: bool = False) -> Record:
    """Read the Value of a command of type *code*, which is the innermost frame of *reader*.

    Args:
        code: The Type.
        reader: Positioned at the Value.
        later: Whether the package is of a later minor version: Values may be longer, hashes of other types.

    Raises:
        FormatError: The Value breaks the rules of its type.
    """
    record = RECORDS.get(code)
    if record is None or not _begins_with(record.MARK, reader) or (record is Metadata and _is_odd(reader)):
        return UnknownCommand(number=code, value=reader.take(reader.left, "value"))
    if later and issubclass(record, PayloadCommand):
        hash_type = _hash_type(record, reader)
        if hash_type != SHA1:
            value = reader.take(reader.left, "value")
            return UncheckedCommand(number=code, hash_type=hash_type, value=value)
    return record.decode(reader, later=later and not record.MARK)


def _hash_type(record: type[PayloadCommand], reader: Reader) -> int:
    """Return the hash type; SHA-1 if the Value is cut off before it, which is found when it is read."""
    place = record.place_of("hash_type")
    if reader.left < place + 4:
        return SHA1
    return int.from_bytes(reader.peek(reader.position + place, 4))


def _begins_with(mark: bytes, reader: Reader) -> bool:
    return not mark or (len(mark) <= reader.left and reader.peek(reader.position, len(mark)) == mark)


def _is_odd(reader: Reader) -> bool:
    """Whether metadata is not in the form that is written: it must not stop the installation of a package."""
    octets = reader.peek(reader.position, reader.left)
    return read_entries(octets.removeprefix(METADATA_MARK)) is None
