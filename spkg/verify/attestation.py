"""Provenance of a package: an in-toto statement, signed as DSSE, checked under the policy of the package.

Only :func:`verify_attestation` makes a :class:`TrustedAttestation`.  Its subject is the digest of the signed
bytes of the package, header and command list, so a signature that is added later leaves it valid.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, final

from cryptography import x509

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.common.json_input import read_json
from spkg.common.sealed import Sealed
from spkg.errors import CORRUPTED, FormatError, UntrustedError
from spkg.format.package import Package
from spkg.format.ranges import Range
from spkg.trust.certificates import UNREADABLE, read_certificate, subject_of
from spkg.trust.chain import check_rsa_key, check_signer
from spkg.trust.dsse import DsseEnvelope, DsseSignature, key_digest, pre_authentication
from spkg.trust.policy import Policy
from spkg.verify.hasher import Hasher
from spkg.verify.payload import Payload
from spkg.verify.signature_checks import check_rsa_signature
from spkg.verify.signatures import TrustedPackage

__all__ = [
    "HEX_DIGEST",
    "PAYLOAD_DIGEST",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "TrustedAttestation",
    "payload_hasher",
    "verify_attestation",
]

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
PAYLOAD_DIGEST: Final = "payloadSha256"
"""The annotation of the subject that has the SHA-256 digest of the whole payload."""
HEX_DIGEST: Final = re.compile("[0-9a-f]{64}")
MAX_REASONS: Final = 8
"""How many refusals an error message lists."""
MAX_TRIED: Final = 8
"""How many certificates are tried for a signature that has none of its own."""

_SEAL: Final = object()


@final
@dataclass(frozen=True, kw_only=True)
class TrustedAttestation(Sealed, of=_SEAL, maker="spkg.verify_attestation()"):
    """A statement about a package by a signer that the policy accepts."""

    path: tuple[x509.Certificate, ...]
    """From the signer's certificate to the anchor."""
    subject: str
    """What the statement calls the package."""
    builder: str
    """Who built the package, as a URI."""
    build_type: str
    payload_sha256: bytes | None
    """The digest of the whole payload, if it is stated; :meth:`check_payload_digest` compares it."""

    @property
    def signer(self) -> str:
        """The signer's name, as RFC 4514 writes it."""
        return subject_of(self.path[0])

    def check_payload_digest(self, digest: bytes) -> None:
        """Compare the SHA-256 digest of the whole payload with the one that is stated.

        Raises:
            UntrustedError: They differ.
        """
        if self.payload_sha256 not in {None, digest}:
            problem = "the payload does not match the SHA-256 digest in the attestation"
            raise UntrustedError(problem, reason=CORRUPTED)


def payload_hasher(payload: Payload) -> Hasher:
    """Return a consumer that computes the SHA-256 digest of a whole payload."""
    return Hasher(Range(0, payload.length), [Digest.SHA256])


def verify_attestation(
    envelope: DsseEnvelope, trusted: TrustedPackage, policy: Policy, *, at: datetime | None
) -> TrustedAttestation:
    """Check that an accepted signer states the provenance of a package.

    Args:
        envelope: What was read.
        trusted: The package.
        policy: What it takes to be trusted; one signer is enough, however many have to sign the package.
        at: The time at which dates are checked, with a time zone; None checks no dates.

    Raises:
        UntrustedError: No accepted signer signed it, or it is about another package.
        FormatError: It is not an in-toto statement with SLSA provenance.
    """
    # (1) What is signed is said to be a statement: nothing else is looked at in its place.
    if envelope.payload_type != PAYLOAD_TYPE:
        problem = f"expected {PAYLOAD_TYPE}, got {envelope.payload_type!r:.80}"
        raise FormatError(problem, field="attestation.payloadType")

    # (2) One signature of a signer that the policy accepts; until then nothing of the payload is read.
    path = _accepted(envelope, trusted.package, policy, at)

    # (3) The statement is provenance, ...
    statement = _Fields(read_json(envelope.payload, "the statement of the attestation"), "statement")
    for key, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        found = statement.text(key)
        if found != expected:
            raise statement.error(key, f"expected {expected}, got {found!r:.80}")
    # (4) ... and this package is its subject.
    signed = sha256(trusted.package.signed).hexdigest()
    subject = _subject(statement, signed)
    annotations = subject.optional("annotations")
    predicate = statement.inner("predicate")
    return TrustedAttestation(
        path=path,
        subject="" if "name" not in subject.fields else subject.text("name"),
        builder=predicate.inner("runDetails").inner("builder").text("id"),
        build_type=predicate.inner("buildDefinition").text("buildType"),
        payload_sha256=None if annotations is None else annotations.digest(PAYLOAD_DIGEST),
        seal=_SEAL,
    )


def _accepted(
    envelope: DsseEnvelope, package: Package, policy: Policy, at: datetime | None
) -> tuple[x509.Certificate, ...]:
    """Return the path of the first signer that the policy accepts.

    Raises:
        UntrustedError: No signer is accepted.
    """
    if Digest.SHA256 not in policy.digests:
        raise UntrustedError("the policy does not accept the digest algorithm sha256 of the attestation")
    octets = pre_authentication(envelope.payload_type, envelope.payload)
    others = [*policy.anchors, *_embedded(package)]
    reasons: list[str] = []
    for index, signature in enumerate(envelope.signatures):
        candidates = _candidates(signature, others)
        if not candidates:
            reasons.append(f"signature[{index}]: the signer's certificate is neither in it nor known")
        for certificate in candidates:
            try:
                check_rsa_signature(certificate, signature.octets, Digest.SHA256, octets)
                pool = [*dict.fromkeys((*signature.certificates, *others))]
                return check_signer(certificate, pool, policy, at)
            except UntrustedError as exc:
                reasons.append(f"signature[{index}]: {exc.problem}")
    told = [*dict.fromkeys(reasons)]
    if len(told) > MAX_REASONS:
        told[MAX_REASONS:] = [f"and {len(told) - MAX_REASONS} more"]
    raise UntrustedError(f"the attestation: {'; '.join(told)}")


def _embedded(package: Package) -> Iterator[x509.Certificate]:
    """Yield the certificates of the package that can be read; none of them is trusted."""
    for octets in package.block.certificates:
        try:
            yield read_certificate(octets)
        except FormatError:
            continue


def _candidates(signature: DsseSignature, others: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """Return the certificates that may be the signer's: its own, else those that are known."""
    if signature.certificates:
        return signature.certificates[:1]
    return [one for one in others if _has_key(one, signature.keyid)][:MAX_TRIED]


def _has_key(certificate: x509.Certificate, keyid: str) -> bool:
    """Whether a certificate has an RSA key that may sign: the one that a signature names, if it names one."""
    try:
        check_rsa_key(certificate.public_key())
    except (UntrustedError, *UNREADABLE):
        return False
    return HEX_DIGEST.fullmatch(keyid) is None or key_digest(certificate) == keyid


@dataclass(frozen=True)
class _Fields:
    """An object of a statement, whose fields are read with their place."""

    value: Any
    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, dict):
            raise FormatError("expected an object", field=f"attestation.{self.path}")

    @property
    def fields(self) -> dict[str, Any]:
        found: dict[str, Any] = self.value
        return found

    def error(self, key: str, problem: str) -> FormatError:
        return FormatError(problem, field=f"attestation.{self.path}.{key}")

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        if not isinstance(value, str):
            raise self.error(key, "expected a string")
        return value

    def inner(self, key: str) -> "_Fields":
        return _Fields(self.fields.get(key), f"{self.path}.{key}")

    def optional(self, key: str) -> "_Fields | None":
        return self.inner(key) if key in self.fields else None

    def digest(self, key: str) -> bytes | None:
        """Return a SHA-256 digest in hexadecimal; None if it is not stated."""
        if key not in self.fields:
            return None
        value = self.text(key)
        if HEX_DIGEST.fullmatch(value) is None:
            raise self.error(key, "expected 64 hexadecimal digits in lower case")
        return bytes.fromhex(value)


def _subject(statement: _Fields, signed: str) -> _Fields:
    """Return the subject with the digest of the package.

    Raises:
        UntrustedError: The statement is about other packages.
        FormatError: It has no subject.
    """
    found = statement.fields.get("subject")
    if not isinstance(found, list) or not found:
        raise statement.error("subject", "expected a list of at least one")
    subjects = [_Fields(one, f"statement.subject[{index}]") for index, one in enumerate(found)]
    digests: list[bytes | None] = []
    for one in subjects:
        digests.append(one.inner("digest").digest("sha256"))
        if digests[-1] == bytes.fromhex(signed):
            return one
    other = next((digest.hex() for digest in digests if digest is not None), "none")
    raise UntrustedError(f"the attestation is for another package: expected SHA-256 {signed}, got {other}")
