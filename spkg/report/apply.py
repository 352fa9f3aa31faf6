"""``spkg apply``, ``recover`` and ``status``: what changed in a root, and its state."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from spkg.common.documents import Document
from spkg.common.printable import amount
from spkg.errors import SpkgError
from spkg.install.applied import Applied
from spkg.install.result_document import SCHEMA, applied_warnings, result_document
from spkg.report.lines import Line, Tone
from spkg.verify.payload import Standing

__all__ = [
    "SCHEMA",
    "applied_lines",
    "applied_warnings",
    "failure_document",
    "result_document",
    "standing_document",
    "standing_text",
]

MARKS: Final = {"put": "+", "delete": "-", "move": ">", "make-directory": "+", "handle": "|"}


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


def failure_document(
    error: SpkgError,
    fields: Mapping[str, Any],
    *,
    start: str,
    end: str,
    command_key: str | None,
    hooks: Sequence[Document] = (),
) -> Document:
    """Return the last line of ``apply --json`` after a failure; *fields* are those of any failure."""
    from spkg.cwmp.faults import MAX_FAULT_STRING, transfer_fault  # noqa: PLC0415 - start-up: most succeed

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
        "hooks": [*hooks],
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
