"""What is checked of one signature by itself: its algorithms, what it covers, and the key that made it."""

from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import PublicKeyAlgorithmOID

from spkg.common.digests import Digest
from spkg.errors import FormatError, UntrustedError
from spkg.format.signature_block import (
    CONTENT_TYPE,
    DATA_OCTETS,
    MESSAGE_DIGEST,
    Algorithm,
    SignatureBlock,
    SignerInfo,
)
from spkg.trust.ber import OCTET_STRING, tlv
from spkg.trust.certificates import certificate_id, readable_certificates, subject_of
from spkg.trust.chain import check_rsa_key, check_signer
from spkg.trust.policy import Policy

__all__ = [
    "Candidates",
    "check_algorithms",
    "check_one_signature",
    "check_rsa_signature",
    "digest_name",
    "signed_octets_of",
]

DIGEST_OIDS: Final = {"1.3.14.3.2.26": Digest.SHA1, "2.16.840.1.101.3.4.2.1": Digest.SHA256}
RSA: Final = "1.2.840.113549.1.1.1"
RSA_OIDS: Final = {"1.2.840.113549.1.1.5": Digest.SHA1, "1.2.840.113549.1.1.11": Digest.SHA256}
"""Signature algorithms that also name their digest: other names for the same signatures (RFC 3370)."""
RSA_KEY: Final = PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
MAX_NAMED: Final = 4
"""How many certificates of one issuer and serial number are tried: an authority uses each number once."""


def check_one_signature(
    block: SignatureBlock, index: int, signed: bytes, certificate: x509.Certificate, digest: Digest
) -> None:
    """Check that a signature is one of *certificate* over *signed*; nothing is said about trust.

    Args:
        block: The block.
        index: The signature's.
        signed: The bytes of header and command list.
        certificate: The signer's.
        digest: The digest that it must have.

    Raises:
        UntrustedError: It does not hold, or is not by this signer or digest.
    """
    info = block.signers[index]
    if (info.issuer, info.serial) != certificate_id(certificate.public_bytes(Encoding.DER)):
        raise UntrustedError(f"the signature is not one of {subject_of(certificate)}")
    policy = Policy(anchors=(certificate,), digests=frozenset({digest}))
    used = check_algorithms(info, block, policy)
    check_rsa_signature(certificate, info.signature, used, signed_octets_of(info, used, signed))


class Candidates:
    """The available certificates: the anchors, and the readable certificates of the block."""

    def __init__(self, block: SignatureBlock, policy: Policy, at: datetime | None) -> None:
        self._policy = policy
        self._at = at
        self._all = list(policy.anchors)
        for certificate in readable_certificates(block.certificates):
            if certificate not in self._all:
                self._all.append(certificate)
        self._by_id: defaultdict[tuple[bytes | None, int | None], list[x509.Certificate]] = defaultdict(list)
        for certificate in self._all:
            with suppress(FormatError):
                self._by_id[certificate_id(certificate.public_bytes(Encoding.DER))].append(certificate)
        self._verdicts: dict[
            tuple[x509.Certificate, datetime | None], tuple[x509.Certificate, ...] | UntrustedError
        ] = {}

    def named_by(self, info: SignerInfo) -> list[x509.Certificate]:
        """Return the certificates that a SignerInfo names, anchors first, limited in number."""
        return self._by_id.get((info.issuer, info.serial), [])[:MAX_NAMED]

    @property
    def pool(self) -> list[x509.Certificate]:
        """All of them."""
        return self._all

    def path_of(
        self, certificate: x509.Certificate, signing_time: datetime | None
    ) -> tuple[x509.Certificate, ...]:
        """Return the path to an anchor, built only once for all signatures that name the certificate.

        Raises:
            UntrustedError: There is no path that the policy accepts.
        """
        key = certificate, self._policy.moment(self._at, signing_time)
        if key not in self._verdicts:
            try:
                found = check_signer(certificate, self._all, self._policy, self._at, signing_time)
                self._verdicts[key] = found
            except UntrustedError as exc:
                self._verdicts[key] = exc
        verdict = self._verdicts[key]
        if isinstance(verdict, UntrustedError):
            raise verdict
        return verdict


def check_algorithms(info: SignerInfo, block: SignatureBlock, policy: Policy) -> Digest:
    """Return the digest of a signature, if E.5 and the policy allow its algorithms.

    Raises:
        UntrustedError: They don't.
    """
    # (1) PKCS #7 names a signer by issuer and serial number; a key identifier is CMS.
    if info.issuer is None or info.version != 1:
        raise UntrustedError("the signer must be named by issuer and serial number (PKCS #7)")
    # (2) An allow-list: of digests, with absent or NULL parameters, ...
    digest = DIGEST_OIDS.get(info.digest_algorithm.oid)
    if digest is None or not info.digest_algorithm.plain:
        raise UntrustedError(f"the digest algorithm {info.digest_algorithm.name} is not accepted")
    if digest not in policy.digests:
        raise UntrustedError(f"the policy does not accept the digest algorithm {digest.value}")
    # (3) ... and of signature algorithms: RSA, and not with a different digest.
    algorithm = info.signature_algorithm
    if not algorithm.plain or (algorithm.oid != RSA and RSA_OIDS.get(algorithm.oid) is not digest):
        raise UntrustedError(f"the signature algorithm {algorithm.name} is not RSA with {digest.value}")
    # (4) The set of digest algorithms matters: verifiers have crashed if it was incomplete.
    if info.digest_algorithm.oid not in {listed.oid for listed in block.digest_algorithms}:
        raise UntrustedError("the digest algorithm is not in the block's digestAlgorithms")
    return digest


def signed_octets_of(info: SignerInfo, digest: Digest, message: bytes) -> bytes:
    """Return the bytes that the signature covers: the message, or attributes with its digest.

    The message begins with the preamble, 0x32, and a SET with 0x31: neither can be mistaken for the other.

    Raises:
        UntrustedError: The attributes are not those of a signature over the message.
    """
    if info.attributes is None:
        return message
    octets = [attribute.octets for attribute in info.attributes]
    if octets != sorted(octets):
        raise UntrustedError("the authenticated attributes are not in DER order")
    values = {attribute.oid: attribute.values for attribute in info.attributes}
    if len(values) != len(octets):
        raise UntrustedError("an authenticated attribute occurs twice")
    if values.get(CONTENT_TYPE) != (DATA_OCTETS,):
        raise UntrustedError("the attribute contentType is missing, or not data")
    if values.get(MESSAGE_DIGEST) != (tlv(OCTET_STRING, digest.of(message)),):
        raise UntrustedError("the attribute messageDigest does not match the header and command list")
    return info.signed_attributes


def check_rsa_signature(
    certificate: x509.Certificate, signature: bytes, digest: Digest, octets: bytes
) -> None:
    """Check an RSA signature of PKCS #1 v1.5 over *octets*.

    Raises:
        UntrustedError: It is not valid under the key of the certificate, or the key is of another kind.
    """
    key = check_rsa_key(certificate.public_key())
    if certificate.public_key_algorithm_oid != RSA_KEY:
        raise UntrustedError("the key is for RSASSA-PSS only")
    if len(signature) != (key.key_size + 7) // 8:
        raise UntrustedError(f"expected a signature of {(key.key_size + 7) // 8} bytes, got {len(signature)}")
    prehashed = utils.Prehashed(digest.algorithm)
    try:
        key.verify(signature, digest.of(octets), padding.PKCS1v15(), prehashed)
    except InvalidSignature as exc:
        raise UntrustedError("the signature is not valid") from exc


def digest_name(algorithm: Algorithm) -> str:
    """Return the name of a digest algorithm, also of one that is not accepted."""
    digest = DIGEST_OIDS.get(algorithm.oid)
    return algorithm.name if digest is None else digest.value
