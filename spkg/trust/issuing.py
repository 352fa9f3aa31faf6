"""Who issued a certificate: which of the certificates at hand have the name of its issuer, and its key.

What is untrusted must not be costly: of many certificates of one name only a few are tried, and paths
have a largest length.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from spkg.common.frozen import dataclass
from spkg.errors import UntrustedError
from spkg.trust.certificates import issuer_name, issuer_of, subject_name
from spkg.trust.names import folded_name
from spkg.trust.policy import MIN_RSA_BITS

__all__ = [
    "MAX_ISSUERS",
    "Issuers",
    "check_rsa_key",
    "extension_of",
    "find_issuers",
    "is_signed_by",
    "missing_issuer",
]

MAX_RSA_BITS: Final = 8192
MIN_EXPONENT: Final = 65537
"""With a smaller public exponent, signatures can be forged if padding is checked carelessly."""
MAX_EXPONENT: Final = (1 << 32) + 1
"""A larger one makes verification slow."""
MAX_ISSUERS: Final = 10
"""The most certificates above a signer's that are looked for."""
MAX_NAMESAKES: Final = 4
"""How many untrusted certificates of one name are tried: an authority changes its key now and then."""
PSS: Final = SignatureAlgorithmOID.RSASSA_PSS
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@dataclass(frozen=True, kw_only=True)
class Issuers:
    """The certificates that may lead from a signer to an anchor: each signed one below it."""

    anchors: tuple[x509.Certificate, ...]
    others: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...]
    """One way up, from the signer's certificate to an anchor, or as far as it goes."""
    namesakes: bool = False
    """Whether there are certificates with the name of the missing issuer, but of another key."""

    @property
    def missing(self) -> x509.Name | None:
        """The issuer of the last certificate of the chain, if its certificate is missing."""
        top = self.chain[-1]
        if top in self.anchors or folded_name(issuer_name(top)) == folded_name(subject_name(top)):
            return None
        return issuer_name(top)


def find_issuers(
    certificate: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    pool: Iterable[x509.Certificate],
) -> Issuers:
    """Return what may be on the path from a certificate to an anchor.

    OpenSSL takes the first issuer with the right name and never tries another.  Authorities that changed
    their key kept their name, so only those whose key signed may be given to it.
    """
    if certificate in anchors:
        # An anchor needs no issuer; OpenSSL would still follow its issuers if they are in the pool.
        return Issuers(anchors=(certificate,), others=(), chain=(certificate,))
    trusted, untrusted = _by_subject(anchors), _by_subject(pool)
    below: dict[x509.Certificate, x509.Certificate | None] = {certificate: None}
    reached: dict[x509.Certificate, None] = {}
    level = [certificate]
    last = certificate
    for _ in range(MAX_ISSUERS):
        above: list[x509.Certificate] = []
        for one in level:
            name = _issuer_key(one)
            signed = [issuer for issuer in trusted[name] if is_issued_by(one, issuer)]
            reached |= dict.fromkeys(signed)
            if not signed:
                candidates = [issuer for issuer in untrusted[name] if _may_issue(one, issuer)]
                signed = [issuer for issuer in candidates[:MAX_NAMESAKES] if is_issued_by(one, issuer)]
                above += [issuer for issuer in signed if issuer not in below]
            for issuer in signed:
                below.setdefault(issuer, one)
        if not above:
            break
        level = above
        last = above[0]
    top: x509.Certificate | None = next(iter(reached), last)
    chain: list[x509.Certificate] = []
    while top is not None:
        chain.append(top)
        top = below[top]
    return Issuers(
        anchors=tuple(reached),
        others=tuple(one for one in below if one not in reached and one != certificate),
        chain=tuple(reversed(chain)),
        namesakes=bool(trusted[_issuer_key(chain[0])] or untrusted[_issuer_key(chain[0])]),
    )


def missing_issuer(
    certificate: x509.Certificate,
    embedded: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate] = (),
) -> str | None:
    """Return the name of a signer's issuer if no certificate of it is at hand.

    Roots are not sent along, so nothing is said about the issuer of an intermediate: it may be one.

    Args:
        certificate: The signer's.
        embedded: The certificates that go with the signature.
        anchors: Those that a verifier is known to trust.
    """
    if certificate in anchors or _issuer_key(certificate) == _subject_key(certificate):
        return None
    found = find_issuers(certificate, anchors, embedded)
    return issuer_of(certificate) if len(found.chain) == 1 else None


def _by_subject(
    certificates: Iterable[x509.Certificate],
) -> defaultdict[tuple[tuple[str, str], ...], list[x509.Certificate]]:
    found: defaultdict[tuple[tuple[str, str], ...], list[x509.Certificate]] = defaultdict(list)
    for one in dict.fromkeys(certificates):
        found[_subject_key(one)].append(one)
    return found


@lru_cache(maxsize=4096)
def _subject_key(certificate: x509.Certificate) -> tuple[tuple[str, str], ...]:
    return folded_name(subject_name(certificate))


@lru_cache(maxsize=4096)
def _issuer_key(certificate: x509.Certificate) -> tuple[tuple[str, str], ...]:
    return folded_name(issuer_name(certificate))


@lru_cache(maxsize=16384)
def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of *issuer* signed a certificate, as far as is known here."""
    return is_signed_by(certificate, issuer)


def is_signed_by(signed: x509.Certificate | x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the key of *issuer* signed, as far as is known here, and not whether it is allowed to."""
    key = issuer.public_key()
    try:
        algorithm = signed.signature_hash_algorithm
        if (
            not isinstance(key, rsa.RSAPublicKey)
            or algorithm is None
            or signed.signature_algorithm_oid == PSS
        ):
            return True
        octets = (
            signed.tbs_certificate_bytes
            if isinstance(signed, x509.Certificate)
            else signed.tbs_certlist_bytes
        )
        key.verify(signed.signature, octets, padding.PKCS1v15(), algorithm)
    except UnsupportedAlgorithm:
        return True
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)
def _may_issue(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether an untrusted issuer is cheap to check, and the key identifiers, if any, are the same."""
    try:
        key = issuer.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            check_rsa_key(key)
    except UntrustedError:
        return False
    wanted = extension_of(certificate.extensions, x509.AuthorityKeyIdentifier)
    own = extension_of(issuer.extensions, x509.SubjectKeyIdentifier)
    return wanted is None or own is None or wanted.key_identifier in {None, own.digest}


def check_rsa_key(key: object) -> rsa.RSAPublicKey:
    """Return *key* if it is an RSA key of secure and affordable size.

    Raises:
        UntrustedError: It is not.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        raise UntrustedError("the key is not an RSA key")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise UntrustedError(
            f"expected an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, got {key.key_size}"
        )
    exponent = key.public_numbers().e
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT or exponent % 2 == 0:
        raise UntrustedError(
            f"expected an RSA key with an odd exponent from {MIN_EXPONENT} to {MAX_EXPONENT}, got {exponent}"
        )
    return key


def extension_of(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    """Return an extension, or None if it is missing."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
