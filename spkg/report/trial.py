"""``spkg confirm``, ``rollback`` and ``log``: how a trial ended, and what happened before."""

from collections.abc import Iterator, Sequence
from typing import Final

from spkg.common.documents import Document
from spkg.common.printable import amount
from spkg.install.events import EventKind, RootEvent, Trigger
from spkg.install.rollback import Confirmed, RolledBack
from spkg.report.lines import Line, Tone, columns, warning_documents

__all__ = [
    "confirmed_document",
    "confirmed_lines",
    "log_document",
    "log_lines",
    "rollback_document",
    "rollback_lines",
]

ROLLBACK_MARKS: Final = {"restore": "<", "delete": "-", "make-directory": "+", "set-aside": ">"}
TRIGGERS: Final = {
    Trigger.COMMAND: "by a command",
    Trigger.BOOTS: "by recover --boot",
    Trigger.DELAY: "by guard",
    Trigger.HOOK: "by a hook",
}


def confirmed_document(done: Confirmed) -> Document:
    """Return what ``confirm --json`` prints."""
    return {
        "schema": "spkg.confirm/1",
        "status": "confirmed",
        "package": done.package,
        "changes": [],
        "set_aside": [],
        "forgiven": list(done.forgiven),
        "warnings": warning_documents(done.warnings),
    }


def confirmed_lines(done: Confirmed, root: str) -> Iterator[Line]:
    """Yield what ``confirm`` prints."""
    if done.package is None:
        yield Tone.PLAIN, f"{root}: no package is on trial"
    else:
        yield Tone.GOOD, f"{root}: confirmed package {done.package[:16]}"
    for package in done.forgiven:
        yield Tone.GOOD, f"{root}: package {package[:16]}, which was rolled back, may be applied again"


def rollback_document(done: RolledBack, *, planned: bool) -> Document:
    """Return what ``rollback --json`` prints."""
    return {
        "schema": "spkg.rollback/1",
        "status": "planned" if planned else "rolled-back",
        "package": done.package,
        "changes": list(done.changes),
        "set_aside": list(done.set_aside),
        "warnings": warning_documents(done.warnings),
    }


def rollback_lines(done: RolledBack, root: str, *, planned: bool) -> Iterator[Line]:
    """Yield what ``rollback`` prints."""
    for change in done.changes:
        if planned or change["action"] == "set-aside":
            place = f" -> {change['place']}" if change["action"] == "set-aside" else ""
            yield Tone.PLAIN, f"  {ROLLBACK_MARKS[change['action']]} {change['path']}{place}"
    verb = "dry run, would roll back" if planned else "rolled back"
    aside = f", {len(done.set_aside)} set aside" if done.set_aside else ""
    changes = amount(len(done.changes), "change")
    yield Tone.GOOD, f"{root}: {verb} package {done.package[:16]}, {changes}{aside}"


def log_document(found: Sequence[RootEvent]) -> Document:
    """Return what ``log --json`` prints."""
    return {"schema": "spkg.log/1", "events": [one.to_document() for one in found]}


def log_lines(found: Sequence[RootEvent]) -> Iterator[Line]:
    """Yield what ``log`` prints."""
    rows = [
        (
            one.when,
            one.event.value,
            one.version or "-",
            f"package {one.package[:16]}",
            "" if one.event is EventKind.APPLIED else TRIGGERS[one.by],
            one.reason or "",
        )
        for one in found
    ]
    for line in columns(rows):
        yield Tone.PLAIN, line
