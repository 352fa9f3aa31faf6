"""``spkg apply``, ``recover`` and ``status``: what changed in a root, and its state."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.printable import amount
from spkg.cwmp.faults import MAX_FAULT_STRING, transfer_fault
from spkg.errors import SpkgError
from spkg.install.apply import Applied
from spkg.install.transaction import RecoveryOutcome
from spkg.report.lines import Line, Tone, warning_documents
from spkg.verify.payload import Standing

__all__ = [
    "SCHEMA",
    "applied_lines",
    "applied_warnings",
    "failure_document",
    "outcome_text",
    "result_document",
    "standing_document",
    "standing_text",
]

SCHEMA: Final = "spkg.apply/1"
"""The schema of each of its JSON lines."""
MARKS: Final = {"put": "+", "delete": "-", "move": ">", "make-directory": "+"}
UNCONFINED: Final = (
    "the kernel has no Landlock of Linux 5.19 or later: the installer was not confined to the root"
)
OUTCOMES: Final = {
    RecoveryOutcome.NOTHING: "nothing was left to recover",
    RecoveryOutcome.DISCARDED: "discarded an installation that had not changed anything yet",
    RecoveryOutcome.DONE: "finished an interrupted installation",
    RecoveryOutcome.UNDONE: "undid an interrupted installation that could not be finished",
}
"""What recovery did, for people."""


def outcome_text(outcome: RecoveryOutcome, cause: str) -> str:
    """Return what recovery did, and what prevented more, for people."""
    return f"{OUTCOMES[outcome]} ({cause})" if cause else OUTCOMES[outcome]


def standing_document(standing: Standing) -> Document:
    """Return the progress of a package: its state, its deadline, and the last command processed."""
    deadline = standing.deadline
    return {
        "state": standing.state.value,
        "command": standing.command,
        "deadline": None
        if deadline is None
        else {"timeout": deadline.title, "seconds": deadline.seconds, "left": round(deadline.left, 1)},
    }


def standing_text(standing: Mapping[str, Any], age: float) -> str:
    """Return the state of a package for people, *age* seconds after it was reported."""
    if standing["deadline"] is None:
        return str(standing["state"])
    return f"{standing['state']}, {max(0, standing['deadline']['left'] - age):.0f} s left"


def result_document(
    applied: Applied, *, planned: bool, start: str, end: str, command_key: str | None
) -> Document:
    """Return the last line of ``apply --json`` after a success."""
    return {
        "schema": SCHEMA,
        "event": "result",
        "status": "planned" if planned else "installed",
        "exit": 0,
        "reboot_required": applied.reboot_required,
        "already_installed": applied.already,
        "command_key": command_key,
        "fault": {"code": 0, "string": ""},
        "reason": None,
        "start_time": start,
        "complete_time": end,
        "changes": list(applied.changes),
        "skipped_unknown": list(applied.skipped_unknown),
        "notes": [str(warning) for warning in applied.warnings],
        "warnings": warning_documents(applied_warnings(applied)),
        "recovered": applied.recovered.value,
        "confined": applied.confined,
    }


def failure_document(
    error: SpkgError, fields: Mapping[str, Any], *, start: str, end: str, command_key: str | None
) -> Document:
    """Return the last line of ``apply --json`` after a failure; *fields* are those of any failure."""
    return {
        "schema": SCHEMA,
        "event": "result",
        **fields,
        "reboot_required": False,
        "already_installed": False,
        "command_key": command_key,
        "fault": {"code": transfer_fault(error), "string": str(error)[:MAX_FAULT_STRING]},
        "reason": error.reason,
        "start_time": start,
        "complete_time": end,
        "changes": [],
        "skipped_unknown": [],
        "notes": [],
        "warnings": [],
        "recovered": None,
        "confined": None,
    }


def applied_lines(applied: Applied, root: str, *, planned: bool) -> Iterator[Line]:
    """Yield what ``apply`` prints."""
    if applied.already:
        yield Tone.GOOD, f"{root}: this package is already installed, nothing was changed"
        return
    if planned:
        for change in applied.changes:
            source = f"{change['source']} -> " if change["action"] == "move" else ""
            mark = "~" if change.get("replaces") else MARKS[change["action"]]
            slash = "/" if change["action"] == "make-directory" or change.get("kind") == "directory" else ""
            yield Tone.PLAIN, f"  {mark} {source}{change['path']}{slash}"
    verb = "dry run" if planned else "installed"
    reboot = ", reboot required" if applied.reboot_required else ""
    yield Tone.GOOD, f"{root}: {verb}, {amount(len(applied.changes), 'change')}{reboot}"


def applied_warnings(applied: Applied) -> Iterator[Finding]:
    """Yield what is out of the ordinary."""
    if applied.recovered is not RecoveryOutcome.NOTHING:
        yield Finding(code="recovered", message=outcome_text(applied.recovered, applied.cause))
    yield from applied.warnings
    if applied.skipped_unknown:
        types = ", ".join(str(kind) for kind in sorted({one["type"] for one in applied.skipped_unknown}))
        count = amount(len(applied.skipped_unknown), "command")
        yield Finding(code="unknown-commands", message=f"skipped {count} of unknown type ({types})")
    if applied.confined is False:
        yield Finding(code="not-confined", message=UNCONFINED)
