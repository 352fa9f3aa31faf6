"""From a package to a trusted package: the signatures, by the rules of TR-069 E.5.

Only :func:`verify_package` makes a :class:`TrustedPackage`, so code that needs one gets nothing else.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, final

from cryptography import x509

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.common.sealed import Sealed
from spkg.errors import UntrustedError
from spkg.format.package import Package
from spkg.format.signature_block import readable_name
from spkg.trust.certificates import subject_of
from spkg.trust.chain import key_id
from spkg.trust.policy import Policy
from spkg.verify.signature_checks import (
    Candidates,
    check_algorithms,
    check_rsa_signature,
    digest_name,
    signed_octets_of,
)

__all__ = [
    "AcceptedSigner",
    "SignatureReport",
    "TrustedPackage",
    "UntrustedPackageError",
    "verify_package",
]

NO_CERTIFICATE: Final = (
    "trust the signer's own certificate with --trust; signers embed it unless told otherwise"
)
MAX_TOLD: Final = 8
"""How many refusals an error message lists; the reports have all."""

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
    hint: str | None = None
    """What can be done about it."""


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
    candidates = Candidates(block, policy, at)
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
        hint = next((report.hint for report in reports if report.hint), None)
        raise UntrustedPackageError("; ".join(refusals), reports, hint=hint)

    # (3) If SHA-1 is not accepted, the payload must not depend on it either.
    if Digest.SHA1 not in policy.digests and any(file.sha256 is None for file in package.files):
        problem = "the package has no strong digests, so only SHA-1 protects its files"
        raise UntrustedPackageError(problem, reports)

    return TrustedPackage(
        package=package,
        signers=tuple(signers.values()),
        signatures=tuple(reports),
        dates_checked=policy.moment(at) is not None,
        seal=_SEAL,
    )


def _examine(index: int, package: Package, candidates: Candidates, policy: Policy) -> SignatureReport:
    """Check one signature, and report why if it is refused."""
    info = package.block.signers[index]
    named = candidates.named_by(info)
    signer: AcceptedSigner | None = None
    reasons: list[str] = []
    hints: list[str | None] = []
    try:
        digest = check_algorithms(info, package.block, policy)
        octets = signed_octets_of(info, digest, package.signed)
        if not named:
            reasons.append("the signer's certificate is neither in the block nor an anchor")
            hints.append(NO_CERTIFICATE)
        for certificate in named:
            try:
                check_rsa_signature(certificate, info.signature, digest, octets)
                path = candidates.path_of(certificate, info.signing_time)
            except UntrustedError as exc:
                reasons.append(exc.problem)
                hints.append(exc.hint)
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
        digest=digest_name(info.digest_algorithm),
        signing_time=info.signing_time,
        signer=signer,
        reason="" if signer is not None else "; ".join(dict.fromkeys(reasons)),
        hint=None if signer is not None else next((hint for hint in hints if hint), None),
    )
