"""The command list: framing, and the Values of each type (E.4)."""

from hashlib import sha1, sha256

from spkg.format.commands import (
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
    MaximumVersion,
    Metadata,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Move,
    MoveVersioned,
    PayloadCommand,
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
from tests.support.kit import CONTENTS, Draft, file
from tests.vectors.make.base import vector

DIGEST = sha1(CONTENTS, usedforsecurity=False).digest()


def package(*records: Record) -> bytes:
    return Draft(records=records).encode()


def raw(code: int, value: bytes, *more: Record) -> bytes:
    """Return a package whose first command is not made by our own encoder."""
    command = code.to_bytes(4, "big") + len(value).to_bytes(4, "big") + value
    return Draft(commands=command + encode_commands(more or (file("/bin/app"), End()))).encode()


def u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def extract(
    path: bytes = b"/bin/app",
    *,
    flags: int = 0,
    path_at: int = 32,
    hash_type: int = 1,
    hash_at: int | None = None,
    hash_length: int = 20,
    length: int = len(CONTENTS),
    offset: int = 0,
    behind: bytes | None = None,
) -> bytes:
    """Return the Value of an extract command, with any of its fields wrong."""
    where = path_at + len(path) if hash_at is None else hash_at
    fixed = u32(flags, path_at, len(path), hash_type, where, hash_length, offset, length)
    return fixed + (path + DIGEST if behind is None else behind)


VERSIONED = VersionedPath(b"/etc/modem.007")


@vector(section="Table 68", expect="trusted")
def every_type() -> bytes:
    """One command of each type of Table 68, and both extensions."""
    sha = sha256(CONTENTS).digest()

    def versioned(kind: type[PayloadCommand]) -> PayloadCommand:
        return kind(path=VERSIONED, hash=DIGEST, file_offset=0, file_length=len(CONTENTS))

    return package(
        Version(text="6.3.9.41"),
        Description(text="Gateway firmware, für alle"),
        Role(role=1),
        MinimumVersion(version=(5, 0)),
        MaximumVersion(version=(6, 3, 9, 40)),
        MinimumNonVolatileStorage(storage_size=1 << 24),
        MinimumVolatileStorage(storage_size=0xFFFFFFFF),
        InitialTimeout(timeout=600),
        InitialActivityTimeout(timeout=30),
        RecoverableTimeout(timeout=900),
        UnrecoverableTimeout(timeout=0),
        RequiredAttributes(defining_entity=0xFF00D09E, class_=1, attributes=(7, 8)),
        StrongDigests(digests=(sha,) * 4),
        FileModes(modes=(0o755, 0, 0o644, 0o777)),
        Format(),
        RemoveSubTree(path=TreePath(b"/")),
        RemoveSubTree(path=TreePath(b"/www/")),
        Remove(path=RootPath(b"/etc/old"), flags=1),
        RemoveVersioned(path=VERSIONED),
        file("/bin/app", flags=1),
        versioned(ExtractVersioned),
        file("etc/added", kind=Add),
        versioned(AddVersioned),
        Move(source_path=RootPath(b"/a"), destination_path=RootPath(b"/b/c")),
        MoveVersioned(source_path=VERSIONED, destination_path=VersionedPath(b"/x/y.bak")),
        UnknownCommand(number=1000, value=b"\x00\x01"),
        Reboot(),
        End(),
    )


@vector(section="E.4", expect="trusted")
def unknown_types() -> bytes:
    """Types nobody knows, below and above the vendors' range, are skipped: the reserved 23 and 24, too."""
    kinds = (23, 24, 26, 46, 999, 1000, 9255, 9999, 10000, 0xFFFFFFFF)
    unknown = (UnknownCommand(number=kind, value=bytes([kind & 0xFF])) for kind in kinds)
    return package(*unknown, file("/bin/app"), End())


@vector(section="E.4", expect="format error at 0x1c")
def longer_than_the_list() -> bytes:
    """A command that ends one octet behind the list, where the signature block supplies it."""
    commands = u32(1000, 2) + b"\x00"
    return Draft(commands=commands, payload=b"").encode()


@vector(section="E.4", expect="format error at 0x1c")
def cut_in_the_head() -> bytes:
    """Seven octets of a command: the eighth would be the first of the signature block."""
    return Draft(commands=u32(1000, 0)[:7], payload=b"").encode()


@vector(section="E.4", expect="format error at 0x1c")
def length_of_4_gib() -> bytes:
    """A length that no list can hold is refused before anything is read."""
    return Draft(commands=u32(1000, 0xFFFFFFFF), payload=b"").encode()


@vector(section="E.4.2", expect="trusted")
def end_hides_the_rest() -> bytes:
    """What lies behind End is not looked at, however malformed."""
    return Draft(commands=encode_commands([file("/bin/app"), End()]) + b"\x00\x00\x00\x01\xff\xff").encode()


@vector(section="E.4.2", expect="format error at 0x20")
def end_with_a_value() -> bytes:
    """End has Length 0; the octets behind it would be a whole Reboot command."""
    return raw(0, u32(16, 0))


@vector(section="E.4.2", expect="trusted")
def no_end() -> bytes:
    """End need not be there."""
    return package(file("/bin/app"))


@vector(section="E.4.8", expect="format error at 0x18")
def reboot_not_last() -> bytes:
    """Reboot is the last command but for End."""
    return package(Reboot(), file("/bin/app"), End())


@vector(section="E.4.8", expect="trusted")
def reboot_without_end() -> bytes:
    """Reboot may be the very last."""
    return package(file("/bin/app"), Reboot())


@vector(section="E.4.8", expect="format error at 0x20")
def reboot_with_a_value() -> bytes:
    """Reboot has Length 0."""
    return raw(16, u32(0, 0))


@vector(section="E.4.9", expect="format error at 0x20")
def format_with_a_value() -> bytes:
    """Format has Length 0."""
    return raw(17, u32(0, 0))


@vector(section="E.4.3", expect="trusted")
def reserved_flags() -> bytes:
    """Reserved bits of Flags are ignored, and kept."""
    return raw(1, extract(flags=0xFFFFFFFE))


@vector(section="E.4.3", expect="format error at 0x2c")
def hash_type_2() -> bytes:
    """A reserved hash type, with a length of 20 as SHA-1 has."""
    return raw(1, extract(hash_type=2))


@vector(section="E.4.3", expect="format error at 0x48")
def hash_of_19() -> bytes:
    """A SHA-1 digest has 20 octets; here the last one belongs to nothing."""
    return raw(1, extract(hash_length=19))


@vector(section="E.4.3", expect="format error at 0x48")
def hash_of_21() -> bytes:
    """One octet too many, and it is there."""
    return raw(1, extract(hash_length=21, behind=b"/bin/app" + DIGEST + b"\x00"))


@vector(section="E.4.3", expect="trusted")
def fields_in_another_order() -> bytes:
    """The hash before the path, gaps before, between and behind: kept for a round trip."""
    behind = b"gap1" + DIGEST + b"gap2" + b"/bin/app" + b"gap3"
    return raw(1, extract(hash_at=36, path_at=60, behind=behind))


@vector(section="E.4.3", expect="format error at 0x24")
def path_in_the_fixed_part() -> bytes:
    """A path made of the octets of the fixed part, which happen to be a valid name."""
    return raw(1, extract(path=b"\x01", path_at=3, hash_at=32, behind=DIGEST, flags=0x61))


@vector(section="E.4.4", expect="format error at 0x24")
def path_from_the_end_of_the_fixed_part() -> bytes:
    """A path that begins in the last octet of the fixed part: its length, 47, is a slash."""
    return raw(Remove.CODE, u32(0, 11, ord("/")) + b"bin/" + b"a" * 42)


@vector(section="E.4.3", expect="format error at 0x30")
def hash_over_the_path() -> bytes:
    """The hash begins in the last octet of the path."""
    return raw(1, extract(hash_at=39, behind=b"/bin/ap" + DIGEST))


@vector(section="E.4.3", expect="format error at 0x34")
def hash_behind_the_value() -> bytes:
    """The hash ends one octet behind the Value, in the head of the next command."""
    return raw(1, extract(behind=b"/bin/app" + DIGEST[:-1]))


@vector(section="E.4.3", expect="format error at 0x28")
def path_behind_the_value() -> bytes:
    """The path ends behind the Value."""
    return raw(1, extract(path=b"/bin/app", path_at=52, hash_at=32, behind=DIGEST + b"/bin/a"))


@vector(section="E.4.3", expect="format error at 0x28")
def offset_of_4_gib() -> bytes:
    """An offset and a length whose sum does not fit into 32 bits."""
    fixed = u32(0, 0xFFFFFFFF, 9, 1, 32, 20, 0, len(CONTENTS))
    return raw(1, fixed + DIGEST)


@vector(section="E.4.3", expect="format error at 0x3c")
def file_behind_the_payload() -> bytes:
    """A file that ends one octet behind the payload."""
    return raw(1, extract(length=len(CONTENTS) + 1), End())


@vector(section="E.4.3", expect="format error at 0x3c")
def file_beyond_4_gib() -> bytes:
    """Offset and length add up to more than 32 bits hold, and to a small number if they are cut."""
    return raw(1, extract(offset=0xFFFFFFFF, length=2), End())


@vector(section="E.4.3", expect="trusted")
def file_of_nothing() -> bytes:
    """An empty file at the end of the payload."""
    empty = Extract(
        path=RootPath(b"/empty"),
        hash=sha1(b"", usedforsecurity=False).digest(),
        file_offset=len(CONTENTS),
        file_length=0,
    )
    return package(file("/bin/app"), empty, End())


@vector(section="E.4.4", expect="format error at 0x28")
def remove_behind_the_value() -> bytes:
    """A path of a remove command that ends behind its Value."""
    return raw(5, u32(0, 12, 5) + b"/old")


@vector(section="E.4.5", expect="format error at 0x2c")
def move_onto_itself_in_octets() -> bytes:
    """Source and destination share their octets."""
    return raw(8, u32(0, 20, 2, 20, 2) + b"/a")


@vector(section="E.4.6", expect="format error at 0x21")
def version_not_utf_8() -> bytes:
    """A version whose second octet is no UTF-8."""
    return raw(10, b"6\xff3")


@vector(section="E.4.6", expect="trusted")
def version_empty() -> bytes:
    """A version of no characters says nothing, and breaks nothing."""
    return raw(10, b"")


@vector(section="E.4.7", expect="format error at 0x20")
def timeout_of_3_octets() -> bytes:
    """A timeout has four octets; the fourth would be the first of the next command."""
    return raw(14, b"\x00\x00\x01")


@vector(section="E.4.7", expect="format error at 0x24")
def timeout_of_5_octets() -> bytes:
    """A timeout has four octets and nothing behind."""
    return raw(14, b"\x00\x00\x00\x01\x00")


@vector(section="E.4.10", expect="format error at 0x20")
def version_gate_empty() -> bytes:
    """A version gate without an element would let every device through."""
    return raw(18, b"")


@vector(section="E.4.10", expect="format error at 0x20")
def version_gate_of_6_octets() -> bytes:
    """An array of 32-bit integers is a multiple of four octets."""
    return raw(19, b"\x00\x00\x00\x06\x00\x03")


@vector(section="E.4.11", expect="trusted")
def role_of_a_vendor() -> bytes:
    """A vendor's role has arguments that only the vendor reads."""
    return raw(20, u32(0xFF00D09E) + b"anything")


@vector(section="E.4.11", expect="format error at 0x28")
def role_with_arguments() -> bytes:
    """Arguments belong to a vendor's role alone: a standard one has four octets."""
    return raw(20, u32(1) + b"more")


@vector(section="E.4.11", expect="format error at 0x20")
def role_of_2_octets() -> bytes:
    """A role is a 32-bit integer."""
    return raw(20, b"\x00\x01")


@vector(section="E.4.12", expect="format error at 0x24")
def storage_of_8_octets() -> bytes:
    """A storage size has 32 bits, not 64."""
    return raw(21, u32(0, 1))


# A later minor version: what it has added is kept, and what can't be checked is refused.


def later(*records: Record, payload: bytes = CONTENTS) -> bytes:
    """Return a package of minor version 1."""
    header = Header(minor=1, command_list_length=len(encode_commands(records)), payload_length=len(payload))
    return Draft(records=records, payload=payload, header=header.encode()).encode()


def of_later(code: int, value: bytes) -> bytes:
    """Return a package of minor version 1 with one command of any Value, and a file that fits."""
    return later(UnknownCommand(number=code, value=value), file("/bin/app"), End())


@vector(section="E.3", expect="trusted")
def later_timeout_of_8_octets() -> bytes:
    """A later minor version may have added to the Value: the timeout is that of the first four octets."""
    return of_later(14, u32(60, 7))


@vector(section="E.3", expect="trusted")
def later_storage_of_8_octets() -> bytes:
    """The size is that of the first four octets, and is still required."""
    return of_later(21, u32(1, 0))


@vector(section="E.3", expect="trusted")
def later_end_with_a_value() -> bytes:
    """End still ends the list, whatever a later minor version has added to it."""
    return later(file("/bin/app"), UnknownCommand(number=0, value=u32(7)))


@vector(section="E.3", expect="trusted")
def later_role_with_arguments() -> bytes:
    """A standard role of a later minor version may have arguments."""
    return of_later(20, u32(1) + b"more")


@vector(section="E.4.7", expect="format error at 0x20")
def later_timeout_of_3_octets() -> bytes:
    """No compatible change makes a Value shorter."""
    return of_later(14, b"\x00\x00\x01")


@vector(section="E.4.10", expect="format error at 0x20")
def later_version_gate_of_6_octets() -> bytes:
    """An array that fills its Value can't be longer by half an element."""
    return of_later(18, u32(6) + b"\x00\x01")


@vector(section="E.4.3", expect="format error at 0x28")
def later_extract_cut_before_its_hash_type() -> bytes:
    """A Value that ends before the hash type is cut off in any version."""
    return of_later(1, u32(0, 32))


@vector(section="E.4.3", expect="refused: command[0]: Extract File has hash type 2, which can't be checked")
def later_hash_type_2() -> bytes:
    """A hash that a later minor version may define: the file can't be checked, so nothing is installed."""
    return of_later(1, extract(hash_type=2))


@vector(section="E.4.13", expect="format error at 0x28")
def attributes_empty() -> bytes:
    """An attribute array without a value no device could meet."""
    return raw(25, u32(0xFF00D09E, 1))


@vector(section="E.4", expect="trusted")
def strong_digests_of_others() -> bytes:
    """The type of our extension without its mark is another vendor's, and skipped."""
    return raw(9256, b"SPKG-D02" + bytes(7))


@vector(section="E.4", expect="format error at 0x28")
def strong_digests_algorithm() -> bytes:
    """An algorithm that is reserved."""
    return raw(9256, b"SPKG-D01" + u32(2) + sha256(CONTENTS).digest())


@vector(section="E.4", expect="format error at 0x1c")
def strong_digests_missing() -> bytes:
    """Strong digests without one for the second file."""
    return package(StrongDigests(digests=(sha256(CONTENTS).digest(),)), file("/a"), file("/b"), End())


@vector(section="E.4", expect="format error at 0x4c")
def strong_digests_twice() -> bytes:
    """Two sets of digests could contradict each other."""
    digests = StrongDigests(digests=(sha256(CONTENTS).digest(),))
    return package(digests, digests, file("/bin/app"), End())


@vector(section="E.4", expect="format error at 0x2c")
def strong_digests_cut() -> bytes:
    """A digest of 31 octets."""
    return raw(9256, b"SPKG-D01" + u32(1) + bytes(31))


@vector(section="E.4", expect="damaged: /bin/app: contents do not match the signed SHA-256 digest")
def strong_digests_of_another_file() -> bytes:
    """The SHA-1 digest fits and the SHA-256 digest does not: where they are, they are checked."""
    return package(StrongDigests(digests=(bytes(32),)), file("/bin/app"), End())


@vector(section="E.4", expect="format error at 0x28")
def mode_with_setuid() -> bytes:
    """A mode above 0777 would make a file run as somebody else."""
    return raw(9257, b"SPKG-M01" + u32(0o4755))


@vector(section="E.4", expect="format error at 0x1c")
def modes_too_many() -> bytes:
    """A mode for a file that is not there."""
    return package(FileModes(modes=(0o755, 0o644)), file("/bin/app"), End())


@vector(section="E.4", expect="trusted")
def metadata() -> bytes:
    """Free keys for people: nothing acts on them."""
    return package(Metadata(entries=(("build", "1042"), ("ä", "\\ \n"))), file("/bin/app"), End())


@vector(section="E.4", expect="trusted")
def metadata_in_another_form() -> bytes:
    """Metadata that is not an object of strings is an unknown command, and stops nothing."""
    odd = (b"", b"{", b'{"n":1}', b'{"b":"","a":""}', b'{"a":"","a":""}', b'{"a": ""}', b'{"a":"\xff"}')
    unknown = (UnknownCommand(number=9258, value=b"SPKG-T01" + octets) for octets in odd)
    return package(*unknown, file("/bin/app"), End())
