"""What one package changes against another: nothing is missed, and nothing is made up."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from random import Random
from threading import Thread
from typing import Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from spkg.build.compare import Change, Difference, FileChange, FileState, Summary, compare_packages
from spkg.build.sign import add_signature
from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.errors import FormatError
from spkg.format.command_text import summary
from spkg.format.commands import (
    Add,
    AddVersioned,
    Description,
    End,
    ExtractVersioned,
    FileModes,
    Format,
    InitialTimeout,
    Layout,
    MaximumVersion,
    MinimumNonVolatileStorage,
    MinimumVersion,
    Move,
    PayloadCommand,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RemoveSubTree,
    RequiredAttributes,
    Role,
    StrongDigests,
    UnknownCommand,
    UnrecoverableTimeout,
    Version,
)
from spkg.format.package import Header, encode_commands
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.ranges import Range
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust.ber import tlv
from spkg.trust.signers import Identity
from spkg.verify.payload import CHUNK, open_package
from tests.support.kit import (
    CONTENTS,
    ROOT,
    Draft,
    attributes,
    certify,
    craft_block,
    craft_signer,
    file,
    root,
    second_signer,
    signer,
)

NOTHING: Final = Difference(
    summary=Summary(added=0, removed=0, changed=0, octets=0),
    header=(),
    commands=(),
    gates=(),
    timeouts=(),
    files=(),
    signers=(),
    encoding=(),
)


def differ(before: bytes, after: bytes) -> Difference:
    with (
        open_package(io.BufferedReader(io.BytesIO(before))) as one,
        open_package(io.BufferedReader(io.BytesIO(after))) as other,
    ):
        return compare_packages(one, other)


def of(*records: Record, payload: bytes = CONTENTS) -> Draft:
    """Return a package of these commands that nobody has signed: a signature changes with what is signed."""
    return Draft(records=(*records, End()), payload=payload, signers=())


def state(contents: bytes = CONTENTS, *, sha256: bool = False, mode: int = 0) -> FileState:
    return FileState(
        length=len(contents),
        sha1=sha1(contents, usedforsecurity=False).digest(),
        sha256=Digest.SHA256.of(contents) if sha256 else None,
        mode=mode,
        place=Range(0, 0),  # no part of the difference
    )


def counted(before: Draft, after: Draft, files: Sequence[FileChange]) -> Summary:
    """Return how many files differ, and how much larger those of the second package are."""
    old, new = (
        sum(record.file_length for record in draft.records if isinstance(record, PayloadCommand))
        for draft in (before, after)
    )
    return Summary(
        added=sum(one.before is None for one in files),
        removed=sum(one.after is None for one in files),
        changed=sum(one.before is not None and one.after is not None for one in files),
        octets=new - old,
    )


def sized(before: Draft, after: Draft) -> tuple[Change, ...]:
    """Return the changes of the header that the two lengths in it are."""
    return tuple(
        Change(name=name, before=str(old), after=str(new))
        for name, old, new in (
            ("command_list_length", len(before.signed) - 24, len(after.signed) - 24),
            ("payload_length", len(before.payload), len(after.payload)),
        )
        if old != new
    )


def only(
    before: Draft,
    after: Draft,
    *,
    commands: Sequence[Change] = (),
    gates: Sequence[Change] = (),
    timeouts: Sequence[Change] = (),
    files: Sequence[FileChange] = (),
    signers: Sequence[Change] = (),
    encoding: Sequence[str] = (),
) -> None:
    """Make sure that this is all the difference, and that there is one the other way round."""
    expected = Difference(
        summary=counted(before, after, files),
        header=sized(before, after),
        commands=tuple(commands),
        gates=tuple(gates),
        timeouts=tuple(timeouts),
        files=tuple(files),
        signers=tuple(signers),
        encoding=tuple(encoding),
    )
    assert differ(before.encode(), after.encode()) == expected
    assert not expected.equal
    assert not differ(after.encode(), before.encode()).equal


# Each of the categories


def test_packages_of_the_same_octets_are_equal() -> None:
    found = differ(Draft().encode(), Draft().encode())

    assert found == NOTHING
    assert found.equal


def test_the_header_differs() -> None:
    records = Draft().records
    length = len(encode_commands(records))
    header = Header(minor=1, command_list_length=length, payload_length=len(CONTENTS)).encode()

    found = differ(of(*records[:-1]).encode(), Draft(header=header, signers=()).encode())

    assert found == replace(NOTHING, header=(Change(name="minor", before="0", after="1"),))


ODD: Final = replace(file("/bin/app"), layout=Layout(offsets=(52, 32), gaps=()))


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ([], [Format()], [Change(name="Format File System", before=None, after="")]),
        ([], [Reboot()], [Change(name="Reboot", before=None, after="")]),
        (
            [Version(text="1")],
            [Version(text='"2"')],
            [Change(name="Version", before='"1"', after=r'"\"2\""')],
        ),
        (
            [Description(text="a")],
            [],
            [Change(name="Description", before='"a"', after=None)],
        ),
        (
            [Remove(path=RootPath(b"/a"))],
            [Remove(path=RootPath(b"/a"), flags=1)],
            [Change(name="Remove File", before="/a", after="/a (unsafe)")],
        ),
        (
            [Remove(path=RootPath(b"/a"))],
            [RemoveSubTree(path=TreePath(b"/a"))],
            [
                Change(name="Remove File", before="/a", after=None),
                Change(name="Remove Sub-Tree", before=None, after="/a"),
            ],
        ),
        (
            [Move(source_path=RootPath(b"/a"), destination_path=RootPath(b"/b"))],
            [Move(source_path=RootPath(b"/a"), destination_path=RootPath(b"/c"), flags=1)],
            [Change(name="Move File", before="/a to /b", after="/a to /c (unsafe)")],
        ),
        (
            [UnknownCommand(number=1000, value=b"\x01")],
            [UnknownCommand(number=1001, value=b"\x01")],
            [
                Change(name="Vendor-specific 1000", before="01", after=None),
                Change(name="Vendor-specific 1001", before=None, after="01"),
            ],
        ),
        (
            [UnknownCommand(number=23, value=b"")],
            [UnknownCommand(number=23, value=bytes(33))],
            [
                Change(
                    name="Unknown 23", before="", after=f"{'00' * 32}… (33 bytes, SHA-256 7f9c9e31ac8256ca…)"
                )
            ],
        ),
        (
            [Remove(path=RootPath(b"/a")), Remove(path=RootPath(b"/b"))],
            [Remove(path=RootPath(b"/b")), Remove(path=RootPath(b"/a"))],
            [
                Change(name="Remove File", before=None, after="/b"),
                Change(name="Remove File", before="/b", after=None),
            ],
        ),
        (
            [Remove(path=RootPath(b"/a"))],
            [Remove(path=RootPath(b"/a"))] * 3,
            [Change(name="Remove File", before=None, after="/a")] * 2,
        ),
        (
            [StrongDigests(digests=())],
            [FileModes(modes=())],
            [
                Change(name="Strong Digests", before="SHA-256 of 0 files", after=None),
                Change(name="File Modes", before=None, after="modes of 0 files"),
            ],
        ),
    ],
)
def test_the_commands_differ(before: list[Record], after: list[Record], changes: list[Change]) -> None:
    only(of(*before, payload=b""), of(*after, payload=b""), commands=changes)


@pytest.mark.parametrize("size", [40, 1000])
def test_two_long_values_that_begin_and_end_the_same_differ(size: int) -> None:
    one = UnknownCommand(number=1000, value=bytes(size))
    other = UnknownCommand(number=1000, value=bytes(size - 2) + b"\x01\x00")

    found = differ(of(one).encode(), of(other).encode())

    assert [change.name for change in found.commands] == ["Vendor-specific 1000"]
    assert found.encoding == ()


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (
            [MinimumVersion(version=(5, 0))],
            [MinimumVersion(version=(5, 0, 0))],
            [Change(name="Minimum Version", before="5.0", after="5.0.0")],
        ),
        ([MaximumVersion(version=(6,))], [], [Change(name="Maximum Version", before="6", after=None)]),
        (
            [MinimumNonVolatileStorage(storage_size=1023)],
            [MinimumNonVolatileStorage(storage_size=3 << 30)],
            [
                Change(
                    name="Minimum Non-Volatile Storage",
                    before="1023 bytes (1023 bytes)",
                    after="3221225472 bytes (3.0 GiB)",
                )
            ],
        ),
        (
            [Role(role=1)],
            [Role(role=0xFF00D09E, arguments=b"\x01\x02")],
            [Change(name="Role", before="software-upgrade", after="role of vendor 00D09E, arguments 0102")],
        ),
        ([Role(role=0)], [Role(role=5)], [Change(name="Role", before="role standard", after="role 5")]),
        (
            [RequiredAttributes(defining_entity=0, class_=1, attributes=(7,))],
            [RequiredAttributes(defining_entity=0xFF000001, class_=1, attributes=(7, 8))],
            [
                Change(
                    name="Required Attributes",
                    before="standard, class 1, any of 7",
                    after="of vendor 000001, class 1, any of 7, 8",
                )
            ],
        ),
    ],
)
def test_the_gates_differ(before: list[Record], after: list[Record], changes: list[Change]) -> None:
    only(of(*before), of(*after), gates=changes)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (
            [InitialTimeout(timeout=0)],
            [InitialTimeout(timeout=60)],
            [Change(name="Initial Timeout", before="infinite", after="60 s")],
        ),
        (
            [RecoverableTimeout(timeout=1)],
            [UnrecoverableTimeout(timeout=1)],
            [
                Change(name="Recoverable Timeout", before="1 s", after=None),
                Change(name="Unrecoverable Timeout", before=None, after="1 s"),
            ],
        ),
    ],
)
def test_the_timeouts_differ(before: list[Record], after: list[Record], changes: list[Change]) -> None:
    only(of(*before), of(*after), timeouts=changes)


def test_files_are_added_removed_and_changed() -> None:
    before = of(file("/a", b"A"), file("/b", b"B", at=1), file("/c", b"C", at=2), payload=b"ABC")
    after = of(file("/a", b"A"), file("/c", b"c", at=1), file("/d", b"D", at=2), payload=b"AcD")

    only(
        before,
        after,
        files=[
            FileChange(path="/b", before=state(b"B"), after=None),
            FileChange(path="/c", before=state(b"C"), after=state(b"c")),
            FileChange(path="/d", before=None, after=state(b"D")),
        ],
        commands=[
            Change(name="Extract File", before="/b", after=None),
            Change(name="Extract File", before=None, after="/d"),
        ],
    )


def test_a_file_whose_length_changes_is_changed() -> None:
    only(
        of(file("/a", b"A"), payload=b"AA"),
        of(file("/a", b"AA"), payload=b"AA"),
        files=[FileChange(path="/a", before=state(b"A"), after=state(b"AA"))],
    )


def test_a_strong_digest_that_changes_is_told_with_its_file() -> None:
    right, wrong = Digest.SHA256.of(CONTENTS), bytes(32)

    only(
        of(StrongDigests(digests=(right,)), file("/a")),
        of(StrongDigests(digests=(wrong,)), file("/a")),
        files=[
            FileChange(path="/a", before=state(sha256=True), after=replace(state(), sha256=wrong)),
        ],
    )


def test_a_mode_that_changes_is_told_with_its_file() -> None:
    only(
        of(FileModes(modes=(0o644, 0o644)), file("/a"), file("/b")),
        of(FileModes(modes=(0o644, 0o755)), file("/a"), file("/b")),
        files=[FileChange(path="/b", before=state(mode=0o644), after=state(mode=0o755))],
    )


def test_files_of_one_path_are_compared_in_their_order() -> None:
    before = of(file("/a", b"1"), file("a", b"2", at=1), payload=b"12")
    after = of(file("/a", b"1"), file("a", b"3", at=1), file("/a", b"2", at=2), payload=b"132")

    only(
        before,
        after,
        files=[
            FileChange(path="/a", before=state(b"2"), after=state(b"3")),
            FileChange(path="/a", before=None, after=state(b"2")),
        ],
        commands=[Change(name="Extract File", before=None, after="/a")],
    )


def test_a_file_under_another_verb_is_another_command() -> None:
    only(
        of(file("/a")),
        of(file("/a", kind=Add)),
        commands=[
            Change(name="Extract File", before="/a", after=None),
            Change(name="Add File", before=None, after="/a"),
        ],
    )


def signed_by(*signers: Identity, digest: Digest = Digest.SHA1) -> Draft:
    """Return the same package as ever with these signatures."""
    block = EMPTY_BLOCK
    for one in signers:
        block = add_signature(load_block(block), Draft().signed, one, digest=digest)
    return Draft(block=block)


SIGNER: Final = "CN=Test Signer, serial 03E8"
SECOND: Final = "CN=Second Signer, serial 03E9"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (
            signed_by(),
            signed_by(signer().identity()),
            [Change(name="signer", before=None, after=f"{SIGNER}, sha1")],
        ),
        (
            signed_by(signer().identity()),
            signed_by(signer().identity(), digest=Digest.SHA256),
            [Change(name="signer", before=f"{SIGNER}, sha1", after=f"{SIGNER}, sha256")],
        ),
        (
            signed_by(signer().identity()),
            signed_by(second_signer().identity()),
            [Change(name="signer", before=f"{SIGNER}, sha1", after=f"{SECOND}, sha1")],
        ),
        (
            signed_by(signer().identity()),
            signed_by(certify("Test Signer", root(), serial=7).identity()),
            [
                Change(
                    name="signer",
                    before=f"{SIGNER}, sha1",
                    after="CN=Test Signer, serial 07, sha1",
                )
            ],
        ),
    ],
)
def test_the_signers_differ(before: Draft, after: Draft, changes: list[Change]) -> None:
    only(before, after, signers=changes)


@pytest.mark.parametrize(
    ("sid", "told"),
    [
        (None, "a signer certified by CN=Test Root, serial 03E8, sha1"),
        (tlv(0x80, b"key"), "a signer certified by an unknown issuer, serial unknown, sha1"),
    ],
)
def test_a_signer_without_a_certificate_is_told_by_who_certified_it(sid: bytes | None, told: str) -> None:
    signed = Draft().signed
    info = craft_signer(signed, signer(), attributes=attributes(signed), sid=sid)

    only(
        signed_by(signer().identity()),
        Draft(block=craft_block(info)),
        signers=[Change(name="signer", before=f"{SIGNER}, sha1", after=told)],
    )


# Octets that say the same


def test_a_signature_that_only_follows_what_is_signed_is_no_difference_of_its_own() -> None:
    one = Draft(records=(Version(text="1"), End()), payload=b"")
    other = Draft(records=(Version(text="2"), End()), payload=b"")

    only(one, other, commands=[Change(name="Version", before='"1"', after='"2"')])


def test_octets_of_the_command_list_that_nobody_looks_at_differ() -> None:
    commands = Draft().signed[24:]

    only(
        Draft(commands=commands + b"a", signers=()),
        Draft(commands=commands + b"b", signers=()),
        encoding=["the command lists"],
    )


def test_fields_that_lie_in_another_order_differ_in_their_octets_alone() -> None:
    only(of(file("/bin/app")), of(ODD), encoding=["the command lists"])


def test_files_that_lie_elsewhere_differ_in_their_octets_alone() -> None:
    payload = CONTENTS * 2

    only(
        of(file("/a"), payload=payload),
        of(file("/a", at=len(CONTENTS)), payload=payload),
        encoding=["the command lists"],
    )


def test_the_spelling_of_a_path_is_a_command_and_no_other_file() -> None:
    only(
        of(file("/a")),
        of(file("a")),
        commands=[Change(name="Extract File", before="/a", after="a")],
    )


def test_a_certificate_that_nobody_needs_differs_in_its_octets_alone() -> None:
    only(
        signed_by(signer().identity()),
        signed_by(signer().identity(root())),
        encoding=["the signature blocks"],
    )


@pytest.mark.parametrize("place", [0, 5, len(CONTENTS) - 1])
def test_a_payload_that_is_damaged_differs_from_there_on(place: int) -> None:
    damaged = bytearray(CONTENTS)
    damaged[place] ^= 1

    found = differ(Draft().encode(), Draft(payload=bytes(damaged)).encode())

    assert found == replace(NOTHING, encoding=(f"the payloads, from byte {place} on",))


@pytest.mark.parametrize("place", [0, CHUNK - 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 6])
def test_large_payloads_are_compared_to_their_last_octet(place: int) -> None:
    contents = bytearray(2 * CHUNK + 7)
    before = of(file("/a", bytes(contents)), payload=bytes(contents))
    contents[place] = 1

    found = differ(before.encode(), replace(before, payload=bytes(contents)).encode())

    assert found.encoding == (f"the payloads, from byte {place} on",)


def test_octets_of_the_payload_that_belong_to_no_file_differ() -> None:
    one = of(file("/a", b"A"), payload=b"A-")

    found = differ(one.encode(), replace(one, payload=b"A+").encode())

    assert found.encoding == ("the payloads, from byte 1 on",)


def test_a_package_from_a_pipe_is_compared_as_it_comes() -> None:
    contents = Random(1).randbytes(3 * CHUNK)
    octets = of(file("/a", contents), payload=contents).encode()
    read, written = os.pipe()

    def send() -> None:
        with os.fdopen(written, "wb") as sending:
            for start in range(0, len(octets), 1000):  # in pieces, so that no read is full
                sending.write(octets[start : start + 1000])
                sending.flush()

    sender = Thread(target=send)
    sender.start()
    with (
        os.fdopen(read, "rb") as stream,
        open_package(io.BufferedReader(io.BytesIO(octets))) as one,
        open_package(stream) as other,
    ):
        found = compare_packages(one, other)
    sender.join()

    assert found == NOTHING


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (-1, "1 of 21 bytes are missing"),
        (1, "more data follows after the 21 bytes that the header states"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_payload_of_another_length_is_malformed(change: int, problem: str, *, first: bool) -> None:
    good = Draft().encode()
    bad = good[:change] if change < 0 else good + b"x"

    with pytest.raises(FormatError) as caught:
        differ(*((bad, good) if first else (good, bad)))

    assert caught.value.problem == problem


def test_two_lists_that_repeat_themselves_are_compared_in_no_time(tmp_path: Path) -> None:
    numbers = (
        [1000 + (index % 2) for index in range(1000)],
        [1000 + (index % 3 == 0) for index in range(1000)],
    )
    for name, list_ in zip("ab", numbers, strict=True):
        records = [UnknownCommand(number=number, value=b"") for number in list_]
        (tmp_path / name).write_bytes(of(*records, payload=b"").encode())
    program = (
        "import resource, sys, cli\nresource.setrlimit(resource.RLIMIT_CPU, (5, 5))\ncli.main(sys.argv[1:])\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, "diff", str(tmp_path / "a"), str(tmp_path / "b")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (10, "")


# Equality is that of the octets

RICH: Final = Draft(
    records=(
        Version(text="1"),
        Role(role=1),
        InitialTimeout(timeout=60),
        StrongDigests(digests=(Digest.SHA256.of(CONTENTS),)),
        FileModes(modes=(0o644,)),
        Remove(path=RootPath(b"/old")),
        file("/bin/app"),
        UnknownCommand(number=1000, value=bytes(40)),
        End(),
    )
)
OCTETS: Final = RICH.encode()


@given(st.integers(0, len(OCTETS) - 1), st.integers(1, 255))
def test_packages_that_differ_in_one_octet_are_never_equal(position: int, flip: int) -> None:
    mutant = bytearray(OCTETS)
    mutant[position] ^= flip

    try:
        forth, back = differ(OCTETS, bytes(mutant)), differ(bytes(mutant), OCTETS)
    except FormatError:
        return  # what is no package is told as that
    assert not forth.equal
    assert not back.equal


@given(st.data())
def test_packages_that_were_both_tampered_with_are_equal_only_if_their_octets_are(
    data: st.DataObject,
) -> None:
    mutants: list[bytes] = []
    for _ in range(2):
        mutant = bytearray(OCTETS)
        for _ in range(data.draw(st.integers(0, 2))):
            mutant[data.draw(st.integers(len(RICH.signed) - 48, len(OCTETS) - 1))] ^= data.draw(
                st.integers(0, 1)
            )
        mutants.append(bytes(mutant))

    try:
        found = differ(*mutants)
    except FormatError:
        return
    assert found.equal is (mutants[0] == mutants[1])


records = st.sampled_from(
    [
        Remove(path=RootPath(b"/a")),
        Remove(path=RootPath(b"/b")),
        Format(),
        Version(text="1"),
        Version(text="2"),
        MinimumVersion(version=(1,)),
        MinimumVersion(version=(2,)),
        InitialTimeout(timeout=1),
        InitialTimeout(timeout=2),
        UnknownCommand(number=1000, value=b""),
    ]
)


@given(st.lists(records, max_size=7), st.lists(records, max_size=7))
def test_what_is_told_leads_from_the_one_list_to_the_other(before: list[Record], after: list[Record]) -> None:
    found = differ(
        of(*before, payload=b"").encode(),
        of(*after, payload=b"").encode(),
    )

    counted: dict[tuple[str, str | None], int] = {}
    for record in before:
        counted[_shown(record)] = counted.get(_shown(record), 0) + 1
    for change in (*found.commands, *found.gates, *found.timeouts):
        for value, step in ((change.before, -1), (change.after, 1)):
            if value is not None:
                counted[change.name, value] = counted.get((change.name, value), 0) + step
    for record in after:
        counted[_shown(record)] = counted.get(_shown(record), 0) - 1
    assert set(counted.values()) <= {0}
    assert found.equal is (before == after)


def _shown(record: Record) -> tuple[str, str | None]:
    number = f" {record.code}" if isinstance(record, UnknownCommand) else ""
    return record.title + number, summary(record)


def test_a_record_that_nobody_knows_how_to_show_is_a_defect() -> None:
    with pytest.raises(TypeError, match=r"^no summary for Record$"):
        summary(Record())


# The command


def write(directory: Path, before: Draft, after: Draft) -> list[str]:
    (directory / "a").write_bytes(before.encode())
    (directory / "b").write_bytes(after.encode())
    return ["diff", str(directory / "a"), str(directory / "b")]


def test_equal_packages_are_told_by_silence_and_0(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, write(tmp_path, Draft(), Draft()))

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_every_category_is_told_and_10(tmp_path: Path) -> None:
    before = of(
        Version(text="1"),
        MinimumVersion(version=(5,)),
        InitialTimeout(timeout=60),
        FileModes(modes=(0o644,)),
        file("/a", b"A"),
        payload=b"A",
    )
    after = of(
        Version(text="2\x1b"),
        MinimumVersion(version=(6,)),
        InitialTimeout(timeout=0),
        FileModes(modes=(0o755,)),
        file("/a", b"BB"),
        Reboot(),
        payload=b"BB",
    )
    before = replace(before, signers=(signer().identity(),))
    after = replace(after, signers=(second_signer().identity(),))

    result = CliRunner().invoke(main, write(tmp_path, before, after))

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "1 changed, +1 byte\n"
        "header\n"
        f"- command_list_length: {len(before.signed) - 24}\n"
        f"+ command_list_length: {len(after.signed) - 24}\n"
        "- payload_length: 1\n"
        "+ payload_length: 2\n"
        "requirements\n"
        "- Minimum Version: 5\n"
        "+ Minimum Version: 6\n"
        "timeouts\n"
        "- Initial Timeout: 60 s\n"
        "+ Initial Timeout: infinite\n"
        "commands\n"
        '- Version: "1"\n'
        '+ Version: "2\\u001b"\n'
        "+ Reboot\n"
        "signers\n"
        f"- signer: {SIGNER}, sha1\n"
        f"+ signer: {SECOND}, sha1\n"
        "files\n"
        f"- /a  1 byte  SHA-1 {sha1(b'A', usedforsecurity=False).hexdigest()}  0644\n"
        f"+ /a  2 bytes  SHA-1 {sha1(b'BB', usedforsecurity=False).hexdigest()}  0755\n"
    )


def test_a_difference_in_octets_alone_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, write(tmp_path, Draft(), Draft(payload=b"x" * len(CONTENTS))))

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "no file added, removed or changed\n"
        "the bytes differ, although every field is the same: the payloads, from byte 0 on\n"
    )


def test_one_document_has_all_keys(tmp_path: Path) -> None:
    before = of(Version(text="1"), file("/a", b"A"), file("/b", b"B", at=1), payload=b"AB")
    after = of(
        MinimumVersion(version=(6,)),
        InitialTimeout(timeout=0),
        StrongDigests(digests=(Digest.SHA256.of(b"a"), Digest.SHA256.of(b"C"))),
        FileModes(modes=(0, 0o755)),
        file("/a", b"a"),
        file("/c", b"C", at=1),
        payload=b"aC",
    )
    before = replace(before, signers=(signer().identity(),))
    after = replace(after, signers=(second_signer().identity(),))

    result = CliRunner().invoke(main, [*write(tmp_path, before, after), "--json"])

    assert (result.exit_code, result.stderr) == (10, "")
    document = json.loads(result.stdout)
    assert next(iter(document)) == "schema"

    def plain(contents: bytes) -> dict[str, object]:
        digest = sha1(contents, usedforsecurity=False).hexdigest()
        return {"length": 1, "sha1": digest, "sha256": None, "mode": None}

    assert document == {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": False,
        "summary": {"added": 1, "removed": 1, "changed": 1, "octets": 0},
        "header": [
            {
                "name": "command_list_length",
                "before": str(len(before.signed) - 24),
                "after": str(len(after.signed) - 24),
            }
        ],
        "commands": [
            {"name": "Version", "before": '"1"', "after": None},
            {"name": "Strong Digests", "before": None, "after": "SHA-256 of 2 files"},
            {"name": "File Modes", "before": None, "after": "modes of 2 files"},
            {"name": "Extract File", "before": "/b", "after": "/c"},
        ],
        "files": {
            "added": [
                {
                    "path": "/c",
                    "before": None,
                    "after": plain(b"C") | {"sha256": Digest.SHA256.of(b"C").hex(), "mode": "0755"},
                }
            ],
            "removed": [{"path": "/b", "before": plain(b"B"), "after": None}],
            "changed": [
                {
                    "path": "/a",
                    "before": plain(b"A"),
                    "after": plain(b"a") | {"sha256": Digest.SHA256.of(b"a").hex()},
                }
            ],
        },
        "gates": [{"name": "Minimum Version", "before": None, "after": "6"}],
        "timeouts": [{"name": "Initial Timeout", "before": None, "after": "infinite"}],
        "signers": [{"name": "signer", "before": f"{SIGNER}, sha1", "after": f"{SECOND}, sha1"}],
        "encoding": [],
        "warnings": [],
    }


def version(path: str, contents: bytes, kind: type[PayloadCommand] = ExtractVersioned) -> Record:
    return kind(
        path=VersionedPath.of(path),
        hash=sha1(contents, usedforsecurity=False).digest(),
        file_offset=0,
        file_length=len(contents),
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (version("/fw.001", b"A"), version("/fw.001", b"B"), True),
        (version("fw.001", b"A", AddVersioned), version("/fw.001", b"AA"), True),
        (version("/fw.001", b"A"), version("/fw.001", b"A", AddVersioned), False),
        (version("/fw.001", b"A"), version("/fw.002", b"B"), False),
        (version("/fw.001", b"A"), version("/d/fw.001", b"B"), False),
        (version("/fw.001", b"A"), file("/fw.001", b"B"), False),
        (file("/fw.001", b"A"), version("/fw.001", b"B"), False),
    ],
)
def test_other_contents_under_the_extension_of_a_version_are_warned_of(
    tmp_path: Path, before: Record, after: Record, *, told: bool
) -> None:
    one, other = of(before, payload=b"AA"), of(after, payload=b"AA")
    message = "other contents than before under the same extension, which identifies a version"

    found = differ(one.encode(), other.encode()).warnings
    result = CliRunner().invoke(main, [*write(tmp_path, one, other)])

    assert found == (Finding(code="version-contents", message=message, path="/fw.001"),) * told
    assert result.stderr == f"spkg: warning: /fw.001: {message}\n" * told


def test_one_document_says_that_packages_are_equal(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*write(tmp_path, Draft(), Draft()), "--json"])

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": True,
        "summary": {"added": 0, "removed": 0, "changed": 0, "octets": 0},
        "header": [],
        "commands": [],
        "files": {"added": [], "removed": [], "changed": []},
        "gates": [],
        "timeouts": [],
        "signers": [],
        "encoding": [],
        "warnings": [],
    }
