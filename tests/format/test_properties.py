"""What holds for all inputs: no octets crash the reader, and everything that is accepted comes back."""

import io
from hashlib import sha1

from hypothesis import example, given
from hypothesis import strategies as st

from spkg.common.reader import Reader
from spkg.errors import FormatError, SpkgError
from spkg.format.commands import RECORDS, Layout, PayloadCommand, Record, UnknownCommand, decode
from spkg.format.package import MAX_COMMAND_LIST, Header, Package, encode_commands, survey
from spkg.format.paths import RootPath
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust.ber import read_element
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, policy, read

GOOD = Draft().encode()
FRONT = len(Draft().front)

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in {".", "..", ".spkg"}
)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: RootPath.of("/" + "/".join(parts)))
u32 = st.integers(0, (1 << 32) - 1)
unknown = st.builds(
    UnknownCommand,
    number=u32.filter(lambda number: number not in RECORDS),
    value=st.binary(max_size=40),
)


@given(st.binary(max_size=400))
@example(GOOD)
def test_no_octets_raise_anything_but_our_errors(octets: bytes) -> None:
    try:
        package = Package.read(io.BytesIO(octets))
    except FormatError:
        return
    assert octets.startswith(package.encode())


@given(st.data())
def test_no_mutation_of_a_package_raises_anything_but_our_errors(data: st.DataObject) -> None:
    octets = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, FRONT - 1))
        replacement = data.draw(st.binary(max_size=8))
        octets[place : place + data.draw(st.integers(0, 8))] = replacement

    try:
        package = read(bytes(octets))
        assert bytes(octets).startswith(package.encode())
        verify_package(package, policy(), at=AT)
    except SpkgError as exc:
        assert str(exc)  # noqa: PT017 - most mutations end here, some do not


@given(st.binary(max_size=300), st.sampled_from(sorted(RECORDS)))
def test_every_value_that_is_accepted_encodes_back(value: bytes, code: int) -> None:
    reader = Reader(io.BytesIO(value), section="E.4")
    try:
        with reader.within(len(value), "value", "E.4"):
            record = decode(code, reader)
    except FormatError:
        return

    assert record.encode() == value


@given(
    path=paths,
    skip=st.integers(0, 30),
    between=st.binary(max_size=20),
    behind=st.binary(max_size=20),
    hash_first=st.booleans(),
)
def test_any_layout_of_located_fields_comes_back(
    path: RootPath, skip: int, between: bytes, behind: bytes, *, hash_first: bool
) -> None:
    digest = sha1(b"", usedforsecurity=False).digest()
    lead = bytes(skip)
    first, second = (digest, path.octets) if hash_first else (path.octets, digest)
    value_end = lead + first + between + second + behind
    one, other = 32 + len(lead), 32 + len(lead) + len(first) + len(between)
    path_at, hash_at = (other, one) if hash_first else (one, other)
    numbers = (0, path_at, len(path.octets), 1, hash_at, 20, 0, 0)
    value = b"".join(number.to_bytes(4, "big") for number in numbers) + value_end
    reader = Reader(io.BytesIO(value), section="E.4")

    with reader.within(len(value), "value", "E.4.3"):
        record = decode(1, reader)

    assert isinstance(record, PayloadCommand)
    assert record.path == path
    assert record.encode() == value
    packed = not (lead or between or behind or hash_first)
    assert (record.layout is None) == packed
    assert packed or isinstance(record.layout, Layout)


@given(st.lists(unknown, max_size=20), st.binary(max_size=30))
def test_unknown_commands_come_back_octet_for_octet(records: list[Record], payload: bytes) -> None:
    commands = encode_commands(records)
    header = Header(minor=7, command_list_length=len(commands), payload_length=len(payload))
    octets = header.encode() + commands + EMPTY_BLOCK

    package = read(octets + payload)

    assert package.records == tuple(records)
    assert package.encode() == octets


@given(st.binary(max_size=200))
def test_a_block_that_is_read_is_kept(octets: bytes) -> None:
    try:
        block = load_block(octets)
    except FormatError:
        return
    assert block.octets == octets


@given(st.binary(min_size=1, max_size=80))
def test_an_element_ends_where_its_framing_says(octets: bytes) -> None:
    try:
        element = read_element(Reader(io.BytesIO(octets), section="E.5"), "element")
        der = element.der()
    except FormatError:
        return

    again = read_element(Reader(io.BytesIO(der), section="E.5"), "element")

    assert octets.startswith(element.octets)
    assert again.der() == der == again.octets


@given(st.binary(max_size=MAX_COMMAND_LIST // 100))
def test_a_survey_reads_no_octet_of_the_payload(payload: bytes) -> None:
    draft = Draft(records=(), payload=payload)
    stream = io.BytesIO(draft.encode())

    survey(stream)

    assert stream.tell() == len(draft.front)
