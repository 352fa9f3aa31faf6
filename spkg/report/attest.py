"""``spkg attest``: what was stated about which package, and by whom."""

from collections.abc import Iterable, Iterator

from spkg.build.attest import PackageFacts
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.report.lines import Line, Tone, warning_documents

__all__ = ["attested_document", "attested_lines"]


def attested_document(
    output: str, signer: str, builder: str, facts: PackageFacts, findings: Iterable[Finding]
) -> Document:
    """Return what ``attest --json`` prints."""
    return {
        "schema": "spkg.attest/1",
        "output": output,
        "signer": signer,
        "builder": builder,
        "subject": facts.name,
        "signed_sha256": facts.signed_sha256.hex(),
        "payload_sha256": facts.payload_sha256.hex(),
        "warnings": warning_documents(findings),
    }


def attested_lines(output: str, signer: str, facts: PackageFacts) -> Iterator[Line]:
    """Yield what ``attest`` prints."""
    yield Tone.PLAIN, f"{output}: provenance of {facts.name}, signed by {signer}"
    yield Tone.PLAIN, f"  subject: SHA-256 {facts.signed_sha256.hex()}, of header and command list"
