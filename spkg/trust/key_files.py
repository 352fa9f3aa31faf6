"""Keys in files: PEM and PKCS #12, with the certificates that are in them.

A secret leaves this module only as a key object; no message contains any part of it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from spkg.errors import HostError, RefusedError
from spkg.trust.certificate_files import PEM_CERTIFICATE, PEM_MARK, is_der, read_certificates, read_key_file
from spkg.trust.signers import PrivateKey

__all__ = ["Ask", "load_key_file"]

Ask = Callable[[str], bytes | None]
"""Asks for something, such as "the passphrase of the key in signer.key"; None if nobody can be asked."""

PASSPHRASE_HINT: Final = "give its passphrase with --key-password-env or --key-password-file"
PEM_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
"""How a PEM file marks its key as encrypted, in the current and the traditional format."""
CIPHERS: Final = {
    "1.3.14.3.2.7": "DES-CBC",
    "1.2.840.113549.3.2": "RC2-CBC",
    "1.2.392.200011.61.1.1.1.2": "CAMELLIA-128-CBC",
    "1.2.392.200011.61.1.1.1.3": "CAMELLIA-192-CBC",
    "1.2.392.200011.61.1.1.1.4": "CAMELLIA-256-CBC",
    "1.2.410.200046.1.1.2": "ARIA-128-CBC",
    "1.2.410.200046.1.1.7": "ARIA-192-CBC",
    "1.2.410.200046.1.1.12": "ARIA-256-CBC",
    "1.2.410.200004.1.4": "SEED-CBC",
    "1.2.156.10197.1.104.2": "SM4-CBC",
}
"""The names of ciphers that the library does not know."""


def load_key_file(
    path: Path, passphrase: bytes | None, ask: Ask = lambda _: None
) -> tuple[PrivateKey, list[x509.Certificate]]:
    """Read a key, and the certificates in the same file; the file is read once, so it may be a pipe.

    Args:
        path: A PEM or PKCS #12 file.
        passphrase: The passphrase of the key, if it was given.
        ask: Asks for it, if it is needed and was not given.

    Raises:
        HostError: The file has no key that can be read.
        RefusedError: The key is of a kind that signs nothing here.
        OSError: It can't be read.
    """
    octets = read_key_file(path)
    is_pem = PEM_MARK in octets
    encrypted = any(mark in octets for mark in PEM_ENCRYPTED) if is_pem else passphrase is not None
    if is_pem and encrypted and passphrase is None:
        passphrase = _asked(path, ask)
    if is_pem and not encrypted and passphrase is not None:
        raise HostError(f"the key in {path} is not encrypted, but a passphrase was given")
    if is_pem:
        key = _pem_key(path, octets, passphrase, encrypted=encrypted)
        found = read_certificates(octets, str(path)) if PEM_CERTIFICATE in octets else []
    elif is_der(octets):
        key, found = _bundle(path, octets, passphrase, ask)
    else:
        raise HostError(f"the key in {path} can't be read: it is not a private key")
    if key is None:
        raise HostError(f"{path} contains no private key")
    if not isinstance(key, PrivateKey):
        raise RefusedError(f"the key in {path} is not an RSA, DSA or ECDSA key")
    return key, found


def _pem_key(path: Path, octets: bytes, passphrase: bytes | None, *, encrypted: bool) -> object:
    try:
        return load_pem_private_key(octets, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        cipher = _unknown_cipher(octets, str(exc)) if encrypted else None
        if cipher is not None:
            # The library's own messages help no user.
            raise HostError(
                f"the key in {path} is encrypted with {cipher}, which is not supported",
                hint=f"convert it: openssl pkey -in {path} -aes256 -out NEW"
                " (for DES, add -provider legacy -provider default)",
            ) from exc
        reason = "the passphrase is wrong, or the file is damaged" if encrypted else "it is not a private key"
        raise HostError(f"the key in {path} can't be read: {reason}") from exc


def _bundle(
    path: Path, octets: bytes, passphrase: bytes | None, ask: Ask
) -> tuple[object, list[x509.Certificate]]:
    """Return what a PKCS #12 file has; whether it is encrypted shows only when it is opened."""
    try:
        try:
            key, leaf, others = pkcs12.load_key_and_certificates(octets, passphrase)
        except ValueError as exc:
            if passphrase is not None or "Invalid password" not in str(exc):
                raise
            passphrase = _asked(path, ask)
            key, leaf, others = pkcs12.load_key_and_certificates(octets, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        if "Invalid password" in str(exc):
            reason = "the passphrase is wrong, or the file is damaged"
        else:
            reason = "it is neither PEM nor PKCS #12"
        raise HostError(f"the key in {path} can't be read: {reason}") from exc
    return key, [certificate for certificate in (leaf, *others) if certificate is not None]


def _asked(path: Path, ask: Ask) -> bytes:
    passphrase = ask(f"the passphrase of the key in {path}")
    if passphrase is None:
        raise HostError(f"the key in {path} is encrypted", hint=PASSPHRASE_HINT)
    return passphrase


def _unknown_cipher(octets: bytes, problem: str) -> str | None:
    """Return the name of the cipher of an encrypted key, if that is why it can't be read."""
    if "unknown cipher" in problem:
        named = re.search(rb"DEK-Info: ([A-Za-z0-9-]{1,40})", octets)
        return "an unknown cipher" if named is None else named[1].decode()
    oid = re.search(r"Unknown key encryption algorithm: ([0-9.]{3,60})", problem)
    return None if oid is None else CIPHERS.get(oid[1], f"the cipher {oid[1]}")
