"""What the keeper passes on of reports of ``spkg apply`` and ``spkg status``: what fits into a message."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from spkg.agent.keeper_order import MAX_ARGUMENT_TEXT
from spkg.agent.transfer_process import ProcessEnd
from spkg.common.documents import Document

__all__ = ["Passed", "record_answer", "result_answer"]

RESULT_KEYS: Final = (
    "status",
    "exit",
    "message",
    "reason",
    "fault",
    "reboot_required",
    "already_installed",
    "roles",
    "start_time",
    "complete_time",
)
"""What is passed on of the report of an installation."""
RECORDED_KEYS: Final = ("package", "version", "time", "command_key", "boot_id")
"""What is passed on of each package in the record."""
ROLLED_BACK_KEYS: Final = ("package", "version", "time", "by", "reason")
"""What is passed on of each package that was rolled back."""
TRIAL_KEYS: Final = ("package", "until", "boots_left")
"""What is passed on of a trial."""


class Passed(Protocol):
    """What the other process gets a descriptor of."""

    def fileno(self) -> int:
        """Return it."""
        ...

    def close(self) -> None:
        """Close ours."""
        ...


def result_answer(ended: ProcessEnd) -> Document:
    """Return how a transfer ended."""
    return {
        "running": False,
        "token": ended.token,
        "exit": ended.status,
        "result": None if ended.report is None else _short(ended.report, RESULT_KEYS),
        "said": ended.said[-MAX_ARGUMENT_TEXT:],
    }


def record_answer(status: Mapping[str, Any]) -> Document:
    """Return what the installer has recorded of a root, the last package first."""
    return {
        "installed": [_short(one, RECORDED_KEYS) for one in status["installed"]],
        "rolled_back": [_short(one, ROLLED_BACK_KEYS) for one in status["rolled_back"]],
        "trial": None if status["trial"] is None else _short(status["trial"], TRIAL_KEYS),
    }


def _short(document: Mapping[str, Any], names: Sequence[str]) -> Document:
    """Return some values of a document, whose texts are no longer than a message can take."""
    values = {name: document.get(name) for name in names}
    return {
        name: value[:MAX_ARGUMENT_TEXT] if isinstance(value, str) else value for name, value in values.items()
    }
