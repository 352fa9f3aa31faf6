"""The policy: what it takes for a signature to be trusted."""

from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass

__all__ = [
    "ANY_PURPOSE",
    "MIN_RSA_BITS",
    "PACKAGE_PURPOSES",
    "VOUCHER_PURPOSES",
    "ClockRule",
    "Policy",
    "RevocationRule",
    "pin_of",
]

ANY_PURPOSE: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string
PACKAGE_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.CODE_SIGNING.dotted_string, ANY_PURPOSE})
"""The extended key usages that let a certificate sign packages (decision 14)."""
VOUCHER_PURPOSES: Final = PACKAGE_PURPOSES | {
    ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string,
    "1.3.6.1.5.5.7.3.36",  # documentSigning (RFC 9336)
}
"""The extended key usages that let a certificate sign vouchers."""
MIN_RSA_BITS: Final = 1024
"""The smallest RSA key that is ever accepted."""


class RevocationRule(Enum):
    """Which certificates need a current revocation list."""

    OFF = "off"
    """None: lists are not looked at."""
    IF_PRESENT = "if-present"
    """Those whose issuer has a list."""
    REQUIRE = "require"
    """The signer's, and those whose issuer has a list."""
    REQUIRE_CHAIN = "require-chain"
    """Each one below an anchor."""


class ClockRule(Enum):
    """At which time dates of certificates are checked."""

    NOW = "now"
    SIGNING_TIME = "signing-time"
    """The signed signing time, if there is one and it has passed; otherwise now.  Revocation lists: now."""
    OFF = "off"
    """No dates are checked."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What it takes to be trusted.  Nothing is trusted by default: a policy without an anchor is an error.

    Args:
        anchors: Certificates that are trusted as such.
        pins: The SHA-256 digests of keys (SubjectPublicKeyInfo), one of which must be on the path; None
            allows any key with a path to an anchor.
        signers: The names that may sign, each a common name or a subject as RFC 4514 or openssl writes it;
            None allows any signer with a path to an anchor.
        required_signers: How many of them must have signed, with different keys.
        crls: Revocation lists.
        revocation: Which certificates need a current list; None: each below an anchor, if there are lists.
        digests: The digests that signatures, and certificates on the path, may use.
        minimum_rsa_bits: The smallest RSA key on the path, the anchor's included.
        purposes: The extended key usages; if a signer's certificate has any, one must be among these.
        purposes_required: Whether the certificate must have one.
        clock: At which time dates are checked.
        not_before: An earlier time counts as this one: the clock can't be right.
        grace: How long a certificate is still accepted after its end.
        unsafe_allow_unsigned: Whether a block without any signature is accepted.

    Raises:
        ValueError: The policy would accept nothing, or contradicts itself.
    """

    anchors: tuple[x509.Certificate, ...]
    pins: frozenset[bytes] | None = None
    signers: frozenset[str] | None = None
    required_signers: int = 1
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    revocation: RevocationRule | None = None
    digests: frozenset[Digest] = frozenset(Digest)
    minimum_rsa_bits: int = MIN_RSA_BITS
    purposes: frozenset[str] = PACKAGE_PURPOSES
    purposes_required: bool = False
    clock: ClockRule = ClockRule.NOW
    not_before: datetime | None = None
    grace: timedelta = timedelta()
    unsafe_allow_unsigned: bool = False

    def __post_init__(self) -> None:
        if not self.anchors and not self.unsafe_allow_unsigned:
            raise ValueError("a policy needs an anchor")
        if self.signers is not None and not self.signers:
            raise ValueError("a policy that names signers must name at least one")
        if self.pins is not None and not self.pins:
            raise ValueError("a policy that pins keys must pin at least one")
        if self.required_signers < 1:
            raise ValueError("a policy must require at least one signer")
        if not self.digests:
            raise ValueError("a policy must accept at least one digest")
        if not self.purposes:
            raise ValueError("a policy must accept at least one purpose")
        if self.minimum_rsa_bits < MIN_RSA_BITS:
            raise ValueError(f"a policy must require RSA keys of at least {MIN_RSA_BITS} bits")
        if self.not_before is not None and self.not_before.tzinfo is None:
            raise ValueError("the floor of the clock must have a time zone")
        if self.grace < timedelta():
            raise ValueError("the grace after expiry can't be negative")
        if self.unsafe_allow_unsigned and (self.required_signers > 1 or self.signers is not None):
            raise ValueError("a policy that allows unsigned packages can't require signers")

    @property
    def revocation_rule(self) -> RevocationRule:
        """Which certificates need a current revocation list."""
        if self.revocation is not None:
            return self.revocation
        return RevocationRule.REQUIRE_CHAIN if self.crls else RevocationRule.OFF

    def moment(self, at: datetime | None, signing_time: datetime | None = None) -> datetime | None:
        """Return the time at which the dates of certificates are checked; None if they are not.

        Args:
            at: The time of the clock; None without a clock.
            signing_time: The time that the signature states, if it is signed.
        """
        if at is None or self.clock is ClockRule.OFF:
            return None
        now = at if self.not_before is None else max(at, self.not_before)
        if self.clock is ClockRule.SIGNING_TIME and signing_time is not None:
            return min(signing_time, now)  # a time to come would make early certificates valid
        return now

    def is_anchor(self, certificate: x509.Certificate) -> bool:
        """Whether the user named exactly this certificate."""
        return certificate in self.anchors


def pin_of(certificate: x509.Certificate) -> bytes:
    """Return what pins a key: the SHA-256 digest of its SubjectPublicKeyInfo."""
    octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(octets).digest()
