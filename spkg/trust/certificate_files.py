"""Certificates and revocation lists from files, read strictly: all of them, or an error.

For what a signer embeds, and for revocation lists: one that was left out would go unnoticed.
"""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.errors import FormatError, HostError
from spkg.trust.certificates import UNREADABLE, read_certificate

__all__ = [
    "MAX_KEY_FILE",
    "PEM_CERTIFICATE",
    "PEM_MARK",
    "is_der",
    "load_certificates",
    "load_revocation_lists",
    "read_certificates",
    "read_key_file",
]

MAX_KEY_FILE: Final = 1 << 24
"""The largest file of keys, certificates or revocation lists, in bytes."""
PEM_MARK: Final = b"-----BEGIN"
PEM_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
PEM_CRL: Final = b"-----BEGIN X509 CRL-----"


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a PEM file, or the one of a DER file.

    Raises:
        HostError: The file contains no certificate, or one that can't be read.
        OSError: The file can't be read.
    """
    return read_certificates(read_key_file(path), str(path))


def read_certificates(octets: bytes, name: str) -> list[x509.Certificate]:
    """Return all certificates in the contents of a file; *name* is its name, for errors.

    Raises:
        HostError: There is no certificate, or one that can't be read.
    """
    try:
        if is_der(octets):
            return [read_certificate(octets)]
        if PEM_CERTIFICATE not in octets:
            raise HostError(f"{name} contains no certificate")
        found = x509.load_pem_x509_certificates(octets)
        return [read_certificate(one.public_bytes(Encoding.DER)) for one in found]
    except (ValueError, x509.InvalidVersion) as exc:
        raise HostError(f"{name} contains a certificate that can't be read") from exc
    except FormatError as exc:
        hint = "give certificates as PEM or DER; only --key takes PKCS #12" if is_der(octets) else None
        raise HostError(f"{name}: {exc}", hint=hint) from exc


def load_revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """Read all revocation lists of a PEM file, or the one of a DER file.

    Raises:
        HostError: The file contains no revocation list, or one that can't be read.
        OSError: The file can't be read.
    """
    octets = read_key_file(path)
    try:
        if is_der(octets):
            return [x509.load_der_x509_crl(octets)]
        pieces = octets.split(PEM_CRL)
        lists = [x509.load_pem_x509_crl(PEM_CRL + piece) for piece in pieces[1:]]
    except UNREADABLE as exc:
        raise HostError(f"{path} contains a revocation list that can't be read: {exc}") from exc
    if not lists:
        raise HostError(f"{path} contains no revocation list")
    return lists


def is_der(octets: bytes) -> bool:
    """Whether a file is DER: not text that begins with the digit zero and contains PEM further on."""
    return octets.startswith(b"\x30") and PEM_MARK not in octets


def read_key_file(path: Path) -> bytes:
    """Return the contents of a file of keys, certificates or revocation lists.

    Raises:
        HostError: It is too large.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        octets = file.read(MAX_KEY_FILE + 1)
    if len(octets) > MAX_KEY_FILE:
        raise HostError(f"{path} is larger than {MAX_KEY_FILE} bytes")
    return octets
