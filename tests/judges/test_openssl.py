"""OpenSSL as the judge: it accepts what we sign, we read what it signs, and both refuse a forgery."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spkg.build.build_plan import plan_build
from spkg.build.builder import build_package
from spkg.build.manifest import load_manifest
from spkg.build.sign import sign_package
from spkg.common.digests import Digest
from spkg.errors import FormatError
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.verify.payload import open_package
from tests.judges.case import (
    END,
    FORGED,
    SIGNED,
    START,
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
from tests.judges.programs import Outcome
from tests.support.kit import AT, SAMPLE, name
from tests.support.sampling import few

pytestmark = pytest.mark.judge("openssl")

both_programs = pytest.mark.parametrize("program", ["cms", "smime"])


def judge(
    desk: Desk, program: str, block: bytes, signed: bytes = SIGNED, trusted: str = "root.pem"
) -> Outcome:
    """Ask OpenSSL at the time of all tests whether *block* is a signature over *signed*."""
    desk.put("judged.p7", block)
    desk.put("judged", signed)
    command = f"openssl {program} -verify -binary -inform DER -in judged.p7 -content judged -purpose any"
    return desk.run(*command.split(), "-CAfile", trusted, "-attime", f"{AT.timestamp():.0f}")


def assert_accepted(desk: Desk, program: str, block: bytes, signed: bytes = SIGNED) -> None:
    outcome = judge(desk, program, block, signed)
    assert (outcome.status, outcome.stdout) == (0, signed), outcome.stderr


def signed_by_openssl(desk: Desk, options: str) -> bytes:
    """Return the detached block that OpenSSL writes over the signed octets."""
    program, *others = options.split()
    command = f"openssl {program} -sign -binary -in signed -outform DER -out theirs.p7"
    desk.must(*command.split(), *others)
    return desk.take("theirs.p7")


class TestOursByTheirs:
    @both_programs
    def test_our_signatures_are_accepted(self, desk: Desk, program: str, ours: bytes) -> None:
        assert_accepted(desk, program, ours)

    @both_programs
    def test_every_signature_of_a_block_is_looked_at(self, desk: Desk, program: str, ours: bytes) -> None:
        # Otherwise the second of two signatures would be accepted unseen.
        for info in signers_of(ours):
            last = ours.index(info) + len(info) - 1

            assert judge(desk, program, flip(ours, last)).status == 4

    @both_programs
    def test_a_built_package_signed_again_is_accepted(self, desk: Desk, program: str) -> None:
        plan = plan_build(load_manifest(SAMPLE / "manifest.toml"))
        with (desk.path / "built.spkg").open("x+b", buffering=0) as output:
            build_package(plan, output, signer().identity())
        with (
            open_package(desk.path / "built.spkg") as (built, payload),
            (desk.path / "signed.spkg").open("xb", buffering=0) as output,
        ):
            sign_package(built, payload, output, second().identity())

        with open_package(desk.path / "signed.spkg") as (judged, _):
            assert len(judged.block.signers) == 2
            assert_accepted(desk, program, judged.block.octets, judged.signed)

    @both_programs
    def test_a_flipped_octet_of_the_contents_is_refused_by_all(self, desk: Desk, program: str) -> None:
        block = sign(EMPTY_BLOCK, signer())

        outcome = judge(desk, program, block, FORGED)

        assert outcome.status == 4
        assert "digest failure" in outcome.stderr or "verification failure" in outcome.stderr
        assert refusal(block, signed=FORGED) == (
            "signature[0]: the attribute messageDigest does not match the header and command list"
            " [TR-069 E.5]"
        )

    @both_programs
    def test_a_stranger_is_refused_by_all(self, desk: Desk, program: str) -> None:
        block = sign(EMPTY_BLOCK, signer())

        outcome = judge(desk, program, block, trusted="second.pem")

        assert outcome.status == 4
        assert "unable to get local issuer certificate" in outcome.stderr
        assert refusal(block, second()) == (
            "signature[0]: CN=Signer: unable to get local issuer certificate: "
            "there is no certificate of CN=Lasting Root [TR-069 E.5]"
        )

    def test_the_block_without_signatures_is_theirs(self, desk: Desk) -> None:
        theirs = desk.must("openssl", "crl2pkcs7", "-nocrl", "-outform", "DER")

        assert theirs.stdout == EMPTY_BLOCK


def put_identity(desk: Desk, subject: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Lay down a key of any kind, and a certificate of the root's for it that has a subjectKeyIdentifier."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(root().certificate.subject)
        .public_key(key.public_key())
        .serial_number(100)
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(root().key, hashes.SHA256())
    )
    desk.put(f"{subject}.pem", certificate.public_bytes(Encoding.PEM))
    desk.put(f"{subject}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


SIGNER = "-signer signer.pem -inkey signer.key"
SECOND = "-signer second.pem -inkey second.key"
THEIRS = [
    f"cms -md sha1 {SIGNER}",
    f"cms -md sha1 {SIGNER} -noattr",
    f"cms -md sha1 {SIGNER} -cades",
    f"cms -md sha1 {SIGNER} -nosmimecap -certfile root.pem",
    f"cms -md sha1 {SIGNER} {SECOND}",
    f"cms -md sha256 {SIGNER}",
    f"smime -md sha1 {SIGNER}",
    f"smime -md sha1 {SIGNER} -noattr",
    f"smime -md sha1 {SIGNER} {SECOND}",
    f"smime -md sha1 {SIGNER} -stream",
]
each_of_theirs = pytest.mark.parametrize("options", THEIRS)


class TestTheirsByUs:
    @each_of_theirs
    def test_their_signatures_are_accepted(self, desk: Desk, options: str) -> None:
        block = signed_by_openssl(desk, options)

        trusted = accept(block)

        names = ["CN=Signer", "CN=Second"] if SECOND in options else ["CN=Signer"]
        digest = Digest.SHA256 if "sha256" in options else Digest.SHA1
        assert [one.subject for one in trusted.signers] == names
        assert {one.digest for one in trusted.signers} == {digest}

    @each_of_theirs
    def test_their_blocks_survive_a_round_trip(self, desk: Desk, options: str) -> None:
        block = signed_by_openssl(desk, options)

        assert package(block).encode() == SIGNED + block

    @each_of_theirs
    def test_their_signatures_do_not_hold_for_a_forgery(self, desk: Desk, options: str) -> None:
        block = signed_by_openssl(desk, options)

        reason = "the attribute messageDigest does not match the header and command list"
        if "-noattr" in options:
            reason = "the signature is not valid"
        assert f"signature[0]: {reason}" in refusal(block, signed=FORGED)

    @each_of_theirs
    @pytest.mark.parametrize("digest", few(Digest, every=2, part="judges"))
    def test_our_signature_beside_theirs_leaves_theirs_alone(
        self, desk: Desk, options: str, digest: Digest
    ) -> None:
        block = signed_by_openssl(desk, options)

        both = sign(block, chained(), intermediate(), digest=digest)

        assert set(signers_of(both)) > set(signers_of(block))
        assert len(signers_of(both)) == len(signers_of(block)) + 1
        assert "CN=Chained" in [one.subject for one in accept(both, required_signers=2).signers]
        assert_accepted(desk, "cms", both)
        assert_accepted(desk, "smime", both)

    @both_programs
    def test_their_signature_beside_ours_is_accepted(self, desk: Desk, program: str) -> None:
        block = sign(EMPTY_BLOCK, signer())
        desk.put("ours.p7", block)
        command = f"openssl {program} -resign -binary -inform DER -in ours.p7 -outform DER -out both.p7"
        desk.must(*command.split(), "-md", "sha1", *SECOND.split())

        both = desk.take("both.p7")

        assert set(signers_of(both)) > set(signers_of(block))
        assert [one.subject for one in accept(both, required_signers=2).signers] == ["CN=Signer", "CN=Second"]
        assert package(both).encode() == SIGNED + both

    @both_programs
    def test_without_its_certificate_a_signer_has_to_be_an_anchor(self, desk: Desk, program: str) -> None:
        block = signed_by_openssl(desk, f"{program} -md sha1 {SIGNER} -nocerts")

        assert load_block(block).certificates == ()
        assert refusal(block) == (
            "signature[0]: the signer's certificate is neither in the block nor an anchor [TR-069 E.5]"
        )
        assert [one.subject for one in accept(block, signer()).signers] == ["CN=Signer"]

    def test_sha256_is_refused_where_the_policy_has_sha1_alone(self, desk: Desk) -> None:
        block = signed_by_openssl(desk, f"cms -md sha256 {SIGNER}")

        assert refusal(block, digests=frozenset({Digest.SHA1})) == (
            "signature[0]: the policy does not accept the digest algorithm sha256 [TR-069 E.5]"
        )

    @both_programs
    def test_their_indefinite_lengths_are_read(self, desk: Desk, program: str) -> None:
        # OpenSSL writes them around contents alone, which its signature does not need: take them out.
        block = signed_by_openssl(desk, f"{program} -nodetach -stream -md sha1 {SIGNER}")
        contents = b"\xa0\x80\x24\x80\x04" + bytes((len(SIGNED),)) + SIGNED + bytes(4)
        assert block.count(contents) == 1

        detached = block.replace(contents, b"")

        assert detached[:2] == b"\x30\x80"
        assert_accepted(desk, program, detached)
        assert [one.subject for one in accept(detached).signers] == ["CN=Signer"]
        assert package(detached).encode() == SIGNED + detached
        assert set(signers_of(sign(detached, second()))) > set(signers_of(detached))

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ("-md md5", "the digest algorithm md5 is not accepted"),
            ("-md sha512", "the digest algorithm sha512 is not accepted"),
            (
                "-md sha1 -keyopt rsa_padding_mode:pss",
                "the signature algorithm rsassa_pss is not RSA with sha1",
            ),
            (
                "-md sha256 -keyopt rsa_padding_mode:pss",
                "the signature algorithm rsassa_pss is not RSA with sha256",
            ),
        ],
    )
    def test_an_algorithm_beside_those_of_the_specification_is_refused(
        self, desk: Desk, options: str, reason: str
    ) -> None:
        block = signed_by_openssl(desk, f"cms {SIGNER} {options}")

        assert_accepted(desk, "cms", block)
        assert refusal(block) == f"signature[0]: {reason} [TR-069 E.5]"

    @pytest.mark.parametrize("digest", ["sha1", "sha256"])
    def test_ecdsa_is_refused(self, desk: Desk, digest: str) -> None:
        put_identity(desk, "curve", ec.derive_private_key(2**200 + 1, ec.SECP256R1()))

        block = signed_by_openssl(desk, f"cms -md {digest} -signer curve.pem -inkey curve.key")

        assert_accepted(desk, "cms", block)
        assert refusal(block) == (
            f"signature[0]: the signature algorithm {digest}_ecdsa is not RSA with {digest} [TR-069 E.5]"
        )

    def test_a_signer_named_by_key_identifier_is_refused(self, desk: Desk) -> None:
        put_identity(desk, "identified", signer().key)

        block = signed_by_openssl(desk, "cms -md sha1 -keyid -signer identified.pem -inkey identified.key")

        assert_accepted(desk, "cms", block)
        assert package(block).encode() == SIGNED + block
        assert refusal(block) == (
            "signature[0]: the signer must be named by issuer and serial number (PKCS #7) [TR-069 E.5]"
        )

    def test_our_signature_beside_one_we_refuse_is_accepted_by_all(self, desk: Desk) -> None:
        put_identity(desk, "identified", signer().key)
        block = signed_by_openssl(desk, "cms -md sha1 -keyid -signer identified.pem -inkey identified.key")

        both = sign(block, second())

        assert set(signers_of(both)) > set(signers_of(block))
        assert [one.subject for one in accept(both).signers] == ["CN=Second"]
        assert_accepted(desk, "cms", both)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ("cms -nodetach", "content_info.content: the content must be absent"),
            ("smime -nodetach", "content_info.content: the content must be absent"),
            ("cms -nodetach -stream", "content_info.content: the content must be absent"),
            ("smime -nodetach -stream", "content_info.content: the content must be absent"),
            ("cms -econtent_type 1.2.3.4", "content_info: the content must be of type data"),
        ],
    )
    def test_a_block_that_is_no_detached_signature_of_data_is_malformed(
        self, desk: Desk, options: str, reason: str
    ) -> None:
        block = signed_by_openssl(desk, f"{options} -md sha1 {SIGNER}")

        with pytest.raises(FormatError, match=rf"signed_data\.{reason} \[TR-069 E\.5\]$"):
            load_block(block)
