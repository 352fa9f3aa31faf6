"""Certificates: what is read of them, and what they may cost."""

from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID

from spkg.errors import FormatError
from spkg.trust.certificates import (
    MAX_EXTENSIONS,
    MAX_X501_NAME,
    certificate_id,
    read_certificate,
    serial_text,
)
from spkg.verify.signatures import verify_package
from tests.judges.programs import must
from tests.support.kit import AT, Certified, Draft, certify, key, name, policy, read, root, signer


def named(units: int, last: int = 1) -> bytes:
    """Return a certificate whose Names have many organizational units."""
    unit = NameOID.ORGANIZATIONAL_UNIT_NAME
    parts = [x509.NameAttribute(unit, "x" * 50) for _ in range(units)]
    whole = x509.Name([*parts, x509.NameAttribute(unit, "x" * last)])
    builder = x509.CertificateBuilder(whole, name("Issuer"), key("signer").public_key(), 1, AT, AT)
    return Certified(key=key("signer"), certificate=builder.sign(key("signer"), hashes.SHA256())).der


def extended(size: int) -> bytes:
    """Return a certificate with an extension of *size* octets that nobody knows."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.9999.1"), bytes(size))
    return certify("x", ca=None, usage=None, purposes=None, extension=unknown).der


def numbered(serial: int) -> Certified:
    """Return the signer's certificate with a number that none should have."""
    changed = asn1_x509.Certificate.load(signer().der)
    changed["tbs_certificate"]["serial_number"] = serial
    octets = changed["tbs_certificate"].dump(force=True)
    changed["signature_value"] = root().key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    with pytest.warns(UserWarning, match="serial"):
        certificate = x509.load_der_x509_certificate(changed.dump(force=True))
    return Certified(key=signer().key, certificate=certificate)


def refusal(octets: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        read_certificate(octets)
    return caught.value.problem


def test_a_certificate_is_what_it_was() -> None:
    assert read_certificate(signer().der) == signer().certificate
    assert certificate_id(signer().der) == (name("Test Root").public_bytes(), 1000)


@pytest.mark.parametrize(
    "octets", [b"", b"\x30\x00", b"\x30\x02\x30\x00", signer().der[:-1], signer().der + b"\0"]
)
def test_what_is_none_is_refused(octets: bytes) -> None:
    assert refusal(octets).startswith("the certificate can't be read: ")


def test_a_name_has_a_largest_size() -> None:
    # A part of 50 octets makes 61, with all around it; lengths of two octets and the last part make the rest.
    read_certificate(named(16, MAX_X501_NAME - 16 * 61 - 4 - 11))
    assert refusal(named(16, MAX_X501_NAME - 16 * 61 - 4 - 10)).endswith(
        "a Name of 1025 bytes exceeds the limit of 1024"
    )


def test_extensions_have_a_largest_size() -> None:
    around = 29  # the identifier, that it is critical, and five headers
    read_certificate(extended(MAX_EXTENSIONS - around))
    assert refusal(extended(MAX_EXTENSIONS - around + 1)).endswith(
        "extensions of 4097 bytes exceed the limit of 4096"
    )


@pytest.mark.parametrize("serial", [0, -1000])
def test_a_number_that_is_not_positive_disturbs_nothing(serial: int) -> None:
    odd = numbered(serial)
    package = read(Draft(signers=(odd.identity(),)).encode())

    assert [one.subject for one in verify_package(package, policy(), at=AT).signers] == ["CN=Test Signer"]


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("number", [1, 0x7F, 0x80, 0xFFF, 1000, 0xABCDEF << 128, 0, -1, -1000])
def test_a_serial_number_is_written_as_openssl_prints_it(number: int, tmp_path: Path) -> None:
    (tmp_path / "c.der").write_bytes(numbered(number).der if number < 1 else certify("x", serial=number).der)

    printed = must(
        *["openssl", "x509", "-inform", "DER", "-in", "c.der", "-noout", "-serial"], cwd=tmp_path
    ).text

    assert printed == f"serial={serial_text(number)}\n"
