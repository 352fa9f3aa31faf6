"""Certificates of unknown origin: read to the end at once, or not at all.

The library that parses them does so late, and raises at whichever attribute is asked for first; nothing
behind this module has to expect that.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from spkg.errors import FormatError

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""All that cryptography raises for a certificate that it can't read, of which only some are a ValueError."""

MAX_SERIAL_BITS: Final = 256
"""The longest serial number; X.509 allows 160 bits."""

__all__ = ["UNREADABLE", "common_names_of", "issuer_of", "read_certificate", "subject_of"]


def read_certificate(octets: bytes) -> x509.Certificate:
    """Return the certificate that *octets* are, in DER.

    Raises:
        FormatError: They are none, or one of which something can't be read.
    """
    try:
        with _quiet():
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
        # Its parser's own words are for whoever wrote the parser.
        reason = "not in DER" if "ParseError" in str(exc) else str(exc)
        raise FormatError(f"no certificate that can be read: {reason}") from exc
    if certificate.serial_number.bit_length() > MAX_SERIAL_BITS:
        raise FormatError(
            f"no certificate that can be read: a serial number of more than {MAX_SERIAL_BITS} bits"
        )
    return certificate


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 writes it."""
    with _quiet():
        return certificate.subject.rfc4514_string()


def issuer_of(certificate: x509.Certificate) -> str:
    """Return the issuer as RFC 4514 writes it."""
    with _quiet():
        return certificate.issuer.rfc4514_string()


def common_names_of(certificate: x509.Certificate) -> list[str]:
    """Return all common names of the subject."""
    with _quiet():
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(attribute.value) for attribute in found]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings back: old certificates have long names and odd serials; who reads them can't help it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
