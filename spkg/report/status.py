"""``spkg status``: the state of a root, and what was installed there."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from spkg.common.documents import Document
from spkg.common.printable import amount, size
from spkg.common.times import write_time
from spkg.install.history import InstalledPackage
from spkg.install.status import RootState, RootStatus
from spkg.report.lines import Line, Tone, columns, warning_documents

__all__ = [
    "status_document",
    "status_lines",
]


def status_document(status: RootStatus, until: datetime | None) -> Document:
    """Return what ``status --json`` prints.

    Args:
        status: The status.
        until: When the package on trial is rolled back; None if it is not by time.
    """
    stopped, trial = status.in_place, status.trial
    return {
        "schema": "spkg.status/1",
        "state": status.state.value,
        "in_place": None
        if stopped is None
        else {
            "package": stopped.package,
            "command": stopped.command,
            "state": stopped.state.value,
            "failed": stopped.failed,
        },
        "staged": None if status.staged is None else asdict(status.staged),
        "trial": None
        if trial is None
        else {
            "package": trial.package,
            "until": None if until is None else write_time(until),
            "boots_left": trial.boots_left,
            "octets_kept": status.octets_kept,
        },
        "rolled_back": [one.to_document() for one in status.rolled_back],
        "set_aside": list(status.set_aside),
        "installed": [_installed(one) for one in status.installed],
        "leftovers": list(status.leftovers),
        "warnings": warning_documents(status.warnings),
    }


def status_lines(status: RootStatus, root: str, until: datetime | None) -> Iterator[Line]:
    """Yield what ``status`` prints; *until* as for :func:`status_document`."""
    good = status.state in {RootState.CLEAN, RootState.TRIAL}
    yield Tone.GOOD if good else Tone.BAD, f"{root}: {status.state.value}"
    stopped, staged, trial = status.in_place, status.staged, status.trial
    if stopped is not None:
        begun = f"package {stopped.package[:16]} stopped at command[{stopped.command}]"
        yield Tone.BAD, f"  {begun}, in the {stopped.state.value} state"
    if staged is not None:
        begun = f"{size(staged.octets)} of package {staged.package[:16]} are staged"
        yield Tone.PLAIN, f"  {begun}: its download can be resumed"
    if trial is not None:
        limits = [] if until is None else [f"until {write_time(until)}"]
        limits += [] if trial.boots_left is None else [f"{amount(trial.boots_left, 'boot')} left"]
        kept = f"{size(status.octets_kept)} of old files are kept"
        yield Tone.PLAIN, f"  package {trial.package[:16]} is on trial: {', '.join([*limits, kept])}"
    for gone in status.rolled_back:
        why = "" if gone.reason is None else f": {gone.reason}"
        yield Tone.PLAIN, f"  package {gone.package[:16]} was rolled back at {gone.when}{why}"
    for path in status.set_aside:
        yield Tone.PLAIN, f"  set aside: {path}"
    for path in status.leftovers:
        yield Tone.PLAIN, f"  left over: {path}"
    rows = [
        (
            f"  {one.when}",
            one.version or "-",
            amount(one.changed, "change"),
            f"package {one.package[:16]}",
            ", ".join(one.signers) or "unsigned",
            one.description or "",
        )
        for one in status.installed
    ]
    for line in columns(rows):
        yield Tone.PLAIN, line


def _installed(one: InstalledPackage) -> Document:
    return {
        "package": one.package,
        "version": one.version,
        "description": one.description,
        "signers": list(one.signers),
        "time": one.when,
        "changed": one.changed,
        "changes": None if one.changes is None else list(one.changes),
        "command_key": one.command_key,
        "boot_id": one.boot_id,
    }
