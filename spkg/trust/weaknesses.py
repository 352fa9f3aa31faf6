"""What a policy accepts, in sentences, and where it is weaker than it need be."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.common.printable import amount
from spkg.common.times import write_time
from spkg.trust.certificates import list_issuer, subject_name, subject_of
from spkg.trust.issuing import extension_of
from spkg.trust.names import is_same_name
from spkg.trust.policy import ANY_PURPOSE, ClockRule, Policy, RevocationRule

__all__ = ["policy_sentences", "weaknesses"]

STRONG_RSA_BITS: Final = 2048
"""The smallest RSA key that is still recommended."""
LONG_GRACE: Final = timedelta(days=90)
SOON: Final = timedelta(days=90)
REVOCATION_SENTENCES: Final = {
    RevocationRule.OFF: "Revocation is not checked.",
    RevocationRule.IF_PRESENT: "A certificate whose issuer has a revocation list must not be on it, and the "
    "list must be current.",
    RevocationRule.REQUIRE: "The signer's certificate needs a current revocation list of its issuer, and "
    "must not be on it; intermediates only if there is a list.",
    RevocationRule.REQUIRE_CHAIN: "Every certificate below the anchor needs a current revocation list of its "
    "issuer, and must not be on it.",
}
CLOCK_SENTENCES: Final = {
    ClockRule.NOW: "Dates of certificates are checked at the time of verification.",
    ClockRule.SIGNING_TIME: "Dates of certificates are checked at the signed signing time, or without one at "
    "the time of verification; revocation lists at the time of verification.",
    ClockRule.OFF: "Dates of certificates and revocation lists are not checked.",
}


def policy_sentences(policy: Policy) -> Iterator[str]:
    """Yield what a policy accepts, for people."""
    names = "; ".join(_described(anchor) for anchor in policy.anchors)
    yield f"Trust begins at {amount(len(policy.anchors), 'anchor')}: {names}."
    needed = amount(policy.required_signers, "signature")
    if policy.required_signers > 1:
        needed += " with different keys"
    yield f"A package needs {needed} by a trusted signer."
    if policy.signers is None:
        yield "Any signer with a path to an anchor may sign."
    else:
        yield f"Only these signers may sign: {'; '.join(sorted(policy.signers))}."
    if policy.pins is not None:
        pins = ", ".join(f"sha256:{pin.hex()}" for pin in sorted(policy.pins))
        yield f"The path must contain one of these keys: {pins}."
    digests = " and ".join(sorted(digest.value for digest in policy.digests))
    yield f"Accepted digests: {digests}."
    yield f"RSA keys need at least {policy.minimum_rsa_bits} bits."
    purposes = ", ".join(sorted(policy.purposes))
    yield (
        f"The signer's certificate must have one of these extended key usages: {purposes}."
        if policy.purposes_required
        else f"The signer's certificate must have no extended key usage, or one of these: {purposes}."
    )
    yield REVOCATION_SENTENCES[policy.revocation_rule]
    if policy.revocation_rule is not RevocationRule.OFF:
        yield f"Revocation lists at hand: {len(policy.crls)}."
    yield CLOCK_SENTENCES[policy.clock]
    if policy.not_before is not None and policy.clock is not ClockRule.OFF:
        yield f"A clock before {write_time(policy.not_before)} counts as that time."
    if policy.grace:
        yield f"A certificate is accepted for {_span(policy.grace)} after its end."


def weaknesses(policy: Policy, at: datetime) -> list[Finding]:
    """Return where a policy accepts more than it should have to, or can accept nothing.

    Args:
        policy: The policy.
        at: Now.
    """
    then = policy.moment(at) or at
    found = (
        *_anchor_weaknesses(policy, then),
        *_rule_weaknesses(policy),
        *_clock_weaknesses(policy, at),
        *_list_weaknesses(policy, then),
    )
    return [Finding(code="weak-policy", message=message) for message in found]


def _anchor_weaknesses(policy: Policy, at: datetime) -> Iterator[str]:
    leaves = [anchor for anchor in policy.anchors if not _is_authority(anchor)]
    if len(policy.anchors) == 1 and leaves:
        yield (
            f"the only anchor, {subject_of(leaves[0])}, is a signer's own certificate: it can't be replaced "
            "without a new policy on every device"
        )
    for anchor in policy.anchors:
        key, name = anchor.public_key(), subject_of(anchor)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < policy.minimum_rsa_bits:
            yield (
                f"the anchor {name} has an RSA key of {key.key_size} bits, less than minimum-rsa-bits: "
                "nothing below it is accepted"
            )
        elif isinstance(key, rsa.RSAPublicKey) and key.key_size < STRONG_RSA_BITS:
            yield f"the anchor {name} has an RSA key of {key.key_size} bits; use {STRONG_RSA_BITS} or more"
        end = anchor.not_valid_after_utc
        if policy.clock is ClockRule.OFF:
            continue
        if end + policy.grace < at:
            yield f"the anchor {name} expired on {write_time(end)}: nothing below it is accepted now"
        elif end < at + SOON:
            yield f"the anchor {name} ends soon, on {write_time(end)}"


def _rule_weaknesses(policy: Policy) -> Iterator[str]:
    if Digest.SHA1 in policy.digests:
        yield 'SHA-1 is accepted, for which collisions are known: use digests = ["sha256"] if you can'
    if policy.minimum_rsa_bits < STRONG_RSA_BITS:
        yield (
            f"RSA keys of {policy.minimum_rsa_bits} bits are accepted: "
            f"use minimum-rsa-bits = {STRONG_RSA_BITS} or more"
        )
    if policy.purposes_required and ANY_PURPOSE in policy.purposes:
        yield "any extended key usage is accepted: certificates for any purpose may sign"
    elif not policy.purposes_required:
        yield "certificates without an extended key usage may sign: name one with 'eku'"
    if policy.signers is not None and len(policy.signers) < policy.required_signers:
        yield (
            f"{amount(policy.required_signers, 'signature')} are required of "
            f"{amount(len(policy.signers), 'accepted signer')}: a name must stand for several keys"
        )


def _clock_weaknesses(policy: Policy, at: datetime) -> Iterator[str]:
    if policy.clock is ClockRule.OFF:
        yield "dates are not checked: expired certificates and old revocation lists are accepted for ever"
    if policy.clock is ClockRule.SIGNING_TIME:
        yield "the signer states the time: a stolen key whose certificate expired signs with an old date"
    if policy.clock is not ClockRule.OFF and policy.not_before is not None and policy.not_before > at:
        floor = write_time(policy.not_before)
        yield f"'not-before' is still to come, {floor}: until then, every clock counts as it"
    if policy.grace > LONG_GRACE:
        yield f"certificates are accepted for {_span(policy.grace)} after their end"


def _list_weaknesses(policy: Policy, at: datetime) -> Iterator[str]:
    rule = policy.revocation_rule
    if rule is RevocationRule.OFF:
        yield "revocation is not checked: a stolen key is trusted until its certificate ends"
        if policy.crls:
            yield f"the {amount(len(policy.crls), 'revocation list')} at hand will not be looked at"
        return
    if not policy.crls:
        if rule is RevocationRule.IF_PRESENT:
            yield "there are no revocation lists, so none is checked"
        else:
            yield "revocation lists are required, but there are none: nothing is accepted without --crl"
    for crl in policy.crls:
        name = list_issuer(crl).rfc4514_string()
        if crl.next_update_utc is None:
            yield f"the revocation list of {name} has no end, so it is never current"
        elif crl.next_update_utc < at and policy.clock is not ClockRule.OFF:
            yield f"the revocation list of {name} ended on {write_time(crl.next_update_utc)}"
        if not any(is_same_name(list_issuer(crl), subject_name(anchor)) for anchor in policy.anchors):
            yield f"the revocation list of {name} is not of an anchor: it counts only for an intermediate"


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate.extensions, x509.BasicConstraints)
    if constraints is not None:
        return constraints.ca
    # Without extensions, as in X.509 v1, it may be a root.
    return certificate.version is x509.Version.v1


def _described(anchor: x509.Certificate) -> str:
    key = anchor.public_key()
    size = f", RSA of {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) else ""
    kind = "an authority" if _is_authority(anchor) else "a signer's own certificate"
    return f"{subject_of(anchor)} ({kind}{size}, until {write_time(anchor.not_valid_after_utc)})"


def _span(span: timedelta) -> str:
    if span.days and not span.seconds:
        return amount(span.days, "day")
    return amount(int(span.total_seconds()), "second")
