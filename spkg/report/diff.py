"""``spkg diff``: what changes from one package to another."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from spkg.build.compare import Change, Difference, FileChange, FileState, Summary
from spkg.build.text_changes import TextChange
from spkg.common.documents import Document
from spkg.common.printable import rough_size, size
from spkg.report.lines import Line, Tone, mode_text, warning_documents

__all__ = ["difference_document", "difference_lines"]


def difference_document(found: Difference, texts: Sequence[TextChange] | None = None) -> Document:
    """Return what ``diff --json`` prints; *texts* are those of the files, in their order."""
    files: dict[str, list[Document]] = {"added": [], "removed": [], "changed": []}
    for index, change in enumerate(found.files):
        document = {"path": change.path, "before": _state(change.before), "after": _state(change.after)}
        files[_kind(change)].append(document | ({} if texts is None else _text(texts[index])))
    return {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": found.equal,
        "summary": asdict(found.summary),
        "header": _changes(found.header),
        "commands": _changes(found.commands),
        "files": files,
        "gates": _changes(found.gates),
        "timeouts": _changes(found.timeouts),
        "signers": _changes(found.signers),
        "encoding": list(found.encoding),
        "warnings": warning_documents(found.warnings),
    }


def difference_lines(found: Difference, texts: Sequence[TextChange] = ()) -> Iterator[Line]:
    """Yield what ``diff`` prints: nothing for equal packages."""
    if found.equal:
        return
    yield Tone.HEADING, _summary(found.summary)
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
    for file, text in zip(found.files, texts, strict=False):
        yield from _text_lines(file, text)


def _summary(summary: Summary) -> str:
    """Return how much differs, in one line."""
    counts = [
        f"{count} {word}"
        for count, word in (
            (summary.added, "added"),
            (summary.removed, "removed"),
            (summary.changed, "changed"),
        )
        if count
    ]
    if not counts:
        return "no file added, removed or changed"
    sign = "-" if summary.octets < 0 else "+"
    larger = f"{sign}{rough_size(abs(summary.octets))}" if summary.octets else "no difference in size"
    return ", ".join([*counts, larger])


def _text_lines(file: FileChange, text: TextChange) -> Iterator[Line]:
    """Yield the text of a file that differs, as ``diff -u`` writes it."""
    if text.omitted is None and not text.lines:
        return
    yield Tone.HEADING, f"--- {'/dev/null' if file.before is None else f'A{file.path}'}"
    yield Tone.HEADING, f"+++ {'/dev/null' if file.after is None else f'B{file.path}'}"
    if text.omitted is not None:
        yield Tone.PLAIN, f"not shown: {text.omitted.value}"
    tones = {"-": Tone.BAD, "+": Tone.GOOD}
    for line in text.lines:
        yield tones.get(line[0], Tone.PLAIN), line
    if text.cut:
        yield Tone.PLAIN, f"not shown: more than {len(text.lines)} lines"


def _kind(change: FileChange) -> str:
    if change.before is None:
        return "added"
    return "removed" if change.after is None else "changed"


def _behind(value: str) -> str:
    return f": {value}" if value else ""


def _told(state: FileState) -> str:
    mode = f"  {state.mode:04o}" if state.mode else ""
    return f"{size(state.length)}  SHA-1 {state.sha1.hex()}{mode}"


def _text(text: TextChange) -> Document:
    return {
        "text": list(text.lines),
        "text_omitted": "lines" if text.cut else None if text.omitted is None else text.omitted.value,
    }


def _changes(changes: Sequence[Change]) -> list[Document]:
    return [{"name": one.name, "before": one.before, "after": one.after} for one in changes]


def _state(state: FileState | None) -> Document | None:
    if state is None:
        return None
    return {
        "length": state.length,
        "sha1": state.sha1.hex(),
        "sha256": None if state.sha256 is None else state.sha256.hex(),
        "mode": mode_text(state.mode),
    }
