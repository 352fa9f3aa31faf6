"""Keys and certificates from files: PEM, DER where it is unmistakable, and PKCS #12.

A secret never leaves this module but as a key object; no message contains any of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from spkg.errors import FormatError, HostError
from spkg.trust.certificates import UNREADABLE, read_certificate, subject_of

__all__ = [
    "Identity",
    "Signatory",
    "SigningKey",
    "load_certificates",
    "load_identity",
    "load_revocation_lists",
    "load_signatory",
]

MAX_KEY_FILE: Final = 1 << 24
"""Larger files are no keys, certificates or revocation lists."""
PASSPHRASE_HINT: Final = "give its passphrase with --key-password-env or --key-password-file"
PEM_MARK: Final = b"-----BEGIN"
PEM_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
"""How a PEM file says that its key is encrypted, today and in the form of old."""
PEM_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
PEM_CRL: Final = b"-----BEGIN X509 CRL-----"


SigningKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class Signatory:
    """Someone who can sign: a key, its certificate, and the certificates that lead to a root."""

    key: SigningKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity(Signatory):
    """Someone who can sign packages, for which E.5 demands RSA."""

    key: rsa.RSAPrivateKey


def load_identity(
    key: Path, certificate: Path | None, chain: Path | None = None, passphrase: bytes | None = None
) -> Identity:
    """Read an RSA key and its certificate; as :func:`load_signatory` otherwise."""
    private, found = _load_key(key, passphrase)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise HostError(f"the key in {key} is not an RSA key, as E.5 demands")
    leaf, others = _certificates(key, private, found, certificate, chain)
    return Identity(key=private, certificate=leaf, chain=others)


def load_signatory(
    key: Path, certificate: Path | None, chain: Path | None = None, passphrase: bytes | None = None
) -> Signatory:
    """Read a key and its certificate.

    Args:
        key: A PEM or PKCS #12 file, which may bring certificate and chain with it.
        certificate: A file of which the first certificate is the signer's, and all others join the chain.
        chain: More certificates to embed.
        passphrase: What the key is encrypted with.

    Raises:
        HostError: A file can't be used, or the key is not that of the certificate.
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
        raise HostError(f"{key} holds no certificate", hint="name the signer's with --cert")
    if chain is not None:
        found += load_certificates(chain)
    leaf, *others = found
    if private.public_key() != leaf.public_key():
        raise HostError(f"the key in {key} is not that of the certificate {subject_of(leaf)}")
    return leaf, tuple(dict.fromkeys(other for other in others if other != leaf))


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a PEM file, or the one of a DER file.

    Raises:
        HostError: There is none, or one can't be read.
        OSError: The file can't be read.
    """
    octets = _read(path)
    try:
        if _is_der(octets):
            return [read_certificate(octets)]
        if PEM_CERTIFICATE not in octets:
            raise HostError(f"{path} holds no certificate")
        found = x509.load_pem_x509_certificates(octets)
        return [read_certificate(one.public_bytes(Encoding.DER)) for one in found]
    except (ValueError, x509.InvalidVersion) as exc:
        raise HostError(f"{path} holds no certificate that can be read") from exc
    except FormatError as exc:
        hint = "certificates are PEM or DER; PKCS #12 is for --key" if _is_der(octets) else None
        raise HostError(f"{path}: {exc}", hint=hint) from exc


def load_revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """Read all revocation lists of a PEM file, or the one of a DER file.

    Raises:
        HostError: There is none, or one can't be read.
        OSError: The file can't be read.
    """
    octets = _read(path)
    try:
        if _is_der(octets):
            return [x509.load_der_x509_crl(octets)]
        pieces = octets.split(PEM_CRL)
        lists = [x509.load_pem_x509_crl(PEM_CRL + piece) for piece in pieces[1:]]
    except UNREADABLE as exc:
        raise HostError(f"{path} holds no revocation list that can be read: {exc}") from exc
    if not lists:
        raise HostError(f"{path} holds no revocation list")
    return lists


def _load_key(path: Path, passphrase: bytes | None) -> tuple[SigningKey, list[x509.Certificate]]:
    octets = _read(path)
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
        elif _is_der(octets):
            key, leaf, others = pkcs12.load_key_and_certificates(octets, passphrase)
            found = [certificate for certificate in (leaf, *others) if certificate is not None]
        else:
            raise HostError(f"the key in {path} can't be read: it is no private key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _key_error(path, octets, exc, encrypted=encrypted) from exc
    if key is None:
        raise HostError(f"{path} holds no private key")
    if not isinstance(key, SigningKey):
        raise HostError(f"the key in {path} is none of RSA, DSA and ECDSA")
    return key, found


def _key_error(path: Path, octets: bytes, exc: Exception, *, encrypted: bool) -> HostError:
    """Return what is wrong with a key file that the library refused; its own words tell nobody."""
    if _is_der(octets) and "Invalid password" not in str(exc):
        return HostError(f"the key in {path} can't be read: it is neither PEM nor PKCS #12")
    if _is_der(octets) and not encrypted:
        return HostError(f"the key in {path} is encrypted", hint=PASSPHRASE_HINT)
    reason = "the passphrase is wrong, or the file is damaged" if encrypted else "it is no private key"
    return HostError(f"the key in {path} can't be read: {reason}")


def _is_der(octets: bytes) -> bool:
    """Whether a file is DER: text that begins with a nought and is PEM further on is not."""
    return octets.startswith(b"\x30") and PEM_MARK not in octets


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        octets = file.read(MAX_KEY_FILE + 1)
    if len(octets) > MAX_KEY_FILE:
        raise HostError(f"{path} is larger than {MAX_KEY_FILE} octets")
    return octets
