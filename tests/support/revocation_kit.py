"""Revocation lists for tests."""

from collections.abc import Sequence
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support.kit import AT, Certified, name

__all__ = ["crl"]


def crl(
    by: Certified,
    *revoked: Certified,
    start: int = -1,
    days: int = 30,
    called: str | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> x509.CertificateRevocationList:
    """Make a list that counts from the day *start* to the day *days* of :data:`AT`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.certificate.subject if called is None else name(called))
        .last_update(AT + timedelta(days=start))
        .next_update(AT + timedelta(days=days))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.DeltaCRLIndicator))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(AT - timedelta(days=2)).build())
    return builder.sign(by.key, hashes.SHA256())
