"""DSSE (Dead Simple Signing Envelope, version 1): a payload, its type and its signatures, in JSON.

Only framing is done here, and bounded; nothing is verified.  Certificates are in the field ``cert`` of a
signature, in PEM, the signer's first (in-toto's ITE-7); readers that do not know it ignore it.
"""

import binascii
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spkg.common.json_input import read_json
from spkg.errors import FormatError
from spkg.trust.certificates import UNREADABLE, read_certificate

__all__ = [
    "MAX_ATTESTATION",
    "DsseEnvelope",
    "DsseSignature",
    "key_digest",
    "pre_authentication",
    "read_envelope",
]

MAX_ATTESTATION: Final = 4 << 20
"""The largest envelope, in bytes."""
MAX_SIGNATURES: Final = 16
MAX_EMBEDDED: Final = 8
"""The most certificates of one signature."""
URL_SAFE: Final = str.maketrans("-_", "+/")
"""From the other alphabet of base64, which is allowed, too."""


@dataclass(frozen=True, kw_only=True)
class DsseSignature:
    """One signature of an envelope; nothing about it is verified."""

    keyid: str
    """A hint which key it is; ours is the SHA-256 digest of the SubjectPublicKeyInfo."""
    octets: bytes
    certificates: tuple[x509.Certificate, ...] = ()
    """The signer's, and those that lead to a root; empty if there are none, or none that can be read."""


@dataclass(frozen=True, kw_only=True)
class DsseEnvelope:
    """A payload and its signatures."""

    payload_type: str
    payload: bytes
    signatures: tuple[DsseSignature, ...]

    def encode(self) -> bytes:
        """Return the envelope as JSON, in one line."""
        document = {
            "payload": b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [_written(signature) for signature in self.signatures],
        }
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _written(signature: DsseSignature) -> dict[str, str]:
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in signature.certificates).decode()
    document = {"keyid": signature.keyid, "sig": b64encode(signature.octets).decode()}
    return document | ({"cert": pem} if pem else {})


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: the type and the payload, each with its length (PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_digest(certificate: x509.Certificate) -> str:
    """Return the SHA-256 digest of a certificate's SubjectPublicKeyInfo, in hexadecimal."""
    public = certificate.public_key()
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_envelope(octets: bytes, source: str | None = None) -> DsseEnvelope:
    """Return the envelope that *octets* contain.

    Args:
        octets: The contents of a file, one byte more than :data:`MAX_ATTESTATION` at most.
        source: Its name, for errors.

    Raises:
        FormatError: It is not a DSSE envelope, or exceeds the limits.
    """
    if len(octets) > MAX_ATTESTATION:
        raise FormatError(f"the attestation has more than {MAX_ATTESTATION} bytes", source=source)
    document = read_json(octets, source)
    if not isinstance(document, dict) or not {"payload", "payloadType", "signatures"} <= document.keys():
        problem = "expected a DSSE envelope, an object with payload, payloadType and signatures"
        raise FormatError(problem, source=source)
    found = document["signatures"]
    if not isinstance(found, list) or not 0 < len(found) <= MAX_SIGNATURES:
        raise FormatError(f"expected 1 to {MAX_SIGNATURES} signatures", source=source, field="signatures")
    return DsseEnvelope(
        payload_type=_text(document, "payloadType", "", source),
        payload=_octets(document, "payload", "", source),
        signatures=tuple(_read(one, f"signatures[{index}]", source) for index, one in enumerate(found)),
    )


def _read(document: Any, field: str, source: str | None) -> DsseSignature:
    if not isinstance(document, dict):
        raise FormatError("expected an object", source=source, field=field)
    return DsseSignature(
        keyid=_text({"keyid": ""} | document, "keyid", f"{field}.", source),
        octets=_octets(document, "sig", f"{field}.", source),
        certificates=_certificates(document.get("cert")),
    )


def _text(document: dict[str, Any], key: str, path: str, source: str | None) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value.isprintable():
        raise FormatError("expected a string", source=source, field=f"{path}{key}")
    return value


def _octets(document: dict[str, Any], key: str, path: str, source: str | None) -> bytes:
    try:
        return b64decode(_text(document, key, path, source).translate(URL_SAFE), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise FormatError("expected base64", source=source, field=f"{path}{key}") from exc


def _certificates(pem: Any) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a signature: they are not signed, so what can't be read is left out."""
    if not isinstance(pem, str):
        return ()
    try:
        found = x509.load_pem_x509_certificates(pem.encode())[:MAX_EMBEDDED]
        return tuple(read_certificate(one.public_bytes(Encoding.DER)) for one in found)
    except (*UNREADABLE, FormatError):
        return ()
