"""A root and a signer for trying things out, made on the spot.

The root's key is thrown away: nothing can be signed with it again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["KeySet", "make_keys"]

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
