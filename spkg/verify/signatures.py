"""From a package to a trusted package: the signatures, by the rules of TR-069 E.5.

Only :func:`verify_package` makes a :class:`TrustedPackage`, so code that needs one gets nothing else.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import PublicKeyAlgorithmOID

from spkg.common.digests import Digest
from spkg.common.sealed import Sealed
from spkg.errors import FormatError, UntrustedError
from spkg.format.package import Package
from spkg.format.signature_block import (
    CONTENT_TYPE,
    DATA_OCTETS,
    MESSAGE_DIGEST,
    Algorithm,
    SignatureBlock,
    SignerInfo,
    readable_name,
)
from spkg.trust.ber import OCTET_STRING, tlv
from spkg.trust.certificates import certificate_id, read_certificate, subject_of
from spkg.trust.chain import check_rsa_key, check_signer, key_id
from spkg.trust.policy import Policy

__all__ = [
    "AcceptedSigner",
    "SignatureReport",
    "TrustedPackage",
    "UntrustedPackageError",
    "check_one_signature",
    "check_rsa_signature",
    "verify_package",
]

DIGEST_OIDS: Final = {"1.3.14.3.2.26": Digest.SHA1, "2.16.840.1.101.3.4.2.1": Digest.SHA256}
RSA: Final = "1.2.840.113549.1.1.1"
RSA_OIDS: Final = {"1.2.840.113549.1.1.5": Digest.SHA1, "1.2.840.113549.1.1.11": Digest.SHA256}
"""Signature algorithms that also name their digest: other names for the same signatures (RFC 3370)."""
RSA_KEY: Final = PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
MAX_NAMED: Final = 4
"""How many certificates of one issuer and serial number are tried: an authority uses each number once."""

MAX_TOLD: Final = 8
"""How many refusals an error message lists; the reports have all."""
NO_ISSUER: Final = "trust the certificate of the signer's issuer, or embed it in the package when signing"

_SEAL: Final = object()


@dataclass(frozen=True, kw_only=True)
class AcceptedSigner:
    """A signer that the policy accepts, with a valid signature."""

    signature: int
    """The index of the signature in the block."""
    certificate: x509.Certificate
    path: tuple[x509.Certificate, ...]
    """From the signer's certificate to the anchor."""
    digest: Digest

    @property
    def subject(self) -> str:
        """The signer's name, as RFC 4514 writes it."""
        return subject_of(self.certificate)


@dataclass(frozen=True, kw_only=True)
class SignatureReport:
    """The result for one signature of the block."""

    index: int
    subject: str | None
    """The subject of the certificate it names, if that is available."""
    issuer: str | None
    serial: int | None
    digest: str
    signing_time: datetime | None
    """The time that the signer claims, if it is signed."""
    signer: AcceptedSigner | None
    """None if the signature was refused."""
    reason: str
    """Why it was refused; empty if it was accepted."""


class UntrustedPackageError(UntrustedError):
    """No accepted signature; ``signatures`` has the result for each."""

    def __init__(self, problem: str, signatures: Sequence[SignatureReport], hint: str | None = None) -> None:
        super().__init__(problem, section="E.5", hint=hint)
        self.signatures = tuple(signatures)


@final
@dataclass(frozen=True, kw_only=True)
class TrustedPackage(Sealed, of=_SEAL, maker="spkg.verify_package()"):
    """A package signed by the signers that a policy requires.  Only :func:`verify_package` makes one."""

    package: Package
    signers: tuple[AcceptedSigner, ...]
    """With different keys; empty only if the policy explicitly allowed an unsigned package."""
    signatures: tuple[SignatureReport, ...]
    dates_checked: bool
    """Whether the dates of certificates were checked."""


def verify_package(package: Package, policy: Policy, *, at: datetime | None) -> TrustedPackage:
    """Check the signatures of *package*, without looking at its payload.

    Args:
        package: The package that was read.
        policy: What it takes to be trusted.
        at: The time at which dates are checked, with a time zone; None checks no dates.

    Raises:
        UntrustedPackageError: Not enough of the signatures are accepted.
    """
    reports: list[SignatureReport] = []
    signers: dict[int, AcceptedSigner] = {}

    # (1) A block without any SignerInfo, or anything else, is trusted only if the policy explicitly says so.
    block = package.block
    if not block.signers:
        if not policy.unsafe_allow_unsigned:
            raise UntrustedPackageError("the package carries no signature", reports)
        if block.certificate_octets or block.crl_octets:
            problem = "the package carries no signature, but certificates or revocation lists"
            raise UntrustedPackageError(problem, reports)

    # (2) E.5: at least one signature must be validated; for every other one the reason is reported.
    candidates = _Candidates(block, policy, at)
    for index in range(len(block.signers)):
        report = _examine(index, package, candidates, policy)
        reports.append(report)
        if report.signer is not None:
            # One key that signs twice is one signer.
            signers.setdefault(key_id(report.signer.certificate), report.signer)
    required = policy.required_signers if block.signers else 0
    if len(signers) < required:
        refusals = [f"signature[{report.index}]: {report.reason}" for report in reports if report.reason]
        if policy.required_signers > 1:
            refusals.insert(0, f"only {len(signers)} of {policy.required_signers} required signers")
        if len(refusals) > MAX_TOLD:
            refusals[MAX_TOLD:] = [f"and {len(refusals) - MAX_TOLD} more"]
        missing = any("unable to get local issuer" in refusal for refusal in refusals)
        raise UntrustedPackageError("; ".join(refusals), reports, hint=NO_ISSUER if missing else None)

    # (3) If SHA-1 is not accepted, the payload must not depend on it either.
    if Digest.SHA1 not in policy.digests and any(file.sha256 is None for file in package.files):
        problem = "the package has no strong digests, so only SHA-1 protects its files"
        raise UntrustedPackageError(problem, reports)

    return TrustedPackage(
        package=package,
        signers=tuple(signers.values()),
        signatures=tuple(reports),
        dates_checked=at is not None,
        seal=_SEAL,
    )


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
    used = _check_algorithms(info, block, policy)
    check_rsa_signature(certificate, info.signature, used, _signed_octets(info, used, signed))


class _Candidates:
    """The available certificates: the anchors, and the readable certificates of the block."""

    def __init__(self, block: SignatureBlock, policy: Policy, at: datetime | None) -> None:
        self._policy = policy
        self._at = at
        self._all = list(policy.anchors)
        for octets in block.certificates:
            try:
                certificate = read_certificate(octets)
            except FormatError:
                continue  # This part of the block is not signed, so an unreadable certificate is ignored.
            if certificate not in self._all:
                self._all.append(certificate)
        self._by_id: defaultdict[tuple[bytes | None, int | None], list[x509.Certificate]] = defaultdict(list)
        for certificate in self._all:
            with suppress(FormatError):
                self._by_id[certificate_id(certificate.public_bytes(Encoding.DER))].append(certificate)
        self._verdicts: dict[x509.Certificate, tuple[x509.Certificate, ...] | UntrustedError] = {}

    def named_by(self, info: SignerInfo) -> list[x509.Certificate]:
        """Return the certificates that a SignerInfo names, anchors first, limited in number."""
        return self._by_id.get((info.issuer, info.serial), [])[:MAX_NAMED]

    def path_of(self, certificate: x509.Certificate) -> tuple[x509.Certificate, ...]:
        """Return the path to an anchor, built only once for all signatures that name the certificate.

        Raises:
            UntrustedError: There is no path that the policy accepts.
        """
        if certificate not in self._verdicts:
            try:
                self._verdicts[certificate] = check_signer(certificate, self._all, self._policy, self._at)
            except UntrustedError as exc:
                self._verdicts[certificate] = exc
        verdict = self._verdicts[certificate]
        if isinstance(verdict, UntrustedError):
            raise verdict
        return verdict


def _examine(index: int, package: Package, candidates: _Candidates, policy: Policy) -> SignatureReport:
    """Check one signature, and report why if it is refused."""
    info = package.block.signers[index]
    named = candidates.named_by(info)
    signer: AcceptedSigner | None = None
    reasons: list[str] = []
    try:
        digest = _check_algorithms(info, package.block, policy)
        octets = _signed_octets(info, digest, package.signed)
        if not named:
            reasons.append("the signer's certificate is neither in the block nor an anchor")
        for certificate in named:
            try:
                check_rsa_signature(certificate, info.signature, digest, octets)
                path = candidates.path_of(certificate)
            except UntrustedError as exc:
                reasons.append(exc.problem)
                continue
            signer = AcceptedSigner(signature=index, certificate=certificate, path=path, digest=digest)
            break
    except UntrustedError as exc:
        reasons.append(exc.problem)
    return SignatureReport(
        index=index,
        subject=subject_of(named[0]) if named else None,
        issuer=None if info.issuer is None else readable_name(info.issuer),
        serial=info.serial,
        digest=_digest_name(info.digest_algorithm),
        signing_time=info.signing_time,
        signer=signer,
        reason="" if signer is not None else "; ".join(dict.fromkeys(reasons)),
    )


def _check_algorithms(info: SignerInfo, block: SignatureBlock, policy: Policy) -> Digest:
    """Return the digest of a signature, if E.5 and the policy allow its algorithms."""
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


def _signed_octets(info: SignerInfo, digest: Digest, message: bytes) -> bytes:
    """Return the bytes that the signature covers: the message, or attributes with its digest.

    The message begins with the preamble, 0x32, and a SET with 0x31: neither can be mistaken for the other.
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
        UntrustedError: It is not valid, or the key is not one that may sign packages.
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


def _digest_name(algorithm: Algorithm) -> str:
    digest = DIGEST_OIDS.get(algorithm.oid)
    return algorithm.name if digest is None else digest.value
