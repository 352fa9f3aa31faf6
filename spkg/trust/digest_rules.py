"""Which digests may protect the signatures of certificates and revocation lists."""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from spkg.common.digests import Digest
from spkg.errors import UntrustedError
from spkg.trust.policy import Policy

__all__ = ["check_hash", "hash_name"]

STRONG_HASHES: Final = (hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)


def check_hash(signed: x509.Certificate | x509.CertificateRevocationList, name: str, policy: Policy) -> None:
    """Refuse what is signed with a weak or unknown digest.

    Raises:
        UntrustedError: The policy does not accept the digest.
    """
    accepted = (*STRONG_HASHES, hashes.SHA1) if Digest.SHA1 in policy.digests else STRONG_HASHES
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm as exc:
        raise UntrustedError(f"{name} is signed with {hash_name(signed)}, which is not accepted") from exc
    # None means a signature algorithm with a built-in digest.
    if algorithm is not None and not isinstance(algorithm, accepted):
        weak = isinstance(algorithm, hashes.SHA1)
        advice = (
            "--digests sha1,sha256 accepts SHA-1; better certify the key again with SHA-256" if weak else None
        )
        raise UntrustedError(f"{name} is signed with {algorithm.name}, which is not accepted", hint=advice)


def hash_name(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    """Return the digest of a signature, or the number of an algorithm that is unknown here."""
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"the algorithm {signed.signature_algorithm_oid.dotted_string}"
    return "a built-in digest" if algorithm is None else algorithm.name
