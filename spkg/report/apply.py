"""``spkg apply``, ``recover`` and ``status``: what changed in a root, and how it stands."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spkg.common.printable import amount, size
from spkg.cwmp.faults import MAX_FAULT_STRING, transfer_fault
from spkg.download.stream import ArrivingPayload
from spkg.errors import SpkgError
from spkg.install.checkpoint import Checkpoint
from spkg.report.lines import Document, Line, Tone, columns

__all__ = [
    "applied_hints",
    "applied_lines",
    "failure_document",
    "progress_document",
    "recovery_document",
    "recovery_lines",
    "result_document",
    "standing_document",
    "standing_text",
    "status_document",
    "status_lines",
]

SCHEMA: Final = "spkg.apply/1"
MARKS: Final = {"put": "+", "delete": "-", "move": ">", "make-directory": "+"}
OUTCOMES: Final = {
    "nothing": "nothing was left to recover",
    "discarded": "discarded an installation that had not begun to change anything",
    "done": "finished an installation that was cut off",
    "undone": "took back an installation that was cut off and could not be finished",
}


def standing_document(payload: ArrivingPayload, now: float) -> Document:
    """Return how a package on its way stands: its state, its deadline, and the last command processed."""
    watch = payload.arrival.watch
    deadline = watch.deadline
    return {
        "state": watch.state.value,
        "command": payload.command,
        "deadline": None
        if deadline is None
        else {"timeout": deadline.title, "seconds": deadline.seconds, "left": round(deadline.at - now, 1)},
    }


def standing_text(standing: Mapping[str, Any], age: float) -> str:
    """Return how a package on its way stands, for people, some seconds after that was told."""
    if standing["deadline"] is None:
        return str(standing["state"])
    return f"{standing['state']}, {max(0, standing['deadline']['left'] - age):.0f} s left"


def progress_document(octets: int, total: int, standing: Mapping[str, Any]) -> Document:
    """Return what ``apply --json`` prints while it works; *standing* is that of a package on its way."""
    return {"schema": SCHEMA, "event": "progress", "octets": octets, "total": total, **standing}


def result_document(
    applied: Mapping[str, Any], *, planned: bool, start: str, end: str, command_key: str | None
) -> Document:
    """Return the last line of ``apply --json`` where all went well."""
    return {
        "schema": SCHEMA,
        "event": "result",
        "status": "planned" if planned else "installed",
        "exit": 0,
        "reboot_required": applied["reboot_required"],
        "already_installed": applied["already"],
        "command_key": command_key,
        "fault": {"code": 0, "string": ""},
        "reason": None,
        "start_time": start,
        "complete_time": end,
        "changes": list(applied["changes"]),
        "skipped_unknown": list(applied["skipped_unknown"]),
        "notes": list(applied["notes"]),
        "recovered": applied["recovered"],
        "confined": applied["confined"],
    }


def failure_document(
    error: SpkgError, fields: Mapping[str, Any], *, start: str, end: str, command_key: str | None
) -> Document:
    """Return the last line of ``apply --json`` where it failed; *fields* are those of any failure."""
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
        "recovered": None,
        "confined": None,
    }


def applied_lines(applied: Mapping[str, Any], root: str, *, planned: bool) -> Iterator[Line]:
    """Give what ``apply`` prints."""
    if applied["already"]:
        yield Tone.GOOD, f"{root}: this package is installed already, nothing was changed"
        return
    if planned:
        for change in applied["changes"]:
            source = f"{change['source']} -> " if change["action"] == "move" else ""
            mark = "~" if change.get("replaces") else MARKS[change["action"]]
            slash = "/" if change["action"] == "make-directory" or change.get("kind") == "directory" else ""
            yield Tone.PLAIN, f"  {mark} {source}{change['path']}{slash}"
    verb = "would change" if planned else "installed"
    reboot = ", reboot required" if applied["reboot_required"] else ""
    yield Tone.GOOD, f"{root}: {verb}, {amount(len(applied['changes']), 'change')}{reboot}"


def applied_hints(applied: Mapping[str, Any]) -> Iterator[str]:
    """Give what is out of the ordinary."""
    if applied["already"]:
        yield "--again applies it once more"
    if applied["recovered"] != "nothing":
        yield OUTCOMES[applied["recovered"]]
    yield from applied["notes"]
    if applied["skipped_unknown"]:
        types = ", ".join(str(kind) for kind in sorted({one["type"] for one in applied["skipped_unknown"]}))
        count = amount(len(applied["skipped_unknown"]), "command")
        yield f"skipped {count} of unknown type ({types})"
    if applied["confined"] is False:
        yield "this kernel has no Landlock: the installer was not confined to the root"


def recovery_document(outcome: str, state: str) -> Document:
    """Return what ``recover --json`` prints."""
    return {"schema": "spkg.recover/1", "outcome": outcome, "state": state}


def recovery_lines(outcome: str, root: str, state: str) -> Iterator[Line]:
    """Give what ``recover`` prints."""
    yield Tone.GOOD if state == "clean" else Tone.BAD, f"{root}: {OUTCOMES[outcome]}; it is {state}"


def status_document(
    state: str, stopped: Checkpoint | None, staged: Document | None, installed: list[Document]
) -> Document:
    """Return what ``status --json`` prints."""
    return {
        "schema": "spkg.status/1",
        "state": state,
        "in_place": None
        if stopped is None
        else {
            "package": stopped.package,
            "command": stopped.command,
            "state": stopped.state.value,
            "failed": stopped.failed,
        },
        "staged": staged,
        "installed": installed,
    }


def status_lines(
    state: str,
    stopped: Checkpoint | None,
    staged: Document | None,
    installed: list[Document],
    root: str,
) -> Iterator[Line]:
    """Give what ``status`` prints."""
    yield Tone.GOOD if state == "clean" else Tone.BAD, f"{root}: {state}"
    if stopped is not None:
        begun = f"package {stopped.package[:16]} stopped at command[{stopped.command}]"
        yield Tone.BAD, f"  {begun}, in the {stopped.state.value} state"
    if staged is not None:
        begun = f"{size(staged['octets'])} of package {staged['package'][:16]} are staged"
        yield Tone.PLAIN, f"  {begun}: its download can go on"
    rows = [
        (
            f"  {one['time']}",
            one["version"] or "-",
            amount(one["changed"], "change"),
            f"package {one['package'][:16]}",
            ", ".join(one["signers"]) or "unsigned",
            one["description"] or "",
        )
        for one in installed
    ]
    for line in columns(rows):
        yield Tone.PLAIN, line
