"""Why signatures are trusted or not: every rule of a policy with the values that were compared.

Verification stops at the first rule that a signature does not meet; this goes on, with the same rules in the
same order, and makes nothing trusted.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from spkg.common.digests import Digest
from spkg.common.printable import amount
from spkg.errors import UntrustedError
from spkg.format.package import Package
from spkg.format.signature_block import SignerInfo, readable_name
from spkg.trust.certificates import serial_text
from spkg.trust.chain import SignerRule, key_id
from spkg.trust.explanation import SignatureExplanation, applied_rule, explain_signature
from spkg.trust.policy import Policy
from spkg.verify.signature_checks import (
    Candidates,
    check_algorithms,
    check_rsa_signature,
    signed_octets_of,
)

__all__ = ["PackageExplanation", "explain_package"]


@dataclass(frozen=True, kw_only=True)
class PackageExplanation:
    """The rules for each signature, and those for the package."""

    signatures: tuple[SignatureExplanation, ...]
    rules: tuple[SignerRule, ...]


def explain_package(package: Package, policy: Policy, *, at: datetime | None) -> PackageExplanation:
    """Return the rules for *package* and its signatures; the arguments are those of verify_package()."""
    candidates = Candidates(package.block, policy, at)
    signatures = tuple(
        _explain(index, package, candidates, policy, at) for index in range(len(package.block.signers))
    )
    return PackageExplanation(signatures=signatures, rules=tuple(_package_rules(package, policy, signatures)))


def _package_rules(
    package: Package, policy: Policy, signatures: tuple[SignatureExplanation, ...]
) -> Iterator[SignerRule]:
    """Apply the rules for all signatures together."""
    keys = {key_id(one.chain[0]) for one in signatures if all(rule.error is None for rule in one.rules)}
    required = policy.required_signers

    def signers() -> str:
        if not signatures and policy.unsafe_allow_unsigned:
            return "the package carries no signature, and none is required"
        found = f"{amount(len(keys), 'trusted signer')} with different keys, {required} required"
        if len(keys) < required:
            raise UntrustedError(found)
        return found

    def strong_digests() -> str:
        if Digest.SHA1 in policy.digests:
            return "SHA-1 is accepted"
        if any(file.sha256 is None for file in package.files):
            raise UntrustedError(
                "only SHA-1 protects the files",
                hint="build the package again with 'strong-digests = true', or accept SHA-1 with --digests",
            )
        return "every file has a SHA-256 digest"

    yield applied_rule("required-signers", signers)
    yield applied_rule("strong-digests", strong_digests)


def _explain(
    index: int,
    package: Package,
    candidates: Candidates,
    policy: Policy,
    at: datetime | None,
) -> SignatureExplanation:
    info = package.block.signers[index]
    named = candidates.named_by(info)
    rules = list(_own_rules(info, named, package, policy))
    made_by = _maker_of(info, named, package, policy)
    certificate = named[0] if made_by is None and named else made_by
    return explain_signature(
        index, rules, certificate, candidates.pool, policy, at=at, signing_time=info.signing_time
    )


def _own_rules(
    info: SignerInfo, named: list[x509.Certificate], package: Package, policy: Policy
) -> Iterator[SignerRule]:
    """Apply the rules for a signature by itself."""
    issuer = "an unknown issuer" if info.issuer is None else readable_name(info.issuer)
    serial = "none" if info.serial is None else serial_text(info.serial)
    name = f"issuer {issuer}, serial number {serial}"

    def certificate() -> str:
        if not named:
            raise UntrustedError(
                f"the certificate of {name} is neither in the block nor an anchor",
                hint="embed the signer's certificate when signing, or trust it with --trust when verifying",
            )
        return f"found the certificate of {name}"

    def algorithms() -> str:
        digest = check_algorithms(info, package.block, policy)
        accepted = ", ".join(sorted(one.value for one in policy.digests))
        return f"RSA with {digest.value}; accepted digests: {accepted}"

    def contents() -> str:
        signed_octets_of(info, check_algorithms(info, package.block, policy), package.signed)
        if info.attributes is None:
            return "the signature is over header and command list"
        return "the signed attributes have the digest of header and command list"

    def signature() -> str:
        check_algorithms(info, package.block, policy)
        if _maker_of(info, named, package, policy) is None:
            raise UntrustedError("the signature is not valid under the key of the certificate")
        return "the signature is valid under the key of the certificate"

    yield applied_rule("certificate", certificate)
    yield applied_rule("algorithms", algorithms)
    yield applied_rule("contents", contents)
    if named:
        yield applied_rule("signature", signature)


def _maker_of(
    info: SignerInfo, named: list[x509.Certificate], package: Package, policy: Policy
) -> x509.Certificate | None:
    """Return the certificate whose key made the signature; None if no key made it, or it can't be checked."""
    with suppress(UntrustedError):
        digest = check_algorithms(info, package.block, policy)
        octets = signed_octets_of(info, digest, package.signed)
        for certificate in named:
            with suppress(UntrustedError):
                check_rsa_signature(certificate, info.signature, digest, octets)
                return certificate
    return None
