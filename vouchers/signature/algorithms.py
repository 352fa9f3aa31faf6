"""Keys that sign vouchers, and their algorithms and formats in XML-Signature.

The one table of what is accepted: RSA, DSA and ECDSA over P-256.  Appendix C requires no algorithm; Figure 6
has dsa-sha1.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spkg.common.digests import Digest
from spkg.errors import UntrustedError
from spkg.trust.chain import check_rsa_key
from spkg.trust.signers import PublicKey

__all__ = [
    "DIGESTS",
    "DSIG",
    "DSIG11",
    "P256",
    "KeyNumbers",
    "PublicKey",
    "Scheme",
    "check_key",
    "digest_of_method",
    "key_value_of",
    "raw_signature",
    "scheme_for",
]

DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
DSIG11: Final = "http://www.w3.org/2009/xmldsig11#"
P256: Final = "urn:oid:1.2.840.10045.3.1.7"
DIGESTS: Final = {
    Digest.SHA1: f"{DSIG}sha1",
    Digest.SHA256: "http://www.w3.org/2001/04/xmlenc#sha256",
}
"""The URI of each DigestMethod."""
DSA_SIZES: Final = {Digest.SHA1: (160,), Digest.SHA256: (256,)}
"""The sizes of q, in bits, by digest: r and s of dsa-sha1 have exactly 20 bytes each."""
DSA_BITS: Final = (1024, 2048, 3072)
"""The sizes of p, in bits (FIPS 186)."""

KeyNumbers = tuple[int, ...] | bytes
"""The complete contents of a KeyValue."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A SignatureMethod, as a key of a certain size uses it."""

    uri: str
    key: PublicKey
    length: int
    """The length of a signature, in bytes."""


_METHODS: Final = {
    ("rsa", Digest.SHA1): f"{DSIG}rsa-sha1",
    ("rsa", Digest.SHA256): "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    ("dsa", Digest.SHA1): f"{DSIG}dsa-sha1",
    ("dsa", Digest.SHA256): f"{DSIG11}dsa-sha256",
    ("ec", Digest.SHA256): "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
}


def digest_of_method(uri: str) -> Digest | None:
    """Return the digest of a SignatureMethod; None if the method is not accepted."""
    return next((digest for (_, digest), known in _METHODS.items() if known == uri), None)


def scheme_for(key: object, digest: Digest) -> Scheme:
    """Return how a key signs with a digest.

    Raises:
        UntrustedError: The key can't sign vouchers, or not with this digest.
    """
    key = check_key(key)
    if isinstance(key, rsa.RSAPublicKey):
        return Scheme(uri=_METHODS["rsa", digest], key=key, length=(check_rsa_key(key).key_size + 7) // 8)
    if isinstance(key, dsa.DSAPublicKey):
        q = key.parameters().parameter_numbers().q.bit_length()
        if key.key_size not in DSA_BITS or q not in DSA_SIZES[digest]:
            raise UntrustedError(
                f"a DSA key for {digest.value} needs {'/'.join(map(str, DSA_BITS))} bits "
                f"and a q of {DSA_SIZES[digest][0]}, got {key.key_size} and {q}"
            )
        return Scheme(uri=_METHODS["dsa", digest], key=key, length=q // 4)
    if not isinstance(key.curve, ec.SECP256R1) or digest is not Digest.SHA256:
        raise UntrustedError(
            f"expected an ECDSA key on P-256 with sha256, got {key.curve.name} with {digest.value}"
        )
    return Scheme(uri=_METHODS["ec", digest], key=key, length=64)


def check_key(key: object) -> PublicKey:
    """Return *key* if keys of its kind can sign vouchers.

    Raises:
        UntrustedError: They can't.
    """
    if isinstance(key, PublicKey):
        return key
    raise UntrustedError("the key must be RSA, DSA or ECDSA")


def raw_signature(signature: bytes, key: PublicKey, length: int) -> bytes:
    """Return the contents of SignatureValue: an RSA signature as it is, or r followed by s."""
    if isinstance(key, rsa.RSAPublicKey):
        return signature
    return b"".join(part.to_bytes(length // 2, "big") for part in decode_dss_signature(signature))


def key_value_of(key: PublicKey) -> tuple[str, KeyNumbers]:
    """Return the KeyValue of a key: as XML within the namespace of XML-Signature, and its contents."""
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        numbers = (rsa_numbers.n, rsa_numbers.e)
        return _key_value("RSAKeyValue", ("Modulus", "Exponent"), numbers), numbers
    if isinstance(key, dsa.DSAPublicKey):
        dsa_numbers = key.public_numbers()
        domain = dsa_numbers.parameter_numbers
        values = (domain.p, domain.q, domain.g, dsa_numbers.y)
        return _key_value("DSAKeyValue", ("P", "Q", "G", "Y"), values), values
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    text = (
        f'<dsig11:ECKeyValue xmlns:dsig11="{DSIG11}">\n<dsig11:NamedCurve URI="{P256}"></dsig11:NamedCurve>\n'
        f"<dsig11:PublicKey>{b64encode(point).decode()}</dsig11:PublicKey>\n</dsig11:ECKeyValue>"
    )
    return text, point


def _key_value(name: str, parts: tuple[str, ...], numbers: tuple[int, ...]) -> str:
    """Return a KeyValue of big numbers, each a CryptoBinary."""
    lines = "\n".join(
        f"<{part}>{b64encode(number.to_bytes((number.bit_length() + 7) // 8, 'big')).decode()}</{part}>"
        for part, number in zip(parts, numbers, strict=True)
    )
    return f"<{name}>\n{lines}\n</{name}>"
