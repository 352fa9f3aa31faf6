"""A package: header, command list and signature block in memory, the payload a stream behind (TR-069 E.2).

Reading frames and bounds, and decides what is malformed; it trusts nothing and touches no payload.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, zip_longest
from typing import Final, Self

from spkg.common.reader import ByteStream, Reader
from spkg.errors import FormatError
from spkg.format.commands import (
    RECORDS,
    End,
    FileModes,
    PayloadCommand,
    Reboot,
    Record,
    StrongDigests,
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
"""The first eight octets of every package (E.3, Table 66)."""
HEADER_SIZE: Final = 24
MAJOR_VERSION: Final = 1
"""The one major version of the format that this reader knows (E.3)."""
MAX_COMMAND_LIST: Final = (1 << 16) - 1
"""The longest command list, in octets (E.3)."""
MAX_FRONT_MATTER: Final = 150_000
"""What a recipient may assume of header, list and block together (E.5): the most that is written."""
MAX_PAYLOAD: Final = (1 << 32) - 1
"""The longest payload that the header can state, in octets."""
MAX_OVERLAP: Final = 64
"""How many different files may share one octet of the payload: each costs a digest of its own."""
HEAD_SIZE: Final = 8
"""Type and Length in front of every Value (Table 67)."""
COMPRESSED: Final = (b"BZh", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How bzip2, gzip, xz and zstd begin.  Nothing is unpacked here before it is trusted."""
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
        """Return the 24 octets."""
        numbers = (self.major, self.minor, self.command_list_length, self.payload_length)
        return PREAMBLE + b"".join(number.to_bytes(4, "big") for number in numbers)

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Read the fixed part.

        Raises:
            FormatError: It is no header of a package that this reader knows.
        """
        preamble = reader.take(len(PREAMBLE), "header.preamble")
        if preamble != PREAMBLE:
            problem = f"{preamble.hex(' ')} is not the preamble of a signed package"
            hint = "it looks compressed: unpack it first" if preamble.startswith(COMPRESSED) else None
            if preamble.lstrip().startswith(b"<"):
                hint = "it looks like XML: 'spkg voucher' has commands for vouchers"
            raise FormatError(problem, offset=0, field="header.preamble", section="E.3", hint=hint)
        at = reader.position
        major = reader.u32("header.major")
        if major != MAJOR_VERSION:
            problem = f"format version {major}, this reader knows {MAJOR_VERSION}"
            raise reader.error("header.major", problem, offset=at)
        minor = reader.u32("header.minor")
        at = reader.position
        length = reader.u32("header.command_list_length")
        if length > MAX_COMMAND_LIST:
            problem = f"{length} octets, the limit is {MAX_COMMAND_LIST}"
            raise reader.error("header.command_list_length", problem, offset=at)
        payload = reader.u32("header.payload_length")
        return cls(major=major, minor=minor, command_list_length=length, payload_length=payload)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command where it stands."""

    index: int
    offset: int
    """Of its Type, in octets from the beginning of the package."""
    length: int
    """Of its Value, in octets."""
    record: Record
    problem: FormatError | None = None
    """What is wrong with it beside the others; nothing in a :class:`Package`."""

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
    """A command that frames, and whose Value breaks the rules of its type."""

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
    """The strong digest, where the package has them."""
    mode: int
    """The file mode, 0 where the package states none."""

    @property
    def range(self) -> Range:
        """Where it lies in the payload."""
        return Range(self.record.file_offset, self.record.file_length)


@dataclass(frozen=True, kw_only=True)
class Package:
    """A well-formed package without its payload.  Nothing in it is trusted."""

    header: Header
    commands: tuple[Command, ...]
    """Up to End, End included."""
    tail: bytes
    """What lies behind End in the command list, which nobody looks at."""
    block: SignatureBlock
    signed: bytes
    """Exactly the octets that the signatures are over: header and command list (E.5)."""

    @classmethod
    def read(cls, stream: ByteStream) -> Self:
        """Read the front matter, and not one octet of the payload.

        Raises:
            FormatError: It is malformed, or beyond the limits of this reader.
        """
        surveyed = survey(stream)
        if surveyed.problems:
            raise surveyed.problems[0]
        assert surveyed.block is not None  # the survey has a problem where it is
        return cls(
            header=surveyed.header,
            commands=tuple(command for command in surveyed.commands if isinstance(command, Command)),
            tail=surveyed.tail,
            block=surveyed.block,
            signed=surveyed.signed,
        )

    def encode(self) -> bytes:
        """Return header, command list and signature block: the octets that were read."""
        records = [command.record for command in self.commands]
        return self.header.encode() + encode_commands(records) + self.tail + self.block.octets

    @property
    def payload_offset(self) -> int:
        """Where the payload begins, in octets from the beginning of the package."""
        return len(self.signed) + len(self.block.octets)

    @property
    def records(self) -> tuple[Record, ...]:
        """The commands without their places."""
        return tuple(command.record for command in self.commands)

    @cached_property
    def files(self) -> tuple[PayloadFile, ...]:
        """The files of the payload, in the order of their commands."""
        placed = [(command.index, command.record) for command in self.commands]
        strong = next((record.digests for _, record in placed if isinstance(record, StrongDigests)), None)
        modes = next((record.modes for _, record in placed if isinstance(record, FileModes)), None)
        files = [(index, record) for index, record in placed if isinstance(record, PayloadCommand)]
        return tuple(
            PayloadFile(
                command=index,
                record=record,
                sha256=None if strong is None else strong[number],
                mode=0 if modes is None else modes[number],
            )
            for number, (index, record) in enumerate(files)
        )


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All that frames in a front matter, and all that is wrong with it."""

    header: Header
    commands: tuple[Command | DamagedCommand, ...]
    tail: bytes
    signed: bytes
    block: SignatureBlock | None
    """None where it can't be read, or where the command list is cut off."""
    problems: tuple[FormatError, ...]


def survey(stream: ByteStream) -> Survey:
    """Read the front matter as far as it frames, and collect what is wrong in place of raising it.

    Raises:
        FormatError: Already the header is malformed.
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
                commands.extend(_commands(reader))  # keeps those before the one that raises
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


def _commands(reader: Reader) -> Iterator[Command | DamagedCommand]:
    """Read commands up to End or to the end of the list.

    Raises:
        FormatError: A command runs out of the list: what follows can't be framed.
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
            problem = f"{length} octets, the list has {reader.left} left"
            raise reader.error(f"{name}.length", problem, offset=at)
        start = reader.position
        section = RECORDS[code].SECTION if code in RECORDS else UnknownCommand.SECTION
        try:
            with reader.within(length, name, section):
                record = decode(code, reader)
        except FormatError as exc:
            reader.take(start + length - reader.position, name)
            exc.__traceback__ = None  # there may be thousands, and each would keep its frames
            exc.__cause__ = exc.__context__ = None
            yield DamagedCommand(index=index, offset=offset, length=length, code=code, problem=exc)
            continue
        yield Command(index=index, offset=offset, length=length, record=record)
        if isinstance(record, End):
            return


def _check_list(
    commands: Sequence[Command | DamagedCommand], header: Header, *, complete: bool
) -> list[Command | DamagedCommand]:
    """Return the commands, marked where one breaks a rule that is about more than its own Value."""
    files = sum(command.code in PAYLOAD_CODES for command in commands)
    crowded = _crowded(commands)
    seen: set[int] = set()
    checked: list[Command | DamagedCommand] = []
    for command, follower in zip_longest(commands, commands[1:]):
        problem: FormatError | None = None
        if isinstance(command, Command):
            match command.record:
                case Reboot() if follower is not None and follower.code != End.CODE:
                    problem = _problem(command, "type", 0, "Reboot is not the last command")
                case PayloadCommand() as record:
                    end = record.file_offset + record.file_length
                    place = HEAD_SIZE + record.place_of("file_length")
                    if end > header.payload_length:
                        text = f"the file ends at {end}, the payload has {header.payload_length} octets"
                        problem = _problem(command, "file_length", place, text)
                    elif command.index == crowded:
                        text = f"more than {MAX_OVERLAP} files share octets of the payload"
                        problem = _problem(command, "file_length", place, text)
                case StrongDigests(digests=listed) | FileModes(modes=listed):
                    if command.code in seen:
                        problem = _problem(command, "type", 0, f"a second {command.title} command")
                    elif complete and len(listed) != files:
                        text = f"{len(listed)} entries for {files} extract and add commands"
                        problem = _problem(command, "length", 4, text)
                    seen.add(command.code)
                case _:
                    pass
        checked.append(command if problem is None else replace(command, problem=problem))
    return checked


def _crowded(commands: Sequence[Command | DamagedCommand]) -> int | None:
    """Return the index of the command whose file is one too many on some octet of the payload."""
    ranges = [
        (Range(command.record.file_offset, command.record.file_length), command.index)
        for command in commands
        if isinstance(command, Command) and isinstance(command.record, PayloadCommand)
    ]
    deepest = deepest_overlap(frozenset(one for one, _ in ranges))
    if len(deepest) <= MAX_OVERLAP:
        return None
    return max(index for one, index in ranges if one in deepest)


def _problem(command: Command, field: str, place: int, problem: str) -> FormatError:
    return FormatError(
        problem,
        offset=command.offset + place,
        field=f"command[{command.index}].{field}",
        section=RECORDS[command.code].SECTION,
    )
