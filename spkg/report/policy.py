"""``spkg policy check``: what a policy accepts, for people and for programs."""

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.times import write_time
from spkg.report.certificates import certificate_document
from spkg.report.lines import Line, Tone, warning_documents
from spkg.trust.certificates import list_issuer
from spkg.trust.policy import Policy
from spkg.trust.weaknesses import policy_sentences

__all__ = ["policy_document", "policy_lines"]


def policy_document(policy: Policy, findings: Sequence[Finding]) -> Document:
    """Return what ``policy check --json`` prints."""
    return {
        "schema": "spkg.policy.check/1",
        "anchors": [certificate_document(anchor.public_bytes(Encoding.DER)) for anchor in policy.anchors],
        "pins": None if policy.pins is None else [f"sha256:{pin.hex()}" for pin in sorted(policy.pins)],
        "signers": None if policy.signers is None else sorted(policy.signers),
        "required_signers": policy.required_signers,
        "digests": sorted(digest.value for digest in policy.digests),
        "minimum_rsa_bits": policy.minimum_rsa_bits,
        "eku": sorted(policy.purposes),
        "eku_required": policy.purposes_required,
        "revocation": policy.revocation_rule.value,
        "crls": [
            {
                "issuer": list_issuer(crl).rfc4514_string(),
                "last_update": write_time(crl.last_update_utc),
                "next_update": None if crl.next_update_utc is None else write_time(crl.next_update_utc),
            }
            for crl in policy.crls
        ],
        "clock": policy.clock.value,
        "not_before": None if policy.not_before is None else write_time(policy.not_before),
        "grace": int(policy.grace.total_seconds()),
        "accepts": list(policy_sentences(policy)),
        "warnings": warning_documents(findings),
    }


def policy_lines(policy: Policy) -> Iterator[Line]:
    """Yield what ``policy check`` prints."""
    for sentence in policy_sentences(policy):
        yield Tone.PLAIN, sentence
