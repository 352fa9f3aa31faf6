"""Certificates as JSON: the same keys and times wherever one is shown."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from spkg.common.digests import Digest
from spkg.common.documents import Document
from spkg.common.times import write_time
from spkg.errors import FormatError
from spkg.trust.certificates import certificate_id, issuer_of, read_certificate, serial_text, subject_of

__all__ = [
    "certificate_document",
    "key_text",
]


def certificate_document(octets: bytes) -> Document:
    """Return the contents of a certificate, from its DER, or what is wrong with it."""
    fingerprint = Digest.SHA256.of(octets).hex()
    try:
        certificate = read_certificate(octets)
        serial = certificate_id(octets)[1]
    except FormatError as exc:
        return {"sha256": fingerprint, "problem": exc.problem}
    return {
        "subject": subject_of(certificate),
        "issuer": issuer_of(certificate),
        "serial": serial_text(serial),
        "not_before": write_time(certificate.not_valid_before_utc),
        "not_after": write_time(certificate.not_valid_after_utc),
        "key": key_text(certificate),
        "sha256": fingerprint,
    }


def key_text(certificate: x509.Certificate) -> str:
    """Return the kind of a certificate's key and its size."""
    key: Any = certificate.public_key()
    kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__.removesuffix("PublicKey")
    return f"{kind} {getattr(key, 'key_size', '')}".strip()
