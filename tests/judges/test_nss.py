"""NSS as the judge: cmsutil accepts what we sign, and we read the BER of indefinite length that it writes."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from spkg.common.digests import Digest
from spkg.format.signature_block import EMPTY_BLOCK
from tests.judges.case import (
    FORGED,
    SIGNED,
    accept,
    chained,
    flip,
    intermediate,
    package,
    refusal,
    root,
    second,
    sign,
    signer,
    signers_of,
)
from tests.judges.desk import Desk
from tests.judges.programs import require
from tests.support.sampling import few

pytestmark = pytest.mark.judge("cmsutil", "certutil", "pk12util")

DATABASE = "sql:."
INDEFINITE = b"\x30\x80"
GOOD = "GoodSignature"
OBJECT_SIGNER = ("-u", "6")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An NSS database that has the signer's key, and trusts the root for all there is."""
    require("certutil", "pk12util")
    desk = Desk(tmp_path_factory.mktemp("nss"))
    identity = pkcs12.serialize_key_and_certificates(
        b"signer", signer().key, signer().certificate, None, BestAvailableEncryption(b"x")
    )
    desk.put("signer.p12", identity)
    desk.put("root.pem", root().pem)
    desk.must("certutil", "-N", "-d", DATABASE, "--empty-password")
    desk.must("pk12util", "-i", "signer.p12", "-d", DATABASE, "-W", "x", "-K", "")
    desk.must("certutil", "-A", "-a", "-n", "root", "-t", "C,C,C", "-i", "root.pem", "-d", DATABASE)
    return desk.path


@dataclass(frozen=True)
class Nss:
    """A desk with an NSS database on it."""

    desk: Desk

    def forget_the_root(self) -> None:
        self.desk.must("certutil", "-D", "-n", "root", "-d", DATABASE)

    def judge(self, block: bytes, signed: bytes = SIGNED) -> list[str]:
        """Return what cmsutil says of each signature.

        Its status is no verdict: with -h, which makes it speak of every signature, it is 0 for a bad one too.
        """
        self.desk.put("judged.p7", block)
        self.desk.put("judged", signed)
        outcome = self.desk.run(
            *("cmsutil", "-D", "-h", "9", "-n", "-d", DATABASE),
            *(*OBJECT_SIGNER, "-c", "judged", "-i", "judged.p7"),
        )
        assert "nsigners=" in outcome.text, outcome.stderr
        (count,) = re.findall(r"nsigners=(\d+);", outcome.text)
        verdicts = re.findall(r"signer\d+\.status=(\w+);", outcome.text)
        assert len(verdicts) == int(count)
        return verdicts

    def sign(self, *options: str) -> bytes:
        """Return the detached block that cmsutil writes over the signed octets."""
        self.desk.must(
            *("cmsutil", "-S", "-T", "-N", "signer", "-Y", "NONE", "-d", DATABASE),
            *(*OBJECT_SIGNER, "-i", "signed", "-o", "theirs.p7", *options),
        )
        return self.desk.take("theirs.p7")


@pytest.fixture
def nss(desk: Desk, database: Path) -> Nss:
    for name in ("cert9.db", "key4.db", "pkcs11.txt"):
        shutil.copy(database / name, desk.path)
    return Nss(desk)


class TestOursByTheirs:
    def test_our_signatures_are_accepted(self, nss: Nss, ours: bytes) -> None:
        assert nss.judge(ours) == [GOOD] * len(signers_of(ours))

    def test_every_signature_of_a_block_is_looked_at(self, nss: Nss, ours: bytes) -> None:
        for index, info in enumerate(signers_of(ours)):
            verdicts = nss.judge(flip(ours, ours.index(info) + len(info) - 1))

            assert [number for number, verdict in enumerate(verdicts) if verdict != GOOD] == [index]
            assert verdicts[index] == "BadSignature"

    def test_a_flipped_octet_of_the_contents_is_refused_by_both(self, nss: Nss) -> None:
        block = sign(EMPTY_BLOCK, signer())

        assert nss.judge(block, FORGED) == ["DigestMismatch"]
        assert "the attribute messageDigest does not match" in refusal(block, signed=FORGED)

    def test_a_stranger_is_refused_by_both(self, nss: Nss) -> None:
        block = sign(EMPTY_BLOCK, signer())
        nss.forget_the_root()

        assert nss.judge(block) == ["SigningCertNotTrusted"]
        assert "unable to get local issuer certificate" in refusal(block, second())


each_of_theirs = pytest.mark.parametrize(
    "options", ["-H SHA1", "-H SHA1 -G", "-H SHA1 -G -P", "-H SHA256", "-H SHA256 -G"]
)


class TestTheirsByUs:
    @each_of_theirs
    def test_their_signatures_are_accepted(self, nss: Nss, options: str) -> None:
        block = nss.sign(*options.split())

        (one,) = accept(block).signers

        assert one.subject == "CN=Signer"
        assert f"-H {one.digest.name}" in options

    @each_of_theirs
    def test_their_blocks_of_indefinite_length_survive_a_round_trip(self, nss: Nss, options: str) -> None:
        block = nss.sign(*options.split())

        assert block[:2] == INDEFINITE
        assert package(block).encode() == SIGNED + block

    @each_of_theirs
    def test_their_signatures_do_not_hold_for_a_forgery(self, nss: Nss, options: str) -> None:
        block = nss.sign(*options.split())

        reason = "the signature is not valid"
        if "-G" in options:
            reason = "the attribute messageDigest does not match the header and command list"
        assert refusal(block, signed=FORGED) == f"signature[0]: {reason} [TR-069 E.5]"

    @each_of_theirs
    @pytest.mark.parametrize("digest", few(Digest, every=2, part="judges"))
    def test_our_signature_beside_theirs_leaves_theirs_alone(
        self, nss: Nss, options: str, digest: Digest
    ) -> None:
        block = nss.sign(*options.split())

        both = sign(block, chained(), intermediate(), digest=digest)

        assert set(signers_of(both)) > set(signers_of(block))
        assert len(accept(both, required_signers=2).signers) == 2
        assert nss.judge(both) == [GOOD, GOOD]
