"""Signing asks what verifying will: a certificate that no verifier would take signs nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import PublicKeyAlgorithmOID

from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.errors import RefusedError, UntrustedError
from spkg.trust.certificates import issuer_name, subject_name, subject_of
from spkg.trust.chain import check_rsa_key, doubts
from spkg.trust.digest_rules import hash_name
from spkg.trust.issuing import missing_issuer
from spkg.trust.names import is_same_name
from spkg.trust.policy import Policy

__all__ = ["chain_findings", "check_fitness"]

UNFIT_CODE: Final = "unfit-certificate"


def check_fitness(
    certificate: x509.Certificate,
    purposes: frozenset[str],
    *,
    at: datetime,
    unsafe_unfit_certificate: bool = False,
    digest: Digest | None = None,
) -> list[Finding]:
    """Refuse a certificate by which no verifier with the default policy would accept a signature.

    Args:
        certificate: The signer's.
        purposes: The extended key usages of which it needs one, if it has any.
        at: The time of signing.
        unsafe_unfit_certificate: Whether it may sign all the same; its key must still be a sound one.
        digest: The digest of the signature; for SHA-256, the certificate must not hang on SHA-1 either.

    Returns:
        Warnings: what will be wrong soon, or is wrong and was accepted.

    Raises:
        RefusedError: It is expired or not valid yet, a CA's, for another use, or its key is weak or odd.
    """
    key = certificate.public_key()
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise RefusedError("the key is for RSASSA-PSS only, which neither packages nor vouchers use")
    if isinstance(key, rsa.RSAPublicKey):
        try:
            check_rsa_key(key)
        except UntrustedError as exc:
            raise RefusedError(exc.problem) from exc
    found = doubts(certificate, at, purposes)
    if digest is Digest.SHA256 and _is_certified_by_sha1(certificate):
        message = (
            f"the certificate of {subject_of(certificate)} is signed with sha1: verifiers that accept only "
            "sha256, as those of vouchers do by default, will not trust it"
        )
        found.append(Finding(code="sha1-certificate", message=message))
    unfit = [finding for finding in found if finding.code == UNFIT_CODE]
    if unfit and not unsafe_unfit_certificate:
        raise RefusedError(
            "; ".join(finding.message for finding in unfit),
            hint="use another certificate; --at states the time of an old release, and "
            "--unsafe-unfit-certificate signs all the same",
        )
    return found


def _is_certified_by_sha1(certificate: x509.Certificate) -> bool:
    """Whether a certificate hangs on SHA-1; one that certifies itself hangs on nothing."""
    itself = is_same_name(subject_name(certificate), issuer_name(certificate))
    return not itself and hash_name(certificate) == Digest.SHA1.value


def chain_findings(
    certificate: x509.Certificate,
    embedded: Sequence[x509.Certificate],
    policy: Policy | None = None,
    *,
    option: str = "--chain",
) -> list[Finding]:
    """Return a warning if the certificate of the signer's issuer does not go with the signature.

    Args:
        certificate: The signer's.
        embedded: The certificates that go with the signature.
        policy: What a device trusts, if it is known.
        option: How the missing one is embedded.
    """
    issuer = missing_issuer(certificate, embedded, () if policy is None else policy.anchors)
    if issuer is None:
        return []
    message = (
        f"the certificate of {issuer}, the issuer of {subject_of(certificate)}, is not embedded: "
        f"devices without it will not trust this; embed it with {option}"
    )
    return [Finding(code="issuer-missing", message=message)]
