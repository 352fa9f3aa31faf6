"""GnuTLS as the judge: certtool accepts what we sign, we read what it signs, and both refuse a forgery."""

import re

import pytest

from spkg.common.digests import Digest
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from tests.judges.case import (
    FORGED,
    SIGNED,
    accept,
    chained,
    flip,
    intermediate,
    old_root,
    old_signer,
    package,
    refusal,
    second,
    sign,
    signer,
    signers_of,
)
from tests.judges.desk import Desk

pytestmark = pytest.mark.judge("certtool")

ACCEPTED = "ok"
REFUSED = "verification failed: Public key signature verification has failed."


def judge(
    desk: Desk, block: bytes, *options: str, signed: bytes = SIGNED, trusted: str = "root.pem"
) -> list[str]:
    """Return what certtool, which goes by the clock of the machine, says of each signature.

    Its status is that of the last signature alone, whatever became of those before it.
    """
    desk.put("judged.p7", block)
    desk.put("judged", signed)
    command = "certtool --p7-verify --inder --infile judged.p7 --load-data judged --load-ca-certificate"
    outcome = desk.run(*command.split(), trusted, *options)
    verdicts = re.findall(r"^\tSignature status: (.*)$", outcome.stderr, re.MULTILINE)
    assert len(verdicts) == len(signers_of(block)), outcome.stderr
    return verdicts


def signed_by_certtool(desk: Desk, *options: str) -> bytes:
    """Return the detached block that certtool writes over the signed octets."""
    command = "certtool --p7-detached-sign --load-certificate signer.pem --load-privkey signer.key"
    desk.must(*command.split(), "--infile", "signed", "--outder", "--outfile", "theirs.p7", *options)
    return desk.take("theirs.p7")


class TestOursByTheirs:
    def test_our_signatures_are_accepted(self, desk: Desk, ours: bytes) -> None:
        assert judge(desk, ours) == [ACCEPTED] * len(signers_of(ours))

    def test_every_signature_of_a_block_is_looked_at(self, desk: Desk, ours: bytes) -> None:
        infos = signers_of(ours)
        for index, info in enumerate(infos):
            expected = [ACCEPTED] * len(infos)
            expected[index] = REFUSED

            assert judge(desk, flip(ours, ours.index(info) + len(info) - 1)) == expected

    def test_certificates_signed_with_sha1_take_a_word_more(self, desk: Desk) -> None:
        desk.put("old.pem", old_root().pem)
        block = sign(EMPTY_BLOCK, old_signer())

        assert judge(desk, block, trusted="old.pem") == [REFUSED]
        assert judge(desk, block, "--verify-allow-broken", trusted="old.pem") == [ACCEPTED]
        assert [one.subject for one in accept(block, old_root()).signers] == ["CN=Old Signer"]

    def test_a_flipped_octet_of_the_contents_is_refused_by_both(self, desk: Desk) -> None:
        block = sign(EMPTY_BLOCK, signer())

        assert judge(desk, block, "--verify-allow-broken", signed=FORGED) == [REFUSED]
        assert "the attribute messageDigest does not match" in refusal(block, signed=FORGED)

    def test_a_stranger_is_refused_by_both(self, desk: Desk) -> None:
        block = sign(EMPTY_BLOCK, signer())

        assert judge(desk, block, "--verify-allow-broken", trusted="second.pem") == [REFUSED]
        assert "unable to get local issuer certificate" in refusal(block, second())


THEIRS = [
    ("--hash=sha1",),
    ("--hash=sha1", "--p7-time"),
    ("--hash=sha256",),
    ("--hash=sha256", "--p7-time"),
]
each_of_theirs = pytest.mark.parametrize("options", THEIRS, ids=" ".join)


class TestTheirsByUs:
    @each_of_theirs
    def test_their_signatures_are_accepted(self, desk: Desk, options: tuple[str, ...]) -> None:
        block = signed_by_certtool(desk, *options)

        (one,) = accept(block).signers

        assert (one.subject, f"--hash={one.digest.value}") == ("CN=Signer", options[0])

    @each_of_theirs
    def test_their_blocks_survive_a_round_trip(self, desk: Desk, options: tuple[str, ...]) -> None:
        block = signed_by_certtool(desk, *options)

        assert package(block).encode() == SIGNED + block

    @each_of_theirs
    def test_their_signatures_do_not_hold_for_a_forgery(self, desk: Desk, options: tuple[str, ...]) -> None:
        block = signed_by_certtool(desk, *options)

        reason = "the signature is not valid"
        if "--p7-time" in options:
            reason = "the attribute messageDigest does not match the header and command list"
        assert refusal(block, signed=FORGED) == f"signature[0]: {reason} [TR-069 E.5]"

    @each_of_theirs
    @pytest.mark.parametrize("digest", Digest)
    def test_our_signature_beside_theirs_leaves_theirs_alone(
        self, desk: Desk, options: tuple[str, ...], digest: Digest
    ) -> None:
        block = signed_by_certtool(desk, *options)

        both = sign(block, chained(), intermediate(), digest=digest)

        assert set(signers_of(both)) > set(signers_of(block))
        assert len(accept(both, required_signers=2).signers) == 2
        assert judge(desk, both) == [ACCEPTED, ACCEPTED]

    @each_of_theirs
    def test_without_its_certificate_a_signer_has_to_be_an_anchor(
        self, desk: Desk, options: tuple[str, ...]
    ) -> None:
        block = signed_by_certtool(desk, *options, "--no-p7-include-cert")

        assert load_block(block).certificates == ()
        assert refusal(block) == (
            "signature[0]: the signer's certificate is neither in the block nor an anchor [TR-069 E.5]"
        )
        assert [one.subject for one in accept(block, signer()).signers] == ["CN=Signer"]
