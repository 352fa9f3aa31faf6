"""``spkg diff``: what changes from one package to another."""

from collections.abc import Iterator, Sequence

from spkg.build.compare import Change, Difference, FileChange, FileState
from spkg.common.documents import Document
from spkg.common.printable import size
from spkg.report.lines import Line, Tone

__all__ = ["difference_document", "difference_lines"]


def difference_document(found: Difference) -> Document:
    """Return what ``diff --json`` prints."""
    files: dict[str, list[Document]] = {"added": [], "removed": [], "changed": []}
    for change in found.files:
        files[_kind(change)].append(
            {"path": change.path, "before": _state(change.before), "after": _state(change.after)}
        )
    return {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": found.equal,
        "header": _changes(found.header),
        "commands": _changes(found.commands),
        "files": files,
        "gates": _changes(found.gates),
        "timeouts": _changes(found.timeouts),
        "signers": _changes(found.signers),
        "encoding": list(found.encoding),
    }


def difference_lines(found: Difference) -> Iterator[Line]:
    """Yield what ``diff`` prints: nothing for equal packages."""
    for title, changes in (
        ("header", found.header),
        ("requirements", found.gates),
        ("timeouts", found.timeouts),
        ("commands", found.commands),
        ("signers", found.signers),
    ):
        if changes:
            yield Tone.HEADING, title
        for change in changes:
            if change.before is not None:
                yield Tone.BAD, f"- {change.name}{_behind(change.before)}"
            if change.after is not None:
                yield Tone.GOOD, f"+ {change.name}{_behind(change.after)}"
    if found.files:
        yield Tone.HEADING, "files"
    for file in found.files:
        if file.before is not None:
            yield Tone.BAD, f"- {file.path}  {_told(file.before)}"
        if file.after is not None:
            yield Tone.GOOD, f"+ {file.path}  {_told(file.after)}"
    for part in found.encoding:
        yield Tone.BAD, f"the bytes differ, although every field is the same: {part}"


def _kind(change: FileChange) -> str:
    if change.before is None:
        return "added"
    return "removed" if change.after is None else "changed"


def _behind(value: str) -> str:
    return f": {value}" if value else ""


def _told(state: FileState) -> str:
    mode = f"  {state.mode:04o}" if state.mode else ""
    return f"{size(state.length)}  SHA-1 {state.sha1.hex()}{mode}"


def _changes(changes: Sequence[Change]) -> list[Document]:
    return [{"name": one.name, "before": one.before, "after": one.after} for one in changes]


def _state(state: FileState | None) -> Document | None:
    if state is None:
        return None
    return {
        "length": state.length,
        "sha1": state.sha1.hex(),
        "sha256": None if state.sha256 is None else state.sha256.hex(),
        "mode": f"{state.mode:04o}" if state.mode else None,
    }
