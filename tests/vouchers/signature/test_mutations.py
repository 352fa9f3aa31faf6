"""Octets of genuine vouchers changed, left out and put in: none of them says anything that was not signed.

Most of that is refused.  Some is not, by right: white space between elements, base64 broken elsewhere, names
in X509Data and further certificates are not signed, and say nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from spkg.common.digests import Digest
from spkg.errors import FormatError, UntrustedError
from tests.support.kit import AT
from tests.support.sampling import PROOF, amount, chance, sample
from tests.support.voucher_kit import IPTV, QOS, SCHEMES, policy, signatory, signing_key
from vouchers.model import Voucher
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner
from vouchers.signature.verify import TrustedVoucher, Verifier

pytestmark = pytest.mark.part("vouchers")
CHUNKS: Final = 20
MUTATIONS: Final = amount(1_000_000, 1_000)
"""How many octets are changed at random, over all schemes and chunks."""
SMALL: Final = Voucher(options=(replace(QOS, extra=(("Rate", "8 & <more>"),)),))
MEANT: Final = (SMALL, Voucher(options=(IPTV, QOS)))
VERIFIER: Final = Verifier(policy(*Digest))
"""One for all: paths that are known make it fast, and what is remembered must not matter."""
LIKELY: Final = b"<>&;\"'/=#!?[]- \t\r\n\x00\x7f\x80\xc3\xff0A1aIiZz+.:x"
"""Octets that mean something in XML, or nearly do."""


@cache
def genuine(which: str, digest: Digest, number: int) -> tuple[bytes, TrustedVoucher]:
    """Return a voucher and what it says."""
    who = signatory(which)
    # The small one without the root, which has to be known anyhow.
    octets = VoucherSigner(who if number else replace(who, chain=()), digest).sign(MEANT[number])
    return octets, VERIFIER.verify(read_voucher(octets), AT)


def verdict(octets: bytes, original: TrustedVoucher) -> str:
    """Return what becomes of a changed voucher; that it means what was signed is asserted here."""
    try:
        trusted = VERIFIER.verify(read_voucher(octets), AT)
    except FormatError:
        return "malformed"
    except UntrustedError as exc:
        return "altered" if "contents do not match" in str(exc) else "untrusted"
    assert trusted.voucher == original.voucher
    assert trusted.signer_key == original.signer_key
    assert trusted.path[0] == original.path[0]
    assert trusted.digest is original.digest
    return "the same"


def count(mutants: Iterable[bytes], original: TrustedVoucher) -> Counter[str]:
    return Counter(verdict(octets, original) for octets in mutants)


def with_octet(octets: bytes, position: int, value: int) -> bytes:
    return octets[:position] + bytes((value,)) + octets[position + 1 :]


def changed(octets: bytes, seed: str, wanted: int) -> Iterator[bytes]:
    """Give mutants, each with one octet that is another: any, a likely one, or one bit of it."""
    random = chance(seed)
    for number in range(wanted):
        position = random.randrange(len(octets))
        old = octets[position]
        value = (random.randrange(256), random.choice(LIKELY), old ^ 1 << random.randrange(8))[number % 3]
        yield with_octet(octets, position, old ^ 1 if value == old else value)


schemes = pytest.mark.parametrize(("which", "digest"), SCHEMES)


def test_the_originals_are_accepted() -> None:
    for which, digest in SCHEMES:
        for number, meant in enumerate(MEANT):
            octets, original = genuine(which, digest, number)

            assert original.voucher == meant
            assert verdict(octets, original) == "the same"
    assert len({genuine(*scheme, 0)[1].signer_key for scheme in SCHEMES}) == len(
        {signing_key(which) for which, _ in SCHEMES}
    )


@schemes
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_changed_octet_says_anything_new(which: str, digest: Digest, chunk: int) -> None:
    octets, original = genuine(which, digest, chunk % 2)
    wanted = MUTATIONS // (CHUNKS * len(SCHEMES))

    found = count(changed(octets, f"chunk {chunk}", wanted), original)

    assert found.total() == wanted
    assert set(found) <= {"malformed", "untrusted", "altered", "the same"}
    assert found["malformed"]


@schemes
def test_each_outcome_occurs(which: str, digest: Digest) -> None:
    # Or the counts above would be those of a reader that refuses everything for one reason.
    octets, original = genuine(which, digest, 0)

    found = count(changed(octets, "outcomes", 600), original)

    assert set(found) == {"malformed", "untrusted", "altered", "the same"}


def signed_octets(octets: bytes) -> list[int]:
    """Return where in the small voucher nothing may change: SignedInfo, the signature's value, the Object."""
    signature = range(octets.index(b"<SignedInfo>"), octets.index(b"</SignatureValue>"))
    return [*signature, *range(octets.index(b'Id="option0"'), octets.index(b"</dsig:Object>"))]


@schemes
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_no_octet_is_left_out(which: str, digest: Digest, flip: int) -> None:
    # In the plain suite every octet of one voucher, with one value.
    octets, original = genuine(which, digest, 0)
    places = sample(range(len(octets)), every=1 if (flip, which) == (0x01, "p256") else 59)

    verdicts = {at: verdict(with_octet(octets, at, octets[at] ^ flip), original) for at in places}

    found = Counter(verdicts.values())
    assert [at for at, what in verdicts.items() if what == "the same" and at in signed_octets(octets)] == []
    assert found["malformed"] > found["the same"]


@schemes
def test_no_octet_of_what_is_signed_may_change(which: str, digest: Digest) -> None:
    # Within SignedInfo, the signature and the Objects, but for white space, nothing at all gets through.
    octets, original = genuine(which, digest, 0)

    found = count(
        (
            with_octet(octets, at, octets[at] ^ flip)
            for at in sample(signed_octets(octets), every=1)
            for flip in ((1, 2, 4, 8, 16, 32, 64, 128) if PROOF else (1,))
        ),
        original,
    )

    assert not found["the same"]


@schemes
def test_no_truncation_is_a_voucher(which: str, digest: Digest) -> None:
    octets, original = genuine(which, digest, 0)
    lengths = sample(range(len(octets) - 1), every=59)

    found = count((octets[:length] for length in lengths), original)

    assert found == {"malformed": len(lengths)}
    assert verdict(octets[:-1], original) == "the same"  # the line's end, behind the root


@schemes
def test_no_octet_may_be_left_out(which: str, digest: Digest) -> None:
    octets, original = genuine(which, digest, 0)
    places = sample(range(len(octets)), every=59)

    found = count((octets[:at] + octets[at + 1 :] for at in places), original)

    assert found.total() == len(places)
    assert found["malformed"]
    assert found["the same"] < len(places) / 10


BESIDE_THE_ROOT: Final = 2
"""At how many places a comment may stand: before the root and behind it."""


@schemes
@pytest.mark.parametrize("put", [b" ", b"\n", b"A", b"<", b"&#65;", b"<!---->", b"\x00", b"\xc2\xa0"])
def test_no_octets_may_come_in(which: str, digest: Digest, put: bytes) -> None:
    octets, original = genuine(which, digest, 0)
    places = sample(range(len(octets) + 1), every=197)

    found = count((octets[:at] + put + octets[at:] for at in places), original)

    assert found.total() == len(places)
    if put in {b"<", b"\x00"}:
        assert found == {"malformed": len(places)}
    if put == b"<!---->":
        assert found["the same"] <= BESIDE_THE_ROOT
        assert found["malformed"] == len(places) - found["the same"]
    assert found["malformed"]


@schemes
def test_no_two_octets_change_places(which: str, digest: Digest) -> None:
    octets, original = genuine(which, digest, 1)
    places = [at for at in sample(range(len(octets) - 1), every=83) if octets[at] != octets[at + 1]]

    found = count((octets[:at] + octets[at : at + 2][::-1] + octets[at + 2 :] for at in places), original)

    assert found.total() == len(places)
    assert found["the same"] < len(places) / 4


@pytest.mark.parametrize("chunk", range(4))
def test_no_part_of_one_voucher_fits_into_another(chunk: int) -> None:
    # Two genuine vouchers of one signer, cut at the same place of each and put together.
    random = chance(f"cuts {chunk}")
    which, digest = SCHEMES[chunk]
    octets, original = genuine(which, digest, 1)
    other = VoucherSigner(signatory(which), digest).sign(
        Voucher(options=(replace(IPTV, serial="5001", ident="ALL"), replace(QOS, serial="5002")))
    )
    either = VERIFIER.verify(read_voucher(other), AT)

    for _ in range(amount(5000, 150)):
        start, end = sorted(random.sample(range(min(len(octets), len(other))), 2))
        mixed = octets[:start] + other[start:end] + octets[end:]
        try:
            trusted = VERIFIER.verify(read_voucher(mixed), AT)
        except (FormatError, UntrustedError):
            continue
        assert trusted.voucher in {original.voucher, either.voucher}
