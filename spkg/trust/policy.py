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
"""The extended key usages that let a certificate sign vouchers."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What it takes to be trusted.  Nothing is trusted by default: a policy without an anchor is an error.

    Args:
        anchors: Certificates that are trusted as such.
        signers: The names that may sign, each an RFC 4514 subject or a common name; None allows any signer
            with a path to an anchor.
        required_signers: How many of them must have signed, with different keys.
        crls: Revocation lists; if there are any, each certificate below an anchor needs a current one.
        digests: The digests that signatures, and certificates on the path, may use.
        purposes: The extended key usages; if a signer's certificate has any, one must be among these.
        purposes_required: Whether the certificate must have one.
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
            raise ValueError("a policy that names signers must name at least one")
        if self.required_signers < 1:
            raise ValueError("a policy must require at least one signer")
        if not self.digests:
            raise ValueError("a policy must accept at least one digest")
        if not self.purposes:
            raise ValueError("a policy must accept at least one purpose")
        if self.unsafe_allow_unsigned and (self.required_signers > 1 or self.signers is not None):
            raise ValueError("a policy that allows unsigned packages can't require signers")

    def is_anchor(self, certificate: x509.Certificate) -> bool:
        """Whether the user named exactly this certificate."""
        return certificate in self.anchors
