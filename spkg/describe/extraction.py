"""``spkg extract``: what was taken out of a package, and where it went."""

from collections.abc import Iterator

from spkg.describe.common import Document, Line, Tone, range_document
from spkg.extraction import Extraction
from spkg.text import amount, size

__all__ = ["extraction_document", "extraction_hints", "extraction_lines"]


def extraction_document(done: Extraction, directory: str) -> Document:
    """Return what ``extract --json`` prints."""
    return {
        "schema": "spkg.extract/1",
        "directory": directory,
        "files": [
            {
                "command": one.file.command,
                "path": str(one.file.record.path),
                "place": place,
                "length": one.file.record.file_length,
                "sha1": one.sha1.hex(),
                "mode": f"{one.file.mode:04o}" if one.file.mode else None,
            }
            for one, place in zip(done.report.files, done.places, strict=True)
        ],
        "uncovered": [range_document(gap) for gap in done.report.uncovered],
        "rebuilds": None if done.rebuild is None else done.rebuild.same,
    }


def extraction_lines(done: Extraction, directory: str) -> Iterator[Line]:
    """Give what ``extract`` prints."""
    octets = sum(one.file.record.file_length for one in done.report.files)
    yield Tone.GOOD, f"{directory}: {amount(len(done.places), 'file')}, {size(octets)}"


def extraction_hints(done: Extraction) -> Iterator[str]:
    """Give what is out of the ordinary."""
    for index in done.renamed:
        path = done.report.files[index].file.record.path
        yield f"{path} occurs with other contents, too: this one is {done.places[index]}"
    for gap in done.report.uncovered:
        octets = amount(gap.length, "octet")
        yield f"left out {octets} at 0x{gap.start:08x} of the payload, which no command covers"
    if done.rebuild is not None and done.rebuild.problem:
        yield f"another builder wrote this package; build refuses {done.rebuild.problem}"
    elif done.rebuild is not None and not done.rebuild.same:
        yield "another builder wrote this package: building from the manifest gives other octets"
