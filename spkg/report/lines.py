"""What all reports share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from spkg.common.documents import Document
from spkg.common.findings import NO_DATES, StrictError, warning_documents
from spkg.errors import SpkgError
from spkg.format.ranges import Range

__all__ = [
    "NO_DATES",
    "Line",
    "Tone",
    "columns",
    "error_document",
    "error_fields",
    "mode_text",
    "progress_document",
    "range_document",
    "warning_documents",
]


class Tone(Enum):
    """The kind of a line; a terminal may show it by colour."""

    PLAIN = "plain"
    HEADING = "heading"
    GOOD = "good"
    BAD = "bad"


Line = tuple[Tone, str]
"""A line for people, not yet escaped."""


def error_fields(error: SpkgError | None, status: int, word: str, message: str) -> Document:
    """Return the fields that every document has for a failure.

    Args:
        error: The failure; None if it is not an error of this library.
        status: The exit status.
        word: The name of the status.
        message: The message for people.
    """
    fields = _error_fields(error, status, word, message)
    if error is not None and error.line is not None:
        fields["line"] = error.line
    if error is not None and error.others:
        fields["problems"] = [
            {"message": str(one), "source": one.source, "line": one.line, "field": one.field}
            for one in (error, *error.others)
        ]
        fields["unlisted"] = error.unlisted
    if isinstance(error, StrictError):
        fields["warnings"] = warning_documents(error.findings)
    return fields


def _error_fields(error: SpkgError | None, status: int, word: str, message: str) -> Document:
    return {
        "status": word,
        "exit": status,
        "message": message,
        "source": None if error is None else error.source,
        "offset": None if error is None else error.offset,
        "field": None if error is None else error.field,
        "section": None if error is None else error.section,
        "hint": None if error is None else error.hint,
    }


def error_document(fields: Mapping[str, Any]) -> Document:
    """Return the document of a command that failed."""
    return {"schema": "spkg.error/1", **fields}


def mode_text(mode: int) -> str | None:
    """Return the mode of a file as JSON has it, such as ``0640``; None if the package states none."""
    return f"{mode:04o}" if mode else None


def range_document(one: Range) -> Document:
    """Return a range of the payload."""
    return {"offset": one.start, "length": one.length}


def columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lay out rows in columns as wide as needed, the last one without padding."""
    table = [list(row) for row in rows]
    if not table:
        return
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def progress_document(schema: str, done: int, total: int, *, unit: str = "octets", **more: Any) -> Document:
    """Return a line that a command prints as JSON while it works; *unit* is what it counts."""
    return {"schema": schema, "event": "progress", unit: done, "total": total, **more}
