"""Sets of trusted certificates: what is used of files and directories, and what is said about the rest."""

import subprocess
from base64 import encodebytes
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from spkg.errors import HostError
from spkg.trust.ber import tlv
from spkg.trust.certificate_files import load_certificates, load_revocation_lists
from spkg.trust.certificates import list_issuer
from spkg.trust.trust_files import TrustSet, load_trust
from spkg.verify.signatures import verify_package
from tests.judges.programs import must
from tests.support.kit import (
    AT,
    Certified,
    Draft,
    authority,
    certify,
    key,
    policy,
    read,
    root,
    second_signer,
    signer,
)
from tests.support.odd_certificates import ODD

MD2: Final = bytes.fromhex("06092a864886f70d010102")
SHA256_WITH_RSA: Final = bytes.fromhex("06092a864886f70d01010b")


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + encodebytes(der) + f"-----END {label}-----\n".encode()


def latin_1(by: Certified | None = None) -> Certified:
    """Return a signer whose name is a T61String in Latin-1."""
    issuer = by or root()
    old, new = b"\x0c\x0bTest Signer", b"\x14\x0bTest S\xfcgner"
    octets = signer().certificate.tbs_certificate_bytes.replace(old, new)
    assert octets != signer().certificate.tbs_certificate_bytes
    signature = issuer.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    algorithm = tlv(0x30, SHA256_WITH_RSA, bytes.fromhex("0500"))
    der = tlv(0x30, octets, algorithm, tlv(0x03, b"\0", signature))
    return Certified(key=signer().key, certificate=x509.load_der_x509_certificate(der))


def with_md2(one: Certified) -> bytes:
    """Return a certificate that claims to be signed with MD2."""
    assert one.der.count(SHA256_WITH_RSA) == 2
    return one.der.replace(SHA256_WITH_RSA, MD2)


def crl(*revoked: Certified) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root().certificate.subject)
        .last_update(AT - timedelta(days=1))
        .next_update(AT + timedelta(days=30))
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(AT).build())
    return builder.sign(root().key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def trusted(tmp_path: Path) -> Callable[[bytes], TrustSet]:
    """Read octets as a file of anchors."""

    def load(octets: bytes) -> TrustSet:
        (tmp_path / "set.pem").write_bytes(octets)
        return load_trust([tmp_path / "set.pem"])

    return load


def said(found: TrustSet, tmp_path: Path) -> list[tuple[str, str]]:
    return [(one.code, one.message.replace(f"{tmp_path}/", "")) for one in found.findings]


# Odd certificates.


def test_a_name_in_latin_1_is_an_anchor_and_signs(trusted: Callable[[bytes], TrustSet]) -> None:
    odd = latin_1()
    found = trusted(root().pem + pem(odd.der))

    verified = verify_package(
        read(Draft(signers=(odd.identity(),)).encode()),
        policy(Certified(key=odd.key, certificate=found.certificates[1])),
        at=AT,
    )

    assert found.findings == ()
    assert [one.subject for one in verified.signers] == ["CN=Test Sügner"]


def test_a_name_in_latin_1_may_be_below_the_anchor(trusted: Callable[[bytes], TrustSet]) -> None:
    odd = latin_1()

    verified = verify_package(read(Draft(signers=(odd.identity(),)).encode()), policy(), at=AT)

    assert [one.subject for one in verified.signers] == ["CN=Test Sügner"]


def test_the_own_signature_of_an_anchor_does_not_matter(trusted: Callable[[bytes], TrustSet]) -> None:
    found = trusted(pem(with_md2(root())))
    anchor = Certified(key=root().key, certificate=found.certificates[0])

    verified = verify_package(read(Draft().encode()), policy(anchor), at=AT)

    assert found.findings == ()
    assert [one.subject for one in verified.signers] == ["CN=Test Signer"]


def test_below_an_anchor_an_unknown_signature_counts_for_nothing() -> None:
    certificate = x509.load_der_x509_certificate(with_md2(signer()))
    odd = Certified(key=signer().key, certificate=certificate)

    with pytest.raises(Exception, match="CN=Test Signer"):
        verify_package(read(Draft(signers=(odd.identity(),)).encode()), policy(), at=AT)


@pytest.mark.parametrize("kind", ODD)
def test_what_can_t_be_used_is_skipped_and_named(
    kind: str, trusted: Callable[[bytes], TrustSet], tmp_path: Path
) -> None:
    found = trusted(root().pem + pem(ODD[kind]()) + second_signer().pem)

    assert found.certificates == (root().certificate, second_signer().certificate)
    ((code, message),) = said(found, tmp_path)
    assert code == "certificate-skipped"
    assert message.startswith("set.pem: skipped the certificate of CN=Test")
    assert ": the certificate can't be read: " in message


def test_if_none_is_left_all_are_named(trusted: Callable[[bytes], TrustSet], tmp_path: Path) -> None:
    odd = ODD["a key of an unknown kind"]()

    with pytest.raises(HostError) as raised:
        trusted(pem(odd) + pem(b"\x30\x00") + pem(odd) * 8)

    message = str(raised.value)
    assert message.startswith(
        f"{tmp_path}/set.pem contains no certificate that can be used: CN=Test Signer: the certificate can't"
    )
    assert "; an unknown subject: the certificate can't be read: " in message
    assert message.endswith("; and 2 more certificates")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda octets: octets.replace(b"MII", b"M!I", 1), "not base64: "),
        (
            lambda octets: octets[: octets.rindex(b"-----END")],
            "cut off: expected '-----END CERT",
        ),
    ],
)
def test_a_block_that_can_t_be_decoded_is_skipped(
    damage: Callable[[bytes], bytes], reason: str, trusted: Callable[[bytes], TrustSet], tmp_path: Path
) -> None:
    found = trusted(root().pem + damage(signer().pem))

    ((code, message),) = said(found, tmp_path)
    assert code == "certificate-skipped"
    assert message.startswith(
        f"set.pem: skipped the certificate of an unknown subject: the certificate can't be read: {reason}"
    )
    assert found.certificates == (root().certificate,)


# Other kinds of blocks.


def test_a_revocation_list_in_the_set_counts(trusted: Callable[[bytes], TrustSet]) -> None:
    found = trusted(root().pem + crl(signer()))

    with pytest.raises(Exception, match="CN=Test Signer: certificate revoked"):
        verify_package(read(Draft().encode()), policy(crls=found.crls), at=AT)


def test_a_revocation_list_that_can_t_be_read_is_an_error(
    trusted: Callable[[bytes], TrustSet], tmp_path: Path
) -> None:
    damaged = crl().replace(b"-----\nMI", b"-----\nAI", 1)

    with pytest.raises(HostError) as raised:
        trusted(root().pem + damaged)

    assert str(raised.value).startswith(f"{tmp_path}/set.pem contains a revocation list that can't be read: ")


def test_a_set_of_lists_alone_is_none(trusted: Callable[[bytes], TrustSet], tmp_path: Path) -> None:
    with pytest.raises(HostError) as raised:
        trusted(crl())

    assert str(raised.value) == f"{tmp_path}/set.pem contains no certificate"
    assert raised.value.hint == "give revocation lists with --crl"


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_certificates_have_several_labels(label: str, trusted: Callable[[bytes], TrustSet]) -> None:
    found = trusted(pem(root().der, label))

    assert found.certificates == (root().certificate,)
    assert found.findings == ()


@pytest.mark.judge("openssl")
def test_trust_settings_of_openssl_are_ignored_and_named(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(root().pem)
    must(
        *["openssl", "x509", "-in", "root.pem", "-trustout", "-addtrust", "serverAuth", "-out", "t.pem"],
        cwd=tmp_path,
    )

    found = load_trust([tmp_path / "t.pem"])

    assert b"TRUSTED CERTIFICATE" in (tmp_path / "t.pem").read_bytes()
    assert found.certificates == (root().certificate,)
    assert load_certificates(tmp_path / "t.pem") == [root().certificate]
    assert said(found, tmp_path) == [
        (
            "trust-settings",
            "t.pem: the trust settings of openssl for CN=Test Root are ignored: it is an anchor",
        )
    ]


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_a_bundle_of_openssl_is_opened(form: str, tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(root().pem + second_signer().pem)
    (tmp_path / "crl.pem").write_bytes(crl(signer()))
    must(
        *[
            "openssl",
            "crl2pkcs7",
            "-in",
            "crl.pem",
            "-certfile",
            "both.pem",
            "-outform",
            form,
            "-out",
            "b.p7b",
        ],
        cwd=tmp_path,
    )

    found = load_trust([tmp_path / "b.p7b"])

    assert set(found.certificates) == {root().certificate, second_signer().certificate}
    assert len(found.crls) == 1
    assert found.findings == ()
    assert len(load_certificates(tmp_path / "b.p7b")) == 2
    assert len(load_revocation_lists(tmp_path / "b.p7b")) == 1


def test_a_bundle_that_is_none_is_named(trusted: Callable[[bytes], TrustSet], tmp_path: Path) -> None:
    bundle = pkcs7.serialize_certificates([signer().certificate], Encoding.DER)
    found = trusted(root().pem + pem(bundle[:-3], "PKCS7") + pem(b"\x30\x00", "CMS") + pem(bundle, "CMS"))

    assert found.certificates == (root().certificate, signer().certificate)
    assert [code for code, _ in said(found, tmp_path)] == ["trust-file-ignored"] * 2
    for _, message in said(found, tmp_path):
        assert message.startswith("set.pem: ignored: not a PKCS #7 bundle: ")


def test_a_private_key_draws_a_warning_without_any_of_it(
    trusted: Callable[[bytes], TrustSet], tmp_path: Path
) -> None:
    secret = key("root").private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    found = trusted(secret + root().pem)

    assert found.certificates == (root().certificate,)
    assert said(found, tmp_path) == [
        ("private-key", "set.pem: ignored a private key: it should not lie among the trusted certificates")
    ]


def test_other_blocks_are_named(trusted: Callable[[bytes], TrustSet], tmp_path: Path) -> None:
    found = trusted(root().pem + pem(b"\x30\x00", "CERTIFICATE REQUEST"))

    assert said(found, tmp_path) == [("trust-file-ignored", "set.pem: ignored: CERTIFICATE REQUEST")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(encoding: str, trusted: Callable[[bytes], TrustSet], tmp_path: Path) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""

    with pytest.raises(HostError) as raised:
        trusted(mark + root().pem.decode().encode(encoding))

    assert str(raised.value) == f"{tmp_path}/set.pem is UTF-16 text, expected PEM in ASCII or UTF-8"
    assert raised.value.hint == f"convert it: iconv -f UTF-16 -t UTF-8 {tmp_path}/set.pem"


@pytest.mark.parametrize("kind", ["certificate", "list", "key"])
def test_a_file_in_der_is_what_it_is(kind: str, tmp_path: Path) -> None:
    octets = {
        "certificate": root().der,
        "list": x509.load_pem_x509_crl(crl()).public_bytes(Encoding.DER),
        "key": key("root").private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    }[kind]
    (tmp_path / "a.der").write_bytes(octets)
    (tmp_path / "b.pem").write_bytes(signer().pem)

    found = load_trust([tmp_path])

    assert len(found.certificates) == (2 if kind == "certificate" else 1)
    assert len(found.crls) == (kind == "list")
    assert said(found, tmp_path) == (
        [("trust-file-ignored", "a.der: ignored: PKCS #12 file or private key")] if kind == "key" else []
    )


# Directories.


def test_of_a_directory_all_regular_files_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "b.pem").write_bytes(second_signer().pem)
    (tmp_path / "a.pem").write_bytes(root().pem)
    (tmp_path / "c.pem").symlink_to("a.pem")
    (tmp_path / ".hidden.pem").write_bytes(signer().pem)
    (tmp_path / "README").write_text("These are our anchors.\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.pem").write_bytes(signer().pem)

    found = load_trust([tmp_path])

    assert found.certificates == (root().certificate, second_signer().certificate)
    assert said(found, tmp_path) == [("trust-file-ignored", "README: ignored: it has no certificate")]


def test_a_directory_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError) as raised:
        load_trust([tmp_path])

    assert str(raised.value) == f"{tmp_path} contains no certificate"


@pytest.mark.judge("openssl")
def test_openssl_trusts_the_same_of_a_bundle_with_an_odd_member(tmp_path: Path) -> None:
    odd = latin_1()
    md2 = with_md2(authority("Other", with_key="other"))
    (tmp_path / "set.pem").write_bytes(pem(odd.der) + pem(md2) + root().pem)
    (tmp_path / "leaf.pem").write_bytes(certify("Leaf", root()).pem)

    judged = subprocess.run(
        ["openssl", "verify", "-CAfile", "set.pem", "-attime", str(int(AT.timestamp())), "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    found = load_trust([tmp_path / "set.pem"])
    assert judged.stdout == "leaf.pem: OK\n"
    assert (len(found.certificates), found.findings) == (3, ())


# Revocation lists that are odd.


def odd_list(old: bytes, new: bytes) -> x509.CertificateRevocationList:
    """Return a list of the root with some octets exchanged, signed again."""
    plain = x509.load_pem_x509_crl(crl(signer()))
    octets = plain.tbs_certlist_bytes.replace(old, new)
    assert octets != plain.tbs_certlist_bytes
    algorithm = tlv(0x30, MD2 if new == MD2 else SHA256_WITH_RSA, bytes.fromhex("0500"))
    signature = root().key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    return x509.load_der_x509_crl(tlv(0x30, octets, algorithm, tlv(0x03, b"\0", signature)))


def test_a_list_whose_issuer_has_a_name_in_latin_1_is_read(trusted: Callable[[bytes], TrustSet]) -> None:
    odd = odd_list(b"\x0c\x09Test Root", b"\x14\x09T\xe9st Root")

    found = trusted(root().pem + pem(odd.public_bytes(Encoding.DER), "X509 CRL"))

    assert list_issuer(found.crls[0]).rfc4514_string() == "CN=Tést Root"
    with pytest.raises(ValueError, match="the Name can't be read"):
        list_issuer(odd_list(b"\x0c\x09Test Root", b"\x0c\x09T\xe9st Root"))


def test_a_list_that_is_signed_in_an_unknown_way_fails_closed() -> None:
    odd = odd_list(SHA256_WITH_RSA, MD2)

    with pytest.raises(Exception, match="list of CN=Test Root is signed with the algorithm 1"):
        verify_package(read(Draft().encode()), policy(crls=(odd,)), at=AT)
