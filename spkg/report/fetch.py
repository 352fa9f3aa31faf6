"""``spkg fetch``: what was downloaded."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.printable import amount, size
from spkg.report.lines import Line, Tone, warning_documents
from spkg.verify.contents import PayloadReport
from spkg.verify.signatures import TrustedPackage

__all__ = ["fetched_document", "fetched_lines"]


def fetched_document(
    trusted: TrustedPackage, report: PayloadReport, output: Path, findings: Iterable[Finding]
) -> Document:
    """Return what ``fetch --json`` prints."""
    return {
        "schema": "spkg.fetch/1",
        "output": str(output),
        "octets": _octets(trusted),
        "files": len(report.files),
        "signers": [signer.subject for signer in trusted.signers],
        "warnings": warning_documents(findings),
    }


def fetched_lines(trusted: TrustedPackage, report: PayloadReport, output: Path) -> Iterator[Line]:
    """Yield what ``fetch`` prints."""
    signers = ", ".join(signer.subject for signer in trusted.signers)
    signed = f"all as signed by {signers}" if signers else "not signed"
    files = amount(len(report.files), "file")
    yield Tone.GOOD, f"{output}: {size(_octets(trusted))}, {files}, {signed}"


def _octets(trusted: TrustedPackage) -> int:
    return trusted.package.payload_offset + trusted.package.header.payload_length
