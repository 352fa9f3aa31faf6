"""Kaitai Struct as the judge: the reader made of docs/spkg.ksy and ours find the same in every package."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.build.build_plan import plan_build
from spkg.build.builder import build_package
from spkg.build.manifest import load_manifest
from spkg.errors import FormatError
from spkg.format.commands import (
    RECORDS,
    Add,
    AddVersioned,
    Description,
    End,
    Extract,
    ExtractVersioned,
    FileModes,
    Format,
    InitialActivityTimeout,
    InitialTimeout,
    Layout,
    MaximumVersion,
    Metadata,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Move,
    MoveVersioned,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
    RequiredAttributes,
    Role,
    StrongDigests,
    UnknownCommand,
    UnrecoverableTimeout,
    Version,
)
from spkg.format.package import Header, encode_commands
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.signature_block import EMPTY_BLOCK
from tests.judges.kaitai import REFUSALS, RESERVED, View, compile_reader, name_of, our_view, their_view
from tests.support.kit import CONTENTS, SAMPLE, Draft, file, second_signer, signer
from tests.support.sampling import sample

pytestmark = pytest.mark.judge("node", "npm")


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reader that Kaitai Struct makes of our description of the format."""
    return compile_reader(tmp_path_factory.mktemp("kaitai"))


def built(manifest: str, folder: Path) -> bytes:
    """Return a package of the gateway, as our builder makes it."""
    with (folder / "built.spkg").open("x+b", buffering=0) as output:
        build_package(plan_build(load_manifest(SAMPLE / manifest)), output, signer().identity())
    return (folder / "built.spkg").read_bytes()


@pytest.mark.parametrize("manifest", ["manifest.toml", "recovery.toml"])
def test_both_find_the_same_in_a_package_that_we_build(manifest: str, reader: Any, tmp_path: Path) -> None:
    octets = built(manifest, tmp_path)

    found = their_view(reader, octets)

    assert found == our_view(octets)
    assert found["signature_block"] != EMPTY_BLOCK
    assert len(str(found["commands"])) > 1000


def lay_out(fixed: int, lengths: Sequence[int], order: Sequence[int], gaps: Sequence[bytes]) -> Layout:
    """Lay fields of these lengths behind the fixed part in this order, with gaps before and behind each."""
    position = fixed
    offsets = [0] * len(lengths)
    found: list[tuple[int, bytes]] = []
    for gap, field in zip_longest(gaps, order):
        if gap:
            found.append((position, gap))
            position += len(gap)
        if field is not None:
            offsets[field] = position
            position += lengths[field]
    return Layout(offsets=tuple(offsets), gaps=tuple(found))


def extract(order: Sequence[int] = (0, 1), gaps: Sequence[bytes] = (), path: str = "/bin/app") -> Extract:
    """Return a command whose path and hash lie as told."""
    plain = file(path)
    layout = lay_out(32, [len(path.encode()), 20], order, gaps)
    return Extract(
        path=plain.path, hash=plain.hash, file_offset=0, file_length=len(CONTENTS), flags=2, layout=layout
    )


def move(order: Sequence[int] = (0, 1), gaps: Sequence[bytes] = ()) -> Move:
    """Return a command whose two paths lie as told."""
    source, destination = RootPath.of("/a"), RootPath.of("/data/ä")
    layout = lay_out(20, [len(source.octets), len(destination.octets)], order, gaps)
    return Move(source_path=source, destination_path=destination, flags=3, layout=layout)


def versioned(path: str) -> VersionedPath:
    return VersionedPath.of(path)


EVERY_TYPE: list[Record] = [
    Version(text="6.3.9.41"),
    Description(text="Prüfpaket ☎"),
    Role(role=1),
    MinimumVersion(version=(5, 0)),
    MaximumVersion(version=(6, 3, 9, 0xFFFFFFFF)),
    MinimumNonVolatileStorage(storage_size=0xFFFFFFFF),
    MinimumVolatileStorage(storage_size=0),
    RequiredAttributes(defining_entity=0xFF00D09E, class_=1, attributes=(7, 8)),
    RequiredAttributes(defining_entity=0, class_=2, attributes=(0,)),
    InitialTimeout(timeout=600),
    InitialActivityTimeout(timeout=30),
    RecoverableTimeout(timeout=0),
    UnrecoverableTimeout(timeout=0xFFFFFFFF),
    StrongDigests(digests=(bytes(32), bytes(range(32)), b"\xff" * 32, bytes(32))),
    FileModes(modes=(0o755, 0o644, 0, 0o777)),
    Metadata(entries=(("build", "1042"), ("ä", '\n\u2028 "'))),
    Format(),
    Remove(path=RootPath.of("etc/old"), flags=1),
    RemoveVersioned(path=versioned("/lib/dspimg.001"), flags=0xFFFFFFFE),
    RemoveSubTree(path=TreePath.of("/")),
    file("/bin/app", flags=1),
    file("/data/settings", b"\n", at=20, kind=Add),
    ExtractVersioned(path=versioned("/a.001"), hash=bytes(20), file_offset=0, file_length=0),
    AddVersioned(path=versioned("/b.002"), hash=bytes(20), file_offset=21, file_length=0),
    Move(source_path=RootPath.of("/a"), destination_path=RootPath.of("/b")),
    MoveVersioned(source_path=versioned("/c.001"), destination_path=versioned("/c.old"), flags=1),
    Reboot(),
    End(),
]
UNKNOWN = [23, 24, 26, 999, 1000, 9255, 9999, 10_000, 0x7FFFFFFF, 0xFFFFFFFF]


def listed(*records: Record, **settings: Any) -> Callable[[], bytes]:
    """Return what makes a package with these commands and an empty block."""
    return lambda: Draft(**{"records": records, "block": EMPTY_BLOCK} | settings).encode()


def commands(*pieces: bytes | Record, **settings: Any) -> Callable[[], bytes]:
    """Return what makes a package with a command list of these octets."""
    octets = b"".join(encode_commands([piece]) if isinstance(piece, Record) else piece for piece in pieces)
    return listed(commands=octets, **settings)


def tlv(code: int, value: bytes) -> bytes:
    return code.to_bytes(4, "big") + len(value).to_bytes(4, "big") + value


def rewrapped(form: int) -> bytes:
    """Return the empty block with its outermost length in *form*: 0x81 to 0x84 octets of length, or 0x80."""
    contents = EMPTY_BLOCK[2:]
    if form == 0x80:
        return b"\x30\x80" + contents + bytes(2)
    return bytes((0x30, form)) + len(contents).to_bytes(form - 0x80, "big") + contents


PACKAGES: dict[str, Callable[[], bytes]] = {
    "every type": listed(*EVERY_TYPE),
    "unknown types": listed(
        *(UnknownCommand(number=code, value=bytes(range(code % 5))) for code in UNKNOWN), End()
    ),
    "metadata in other forms": listed(
        UnknownCommand(number=9258, value=b"SPKG-T01"),
        UnknownCommand(number=9258, value=b'SPKG-T01{"n":1}'),
        UnknownCommand(number=9258, value=b"SPKG-T01\xff"),
        UnknownCommand(number=9258, value=b"SPKG-T00{}"),
        UnknownCommand(number=9258, value=b"{}"),
        Metadata(entries=()),
        End(),
    ),
    "another vendor's 9256 and 9257": listed(
        UnknownCommand(number=9256, value=b""),
        UnknownCommand(number=9256, value=b"SPKG-D0"),
        UnknownCommand(number=9256, value=b"SPKG-D02" + bytes(36)),
        UnknownCommand(number=9257, value=b"SPKG-D01"),
        UnknownCommand(number=9257, value=b"something else"),
        End(),
    ),
    "a vendor's role with arguments": listed(Role(role=0xFF00D09E, arguments=b"four"), End()),
    "reserved roles": listed(
        Role(role=0, arguments=b"\0"), Role(role=5, arguments=b"x"), Role(role=0xFE000000)
    ),
    "fields as fielded packages have them": listed(extract(gaps=[bytes(range(68))]), End()),
    "the hash in front of the path": listed(extract(order=(1, 0)), End()),
    "gaps everywhere": listed(
        extract(order=(1, 0), gaps=[b"before", b"-", b"behind"]),
        move(order=(1, 0), gaps=[b"\0", b"\0\0", b"\xff"]),
        Remove(path=RootPath.of("/x"), layout=lay_out(12, [2], [0], [b"<<<", b">"])),
        RemoveSubTree(path=TreePath.of("/y/"), layout=lay_out(12, [3], [0], [b"", b"\0"])),
        End(),
    ),
    "octets behind End": commands(End(), b"anything: \0\0\0\1\xff\xff\xff\xff"),
    "commands behind End": commands(Version(text="1"), End(), Version(text="2"), End()),
    "no End": listed(Version(text="1")),
    "an empty list": commands(),
    "an empty text": listed(Version(text=""), Description(text="\0"), End()),
    "minor version 1": listed(
        End(), header=Header(minor=1, command_list_length=8, payload_length=21).encode()
    ),
    "no payload": listed(End(), payload=b""),
    "files that overlap": listed(file("/a"), file("/b", CONTENTS[3:9], at=3), file("/c", b"", at=21), End()),
    "a signature": Draft().encode,
    "two signatures": Draft(signers=(signer().identity(), second_signer().identity())).encode,
    **{f"length form {form:#x}": listed(End(), block=rewrapped(form)) for form in range(0x81, 0x85)},
}


@pytest.mark.parametrize("what", PACKAGES)
def test_both_find_the_same_in(what: str, reader: Any) -> None:
    octets = PACKAGES[what]()

    assert their_view(reader, octets) == our_view(octets)


def test_the_packages_have_every_type_in_them() -> None:
    assert {record.code for record in EVERY_TYPE} == set(RECORDS)


def test_both_know_the_same_types(reader: Any) -> None:
    theirs = {member.value: member.name for member in reader.CommandType if member.value not in RESERVED}

    assert theirs == {code: name_of(record) for code, record in RECORDS.items()}


gaps_of = st.lists(st.binary(max_size=9), min_size=3, max_size=3)


@given(st.permutations([0, 1]), gaps_of, st.permutations([0, 1]), gaps_of)
def test_both_find_located_fields_wherever_they_lie(
    reader: Any, order: list[int], gaps: list[bytes], other: list[int], others: list[bytes]
) -> None:
    octets = listed(extract(order, gaps), move(other, others), End())()

    assert their_view(reader, octets) == our_view(octets)


def with_u32(octets: bytes, offset: int, number: int) -> bytes:
    """Return *octets* with another number at *offset*."""
    return octets[:offset] + number.to_bytes(4, "big") + octets[offset + 4 :]


VALUE = extract().encode()
"""The Value of an extract command: 32 octets, the path of 8, the hash of 20."""
MOVE = move().encode()
"""The Value of a move command: 20 octets, paths of 2 and of 8."""
SIGNED = Draft(block=EMPTY_BLOCK).encode()


def extracting(offset: int, number: int) -> Callable[[], bytes]:
    """Return what makes a package with one number of an extract command replaced."""
    return commands(tlv(1, with_u32(VALUE, offset, number)), End())


def moving(offset: int, number: int) -> Callable[[], bytes]:
    """Return what makes a package with one number of a move command replaced."""
    return commands(tlv(8, with_u32(MOVE, offset, number)), End())


MALFORMED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a preamble": (lambda: b"3" + SIGNED[1:], "header.preamble"),
    "major version 2": (lambda: with_u32(SIGNED, 8, 2), "header.major"),
    "a list of 2^16 octets": (lambda: with_u32(SIGNED, 16, 1 << 16), "header.command_list_length"),
    "a list that is cut off": (lambda: SIGNED[:40], "command[0]"),
    "a payload that is too short": (lambda: SIGNED[:-1], "payload"),
    "an octet behind the payload": (lambda: SIGNED + b"\0", "payload"),
    "half a head": (commands(Version(text="1"), b"\0\0\0\0\0\0\0"), "command[1].length"),
    "a command longer than the list": (commands(b"\0\0\3\xe8\0\0\0\1"), "command[0].length"),
    "an unknown command longer than the list": (commands(b"\xff\xff\xff\xff" * 2), "command[0].length"),
    "End with a value": (commands(tlv(0, b"\0")), "command[0]"),
    "Reboot with a value": (commands(tlv(16, bytes(4))), "command[0]"),
    "Format with a value": (commands(tlv(17, b"\0")), "command[0]"),
    "a timeout of 3 octets": (commands(tlv(12, bytes(3))), "command[0].timeout"),
    "a timeout of 5 octets": (commands(tlv(15, bytes(5))), "command[0]"),
    "storage of 8 octets": (commands(tlv(21, bytes(8))), "command[0]"),
    "no version": (commands(tlv(18, b"")), "command[0].version"),
    "a version of 6 octets": (commands(tlv(19, bytes(6))), "command[0].version"),
    "a role of 3 octets": (commands(tlv(20, bytes(3))), "command[0].role"),
    "a standard role with arguments": (commands(tlv(20, bytes((0, 0, 0, 4, 0)))), "command[0].arguments"),
    "no attributes": (commands(tlv(25, bytes(8))), "command[0].attributes"),
    "attributes of 5 octets": (commands(tlv(25, bytes(13))), "command[0].attributes"),
    "a version that is not UTF-8": (commands(tlv(10, b"\xff")), "command[0].text"),
    "a description that breaks off": (commands(tlv(11, "ü".encode()[:1])), "command[0].text"),
    "a path that is not UTF-8": (commands(tlv(1, VALUE.replace(b"/bin", b"/\xffin"))), "command[0].path"),
    "an extract of 31 octets": (commands(tlv(3, VALUE[:31])), "command[0].file_length"),
    "a path inside the fixed part": (extracting(4, 31), "command[0].path_offset"),
    "a path behind the value": (extracting(4, 61), "command[0].path_length"),
    "a path that ends behind the value": (extracting(8, 29), "command[0].path_length"),
    "a path whose end overflows": (extracting(8, 0xFFFFFFFF), "command[0].path_length"),
    "a hash type of 2": (extracting(12, 2), "command[0].hash_type"),
    "a hash inside the fixed part": (extracting(16, 12), "command[0].hash_offset"),
    "a hash that overlaps the path": (extracting(16, 39), "command[0].hash_offset"),
    "a hash that ends behind the value": (extracting(16, 41), "command[0].hash_length"),
    "a hash of 19 octets": (extracting(20, 19), "command[0].hash"),
    "a hash of 21 octets": (commands(tlv(1, with_u32(VALUE, 20, 21) + b"\0")), "command[0].hash"),
    "a file behind the payload": (extracting(24, 22), "command[0].file_length"),
    "a file that ends behind the payload": (extracting(28, 22), "command[0].file_length"),
    "a file whose end overflows": (extracting(24, 0xFFFFFFFF), "command[0].file_length"),
    "a remove of 11 octets": (commands(tlv(5, bytes(11))), "command[0].path_length"),
    "a removed path inside the fixed part": (
        commands(tlv(7, bytes((0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 1)) + b"/")),
        "command[0].path_offset",
    ),
    "a source behind the value": (moving(4, 30), "command[0].source_path_length"),
    "a destination inside the fixed part": (moving(12, 19), "command[0].destination_path_offset"),
    "a destination that overlaps": (moving(12, 21), "command[0].destination_path_offset"),
    "a destination that is too long": (moving(16, 9), "command[0].destination_path_length"),
    "digests of an unknown algorithm": (
        commands(tlv(9256, b"SPKG-D01" + bytes((0, 0, 0, 2)))),
        "command[0].algorithm",
    ),
    "digests that break off": (
        commands(tlv(9256, b"SPKG-D01" + bytes((0, 0, 0, 1)) + bytes(33))),
        "command[0].digests",
    ),
    "a mode of 01000": (commands(tlv(9257, b"SPKG-M01" + bytes((0, 0, 2, 0)))), "command[0].modes[0]"),
    "modes that break off": (commands(tlv(9257, b"SPKG-M01" + bytes(3))), "command[0].modes"),
    "a block of tag 0x31": (listed(End(), block=b"\x31" + EMPTY_BLOCK[1:]), "signature_block"),
    "a length of five octets": (
        listed(End(), block=b"\x30\x85" + bytes(4) + EMPTY_BLOCK[1:]),
        "signature_block",
    ),
    "a block of more than 1 MiB": (
        listed(End(), block=b"\x30\x83\x0f\xff\xfc" + bytes(0xFFFFC)),
        "signature_block",
    ),
    "a block without an end": (listed(End(), block=EMPTY_BLOCK[:-1], payload=b""), "signature_block"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_both_refuse(what: str, reader: Any) -> None:
    make, field = MALFORMED[what]
    octets = make()

    with pytest.raises(REFUSALS):
        their_view(reader, octets)
    with pytest.raises(FormatError) as caught:
        our_view(octets)
    assert caught.value.field == field


def test_a_block_of_indefinite_length_is_the_one_thing_that_we_alone_read(reader: Any) -> None:
    octets = listed(End(), block=rewrapped(0x80))()

    with pytest.raises(REFUSALS, match="/types/signature_block/seq/1"):
        their_view(reader, octets)
    assert our_view(octets)["signature_block"] == rewrapped(0x80)


LEFT_TO_US = re.compile(
    r"signature_block.*"  # what is inside of the block
    r"|command\[\d+\]\.(\w+_)?path"  # what paths say
    r"|command\[\d+\]\.(type|length)"  # rules between commands
)
"""Where we may refuse what the description, by its own words, does not check."""


def compare(reader: Any, octets: bytes) -> None:
    """Have both readers find the same in *octets*, or both refuse them."""
    theirs: View | None = None
    ours: View | None = None
    field: str | None = None
    with suppress(*REFUSALS):
        theirs = their_view(reader, octets)
    try:
        ours = our_view(octets)
    except FormatError as exc:
        field = exc.field

    if theirs is None:
        assert ours is None
    elif ours is None:
        assert field is not None
        assert LEFT_TO_US.fullmatch(field)
    else:
        assert theirs == ours


RICH = PACKAGES["every type"]()
edits = st.lists(
    st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 2), st.binary(min_size=0, max_size=4)),
    min_size=1,
    max_size=3,
)


@given(edits)
def test_no_edit_makes_the_readers_disagree(reader: Any, edits: list[tuple[int, int, bytes]]) -> None:
    mutant = RICH
    for position, removed, inserted in edits:
        mutant = mutant[:position] + inserted + mutant[position + removed :]

    compare(reader, mutant)


@pytest.mark.part("judges")
@pytest.mark.parametrize("bit", [0x01, pytest.param(0x80, marks=pytest.mark.proof)])
def test_no_flipped_bit_makes_the_readers_disagree(bit: int, reader: Any) -> None:
    for position in sample(range(len(RICH)), every=9):
        mutant = bytearray(RICH)
        mutant[position] ^= bit

        compare(reader, bytes(mutant))


def test_no_beginning_of_a_package_is_taken_for_a_package(reader: Any) -> None:
    for length in range(len(RICH)):
        with pytest.raises(REFUSALS):
            their_view(reader, RICH[:length])
        with pytest.raises(FormatError):
            our_view(RICH[:length])
