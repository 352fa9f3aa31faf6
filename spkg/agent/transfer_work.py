"""What the processes share that transfer a file without the installer: giving up rights, and their report."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from spkg.common.landlock import confine
from spkg.cwmp.faults import MAX_FAULT_STRING, FaultCode
from spkg.errors import LOGIN, SpkgError, os_problem

__all__ = ["SERVER_PATIENCE", "WORK_MODE", "leave_rights", "reported"]

SERVER_PATIENCE: Final = 60
"""After how many seconds without an answer a server is given up."""
WORK_MODE: Final = 0o600


def leave_rights(
    user: tuple[int, int] | None, scheme: str
) -> None:  # pragma: no cover - a confined process can't record its coverage
    """Become another user, if one is stated, and be able to change no file.

    Args:
        user: The user and the group.
        scheme: The protocol that is spoken then: its code is loaded before, which may be out of reach after.
    """
    if scheme.startswith("http"):
        import_module("spkg.download.http")
    if user is not None:
        os.setgroups(())
        os.setgid(user[1])
        os.setuid(user[0])
    confine(None)


def reported(  # pragma: no cover - as above
    report: Path,
    act: Callable[[], object],
    *,
    done: str,
    failure: FaultCode,
    timestamp: Callable[[], str],
) -> None:
    """Do something, and write a report of it.

    Args:
        report: The file for the report; it is opened before rights are given up.
        act: What is done.
        done: The status of success.
        failure: The FaultCode of failure.
        timestamp: Returns the time as an xs:dateTime.
    """
    start = timestamp()
    descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, WORK_MODE)
    status, code, text = done, 0, ""
    try:
        act()
    except SpkgError as exc:
        code = FaultCode.AUTHENTICATION_FAILURE if exc.reason == LOGIN else failure
        status, text = exc.STATUS, str(exc)
    except OSError as exc:
        status, code, text = "error", failure, os_problem(exc)
    document = {
        "exit": 0 if status == done else 1,
        "status": status,
        "message": text,
        "fault": {"code": int(code), "string": text[:MAX_FAULT_STRING]},
        "reboot_required": False,
        "start_time": start,
        "complete_time": timestamp(),
    }
    os.write(descriptor, json.dumps(document).encode() + b"\n")
