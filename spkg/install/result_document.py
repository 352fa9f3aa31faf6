"""The result of an installation as JSON: what ``apply --json`` prints last, and what hooks read."""

from collections.abc import Iterator, Sequence
from typing import Final

from spkg.common.documents import Document
from spkg.common.findings import Finding, warning_documents
from spkg.common.printable import amount
from spkg.install.applied import Applied
from spkg.install.recovery import outcome_text
from spkg.install.transaction import RecoveryOutcome

__all__ = ["SCHEMA", "applied_warnings", "result_document"]

SCHEMA: Final = "spkg.apply/1"
"""The schema of each of the JSON lines of ``apply``."""
UNCONFINED: Final = (
    "the kernel has no Landlock of Linux 5.19 or later: the installer was not confined to the root"
)


def result_document(
    applied: Applied,
    *,
    planned: bool,
    start: str,
    end: str,
    command_key: str | None,
    hooks: Sequence[Document] = (),
) -> Document:
    """Return the last line of ``apply --json`` after a success; *hooks* are the programs that have run."""
    return {
        "schema": SCHEMA,
        "event": "result",
        "status": "planned" if planned else "installed",
        "exit": 0,
        "reboot_required": applied.reboot_required,
        "already_installed": applied.already,
        "roles": list(applied.roles),
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
        "hooks": [*hooks],
    }


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
