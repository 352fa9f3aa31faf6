"""Certificates and revocation lists from files, read strictly: all of them, or an error.

For what a signer embeds, and for revocation lists: one that was left out would go unnoticed.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from spkg.errors import FormatError, HostError
from spkg.trust.certificate_blocks import (
    PEM_MARK,
    UTF_16_PROBLEM,
    BlockKind,
    CertificateBlock,
    blocks_of,
    is_der,
)
from spkg.trust.certificates import UNREADABLE, list_issuer, read_certificate

__all__ = [
    "MAX_KEY_FILE",
    "PEM_CERTIFICATE",
    "PEM_MARK",
    "is_der",
    "load_certificates",
    "load_revocation_lists",
    "nothing_found",
    "read_certificate_block",
    "read_certificates",
    "read_key_file",
    "read_list_block",
]

MAX_KEY_FILE: Final = 1 << 24
"""The largest file of keys, certificates or revocation lists, in bytes."""
PEM_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
ONLY_CERTIFICATES: Final = "give certificates as PEM or DER; only --key takes PKCS #12"


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a file: PEM, DER, or a PKCS #7 bundle.

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
    blocks = list(blocks_of(octets))
    hint = ONLY_CERTIFICATES if is_der(octets) else None
    try:
        found = [read_certificate_block(one) for one in blocks if one.kind is BlockKind.CERTIFICATE]
    except FormatError as exc:
        raise HostError(f"{name}: {exc}", hint=hint) from exc
    if not found:
        raise nothing_found(name, blocks, "certificate", hint)
    return found


def load_revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """Read all revocation lists of a file: PEM, DER, or a PKCS #7 bundle.

    Raises:
        HostError: The file contains no revocation list, or one that can't be read.
        OSError: The file can't be read.
    """
    octets = read_key_file(path)
    blocks = list(blocks_of(octets))
    if is_der(octets) and [block.kind for block in blocks] == [BlockKind.CERTIFICATE]:
        # It does not look like a list, and is read as one for the reason why it is none.
        blocks = [replace(blocks[0], kind=BlockKind.REVOCATION_LIST)]
    try:
        found = [read_list_block(one) for one in blocks if one.kind is BlockKind.REVOCATION_LIST]
    except FormatError as exc:
        raise HostError(f"{path} contains a revocation list that can't be read: {exc.problem}") from exc
    if not found:
        raise nothing_found(str(path), blocks, "revocation list")
    return found


def nothing_found(
    name: str, blocks: list[CertificateBlock], wanted: str, hint: str | None = None
) -> HostError:
    """Return the error for a file in which nothing is of the kind that is wanted."""
    if any(block.problem == UTF_16_PROBLEM for block in blocks):
        return HostError(f"{name} is {UTF_16_PROBLEM}", hint=f"convert it: iconv -f UTF-16 -t UTF-8 {name}")
    return HostError(f"{name} contains no {wanted}", hint=hint)


def read_certificate_block(block: CertificateBlock) -> x509.Certificate:
    """Return the certificate of a block.

    Raises:
        FormatError: It can't be read.
    """
    if block.problem:
        raise FormatError(f"the certificate can't be read: {block.problem}")
    return read_certificate(block.octets)


def read_list_block(block: CertificateBlock) -> x509.CertificateRevocationList:
    """Return the revocation list of a block.

    Raises:
        FormatError: It can't be read.
    """
    if block.problem:
        raise FormatError(block.problem)
    try:
        found = x509.load_der_x509_crl(block.octets)
        _ = (list_issuer(found), found.last_update_utc, found.next_update_utc, found.extensions)
    except UNREADABLE as exc:
        raise FormatError(str(exc)) from exc
    return found


def read_key_file(path: Path) -> bytes:
    """Return the contents of a file of keys, certificates or revocation lists.

    Raises:
        HostError: It is too large.
        OSError: It can't be read.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_KEY_FILE + 1)
    except OSError as exc:
        exc.filename = exc.filename or str(path)  # reading does not name it
        raise
    if len(octets) > MAX_KEY_FILE:
        raise HostError(f"{path} is larger than {MAX_KEY_FILE} bytes")
    return octets
