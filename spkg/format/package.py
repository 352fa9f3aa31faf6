"""A package: header, command list and signature block in memory, the payload as a stream (TR-069 E.2).

Reading checks frames and limits, and decides what is malformed; it trusts nothing and reads no payload.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from functools import cached_property
from itertools import count, zip_longest
from typing import Final, Self

from spkg.common.frozen import dataclass
from spkg.common.reader import ByteStream, Reader
from spkg.errors import FormatError, RefusedError
from spkg.format.commands import (
    RECORDS,
    End,
    FileModes,
    PayloadCommand,
    Reboot,
    Record,
    StrongDigests,
    UncheckedCommand,
    UnknownCommand,
    decode,
)
from spkg.format.ranges import Range, deepest_overlap
from spkg.format.signature_block import SignatureBlock, read_block

__all__ = [
    "HEADER_SIZE",
    "MAX_COMMAND_LIST",
    "MAX_FRONT_MATTER",
    "MAX_PAYLOAD",
    "PREAMBLE",
    "Command",
    "DamagedCommand",
    "Header",
    "Package",
    "PayloadFile",
    "Survey",
    "encode_commands",
    "survey",
]

PREAMBLE: Final = b"2WIRE_SP"
"""The first eight bytes of every package (E.3, Table 66)."""
HEADER_SIZE: Final = 24
MAJOR_VERSION: Final = 1
"""The only major version of the format that this reader supports (E.3)."""
MAX_COMMAND_LIST: Final = (1 << 16) - 1
"""The longest command list, in bytes (E.3)."""
MAX_FRONT_MATTER: Final = 150_000
"""The most bytes that are written for header, list and block together: what a recipient may assume (E.5)."""
MAX_PAYLOAD: Final = (1 << 32) - 1
"""The longest payload that the header can state, in bytes."""
MAX_OVERLAP: Final = 64
"""How many different files may share one byte of the payload: each needs its own digest."""
HEAD_SIZE: Final = 8
"""The size of Type and Length before every Value, in bytes (Table 67)."""
WEB_PAGES: Final = (b"<!doctyp", b"<html", b"<head")
"""What web pages begin with, in lower case."""
COMPRESSED: Final = (b"BZh", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How bzip2, gzip, xz and zstd files begin.  Nothing is decompressed here before it is trusted."""
PAYLOAD_CODES: Final = frozenset(
    code for code, record in RECORDS.items() if issubclass(record, PayloadCommand)
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The fixed part at the beginning (E.3, Table 66)."""

    major: int = MAJOR_VERSION
    minor: int = 0
    command_list_length: int
    payload_length: int

    def encode(self) -> bytes:
        """Return the 24 bytes."""
        numbers = (self.major, self.minor, self.command_list_length, self.payload_length)
        return PREAMBLE + b"".join(number.to_bytes(4, "big") for number in numbers)

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Read the fixed part.

        Raises:
            FormatError: It is not the header of a package, or of a version that this reader does not support.
        """
        preamble = reader.take(len(PREAMBLE), "header.preamble")
        if preamble != PREAMBLE:
            problem = f"not a signed package: it begins with {repr(preamble)[1:]}"
            hint = "it looks compressed: decompress it first" if preamble.startswith(COMPRESSED) else None
            start = preamble.lstrip().lower()
            if start.startswith(WEB_PAGES):
                hint = "this is a web page: check the URL, and whether the server requires a login"
            elif start.startswith(b"<"):
                hint = "if it is a voucher, use the commands of 'spkg voucher'"
            elif start.startswith((b"[", b"#")):
                hint = "if it is a manifest, build the package first: spkg build MANIFEST -o PKG"
            raise FormatError(problem, offset=0, field="header.preamble", section="E.3", hint=hint)
        at = reader.position
        major = reader.u32("header.major")
        if major != MAJOR_VERSION:
            problem = f"expected format version {MAJOR_VERSION}, got {major}"
            raise reader.error("header.major", problem, offset=at)
        minor = reader.u32("header.minor")
        at = reader.position
        length = reader.u32("header.command_list_length")
        if length > MAX_COMMAND_LIST:
            problem = f"{length} bytes exceed the limit of {MAX_COMMAND_LIST}"
            raise reader.error("header.command_list_length", problem, offset=at)
        payload = reader.u32("header.payload_length")
        return cls(major=major, minor=minor, command_list_length=length, payload_length=payload)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command and its position."""

    index: int
    offset: int
    """The offset of its Type, in bytes from the beginning of the package."""
    length: int
    """The length of its Value, in bytes."""
    record: Record
    problem: FormatError | None = None
    """How it conflicts with other commands or the header; always None in a :class:`Package`."""

    @property
    def code(self) -> int:
        """The Type."""
        return self.record.code

    @property
    def title(self) -> str:
        """The name of the Type."""
        return self.record.title


@dataclass(frozen=True, kw_only=True)
class DamagedCommand:
    """A command of the right length whose Value breaks the rules of its type."""

    index: int
    offset: int
    length: int
    code: int
    problem: FormatError

    @property
    def title(self) -> str:
        """The name of the Type."""
        return RECORDS[self.code].TITLE


@dataclass(frozen=True, kw_only=True)
class PayloadFile:
    """A file of the payload, as an extract or add command describes it."""

    command: int
    """The index of the command."""
    record: PayloadCommand
    sha256: bytes | None
    """The strong digest, if the package has them."""
    mode: int
    """The file mode, 0 if the package states none."""
    range: Range = field(init=False, compare=False)
    """Where it is in the payload."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "range", Range(self.record.file_offset, self.record.file_length))


@dataclass(frozen=True, kw_only=True)
class Package:
    """A well-formed package without its payload.  Nothing in it is trusted."""

    header: Header
    commands: tuple[Command, ...]
    """Up to and including End."""
    tail: bytes
    """What follows End in the command list, and is ignored."""
    block: SignatureBlock
    signed: bytes
    """Exactly the bytes that the signatures cover: header and command list (E.5)."""

    @classmethod
    def read(cls, stream: ByteStream) -> Self:
        """Read the front matter, and not one byte of the payload.

        Raises:
            FormatError: It is malformed, or exceeds the limits of this reader.
        """
        surveyed = survey(stream)
        if surveyed.problems:
            raise surveyed.problems[0]
        assert surveyed.block is not None  # if it is None, the survey has a problem
        return cls(
            header=surveyed.header,
            commands=tuple(command for command in surveyed.commands if isinstance(command, Command)),
            tail=surveyed.tail,
            block=surveyed.block,
            signed=surveyed.signed,
        )

    def encode(self) -> bytes:
        """Return header, command list and signature block: the bytes that were read."""
        records = [command.record for command in self.commands]
        return self.header.encode() + encode_commands(records) + self.tail + self.block.octets

    @property
    def payload_offset(self) -> int:
        """Where the payload begins, in bytes from the beginning of the package."""
        return len(self.signed) + len(self.block.octets)

    @property
    def records(self) -> tuple[Record, ...]:
        """The commands without their positions."""
        return tuple(command.record for command in self.commands)

    @cached_property
    def files(self) -> tuple[PayloadFile, ...]:
        """The files of the payload, in the order of their commands."""
        placed = [(command.index, command.record) for command in self.commands]
        strong = next((record.digests for _, record in placed if isinstance(record, StrongDigests)), None)
        modes = next((record.modes for _, record in placed if isinstance(record, FileModes)), None)
        # A command that can't be checked has its place in the lists of digests and modes, too.
        files = [(index, record) for index, record in placed if record.code in PAYLOAD_CODES]
        return tuple(
            PayloadFile(
                command=index,
                record=record,
                sha256=None if strong is None else strong[number],
                mode=0 if modes is None else modes[number],
            )
            for number, (index, record) in enumerate(files)
            if isinstance(record, PayloadCommand)
        )

    def refuse_unchecked(self) -> None:
        """Refuse a package whose contents can't be checked.

        Raises:
            RefusedError: A command has a hash of a type that this reader does not know.
        """
        for command in self.commands:
            if isinstance(command.record, UncheckedCommand):
                problem = f"{command.title} has hash type {command.record.hash_type}, which can't be checked"
                raise RefusedError(f"command[{command.index}]: {problem}", section="E.4.3")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Everything readable in a front matter, and everything that is wrong with it."""

    header: Header
    commands: tuple[Command | DamagedCommand, ...]
    tail: bytes
    signed: bytes
    block: SignatureBlock | None
    """None if it can't be read, or if the command list is cut off."""
    problems: tuple[FormatError, ...]


def survey(stream: ByteStream) -> Survey:
    """Read the front matter as far as possible, and collect its problems instead of raising them.

    Raises:
        FormatError: The header is malformed, so nothing else can be read.
    """
    reader = Reader(stream, section="E.3")
    header = Header.decode(reader)
    list_end = HEADER_SIZE + header.command_list_length
    commands: list[Command | DamagedCommand] = []
    tail = b""
    framing: list[FormatError] = []
    block: SignatureBlock | None = None
    try:
        try:
            with reader.within(header.command_list_length, "", "E.4"):
                commands.extend(
                    _commands(reader, later=header.minor > 0)
                )  # keeps the commands before the one that raises
                tail = reader.take(reader.left, "command_list")
        except FormatError as exc:
            framing.append(exc)
            reader.take(list_end - reader.position, "command_list")
        with reader.under("E.5"):
            block = read_block(reader)
    except FormatError as exc:
        framing += [exc] if exc.offset not in {known.offset for known in framing} else []
    checked = _check_list(commands, header, complete=not framing)
    found = [command.problem for command in checked if command.problem is not None]
    return Survey(
        header=header,
        commands=tuple(checked),
        tail=tail,
        signed=reader.octets(0, min(list_end, reader.position)),
        block=block,
        problems=tuple(sorted([*found, *framing], key=lambda problem: problem.offset or 0)),
    )


def encode_commands(records: Iterable[Record]) -> bytes:
    """Return the command list of *records*."""
    pieces: list[bytes] = []
    for record in records:
        value = record.encode()
        pieces += (record.code.to_bytes(4, "big"), len(value).to_bytes(4, "big"), value)
    return b"".join(pieces)


def _commands(reader: Reader, *, later: bool) -> Iterator[Command | DamagedCommand]:
    """Read commands up to End or to the end of the list.

    Raises:
        FormatError: A command runs past the end of the list: what follows can't be read.
    """
    for index in count():
        if not reader.left:
            return
        offset = reader.position
        name = f"command[{index}]"
        code = reader.u32(f"{name}.type")
        at = reader.position
        length = reader.u32(f"{name}.length")
        if length > reader.left:
            problem = f"needs {length} bytes, the list has only {reader.left} left"
            raise reader.error(f"{name}.length", problem, offset=at)
        start = reader.position
        section = RECORDS[code].SECTION if code in RECORDS else UnknownCommand.SECTION
        try:
            with reader.within(length, name, section):
                record = decode(code, reader, later=later)
        except FormatError as exc:
            reader.take(start + length - reader.position, name)
            exc.__traceback__ = None  # there may be thousands, and each would keep its stack frames
            exc.__cause__ = exc.__context__ = None
            yield DamagedCommand(index=index, offset=offset, length=length, code=code, problem=exc)
            continue
        yield Command(index=index, offset=offset, length=length, record=record)
        if isinstance(record, End):
            return


def _check_list(
    commands: Sequence[Command | DamagedCommand], header: Header, *, complete: bool
) -> list[Command | DamagedCommand]:
    """Return the commands, each with its problem if it breaks a rule that involves more than its Value."""
    files = sum(command.code in PAYLOAD_CODES for command in commands)
    crowded = _crowded(commands)
    seen: set[int] = set()
    checked: list[Command | DamagedCommand] = []
    for command, follower in zip_longest(commands, commands[1:]):
        problem: FormatError | None = None
        if isinstance(command, Command):
            match command.record:
                case Reboot() if follower is not None and follower.code != End.CODE:
                    problem = _problem(command, "type", 0, "Reboot must be the last command before End")
                case PayloadCommand() as record:
                    end = record.file_offset + record.file_length
                    if end > header.payload_length:
                        text = f"the file ends at {end}, after the payload of {header.payload_length} bytes"
                        problem = _problem(command, "file_length", _place(record), text)
                    elif command.index == crowded:
                        text = f"more than {MAX_OVERLAP} files share bytes of the payload"
                        problem = _problem(command, "file_length", _place(record), text)
                case StrongDigests(digests=listed) | FileModes(modes=listed):
                    if command.code in seen:
                        text = f"there must be only one {command.title} command"
                        problem = _problem(command, "type", 0, text)
                    elif complete and len(listed) != files:
                        text = f"expected {files} entries, one per extract or add command, got {len(listed)}"
                        problem = _problem(command, "length", 4, text)
                    seen.add(command.code)
                case _:
                    pass
        checked.append(command if problem is None else replace(command, problem=problem))
    return checked


def _crowded(commands: Sequence[Command | DamagedCommand]) -> int | None:
    """Return the index of the command whose file is one too many for some byte of the payload."""
    ranges = [
        (Range(command.record.file_offset, command.record.file_length), command.index)
        for command in commands
        if isinstance(command, Command) and isinstance(command.record, PayloadCommand)
    ]
    deepest = deepest_overlap(frozenset(one for one, _ in ranges))
    if len(deepest) <= MAX_OVERLAP:
        return None
    return max(index for one, index in ranges if one in deepest)


def _place(record: PayloadCommand) -> int:
    """Return where the length of a file is stated, in bytes from the beginning of its command."""
    return HEAD_SIZE + record.place_of("file_length")


def _problem(command: Command, field: str, place: int, problem: str) -> FormatError:
    return FormatError(
        problem,
        offset=command.offset + place,
        field=f"command[{command.index}].{field}",
        section=RECORDS[command.code].SECTION,
    )
