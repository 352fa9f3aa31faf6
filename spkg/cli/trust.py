"""What the trust options are turned into: a policy, and the time at which dates are checked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spkg.cli.console import warn
from spkg.common.frozen import dataclass
from spkg.errors import UsageError

if TYPE_CHECKING:
    from spkg.common.findings import Finding
    from spkg.trust.policy import Policy

__all__ = ["TrustOptions", "device_policy", "read_trust"]


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """What the trust options of a command say."""

    policy: "Policy"
    time: datetime | None
    """The time at which dates are checked; None if they are not."""
    findings: "tuple[Finding, ...]"
    """What is not used of the trusted files; it has been warned of."""


def read_trust(
    *,
    policy: Path | None,
    at: datetime | None,
    no_clock: bool,
    crls: Sequence[Path],
    default_purposes: "frozenset[str] | None" = None,
    default_digests: str = "sha1,sha256",
    **given: Any,
) -> TrustOptions:
    """Return what the trust options state: a policy file, and options that override it.

    Args:
        policy: The policy file.
        at: The time that counts as now.
        no_clock: Whether no dates are checked.
        crls: Files of revocation lists.
        default_purposes: The purposes of signers if nothing is stated; None means those of packages.
        default_digests: The accepted digests if nothing is stated.
        given: The other options.
    """
    from spkg.common.digests import Digest
    from spkg.trust.certificate_files import load_revocation_lists
    from spkg.trust.policy import PACKAGE_PURPOSES, ClockRule, Policy, RevocationRule
    from spkg.trust.trust_files import load_trust

    if at is not None and no_clock:
        raise UsageError("--at and --no-clock are mutually exclusive")
    values = _given_values(**given)
    trust: Sequence[Path] = values.pop("trust")
    settings: dict[str, Any] = {
        "anchors": (),
        "digests": frozenset(Digest(name) for name in default_digests.split(",")),
        "purposes": default_purposes or PACKAGE_PURPOSES,
    }
    findings: tuple[Finding, ...] = ()
    if policy is not None:
        from spkg.trust.policy_file import load_policy_settings

        named = {"anchors": bool(trust) or values["unsafe_allow_unsigned"], "crls": bool(crls)}
        read = load_policy_settings(
            policy, overridden=frozenset(name for name, is_given in named.items() if is_given)
        )
        settings |= read.values
        findings = read.findings
    elif not trust and not values["unsafe_allow_unsigned"]:
        hint = "name the trusted certificates with --trust; 'spkg keygen' creates some for tests"
        raise UsageError("nothing is trusted without --trust", hint=hint)
    settings |= values
    if trust:
        found = load_trust(trust)
        settings["anchors"], findings = found.certificates, (*findings, *found.findings)
        settings["crls"] = (*settings.get("crls", ()), *found.crls)
    if crls:
        lists = tuple(crl for path in crls for crl in load_revocation_lists(path))
        settings["crls"] = (*settings.get("crls", ()), *lists)
        if settings.get("revocation") is RevocationRule.OFF:
            del settings["revocation"]  # a list that is given counts
    if at is not None and settings.get("clock") is ClockRule.OFF:
        settings["clock"] = ClockRule.NOW
    try:
        stated = Policy(**settings)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    for finding in findings:
        warn(finding)
    time = stated.moment(None if no_clock else at or datetime.now(UTC))
    return TrustOptions(policy=stated, time=time, findings=findings)


def _given_values(
    *,
    trust: Sequence[Path],
    signers: Sequence[str],
    required_signers: int | None,
    digests: str | None,
    purposes: Sequence[str],
    unsafe_allow_unsigned: bool = False,
) -> dict[str, Any]:
    """Return the arguments of a policy that options give, and the files of anchors."""
    from cryptography.x509 import ObjectIdentifier

    from spkg.common.digests import Digest

    values: dict[str, Any] = {"trust": trust, "unsafe_allow_unsigned": unsafe_allow_unsigned}
    for purpose in purposes:
        try:
            ObjectIdentifier(purpose)
        except ValueError as exc:
            raise UsageError(f"--eku takes an OID, not {purpose!r}") from exc
    if purposes:
        values |= {"purposes": frozenset(purposes), "purposes_required": True}
    if digests is not None:
        try:
            values["digests"] = frozenset(Digest(name.strip()) for name in digests.split(","))
        except ValueError as exc:
            raise UsageError(f"--digests takes sha1, sha256 or both, not {digests!r}") from exc
    if not all(name.strip() for name in signers):
        raise UsageError("--signer takes a name, not an empty one")
    if signers:
        values["signers"] = frozenset(signers)
    if required_signers is not None:
        values["required_signers"] = required_signers
    return values


def device_policy(trust: Sequence[Path], **settings: Any) -> "Policy | None":
    """Return the policy of a device that trusts these certificates alone; None without any.

    Args:
        trust: The files.
        settings: What else the policy says.
    """
    if not trust:
        return None
    from spkg.trust.policy import Policy
    from spkg.trust.trust_files import load_trust

    found = load_trust(trust)
    for finding in found.findings:
        warn(finding)
    return Policy(anchors=found.certificates, crls=found.crls, **settings)
