"""Certificates of unknown origin: parsed completely at once, or not at all.

The cryptography library parses lazily, and raises when an attribute is first accessed.  For a certificate
that was read here only these may still raise: its names, whose text may be in Latin-1 (the functions here
return them all the same), and ``signature_hash_algorithm``, which does not matter in an anchor.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from spkg.common.reader import Reader
from spkg.errors import FormatError
from spkg.trust.ber import SEQUENCE, BerElement, read_element
from spkg.trust.names import read_distinguished_name

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
ISSUER: Final = 2
SUBJECT: Final = 4
"""Where the Names are among these fields."""
VERSION_TAG: Final = 0xA0
EXTENSIONS: Final = 0xA3

__all__ = [
    "MAX_CERTIFICATE_SERIAL",
    "MAX_X501_NAME",
    "UNREADABLE",
    "certificate_id",
    "common_names_of",
    "issuer_name",
    "issuer_of",
    "list_issuer",
    "quiet",
    "read_certificate",
    "readable_certificates",
    "salvaged_subject",
    "serial_text",
    "subject_name",
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
    for name in (fields[ISSUER], fields[SUBJECT]):
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
                subject_name(certificate).rfc4514_string(),
                issuer_name(certificate).rfc4514_string(),
                certificate.serial_number,
                certificate.public_key(),
                certificate.extensions,
                certificate.signature_algorithm_oid,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )
    except UNREADABLE as exc:
        # The parser's own message only helps its developers.
        reason = "not in DER" if "ParseError" in str(exc) else str(exc)
        raise FormatError(f"the certificate can't be read: {reason}") from exc
    with quiet():
        return x509.load_der_x509_certificate(octets)  # loaded again: the first keeps all it has parsed


def readable_certificates(encoded: Iterable[bytes]) -> Iterator[x509.Certificate]:
    """Yield the certificates that can be read: those of a signature block are not signed, and may be junk."""
    for octets in encoded:
        with suppress(FormatError):
            yield read_certificate(octets)


def subject_name(certificate: x509.Certificate) -> x509.Name:
    """Return the subject."""
    with quiet():
        try:
            return certificate.subject
        except ValueError:
            return _name_in(certificate, SUBJECT)


def issuer_name(certificate: x509.Certificate) -> x509.Name:
    """Return the issuer."""
    with quiet():
        try:
            return certificate.issuer
        except ValueError:
            return _name_in(certificate, ISSUER)


def _name_in(certificate: x509.Certificate, number: int) -> x509.Name:
    """Return a Name that cryptography can't read."""
    try:
        return read_distinguished_name(_fields(certificate.public_bytes(Encoding.DER))[number].octets)
    except FormatError as exc:
        raise ValueError(exc.problem) from exc


def list_issuer(crl: x509.CertificateRevocationList) -> x509.Name:
    """Return the issuer of a revocation list."""
    with quiet():
        try:
            return crl.issuer
        except ValueError:
            reader = Reader(BytesIO(crl.tbs_certlist_bytes), section="E.5")
            fields = read_element(reader, "list", limit=len(crl.tbs_certlist_bytes)).children(most=8)
            # The version comes before the algorithm, and is optional.
            names = [field for field in fields[:3] if field.tag == SEQUENCE][1:2]
            try:
                (name,) = names
                return read_distinguished_name(name.octets)
            except FormatError as exc:
                raise ValueError(exc.problem) from exc


def salvaged_subject(octets: bytes) -> str | None:
    """Return the subject of a certificate that can't be read, as far as it can be shown; None if it can't."""
    try:
        subject = _fields(octets)[SUBJECT]
        if len(subject.octets) > MAX_X501_NAME:
            return None
        with quiet():
            return read_distinguished_name(subject.octets, "replace").rfc4514_string() or None
    except FormatError:
        return None


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 writes it."""
    return subject_name(certificate).rfc4514_string()


def issuer_of(certificate: x509.Certificate) -> str:
    """Return the issuer as RFC 4514 writes it."""
    return issuer_name(certificate).rfc4514_string()


def common_names_of(certificate: x509.Certificate) -> list[str]:
    """Return all common names of the subject."""
    found = subject_name(certificate).get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(attribute.value) for attribute in found]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings: old certificates have long names and odd serials, which the reader can't change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
