"""``spkg sign``: who signed a package, and how many signatures it has now."""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.printable import amount
from spkg.format.package import Package
from spkg.report.lines import Line, Tone, warning_documents

__all__ = ["signed_document", "signed_lines"]


def signed_document(
    output: str,
    signer: str,
    digest: str,
    package: Package,
    findings: Iterable[Finding],
    *,
    schema: str = "spkg.sign/1",
    replaced: int = 0,
) -> Document:
    """Return what ``sign`` and ``attach`` print with ``--json``; *package* is as it was before."""
    return {
        "schema": schema,
        "output": output,
        "signer": signer,
        "digest": digest,
        "signatures": len(package.block.signers) + 1 - replaced,
        "signed_sha256": sha256(package.signed).hexdigest(),
        "warnings": warning_documents(findings),
    }


def signed_lines(output: str, signer: str, digest: str, count: int) -> Iterator[Line]:
    """Yield what ``sign`` prints."""
    yield Tone.PLAIN, f"{output}: signed by {signer} with {digest}, {amount(count, 'signature')}"
