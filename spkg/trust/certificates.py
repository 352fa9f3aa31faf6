"""Certificates of unknown origin: parsed completely at once, or not at all.

The cryptography library parses lazily, and raises when an attribute is first accessed; no code that uses this
module has to expect that.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from spkg.common.reader import Reader
from spkg.errors import FormatError
from spkg.trust.ber import SEQUENCE, BerElement, read_element

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""All that cryptography raises for a certificate that it can't read; only some are a ValueError."""

MAX_CERTIFICATE_SERIAL: Final = 32
"""The longest serial number, in bytes; X.509 allows 20."""
MAX_X501_NAME: Final = 1024
"""The longest Name, in bytes."""
MAX_EXTENSIONS: Final = 4096
"""The most bytes of extensions."""
NAMED_FIELDS: Final = 6
"""How many fields every TBSCertificate has, not counting the version."""
VERSION_TAG: Final = 0xA0
EXTENSIONS: Final = 0xA3

__all__ = [
    "MAX_CERTIFICATE_SERIAL",
    "MAX_X501_NAME",
    "UNREADABLE",
    "certificate_id",
    "common_names_of",
    "issuer_of",
    "quiet",
    "read_certificate",
    "serial_text",
    "subject_of",
]


def certificate_id(certificate: bytes) -> tuple[bytes, int]:
    """Return how a SignerInfo names a certificate: its issuer's Name in DER, and its serial number.

    Raises:
        FormatError: The bytes are not a certificate.
    """
    serial, _, issuer = _fields(certificate)[:3]
    return issuer.expect(SEQUENCE).der(), serial.integer(most=MAX_CERTIFICATE_SERIAL)


def serial_text(number: int) -> str:
    """Return the serial number of a certificate as openssl prints it: in hexadecimal, two digits a byte."""
    digits = f"{abs(number):X}"
    return f"{'-' if number < 0 else ''}{'0' * (len(digits) % 2)}{digits}"


def _fields(certificate: bytes) -> list[BerElement]:
    """Return the fields of a TBSCertificate after its version: serialNumber, signature, issuer, ..."""
    reader = Reader(BytesIO(certificate), section="E.5")
    parts = read_element(reader, "certificate").expect(SEQUENCE).children("tbs_certificate", most=3)
    fields = [field for part in parts[:1] for field in part.expect(SEQUENCE).children(most=10)]
    if fields and fields[0].tag == VERSION_TAG:
        fields.pop(0)
    if len(fields) < NAMED_FIELDS:
        raise FormatError("not an X.509 certificate", section="E.5")
    return fields


def _check_bounds(certificate: bytes) -> None:
    """Refuse what costs many times its size in memory: for a parsed extension, a thousand times."""
    fields = _fields(certificate)
    for name in (fields[2], fields[4]):
        if len(name.octets) > MAX_X501_NAME:
            raise FormatError(f"a Name of {len(name.octets)} bytes exceeds the limit of {MAX_X501_NAME}")
    for field in fields[NAMED_FIELDS:]:
        if field.tag == EXTENSIONS and len(field.octets) > MAX_EXTENSIONS:
            raise FormatError(f"extensions of {len(field.octets)} bytes exceed the limit of {MAX_EXTENSIONS}")
    fields[0].integer(most=MAX_CERTIFICATE_SERIAL)


def read_certificate(octets: bytes) -> x509.Certificate:
    """Return the certificate that *octets* contain, in DER.

    Raises:
        FormatError: They are not a certificate, or part of it can't be read.
    """
    try:
        _check_bounds(octets)
    except FormatError as exc:
        raise FormatError(f"the certificate can't be read: {exc.problem}") from exc
    try:
        with quiet():
            certificate = x509.load_der_x509_certificate(octets)
            _ = (
                certificate.subject.rfc4514_string(),
                certificate.issuer.rfc4514_string(),
                certificate.serial_number,
                certificate.public_key(),
                certificate.extensions,
                certificate.signature_hash_algorithm,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )
    except UNREADABLE as exc:
        # The parser's own message only helps its developers.
        reason = "not in DER" if "ParseError" in str(exc) else str(exc)
        raise FormatError(f"the certificate can't be read: {reason}") from exc
    with quiet():
        return x509.load_der_x509_certificate(octets)  # loaded again: the first keeps all it has parsed


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 writes it."""
    with quiet():
        return certificate.subject.rfc4514_string()


def issuer_of(certificate: x509.Certificate) -> str:
    """Return the issuer as RFC 4514 writes it."""
    with quiet():
        return certificate.issuer.rfc4514_string()


def common_names_of(certificate: x509.Certificate) -> list[str]:
    """Return all common names of the subject."""
    with quiet():
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(attribute.value) for attribute in found]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings: old certificates have long names and odd serials, which the reader can't change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
