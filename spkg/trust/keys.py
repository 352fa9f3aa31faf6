"""Keys and certificates from files: PEM, DER if it is unambiguous, and PKCS #12.

A secret leaves this module only as a key object; no message contains any part of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from spkg.errors import HostError
from spkg.trust.certificate_files import (
    PEM_CERTIFICATE,
    PEM_MARK,
    is_der,
    load_certificates,
    read_key_file,
)
from spkg.trust.certificates import subject_of

__all__ = [
    "Identity",
    "Signatory",
    "SigningKey",
    "load_identity",
    "load_signatory",
]

PASSPHRASE_HINT: Final = "give its passphrase with --key-password-env or --key-password-file"
PEM_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
"""How a PEM file marks its key as encrypted, in the current and the traditional format."""


SigningKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class Signatory:
    """What is needed to sign: a key, its certificate, and the certificates that lead to a root."""

    key: SigningKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity(Signatory):
    """What is needed to sign packages, for which E.5 requires RSA."""

    key: rsa.RSAPrivateKey


def load_identity(
    key: Path, certificate: Path | None, chain: Path | None = None, passphrase: bytes | None = None
) -> Identity:
    """Read an RSA key and its certificate; otherwise like :func:`load_signatory`."""
    private, found = _load_key(key, passphrase)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise HostError(f"the key in {key} is not an RSA key, which E.5 requires")
    leaf, others = _certificates(key, private, found, certificate, chain)
    return Identity(key=private, certificate=leaf, chain=others)


def load_signatory(
    key: Path, certificate: Path | None, chain: Path | None = None, passphrase: bytes | None = None
) -> Signatory:
    """Read a key and its certificate.

    Args:
        key: A PEM or PKCS #12 file, which may also contain the certificate and the chain.
        certificate: A file whose first certificate is the signer's; all others are added to the chain.
        chain: More certificates to embed.
        passphrase: The passphrase of the key.

    Raises:
        HostError: A file can't be used, or the key does not match the certificate.
        OSError: A file can't be read.
    """
    private, found = _load_key(key, passphrase)
    leaf, others = _certificates(key, private, found, certificate, chain)
    return Signatory(key=private, certificate=leaf, chain=others)


def _certificates(
    key: Path,
    private: SigningKey,
    found: list[x509.Certificate],
    certificate: Path | None,
    chain: Path | None,
) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    """Return the certificate of a key, and the others to embed."""
    if certificate is not None:
        found = load_certificates(certificate) + found
    if not found:
        raise HostError(f"{key} contains no certificate", hint="give the signer's with --cert")
    if chain is not None:
        found += load_certificates(chain)
    leaf, *others = found
    if private.public_key() != leaf.public_key():
        raise HostError(f"the key in {key} does not match the certificate of {subject_of(leaf)}")
    return leaf, tuple(dict.fromkeys(other for other in others if other != leaf))


def _load_key(path: Path, passphrase: bytes | None) -> tuple[SigningKey, list[x509.Certificate]]:
    octets = read_key_file(path)
    is_pem = PEM_MARK in octets
    encrypted = any(mark in octets for mark in PEM_ENCRYPTED) if is_pem else passphrase is not None
    if is_pem and encrypted and passphrase is None:
        raise HostError(f"the key in {path} is encrypted", hint=PASSPHRASE_HINT)
    if is_pem and not encrypted and passphrase is not None:
        raise HostError(f"the key in {path} is not encrypted, but a passphrase was given")
    found: list[x509.Certificate] = []
    key: object
    try:
        if is_pem:
            key = load_pem_private_key(octets, passphrase)
            found = load_certificates(path) if PEM_CERTIFICATE in octets else []
        elif is_der(octets):
            key, leaf, others = pkcs12.load_key_and_certificates(octets, passphrase)
            found = [certificate for certificate in (leaf, *others) if certificate is not None]
        else:
            raise HostError(f"the key in {path} can't be read: it is not a private key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _key_error(path, octets, exc, encrypted=encrypted) from exc
    if key is None:
        raise HostError(f"{path} contains no private key")
    if not isinstance(key, SigningKey):
        raise HostError(f"the key in {path} is not an RSA, DSA or ECDSA key")
    return key, found


def _key_error(path: Path, octets: bytes, exc: Exception, *, encrypted: bool) -> HostError:
    """Return the error for a key file that the library refused; the library's own messages help no user."""
    if is_der(octets) and "Invalid password" not in str(exc):
        return HostError(f"the key in {path} can't be read: it is neither PEM nor PKCS #12")
    if is_der(octets) and not encrypted:
        return HostError(f"the key in {path} is encrypted", hint=PASSPHRASE_HINT)
    reason = "the passphrase is wrong, or the file is damaged" if encrypted else "it is not a private key"
    return HostError(f"the key in {path} can't be read: {reason}")
