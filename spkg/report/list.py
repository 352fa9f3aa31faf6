"""``spkg list``: the files of a package, as its commands describe them; nothing is verified."""

import stat
from collections.abc import Iterator
from typing import Final

from spkg.common.documents import Document
from spkg.common.printable import amount, size
from spkg.format.command_text import entry_text
from spkg.format.commands import Metadata
from spkg.format.package import Package, PayloadFile
from spkg.report.lines import Line, Tone, columns, mode_text

__all__ = ["listing_document", "listing_lines"]

UNSTATED: Final = "-?????????"
"""The mode of a file for which the package states none, as ls shows one that it does not know."""


def listing_document(package: Package) -> Document:
    """Return what ``list --json`` prints."""
    return {
        "schema": "spkg.list/1",
        "verified": False,
        "files": [
            {
                "path": str(file.record.path),
                "mode": mode_text(file.mode),
                "length": file.record.file_length,
                "sha1": file.record.hash.hex(),
                "command": file.command,
            }
            for file in package.files
        ],
        "metadata": dict(_metadata(package)),
    }


def listing_lines(package: Package) -> Iterator[Line]:
    """Yield what ``list`` prints."""
    rows = [_row(file) for file in package.files]
    width = max((len(row[1]) for row in rows), default=0)
    for line in columns((mode, length.rjust(width), *rest) for mode, length, *rest in rows):
        yield Tone.PLAIN, line
    for key, value in _metadata(package):
        yield Tone.PLAIN, entry_text(key, value)
    octets = sum(file.record.file_length for file in package.files)
    yield Tone.BAD, f"{amount(len(rows), 'file')}, {size(octets)}; nothing is verified"


def _metadata(package: Package) -> tuple[tuple[str, str], ...]:
    return tuple(entry for one in package.records if isinstance(one, Metadata) for entry in one.entries)


def _row(file: PayloadFile) -> tuple[str, str, str, str]:
    record = file.record
    mode = stat.filemode(stat.S_IFREG | file.mode) if file.mode else UNSTATED
    return mode, str(record.file_length), record.hash.hex(), str(record.path)
