"""The policy: what it takes for a signature to be trusted."""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest

__all__ = [
    "ANY_PURPOSE",
    "PACKAGE_PURPOSES",
    "VOUCHER_PURPOSES",
    "Policy",
]

ANY_PURPOSE: Final = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string
PACKAGE_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.CODE_SIGNING.dotted_string, ANY_PURPOSE})
"""The extended key usages that let a certificate sign packages (decision 14)."""
VOUCHER_PURPOSES: Final = PACKAGE_PURPOSES | {
    ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string,
    "1.3.6.1.5.5.7.3.36",  # documentSigning (RFC 9336)
}
"""Those that let it sign vouchers."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What it takes to be trusted.  Nothing is trusted by default: a policy without an anchor is an error.

    Args:
        anchors: Certificates that need no other to vouch for them.
        signers: The names that may sign, each an RFC 4514 subject or a common name; None allows any signer
            that a path leads to.
        required_signers: How many of them must have signed, with different keys.
        crls: Revocation lists; where there are any, each certificate below an anchor needs a current one.
        digests: The digests that signatures, and certificates on the way, may hang on.
        purposes: The extended key usages of which a signer's certificate has one, if it has any.
        purposes_required: Whether it must have one.
        unsafe_allow_unsigned: Whether a block without any signature is accepted.

    Raises:
        ValueError: The policy would accept nothing, or contradicts itself.
    """

    anchors: tuple[x509.Certificate, ...]
    signers: frozenset[str] | None = None
    required_signers: int = 1
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    digests: frozenset[Digest] = frozenset(Digest)
    purposes: frozenset[str] = PACKAGE_PURPOSES
    purposes_required: bool = False
    unsafe_allow_unsigned: bool = False

    def __post_init__(self) -> None:
        if not self.anchors and not self.unsafe_allow_unsigned:
            raise ValueError("a policy needs an anchor")
        if self.signers is not None and not self.signers:
            raise ValueError("a policy that names signers names at least one")
        if self.required_signers < 1:
            raise ValueError("a policy requires at least one signer")
        if not self.digests:
            raise ValueError("a policy accepts at least one digest")
        if not self.purposes:
            raise ValueError("a policy accepts at least one purpose")
        if self.unsafe_allow_unsigned and (self.required_signers > 1 or self.signers is not None):
            raise ValueError("a policy that allows unsigned packages can't require signers")

    def is_anchor(self, certificate: x509.Certificate) -> bool:
        """Whether the user named this very certificate."""
        return certificate in self.anchors
