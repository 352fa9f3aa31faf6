"""``spkg extract``: what was taken out of a package, and where it went."""

from collections.abc import Iterable, Iterator

from spkg.build.extract import Extraction
from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.printable import amount, size
from spkg.report.lines import NO_DATES, Line, Tone, mode_text, range_document, warning_documents
from spkg.verify.signatures import TrustedPackage

__all__ = ["extraction_document", "extraction_lines", "extraction_warnings"]


def extraction_document(
    done: Extraction, directory: str, trusted: TrustedPackage | None, findings: Iterable[Finding]
) -> Document:
    """Return what ``extract --json`` prints; without *trusted* the signatures were not checked."""
    return {
        "schema": "spkg.extract/1",
        "directory": directory,
        "verified": trusted is not None and bool(trusted.signers),
        "dates_checked": None if trusted is None else trusted.dates_checked,
        "files": [
            {
                "command": one.file.command,
                "path": str(one.file.record.path),
                "place": place,
                "length": one.file.record.file_length,
                "sha1": one.sha1.hex(),
                "mode": mode_text(one.file.mode),
            }
            for one, place in zip(done.report.files, done.places, strict=True)
        ],
        "uncovered": [range_document(gap) for gap in done.report.uncovered],
        "rebuilds": None if done.rebuild is None else done.rebuild.same,
        "warnings": warning_documents(findings),
    }


def extraction_lines(done: Extraction, directory: str) -> Iterator[Line]:
    """Yield what ``extract`` prints."""
    octets = sum(one.file.record.file_length for one in done.report.files)
    manifest = "" if done.rebuild is None else ", and manifest.toml, which rebuilds the package"
    if done.rebuild is not None and not done.rebuild.same:
        manifest = ", and manifest.toml"
    yield Tone.GOOD, f"{directory}: {amount(len(done.places), 'file')}, {size(octets)}{manifest}"


def extraction_warnings(done: Extraction, trusted: TrustedPackage | None) -> Iterator[Finding]:
    """Yield what is out of the ordinary."""
    if trusted is None:
        message = "no signature was checked: these files may come from anyone"
        yield Finding(code="not-signed", message=message)
    elif not trusted.signers:
        message = "the package is not signed: these files may come from anyone"
        yield Finding(code="not-signed", message=message)
    elif not trusted.dates_checked:
        yield NO_DATES
    for index in done.renamed:
        path = str(done.report.files[index].file.record.path)
        message = f"another file has this path: this one was written to {done.places[index]}"
        yield Finding(code="renamed", message=message, path=path)
    for gap in done.report.uncovered:
        octets = amount(gap.length, "byte")
        message = f"left out {octets} at 0x{gap.start:08x} of the payload, which no command covers"
        yield Finding(code="not-covered", message=message)
    if done.rebuild is not None and done.rebuild.problem:
        message = f"another builder wrote this package, and spkg can't rebuild it: {done.rebuild.problem}"
        yield Finding(code="another-builder", message=message)
    elif done.rebuild is not None and not done.rebuild.same:
        message = "another builder wrote this package: building from the manifest gives different bytes"
        yield Finding(code="another-builder", message=message)
