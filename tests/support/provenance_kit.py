"""Attestations for tests: genuine, and with any one thing wrong."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from spkg.trust.dsse import DsseEnvelope, DsseSignature, key_digest, pre_authentication
from spkg.verify.attestation import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from tests.support.kit import Certified, Draft, signer

__all__ = ["enveloped", "signature", "statement"]


def statement(**changes: Any) -> dict[str, Any]:
    """Return a statement about the genuine package; a change to None leaves a key out."""
    fields = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "p.spkg", "digest": {"sha256": sha256(Draft().signed).hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {"buildType": "x:type", "externalParameters": {}},
            "runDetails": {"builder": {"id": "x:builder"}},
        },
    } | changes
    return {key: value for key, value in fields.items() if value is not None}


def signature(
    payload: bytes,
    by: Certified,
    *,
    chain: Sequence[Certified] = (),
    embed: bool = True,
    keyid: str | None = None,
    payload_type: str = PAYLOAD_TYPE,
) -> DsseSignature:
    octets = by.key.sign(pre_authentication(payload_type, payload), padding.PKCS1v15(), hashes.SHA256())
    return DsseSignature(
        keyid=key_digest(by.certificate) if keyid is None else keyid,
        octets=octets,
        certificates=tuple(one.certificate for one in (by, *chain)) if embed else (),
    )


def enveloped(
    stated: dict[str, Any] | bytes,
    by: Certified | None = None,
    *,
    payload_type: str = PAYLOAD_TYPE,
    **how: Any,
) -> DsseEnvelope:
    """Return a statement in an envelope, signed."""
    payload = stated if isinstance(stated, bytes) else json.dumps(stated).encode()
    made = signature(payload, by or signer(), payload_type=payload_type, **how)
    return DsseEnvelope(payload_type=payload_type, payload=payload, signatures=(made,))
