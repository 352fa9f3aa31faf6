"""A root and a signer for trying things out, made on the spot.

The root's key is thrown away: nothing can be signed with it again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spkg.common.atomic_output import new_files, refuse_existing

__all__ = ["FILES", "KeySet", "make_keys", "refuse_existing_keys", "write_keys"]

FILES: Final = ("ca.pem", "signer.pem", "signer.key")
"""The files of the root, of the signer, and of the signer's key."""
KEY_BITS: Final = 2048
LIFETIME: Final = timedelta(days=3650)


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """A root's certificate, and a signer's certificate and key."""

    root: x509.Certificate
    signer: x509.Certificate
    key: rsa.RSAPrivateKey


def make_keys(name: str, at: datetime) -> KeySet:
    """Make a root and a signer called *name*, valid for ten years from *at*.

    Raises:
        ValueError: *name* is not a common name: empty, or longer than 64 characters.
    """
    root_key = rsa.generate_private_key(65537, KEY_BITS)
    key = rsa.generate_private_key(65537, KEY_BITS)
    # A common name has at most 64 bytes; the root's is cut to make room for " root".
    root_name = _name(name.encode()[:59].decode(errors="ignore") + " root")
    root = (
        _certificate(root_name, root_name, root_key, at)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signing=False), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    signer = (
        _certificate(_name(name), root_name, key, at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signing=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    return KeySet(root=root, signer=signer, key=key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, at: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A device whose clock is slow must not refuse a certificate that was just made.
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signing,
        key_cert_sign=not signing,
        crl_sign=not signing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def refuse_existing_keys(directory: Path, *, force: bool = False) -> None:
    """Refuse to overwrite keys; called before any are made.

    Raises:
        UsageError: One of the files exists, and *force* is not given.
    """
    for file in FILES:
        refuse_existing(directory / file, force=force)


def write_keys(directory: Path, keys: KeySet, *, force: bool = False) -> None:
    """Write the three files into a directory, which is made if it does not exist: all of them, or none.

    Raises:
        UsageError: One of them exists, and *force* is not given.
        OSError: One can't be written.
    """
    key = keys.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificates = (keys.root.public_bytes(Encoding.PEM), keys.signer.public_bytes(Encoding.PEM))
    contents = zip(FILES, (*certificates, key), (None, None, 0o600), strict=True)
    new_files(directory, [*contents], force=force)
