"""Who signs: a key, wherever it is, with its certificate and those that lead to a root."""

from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from spkg.common.digests import Digest
from spkg.errors import HostError, RefusedError, UsageError

__all__ = [
    "Identity",
    "KeySigner",
    "OfThisProcess",
    "PrivateKey",
    "PublicKey",
    "Signatory",
    "Signer",
    "check_kind",
    "check_signature",
    "digest_info",
    "pair_as_der",
]

PublicKey = rsa.RSAPublicKey | dsa.DSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey

DIGEST_INFO: Final = {
    Digest.SHA1: bytes.fromhex("3021300906052b0e03021a05000414"),
    Digest.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
}
"""What comes before the digest in the DER of a DigestInfo (RFC 8017, 9.2)."""


class Signer(Protocol):
    """A key that signs.  It may be in memory, in a token, or behind a program."""

    @property
    def public_key(self) -> PublicKey:
        """The other half of the key."""
        ...

    def sign(self, digest: Digest, hashed: bytes) -> bytes:
        """Return a signature.

        Args:
            digest: The digest.
            hashed: The digest of what is signed.

        Returns:
            For RSA the bytes of RSASSA-PKCS1-v1_5; for DSA and ECDSA the DER of r and s.

        Raises:
            HostError: The key can't be used.
        """
        ...


class OfThisProcess:
    """What unlocks or is a key: it is never made octets that leave the process."""

    def __reduce__(self) -> NoReturn:
        hint = (
            "name the key with spkg.trust.key_elsewhere.KeyElsewhere: each process then opens it for itself"
        )
        raise UsageError("a key is not sent to another process", hint=hint)


@dataclass(frozen=True)
class KeySigner(OfThisProcess):
    """A key in memory."""

    private: PrivateKey

    @property
    def public_key(self) -> PublicKey:
        """The other half of the key."""
        return self.private.public_key()

    def sign(self, digest: Digest, hashed: bytes) -> bytes:
        """Return a signature; see :class:`Signer`."""
        prehashed = Prehashed(digest.algorithm)
        match self.private:
            case rsa.RSAPrivateKey():
                return self.private.sign(hashed, padding.PKCS1v15(), prehashed)
            case dsa.DSAPrivateKey():
                return self.private.sign(hashed, prehashed)
            case ec.EllipticCurvePrivateKey():
                return self.private.sign(hashed, ec.ECDSA(prehashed))


@dataclass(frozen=True, kw_only=True)
class Signatory:
    """What is needed to sign: a key, its certificate, and the certificates that lead to a root."""

    key: Signer
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity(Signatory):
    """What is needed to sign packages, for which E.5 requires RSA.

    Raises:
        RefusedError: The certificate's key is not an RSA key.
    """

    def __post_init__(self) -> None:
        check_kind(self.certificate.public_key())


def check_kind(key: object) -> None:
    """Refuse a key that can't sign packages.

    Raises:
        RefusedError: It is not an RSA key.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        raise RefusedError("packages are signed with an RSA key, and this is another kind", section="E.5")


def digest_info(digest: Digest, hashed: bytes) -> bytes:
    """Return the DER of the DigestInfo, which RSASSA-PKCS1-v1_5 pads and signs (RFC 8017, 9.2)."""
    return DIGEST_INFO[digest] + hashed


def pair_as_der(signature: bytes, key: PublicKey) -> bytes:
    """Return a signature of DSA or ECDSA as DER, if it is r followed by s; any other is returned as it is."""
    if isinstance(key, rsa.RSAPublicKey):
        return signature
    try:
        decode_dss_signature(signature)
    except ValueError:
        half = len(signature) // 2
        parts = (signature[:half], signature[half:])
        return encode_dss_signature(*(int.from_bytes(part, "big") for part in parts))
    return signature


def check_signature(key: PublicKey, digest: Digest, hashed: bytes, signature: bytes, maker: str) -> None:
    """Check a signature that came from elsewhere, before it is used.

    Args:
        key: The key of the signer's certificate.
        digest: The digest.
        hashed: The digest of what was signed.
        signature: As :meth:`Signer.sign` returns it.
        maker: Where it came from, for the error.

    Raises:
        HostError: It does not have the right length, or is not valid.
    """
    prehashed = Prehashed(digest.algorithm)
    if isinstance(key, rsa.RSAPublicKey) and len(signature) != (length := (key.key_size + 7) // 8):
        raise HostError(f"{maker}: expected a signature of {length} bytes, got {len(signature)}")
    try:
        match key:
            case rsa.RSAPublicKey():
                key.verify(signature, hashed, padding.PKCS1v15(), prehashed)
            case dsa.DSAPublicKey():
                key.verify(signature, hashed, prehashed)
            case ec.EllipticCurvePublicKey():
                key.verify(signature, hashed, ec.ECDSA(prehashed))
    except InvalidSignature as exc:
        problem = f"{maker}: the signature is not valid for the key of the signer's certificate"
        raise HostError(problem, hint="is it another key's, or of another digest?") from exc
