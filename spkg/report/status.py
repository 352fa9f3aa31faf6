"""``spkg status``: the state of a root, and what was installed there."""

from collections.abc import Iterator
from dataclasses import asdict

from spkg.common.documents import Document
from spkg.common.printable import amount, size
from spkg.install.history import InstalledPackage
from spkg.install.status import RootState, RootStatus
from spkg.report.lines import Line, Tone, columns, warning_documents

__all__ = [
    "status_document",
    "status_lines",
]


def status_document(status: RootStatus) -> Document:
    """Return what ``status --json`` prints."""
    stopped = status.in_place
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
        "installed": [_installed(one) for one in status.installed],
        "leftovers": list(status.leftovers),
        "warnings": warning_documents(status.warnings),
    }


def status_lines(status: RootStatus, root: str) -> Iterator[Line]:
    """Yield what ``status`` prints."""
    yield Tone.GOOD if status.state is RootState.CLEAN else Tone.BAD, f"{root}: {status.state.value}"
    stopped, staged = status.in_place, status.staged
    if stopped is not None:
        begun = f"package {stopped.package[:16]} stopped at command[{stopped.command}]"
        yield Tone.BAD, f"  {begun}, in the {stopped.state.value} state"
    if staged is not None:
        begun = f"{size(staged.octets)} of package {staged.package[:16]} are staged"
        yield Tone.PLAIN, f"  {begun}: its download can be resumed"
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
    }
