"""Keys for trying things out, made on the spot: an authority, one below it, and signers of both kinds.

The root issues the signer of packages, and the intermediate those of vouchers: a short and a longer chain.
The files of signers carry the certificate of their issuer, so nothing lacks it.  No key is protected.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spkg.common.atomic_output import new_files, refuse_existing

__all__ = [
    "KEY_NAMES",
    "KeySet",
    "MadeKey",
    "key_set_files",
    "make_keys",
    "refuse_existing_keys",
    "write_keys",
]

KEY_NAMES: Final = ("ca", "intermediate", "signer", "voucher", "voucher-ec")
"""The names of the files, each with ``.pem`` for the certificate and ``.key`` for the key."""
KEY_BITS: Final = 2048
LIFETIME: Final = timedelta(days=3650)
MAX_COMMON_NAME: Final = 64
"""The most bytes of a common name (X.520)."""
PACKAGES: Final = (ExtendedKeyUsageOID.CODE_SIGNING,)
VOUCHERS: Final = (
    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # documentSigning (RFC 9336), which few programs know
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
)

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_Extensions = tuple[tuple[x509.ExtensionType, bool], ...]
"""Extensions, and whether each is critical."""


@dataclass(frozen=True, kw_only=True)
class MadeKey:
    """A key, its certificate with that of its issuer, and a request for another certificate."""

    key: _PrivateKey
    certificate: x509.Certificate
    request: x509.CertificateSigningRequest
    chain: tuple[x509.Certificate, ...] = ()
    """The certificates that go with a signature; empty for authorities."""


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """What is needed to try everything out."""

    root: MadeKey
    intermediate: MadeKey
    signer: MadeKey
    """Signs packages; issued by the root."""
    voucher: MadeKey
    """Signs vouchers with RSA; issued by the intermediate."""
    voucher_ec: MadeKey
    """Signs vouchers with ECDSA; issued by the intermediate."""


def make_keys(name: str, at: datetime) -> KeySet:
    """Make all keys for a signer called *name*, with certificates valid for ten years from *at*.

    Raises:
        ValueError: *name* is not a common name: empty, or longer than 64 characters.
    """
    subject = _subject(name)
    root = _certify(_named(name, "root"), _rsa_key(), _authority(path_length=1), at)
    intermediate = _certify(_named(name, "intermediate"), _rsa_key(), _authority(path_length=0), at, by=root)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    return KeySet(
        root=root,
        intermediate=intermediate,
        signer=_signer(subject, _rsa_key(), PACKAGES, at, by=root),
        voucher=_signer(_named(name, "vouchers"), _rsa_key(), VOUCHERS, at, by=intermediate),
        voucher_ec=_signer(_named(name, "vouchers EC"), elliptic, VOUCHERS, at, by=intermediate),
    )


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, KEY_BITS)


def _named(name: str, role: str) -> x509.Name:
    """Return the name of another key than the signer's: *name* is cut to make room for the role."""
    room = MAX_COMMON_NAME - len(role) - 1
    return _subject(f"{name.encode()[:room].decode(errors='ignore')} {role}")


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certify(
    subject: x509.Name, key: _PrivateKey, extensions: _Extensions, at: datetime, *, by: MadeKey | None = None
) -> MadeKey:
    """Certify a key; without an issuer it certifies itself."""
    public = key.public_key()
    wanted: _Extensions = (*extensions, (x509.SubjectKeyIdentifier.from_public_key(public), False))
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A device whose clock is slow must not refuse a certificate that was just made.
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + LIFETIME)
    )
    for extension, critical in wanted:
        request = request.add_extension(extension, critical=critical)
        builder = builder.add_extension(extension, critical=critical)
    if by is not None:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    return MadeKey(
        key=key,
        certificate=builder.sign(key if by is None else by.key, hashes.SHA256()),
        request=request.sign(key, hashes.SHA256()),
    )


def _signer(
    subject: x509.Name,
    key: _PrivateKey,
    purposes: tuple[x509.ObjectIdentifier, ...],
    at: datetime,
    *,
    by: MadeKey,
) -> MadeKey:
    """Certify a signer, whose file has the certificate of its issuer, too."""
    return replace(_certify(subject, key, _signing(purposes), at, by=by), chain=(by.certificate,))


def _authority(*, path_length: int) -> _Extensions:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return (constraints, True), (_usage(signing=False), True)


def _signing(purposes: tuple[x509.ObjectIdentifier, ...]) -> _Extensions:
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signing=True), True),
        (x509.ExtendedKeyUsage(purposes), False),
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


def key_set_files(*, requests: bool = False) -> tuple[str, ...]:
    """Return the names of the files that :func:`write_keys` writes."""
    endings = (".pem", ".key", ".csr") if requests else (".pem", ".key")
    return tuple(name + ending for name in KEY_NAMES for ending in endings)


def refuse_existing_keys(directory: Path, *, force: bool = False, requests: bool = False) -> None:
    """Refuse to overwrite keys; called before any are made.

    Raises:
        UsageError: One of the files exists, and *force* is not given.
    """
    for file in key_set_files(requests=requests):
        refuse_existing(directory / file, force=force)


def write_keys(directory: Path, keys: KeySet, *, force: bool = False, requests: bool = False) -> None:
    """Write the files into a directory, which is made if it does not exist: all of them, or none.

    Args:
        directory: Where they appear.
        keys: The keys.
        force: Whether they may replace existing files.
        requests: Whether requests for certificates by another authority are written, too.

    Raises:
        UsageError: One of them exists, and *force* is not given.
        OSError: One can't be written.
    """
    made = (keys.root, keys.intermediate, keys.signer, keys.voucher, keys.voucher_ec)
    files = [file for name, one in zip(KEY_NAMES, made, strict=True) for file in _files(name, one)]
    wanted = key_set_files(requests=requests)
    new_files(directory, [file for file in files if file[0] in wanted], force=force)


def _files(name: str, made: MadeKey) -> Iterator[tuple[str, bytes, int | None]]:
    certificates = (made.certificate, *made.chain)
    yield f"{name}.pem", b"".join(one.public_bytes(Encoding.PEM) for one in certificates), None
    yield f"{name}.key", made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600
    yield f"{name}.csr", made.request.public_bytes(Encoding.PEM), None
