"""Attesting: provenance of a package, as an in-toto statement in a DSSE envelope (docs/provenance.md).

All that is stated comes from the package, except the builder: nothing of the machine is in it, and the same
inputs give the same bytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from spkg.common.digests import Digest
from spkg.format.commands import ROLES, Description, Metadata, Role, Version
from spkg.format.entities import entity_text
from spkg.format.package import Package
from spkg.format.sbom import SBOM_DIGEST_KEY, SBOM_KEY, sbom_kind
from spkg.trust.chain import check_rsa_key
from spkg.trust.dsse import DsseEnvelope, DsseSignature, key_digest, pre_authentication
from spkg.trust.signers import Identity, check_signature
from spkg.verify.attestation import (
    HEX_DIGEST,
    PAYLOAD_DIGEST,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    payload_hasher,
)
from spkg.verify.contents import compare_payload
from spkg.verify.payload import Payload
from spkg.verify.single_pass import Progress

__all__ = ["BUILDER", "BUILD_TYPE", "PackageFacts", "attest_package", "describe_package"]

BUILDER: Final = "pkg:pypi/tr069-spkg"
"""The builder, if nobody says who it was: this program."""
BUILD_TYPE: Final = "pkg:pypi/tr069-spkg#package/v1"
"""What the parameters of a build mean (docs/provenance.md)."""


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """What is stated about a package."""

    name: str
    package: Package
    payload_sha256: bytes

    @property
    def signed_sha256(self) -> bytes:
        """The digest of header and command list."""
        return sha256(self.package.signed).digest()


def describe_package(
    name: str, package: Package, payload: Payload, *, progress: Progress | None = None
) -> PackageFacts:
    """Read the payload of a package, and compare it with its commands: nobody attests damaged files.

    Raises:
        DamagedPayloadError: A file does not match its command.
        FormatError: The payload does not fit the header.
    """
    hasher = payload_hasher(payload)
    compare_payload(package, payload, also=[hasher], progress=progress)
    return PackageFacts(name=name, package=package, payload_sha256=hasher.digests[Digest.SHA256])


def attest_package(facts: PackageFacts, identity: Identity, *, builder: str, version: str) -> DsseEnvelope:
    """Return the provenance of a package, signed.

    Args:
        facts: What is stated.
        identity: The signer.
        builder: Who built the package, as a URI.
        version: The version of this program.

    Raises:
        UntrustedError: Our own verifier would not accept the key.
        HostError: The key can't be used.
    """
    statement = json.dumps(_statement(facts, builder, version), separators=(",", ":")).encode()
    octets = pre_authentication(PAYLOAD_TYPE, statement)
    public = check_rsa_key(identity.certificate.public_key())
    hashed = Digest.SHA256.of(octets)
    signature = identity.key.sign(Digest.SHA256, hashed)
    check_signature(public, Digest.SHA256, hashed, signature, "the signer's key")
    signed = DsseSignature(
        keyid=key_digest(identity.certificate),
        octets=signature,
        certificates=(identity.certificate, *identity.chain),
    )
    return DsseEnvelope(payload_type=PAYLOAD_TYPE, payload=statement, signatures=(signed,))


def _statement(facts: PackageFacts, builder: str, version: str) -> dict[str, Any]:
    package = facts.package
    entries = [entry for one in package.records if isinstance(one, Metadata) for entry in one.entries]
    boms = [bom for key, value in entries for bom in _boms(key, value)]
    metadata = {key: value for key, value in entries if key not in {SBOM_KEY, SBOM_DIGEST_KEY}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": facts.name,
                "digest": {"sha256": facts.signed_sha256.hex()},
                "annotations": {PAYLOAD_DIGEST: facts.payload_sha256.hex()},
            }
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"package": _parameters(package), "metadata": metadata},
            },
            "runDetails": {
                "builder": {"id": builder, "version": {"tr069-spkg": version}},
                **({"byproducts": boms} if boms else {}),
            },
        },
    }


def _parameters(package: Package) -> dict[str, str]:
    """Return the keys of [package] that say which package it is."""
    found: dict[str, str] = {}
    for record in package.records:
        match record:
            case Version(text=text):
                found["version"] = text
            case Description(text=text):
                found["description"] = text
            case Role(role=role):
                names = {number: name for name, number in ROLES.items()}
                found["role"] = names.get(role, entity_text(role))
            case _:
                pass
    return found


def _boms(key: str, value: str) -> Iterator[dict[str, Any]]:
    """Yield the bill of materials that an entry of the metadata has or names."""
    if key == SBOM_DIGEST_KEY and HEX_DIGEST.fullmatch(value) is not None:
        yield {"name": "sbom", "digest": {"sha256": value}}
    kind = sbom_kind(value) if key == SBOM_KEY else None
    if kind is not None:
        digest = sha256(value.encode()).hexdigest()
        yield {"name": "sbom", "digest": {"sha256": digest}, "mediaType": kind.format.media_type}
