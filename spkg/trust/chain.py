"""Which signers are trusted: the rules of a policy, one after another, for a certificate and its path.

Trust comes only from the anchors that the user names; time is an argument.  Packages and vouchers share this
module.  Paths are built and checked by OpenSSL, through pyOpenSSL; what OpenSSL leaves to its caller (the
purpose of the signer's certificate, the strength of keys and digests) is checked here.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import crypto

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.common.printable import amount
from spkg.common.times import write_time
from spkg.errors import UntrustedError
from spkg.trust.certificates import common_names_of, issuer_name, quiet, subject_name, subject_of
from spkg.trust.digest_rules import check_hash, hash_name
from spkg.trust.issuing import Issuers, check_rsa_key, extension_of, find_issuers
from spkg.trust.names import is_same_name, means_name
from spkg.trust.paths import build_path
from spkg.trust.policy import ANY_PURPOSE, MIN_RSA_BITS, PACKAGE_PURPOSES, Policy, RevocationRule, pin_of
from spkg.trust.revocation import check_revocation

__all__ = [
    "SignerRule",
    "check_rsa_key",
    "check_signer",
    "doubts",
    "judge_signer",
    "key_id",
    "names_of",
]

NOT_FOR_SIGNING: Final = "sign with a certificate that was made for signing"
EXPIRES_SOON: Final = timedelta(days=90)
"""How long before the end of a certificate it is time to get another one."""


@dataclass(frozen=True, kw_only=True)
class SignerRule:
    """One rule for a signer, and whether its certificate meets it."""

    rule: str
    """A word that never changes."""
    detail: str
    """The values that were compared, or why the rule is not met."""
    error: UntrustedError | None = None
    """None if it is met."""


class _Judge:
    """Applies the rules of a policy to a signer's certificate, each once, in their order."""

    def __init__(
        self,
        certificate: x509.Certificate,
        pool: Sequence[x509.Certificate],
        policy: Policy,
        at: datetime | None,
        signing_time: datetime | None,
    ) -> None:
        self._certificate = certificate
        self._policy = policy
        self._at = policy.moment(at)
        self._when = policy.moment(at, signing_time)
        self.issuers: Issuers = find_issuers(certificate, policy.anchors, pool)
        self.path: tuple[x509.Certificate, ...] = ()

    def rules(self) -> Iterator[SignerRule]:
        """Apply one rule after another; those behind the path need one."""
        # The name comes first: it is the most useful reason for a refusal.
        yield self._apply("signer", self._name)
        # A certificate made for signing (decision 14): a gateway's own must not sign anything.
        yield self._apply("purpose", self._purpose)
        # A path of bounded cost to an anchor, within its dates.
        yield self._apply("path", self._path)
        if not self.path:
            return
        # OpenSSL accepts any key, digest and purpose of intermediates; the policy decides which count.
        yield self._apply("keys", self._keys)
        yield self._apply("pins", self._pins)
        yield self._apply("path-purpose", self._path_purpose)
        yield self._apply("path-digests", self._path_digests)
        # No certificate on the path is revoked, if the policy has revocation lists.
        yield self._apply("revocation", self._revocation)

    def _apply(self, rule: str, check: Callable[[], str]) -> SignerRule:
        try:
            return SignerRule(rule=rule, detail=check())
        except UntrustedError as exc:
            return SignerRule(rule=rule, detail=exc.problem, error=exc)
        except crypto.Error as exc:
            # One parser may refuse what another accepts; OpenSSL's own message is a list of codes.
            error = UntrustedError("OpenSSL can't read a certificate or revocation list")
            error.__cause__ = exc
        except (ValueError, UnsupportedAlgorithm) as exc:
            error = UntrustedError(f"a revocation list can't be read: {exc}")
            error.__cause__ = exc
        return SignerRule(rule=rule, detail=error.problem, error=error)

    def _name(self) -> str:
        subject = subject_of(self._certificate)
        accepted = self._policy.signers
        if accepted is None:
            return "any signer with a path to an anchor"
        if not _is_named(self._certificate, accepted):
            raise UntrustedError(
                f"{subject} is not one of the accepted signers",
                hint=f"accepted are {'; '.join(sorted(accepted))}; --signer {subject!r} accepts this one",
            )
        return f"{subject} is one of the accepted signers"

    def _purpose(self) -> str:
        _check_purpose(self._certificate, self._policy)
        extended = extension_of(self._certificate.extensions, x509.ExtendedKeyUsage)
        if extended is None:
            return "the certificate has no extendedKeyUsage, and may sign"
        return "the certificate's extendedKeyUsage is " + ", ".join(one.dotted_string for one in extended)

    def _path(self) -> str:
        self.path = build_path(self._certificate, self.issuers, self._policy, self._when)
        end = min(one.not_valid_after_utc for one in self.path)
        if self._when is None:
            return "dates not checked"
        return f"valid at {write_time(self._when)}, the first certificate on it ends on {write_time(end)}"

    def _keys(self) -> str:
        least = self._policy.minimum_rsa_bits
        if least == MIN_RSA_BITS:
            # Every key that is not an anchor's has been checked; roots of 2004 may be smaller.
            return f"RSA keys of at least {MIN_RSA_BITS} bits below the anchor"
        sizes: list[str] = []
        for step in self.path:
            key = step.public_key()
            if isinstance(key, rsa.RSAPublicKey):
                if key.key_size < least:
                    problem = f"{subject_of(step)} has an RSA key of {key.key_size} bits"
                    raise UntrustedError(
                        f"{problem}, expected at least {least}",
                        hint="sign with a larger key, or lower 'minimum-rsa-bits' in the policy file",
                    )
                sizes.append(str(key.key_size))
        return f"RSA keys of {', '.join(sizes) or 'no'} bits, at least {least} are required"

    def _pins(self) -> str:
        pins = self._policy.pins
        if pins is None:
            return "no keys are pinned"
        for step in self.path:
            if pin_of(step) in pins:
                return f"the key of {subject_of(step)} is pinned"
        own = pin_of(self._certificate).hex()
        problem = f"no key on the path is pinned; that of {subject_of(self._certificate)} is sha256:{own}"
        raise UntrustedError(
            problem, hint="add the pin of this key to 'pins' in the policy file if it is right"
        )

    def _path_purpose(self) -> str:
        between = [step for step in self.path[1:] if not self._policy.is_anchor(step)]
        for step in between:
            purposes = self._policy.purposes | {ANY_PURPOSE}
            _check_extended(step, purposes, f"the certificate of {subject_of(step)}")
        return f"{amount(len(between), 'intermediate')} may certify signers"

    def _path_digests(self) -> str:
        below = [step for step in self.path if not self._policy.is_anchor(step)]
        for step in below:
            check_hash(step, subject_of(step), self._policy)
        if not below:
            return "the signer's certificate is an anchor, whose own signature does not matter"
        return "certificates below the anchor are signed with " + ", ".join(hash_name(step) for step in below)

    def _revocation(self) -> str:
        if self._policy.revocation_rule is RevocationRule.OFF:
            lists = amount(len(self._policy.crls), "revocation list")
            return f"not checked: the policy has {lists}, and does not look at any"
        found = check_revocation(self.path, self._policy, self._at)
        return "; ".join(found) or "the anchor itself needs no revocation list"


@quiet()  # OpenSSL returns certificates, which are parsed again
def check_signer(
    certificate: x509.Certificate,
    pool: Sequence[x509.Certificate],
    policy: Policy,
    at: datetime | None,
    signing_time: datetime | None = None,
) -> tuple[x509.Certificate, ...]:
    """Return the path from a signer's certificate to an anchor.

    Args:
        certificate: The signer's.
        pool: Certificates that may be used on the path, limited in number; none is trusted.
        policy: What it takes to be trusted.
        at: The time at which dates are checked; None checks no dates.
        signing_time: The time that the signature states, if it is signed.

    Raises:
        UntrustedError: There is no path, or one of its certificates is not allowed there.
    """
    judge = _Judge(certificate, pool, policy, at, signing_time)
    for one in judge.rules():
        if one.error is not None:
            raise one.error
    return judge.path


@quiet()
def judge_signer(
    certificate: x509.Certificate,
    pool: Sequence[x509.Certificate],
    policy: Policy,
    at: datetime | None,
    signing_time: datetime | None = None,
) -> tuple[tuple[SignerRule, ...], Issuers, tuple[x509.Certificate, ...]]:
    """Return each rule with its outcome, what may be on the path, and the path, which is empty without one.

    The rules and their order are those of :func:`check_signer`, which refuses at the first that is not met.
    """
    judge = _Judge(certificate, pool, policy, at, signing_time)
    return tuple(judge.rules()), judge.issuers, judge.path


@quiet()
def doubts(
    certificate: x509.Certificate, at: datetime, purposes: frozenset[str] = PACKAGE_PURPOSES
) -> list[Finding]:
    """Return why a verifier with the default policy would reject signatures of *certificate*, now or soon."""
    name = f"the certificate of {subject_of(certificate)}"
    found: list[str] = []
    alone = Policy(anchors=(certificate,), purposes=purposes)
    try:
        _check_purpose(certificate, alone)
        found += [
            f"{name} {reason}: it may sign only as an anchor" for reason in _only_as_anchor(certificate)
        ]
    except UntrustedError as exc:
        found.append(f"verifiers may reject this signature: {exc.problem}")
    # Whatever OpenSSL refuses on a path of this certificate alone, such as an extension that nobody knows.
    try:
        build_path(certificate, find_issuers(certificate, (certificate,), ()), alone, None)
    except UntrustedError as exc:
        found.append(f"verifiers will reject this signature: {exc.problem}")
    except crypto.Error:
        found.append(f"verifiers will reject this signature: OpenSSL can't read {name}")
    if at < certificate.not_valid_before_utc:
        found.append(f"{name} is not valid before {write_time(certificate.not_valid_before_utc)}")
    end = certificate.not_valid_after_utc
    if at > end:
        found.append(f"{name} expired on {write_time(end)}")
    findings = [Finding(code="unfit-certificate", message=message) for message in found]
    if at <= end < at + EXPIRES_SOON:
        days = amount((end - at).days, "day")
        message = f"{name} expires in {days}, on {write_time(end)}"
        findings.append(Finding(code="certificate-expires", message=message))
    return findings


def _only_as_anchor(certificate: x509.Certificate) -> Iterator[str]:
    """Say why a certificate may sign only if the user trusts it itself, and not by its issuer."""
    constraints = extension_of(certificate.extensions, x509.BasicConstraints)
    usage = extension_of(certificate.extensions, x509.KeyUsage)
    if constraints is not None and constraints.ca:
        yield "is a CA certificate"
    elif usage is not None and usage.key_cert_sign:
        yield "has a keyUsage that includes keyCertSign, as for a CA"
    if not is_same_name(subject_name(certificate), issuer_name(certificate)):
        try:
            check_hash(certificate, "it", Policy(anchors=(certificate,)))
        except UntrustedError:
            yield f"is signed with {hash_name(certificate)}, which is not accepted"


def key_id(certificate: x509.Certificate) -> int:
    """Return what identifies a key, the modulus: a holder who can sign with one exponent can with any other.

    Raises:
        UntrustedError: The key is not an RSA key of secure and affordable size.
    """
    return check_rsa_key(certificate.public_key()).public_numbers().n


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the names of a signer: the RFC 4514 subject, and the common name if there is exactly one.

    A common name that contains an equals sign is left out: it could be mistaken for a subject.
    """
    common = common_names_of(certificate)
    short = {name for name in common if len(common) == 1 and "=" not in name}
    return frozenset({subject_of(certificate), *short})


def _is_named(certificate: x509.Certificate, accepted: frozenset[str]) -> bool:
    """Whether one of the accepted names is the signer's, also if it is written as openssl does."""
    if not accepted.isdisjoint(names_of(certificate)):
        return True
    subject = subject_name(certificate)
    return any(means_name(name, subject) for name in accepted)


def _check_purpose(certificate: x509.Certificate, policy: Policy) -> None:
    extensions = certificate.extensions
    constraints = extension_of(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca and not policy.is_anchor(certificate):
        raise UntrustedError("the signer's certificate is a CA certificate", hint=NOT_FOR_SIGNING)
    usage = extension_of(extensions, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise UntrustedError("the certificate's keyUsage lacks digitalSignature", hint=NOT_FOR_SIGNING)
    if usage is not None and usage.key_cert_sign and not policy.is_anchor(certificate):
        raise UntrustedError(
            "the certificate's keyUsage includes keyCertSign, as for a CA", hint=NOT_FOR_SIGNING
        )
    if policy.purposes_required and extension_of(extensions, x509.ExtendedKeyUsage) is None:
        raise UntrustedError("the certificate has no extendedKeyUsage")
    _check_extended(certificate, policy.purposes, "the signer's certificate")


def _check_extended(certificate: x509.Certificate, purposes: frozenset[str], name: str) -> None:
    """Check the extended key usages of a signer's or intermediate certificate, if it has any."""
    extended = extension_of(certificate.extensions, x509.ExtendedKeyUsage)
    if extended is not None and purposes.isdisjoint(purpose.dotted_string for purpose in extended):
        own = ", ".join(purpose.dotted_string for purpose in extended)
        advice = f"{name} is for {own}; --eku OID names what is accepted instead of code signing"
        raise UntrustedError(f"{name} has no suitable extendedKeyUsage", hint=advice)
