"""The signature block: what is read, what is kept, what is written."""

import io
import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spkg.build.sign import add_signature, check_front_matter, sign_package
from spkg.common.digests import Digest
from spkg.common.reader import Reader
from spkg.errors import FormatError, RefusedError, UntrustedError
from spkg.format.signature_block import EMPTY_BLOCK, add_signer, load_block, readable_name, signed_attributes
from spkg.trust.ber import MAX_BER_ELEMENTS, MAX_BLOCK, MAX_DER, read_element, set_of, tlv
from spkg.trust.certificates import certificate_id
from spkg.verify.payload import Payload
from tests.support.kit import (
    AT,
    CONTENT_TYPE,
    Draft,
    attribute,
    attributes,
    certify,
    craft_block,
    craft_signer,
    name,
    read,
    root,
    second_signer,
    signer,
)

SIGNED = Draft().signed


def element(octets: bytes) -> bytes:
    return read_element(Reader(io.BytesIO(octets), section="E.5"), "element").der()


def refusal(octets: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        load_block(octets)
    return str(caught.value)


# What is written.


def test_the_empty_block_is_the_fixed_sequence() -> None:
    block = load_block(EMPTY_BLOCK)

    assert len(EMPTY_BLOCK) == 37
    assert (block.version, block.signers, block.certificates, block.digest_algorithms) == (1, (), (), ())


def test_a_signature_repeats_octet_for_octet() -> None:
    once, again = (add_signature(load_block(EMPTY_BLOCK), SIGNED, signer().identity(root())) for _ in "12")

    assert once == again


def test_who_does_not_say_which_digest_signs_with_sha_1(tmp_path: Path) -> None:
    draft = Draft(signers=())
    signed = tmp_path / "signed.spkg"
    payload = Payload(io.BytesIO(draft.payload), offset=0, length=len(draft.payload))

    with signed.open("xb", buffering=0) as output:
        sign_package(read(draft.encode()), payload, output, signer().identity())

    (info,) = read(signed.read_bytes()).block.signers
    assert info.digest_algorithm.name == "sha1"
    assert info.signed_attributes == tlv(0x31, *attributes(SIGNED, Digest.SHA1))


@pytest.mark.parametrize("octets", [b"\x3f\x10\x00", b"\x1f\x30\x00", b"\xbf\x81\x00\x00"])
def test_an_identifier_of_several_octets_is_refused(octets: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read_element(Reader(io.BytesIO(octets), section="E.5"), "element")

    assert str(caught.value) == "offset 0x0000: element: tags above 30 are not supported [TR-069 E.5]"


def test_a_signature_has_the_two_attributes_and_no_time() -> None:
    block = load_block(add_signature(load_block(EMPTY_BLOCK), SIGNED, signer().identity()))

    (info,) = block.signers
    assert info.signed_attributes == tlv(0x31, *attributes(SIGNED))
    assert info.signing_time is None
    assert info.digest_algorithm.parameters == b"\x05\x00"


def test_a_signing_time_is_stated_where_it_is_asked_for() -> None:
    octets = add_signature(load_block(EMPTY_BLOCK), SIGNED, signer().identity(), signing_time=AT)

    assert load_block(octets).signers[0].signing_time == AT


def test_the_block_is_der_however_it_was_before() -> None:
    loose = craft_block(
        *(craft_signer(SIGNED, who, attributes=attributes(SIGNED)) for who in (second_signer(), root())),
        certificates=sorted([root(), second_signer()], key=lambda who: who.der, reverse=True),
    )

    octets = add_signature(load_block(loose), SIGNED, signer().identity())

    block = load_block(octets)
    infos = [info.octets for info in block.signers]
    assert infos == sorted(infos)
    assert list(block.certificate_octets) == sorted(block.certificate_octets)
    assert element(octets) == octets


def test_every_older_signer_and_certificate_stays_octet_for_octet() -> None:
    crl = tlv(0x30, tlv(4, b"a revocation list nobody reads"))
    open_ended = b"\x30\x80" + craft_signer(SIGNED, root(), attributes=None)[4:] + b"\x00\x00"
    strict = craft_signer(SIGNED, second_signer(), attributes=attributes(SIGNED))
    before = craft_block(open_ended, strict, certificates=(root(),), extra=tlv(0xA1, crl), version=3)

    block = load_block(add_signature(load_block(before), SIGNED, signer().identity()))

    assert {open_ended, strict} < {info.octets for info in block.signers}
    assert set(block.certificate_octets) == {root().der, signer().der}
    assert block.crl_octets == (crl,)
    assert block.version == 3


def test_a_second_digest_is_listed_and_the_first_stays() -> None:
    first = add_signature(load_block(EMPTY_BLOCK), SIGNED, signer().identity())

    block = load_block(add_signature(load_block(first), SIGNED, signer().identity(), digest=Digest.SHA256))

    assert sorted(algorithm.name for algorithm in block.digest_algorithms) == ["sha1", "sha256"]
    assert len(block.signers) == 2
    assert block.certificate_octets == (signer().der,)


def test_a_digest_that_is_listed_is_not_listed_twice() -> None:
    bare = tlv(0x31, tlv(0x30, bytes.fromhex("06052b0e03021a")))
    info = craft_signer(SIGNED, second_signer(), attributes=None)
    before = load_block(craft_block(info, certificates=(second_signer(),), digest_algorithms=bare))

    block = load_block(add_signature(before, SIGNED, signer().identity()))

    assert [algorithm.parameters for algorithm in block.digest_algorithms] == [b""]


def test_nobody_signs_the_same_twice() -> None:
    once = add_signature(load_block(EMPTY_BLOCK), SIGNED, signer().identity())

    with pytest.raises(RefusedError, match="CN=Test Signer has already signed this package with sha1"):
        add_signature(load_block(once), SIGNED, signer().identity())


@pytest.mark.parametrize("weak", ["tiny", "exponent3"])
def test_no_signature_is_made_that_no_verifier_would_take(weak: str) -> None:
    with pytest.raises(UntrustedError, match="an RSA key"):
        add_signature(load_block(EMPTY_BLOCK), SIGNED, certify("Weak", root(), with_key=weak).identity())


def test_a_front_matter_over_150_000_octets_is_not_written() -> None:
    check_front_matter(bytes(100_000), bytes(50_000))

    with pytest.raises(FormatError) as caught:
        check_front_matter(bytes(100_000), bytes(50_001))
    assert str(caught.value) == (
        "header, command list and signatures would have 150001 bytes, the limit is 150000 [TR-069 E.5]"
    )


def test_attributes_are_in_the_order_of_der_whatever_the_digest() -> None:
    for digest, moment in itertools.product(Digest, (None, datetime(2049, 12, 31, tzinfo=UTC))):
        octets = signed_attributes(digest.of(b"anything"), moment)

        parsed = read_element(Reader(io.BytesIO(octets), section="E.5"), "attributes").children()
        assert [one.octets for one in parsed] == sorted(one.octets for one in parsed)


# What is read.


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (tlv(0x17, b"260601120000Z"), AT),
        (tlv(0x18, b"20260601120000Z"), AT),
        (tlv(0x17, b"not a time"), None),
        (tlv(4, b"260601120000Z"), None),
    ],
)
def test_a_signing_time_that_can_not_be_read_is_none(time: bytes, shown: datetime | None) -> None:
    claimed = attribute(bytes.fromhex("06092a864886f70d010905"), time)
    info = craft_signer(SIGNED, signer(), attributes=[*attributes(SIGNED), claimed])

    assert load_block(craft_block(info)).signers[0].signing_time == shown


def test_what_is_no_certificate_is_kept_and_not_used() -> None:
    other = tlv(0xA2, b"\x30\x00")
    large = tlv(0x30, tlv(4, bytes(MAX_DER)))
    block = craft_block(extra=tlv(0xA0, other, large, signer().der))

    assert load_block(block).certificate_octets == (other, large, signer().der)
    assert load_block(block).certificates == (signer().der,)


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "signature_block: needs 2 bytes, only 0 left"),
        (b"\x30", "signature_block: needs 2 bytes, only 1 left"),
        (EMPTY_BLOCK + b"\x00", "1 unexpected bytes at the end"),
        (tlv(0x31), "signature_block: expected tag 0x30, got 0x31"),
        (tlv(0x30), "signature_block: expected 2 fields, got 0"),
        (EMPTY_BLOCK.replace(b"\x07\x02", b"\x07\x03"), "the content must be of type signedData"),
        (craft_block(extra=tlv(4)), "signerInfos must be the last field"),
        (craft_block(content=b""), "the content must be of type data"),
        (craft_block(tlv(4, b"x")), "expected tag 0x30, got 0x04"),
        (craft_block(tlv(0x30)), "fields are missing"),
        (craft_block(digest_algorithms=tlv(0x31, tlv(0x30))), "the algorithm is missing"),
        (craft_block(digest_algorithms=tlv(0x31, tlv(0x30, tlv(6, b"")))), "object identifier"),
        (
            craft_block(digest_algorithms=tlv(0x31, tlv(0x30, tlv(6, b"\x2a\x80\x01")))),
            "the object identifier is not in DER",
        ),
        (craft_block(content=tlv(6, b"\x2a\x86")), "object identifier"),
        (craft_block(version=0), "expected version 1, 3, 4 or 5, got 0"),
        (b"\x24\x80" + EMPTY_BLOCK + b"\x00\x00", "expected tag 0x30, got 0x24"),
        (b"\x30\x80\x00\x81\x00", "unexpected end mark"),
        (b"\x30\x02\x00\x00", "unexpected end mark"),
        (b"\x04\x80\x00\x00", "a primitive element must not have an indefinite length"),
        (b"\x30\x80" + b"\x04\x00" * 100, "needs 2 bytes, only 0 left"),
    ],
)
def test_what_is_no_block_is_refused_with_its_reason(octets: bytes, problem: str) -> None:
    assert problem in refusal(octets)


def test_a_signer_without_the_signature_is_refused() -> None:
    info = craft_signer(SIGNED, signer(), attributes=None)
    longer = tlv(0x30, info[4:], tlv(0xA1), tlv(0xA1))

    assert "the signature is not in the expected place" in refusal(craft_block(longer))


def test_a_serial_number_of_33_octets_is_refused() -> None:
    sid = tlv(0x30, name("x").public_bytes(), tlv(2, b"\x01" * 33))

    assert "expected a number of 1 to 32 bytes, got 33" in refusal(
        craft_block(craft_signer(SIGNED, signer(), sid=sid))
    )


def test_more_elements_than_any_block_needs_are_refused() -> None:
    many = b"\x30\x80" + b"\x04\x00" * MAX_BER_ELEMENTS + b"\x00\x00"

    assert f"more than {MAX_BER_ELEMENTS} elements" in refusal(many)


def test_a_block_of_a_mebibyte_is_read_and_no_larger_one() -> None:
    filler = MAX_BLOCK - len(craft_block()) - 22
    largest = craft_block(extra=tlv(0xA0, tlv(0xA2, bytes(filler))))
    assert MAX_BLOCK - 16 <= len(largest) <= MAX_BLOCK

    assert load_block(largest).octets == largest
    assert "exceed the limit of 1048576" in refusal(craft_block(extra=tlv(0xA0, tlv(0xA2, bytes(MAX_BLOCK)))))


def test_an_octet_string_in_pieces_is_one() -> None:
    pieces = b"\x24\x80" + tlv(4, b"ab") + tlv(0x24, tlv(4, b"c"), tlv(4, b"")) + b"\x00\x00"

    assert element(pieces) == tlv(4, b"abc")


def test_an_octet_string_of_other_pieces_is_refused() -> None:
    with pytest.raises(FormatError, match="expected tag 0x04, got 0x02"):
        element(tlv(0x24, tlv(2, b"\x01")))


def test_children_of_a_primitive_element_are_refused() -> None:
    primitive = read_element(Reader(io.BytesIO(tlv(4, b"abc")), section="E.5"), "element")

    with pytest.raises(FormatError, match="expected a constructed element, got a primitive one"):
        primitive.children()


def test_definite_lengths_nest_no_deeper_than_32() -> None:
    nested = tlv(4, b"x")
    for _ in range(33):
        nested = tlv(0x30, nested)

    with pytest.raises(FormatError, match="nested more than 32 levels deep"):
        element(nested)


def test_a_set_has_each_element_once_and_in_order() -> None:
    assert set_of([tlv(4, b"b"), tlv(4, b"a"), tlv(4, b"b")]) == tlv(0x31, tlv(4, b"a"), tlv(4, b"b"))


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65530])
def test_lengths_are_the_shortest(size: int) -> None:
    width = 2 if size > 255 else 1
    longest = b"\x04\x84" + size.to_bytes(4, "big") + bytes(size)
    short = bytes((4, size)) if size < 128 else bytes((4, 0x80 | width)) + size.to_bytes(width, "big")

    assert element(longest) == short + bytes(size)
    assert tlv(4, bytes(size)) == short + bytes(size)


def test_what_is_larger_than_a_certificate_may_be_is_not_turned_into_der() -> None:
    assert len(element(tlv(4, bytes(MAX_DER - 4)))) == MAX_DER
    with pytest.raises(FormatError, match="65537 bytes exceed the limit of 65536"):
        element(tlv(4, bytes(MAX_DER - 3)))


# Names.


def test_a_certificate_is_known_by_issuer_and_serial() -> None:
    assert certificate_id(signer().der) == (root().certificate.subject.public_bytes(), 1000)


def test_what_is_no_certificate_has_no_id() -> None:
    with pytest.raises(FormatError, match=r"not an X\.509 certificate"):
        certificate_id(b"\x30\x00")


def test_an_object_identifier_of_65_octets_is_refused_before_it_is_decoded() -> None:
    for size, problem in (
        (64, "the content must be of type signedData"),
        (65, "an object identifier must have at most 64 bytes"),
    ):
        block = tlv(0x30, tlv(6, b"\x2a" + b"\x81" * (size - 2) + b"\x01"), tlv(0xA0, b""))
        with pytest.raises(FormatError, match=problem):
            load_block(block)


def test_a_name_that_nothing_can_read_is_shown_in_hex_whatever_is_wrong_with_it() -> None:
    # An object identifier without octets, a string that is none, and a name that is too long to be shown.
    for octets, shown in (
        (tlv(0x30, tlv(0x31, tlv(0x30, tlv(6, b""), tlv(0x13, b"x")))), "#3009310730050600130178"),
        (
            tlv(0x30, tlv(0x31, tlv(0x30, tlv(6, b"\x55\x04\x03"), tlv(0x30, b"")))),
            "#300b3109300706035504033000",
        ),
        (tlv(0x30, bytes(5000)), "#30821388" + "00" * 60 + "…"),
    ):
        assert readable_name(octets) == shown


def test_a_64th_signature_is_made_and_no_65th() -> None:
    signed = Draft().signed
    infos = [
        craft_signer(
            signed, signer(), attributes=[*attributes(signed), attribute(CONTENT_TYPE, tlv(4, bytes((one,))))]
        )
        for one in range(64)
    ]
    add = second_signer().identity()

    assert len(load_block(add_signature(load_block(craft_block(*infos[:63])), signed, add)).signers) == 64
    with pytest.raises(FormatError, match="more than 64 elements"):
        add_signature(load_block(craft_block(*infos)), signed, add)


def test_a_name_reads_as_in_rfc_4514_or_in_hex() -> None:
    assert readable_name(name("one", "two").public_bytes()) == "CN=two,CN=one"
    assert readable_name(b"\x31\x00") == "#3100"


def test_a_block_knows_whose_certificate_a_signer_names() -> None:
    info = craft_signer(SIGNED, signer(), attributes=None)
    with_junk = craft_block(info, extra=tlv(0xA0, tlv(0x30, b"\x04\x00"), signer().der))

    assert load_block(with_junk).subject_of(load_block(with_junk).signers[0]) == "CN=Test Signer"
    assert load_block(craft_block(info)).subject_of(load_block(craft_block(info)).signers[0]) is None


def test_an_algorithm_that_has_no_name_shows_its_number() -> None:
    odd = tlv(0x31, tlv(0x30, tlv(6, bytes.fromhex("2a0304"))))

    (algorithm,) = load_block(craft_block(digest_algorithms=odd)).digest_algorithms

    assert algorithm.name == "1.2.3.4"


def test_the_signers_certificate_goes_in_once_with_its_chain() -> None:
    block = load_block(EMPTY_BLOCK)

    octets = add_signer(
        block, craft_signer(SIGNED, signer()), Digest.SHA1, [signer().der, root().der, signer().der]
    )

    assert set(load_block(octets).certificate_octets) == {signer().der, root().der}
