"""Certificates of unknown origin: read to the end at once, or not at all.

The library that parses them does so late, and raises at whichever attribute is asked for first; nothing
behind this module has to expect that.
"""

import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

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

__all__ = ["name_of", "read_certificate", "subject_of"]


def read_certificate(octets: bytes) -> x509.Certificate:
    """Return the certificate that *octets* are, in DER.

    Raises:
        FormatError: They are none, or one of which something can't be read.
    """
    try:
        with warnings.catch_warnings():
            # Old certificates have long names and odd serial numbers; who reads them can't help it.
            warnings.simplefilter("ignore")
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
        raise FormatError(f"no certificate that can be read: {exc}") from exc
    return certificate


def subject_of(certificate: x509.Certificate) -> str:
    """Return the subject as RFC 4514 writes it."""
    return name_of(certificate.subject)


def name_of(name: x509.Name) -> str:
    """Return a name as RFC 4514 writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return name.rfc4514_string()
