"""Why a signer is trusted or not: every rule with the values that were compared, for packages and vouchers.

Verification stops at the first rule that a signature does not meet; an explanation goes on, with the same
rules in the same order, and makes nothing trusted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from spkg.errors import UntrustedError
from spkg.trust.certificates import issuer_of
from spkg.trust.chain import SignerRule, judge_signer
from spkg.trust.policy import Policy

__all__ = ["SignatureExplanation", "advice_of", "applied_rule", "explain_signature"]


def advice_of(rules: Iterable[SignerRule]) -> tuple[str, ...]:
    """Return what to do about those rules that are not met."""
    hints = (rule.error.hint for rule in rules if rule.error is not None)
    return tuple(dict.fromkeys(hint for hint in hints if hint))


def applied_rule(rule: str, check: Callable[[], str]) -> SignerRule:
    """Return the outcome of a check, which returns the values that it compared, or raises."""
    try:
        return SignerRule(rule=rule, detail=check())
    except UntrustedError as exc:
        return SignerRule(rule=rule, detail=exc.problem, error=exc)


@dataclass(frozen=True, kw_only=True)
class SignatureExplanation:
    """The rules for one signature, and how far the way to an anchor got."""

    index: int
    rules: tuple[SignerRule, ...]
    chain: tuple[x509.Certificate, ...]
    """From the signer's certificate to an anchor, or as far as it goes; empty if that is missing."""
    anchor: x509.Certificate | None
    """The anchor that the chain leads to."""
    missing_issuer: str | None
    """The name of the issuer at which it ends, if there is no certificate of it."""

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about the rules that are not met."""
        return advice_of(self.rules)


def explain_signature(
    index: int,
    own_rules: Sequence[SignerRule],
    certificate: x509.Certificate | None,
    pool: Sequence[x509.Certificate],
    policy: Policy,
    *,
    at: datetime | None,
    signing_time: datetime | None = None,
) -> SignatureExplanation:
    """Return the rules for a signature: its own, and those for the signer.

    Args:
        index: The signature's.
        own_rules: The rules for the signature by itself.
        certificate: The signer's, if it is available.
        pool: Certificates that may be used on the path.
        policy: What it takes to be trusted.
        at: The time at which dates are checked; None checks no dates.
        signing_time: The time that the signature states, if it is signed.
    """
    if certificate is None:
        return SignatureExplanation(
            index=index, rules=tuple(own_rules), chain=(), anchor=None, missing_issuer=None
        )
    found, issuers, path = judge_signer(certificate, pool, policy, at, signing_time)
    chain = path or issuers.chain
    anchor = chain[-1] if policy.is_anchor(chain[-1]) else None
    missing = None if issuers.missing is None or anchor is not None else issuer_of(chain[-1])
    return SignatureExplanation(
        index=index, rules=(*own_rules, *found), chain=chain, anchor=anchor, missing_issuer=missing
    )
