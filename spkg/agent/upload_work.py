"""Uploading: read what the configuration names for a FileType, then send it, without rights, to a server."""

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from spkg.agent.rights import can_change
from spkg.agent.settings import UploadSource
from spkg.common.landlock import confine
from spkg.common.printable import size
from spkg.common.programs import run_program
from spkg.cwmp.faults import MAX_FAULT_STRING, FaultCode
from spkg.download.url import Location, Login
from spkg.errors import LOGIN, FailedError, SpkgError, os_problem

__all__ = ["upload_work"]

UPLOAD_PATIENCE: Final = 60
"""After how many seconds without an answer a server is given up."""
DUMP_LIMIT: Final = 300
"""How long the command that makes a file may take, in seconds."""
REPORT_MODE: Final = 0o600


def upload_work(
    source: UploadSource,
    location: Location,
    login: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    user: tuple[int, int] | None,
    clock: Callable[[], float],
    timestamp: Callable[[], str],
    sleep: Callable[[float], object],
) -> Callable[[Path], None]:
    """Return the work of a process that uploads a file, and writes how that went into a report.

    Args:
        source: What is sent.
        location: Where it goes.
        login: The fields of a :class:`Login`.
        environment: All environment variables of the command.
        user: The user and group to talk to the server as; None to stay who this is.
        clock: Returns the time in seconds; it never jumps.
        timestamp: Returns the time as an xs:dateTime.
        sleep: Waits so many seconds.
    """

    def work(report: Path) -> None:
        from spkg.download.upload import send_file  # noqa: PLC0415 - the keeper stays small

        start = timestamp()
        descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, REPORT_MODE)
        status, code, text = "sent", 0, ""
        try:
            # Who can put another file in its place, such as a link, must not have it read with our rights.
            theirs = (
                source.file is not None and user is not None and can_change(source.file, user) is not None
            )
            if theirs:
                _leave_rights(user)
            octets = _read(source, environment, clock)
            if not theirs:
                _leave_rights(user)
            send_file(octets, location, Login(**login), patience=UPLOAD_PATIENCE, sleep=sleep)
        except SpkgError as exc:
            refused = exc.reason == LOGIN
            code = FaultCode.AUTHENTICATION_FAILURE if refused else FaultCode.UPLOAD_FAILURE
            status, text = exc.STATUS, str(exc)
        except OSError as exc:
            status, code, text = "error", FaultCode.UPLOAD_FAILURE, os_problem(exc)
        document = {
            "exit": 0 if status == "sent" else 1,
            "status": status,
            "message": text,
            "fault": {"code": int(code), "string": text[:MAX_FAULT_STRING]},
            "reboot_required": False,
            "start_time": start,
            "complete_time": timestamp(),
        }
        os.write(descriptor, json.dumps(document).encode() + b"\n")

    return work


def _read(source: UploadSource, environment: Mapping[str, str], clock: Callable[[], float]) -> bytes:
    """Return what is to be sent.

    Raises:
        FailedError: The command fails, a pipe is in the place of the file, or there is too much.
        OSError: The file can't be read.
    """
    if source.file is not None:
        descriptor = os.open(source.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                raise FailedError(f"{source.file}: expected a file, got a pipe")
            octets = file.read(source.max_size + 1)
    else:
        done = run_program(
            source.command,
            environment=environment,
            clock=clock,
            limit=DUMP_LIMIT,
            longest_answer=source.max_size,
        )
        if not done.succeeded and not done.answered_too_much:
            raise FailedError(f"{source.command[0]} {done.end}")
        octets = done.answer
    if len(octets) > source.max_size:
        raise FailedError(f"expected a file of at most {size(source.max_size)}, got a longer one")
    return octets


def _leave_rights(
    user: tuple[int, int] | None,
) -> None:  # pragma: no cover - a confined process can't record its coverage
    """Become another user, if one is stated, and be able to change no file."""
    if user is not None:
        os.setgroups(())
        os.setgid(user[1])
        os.setuid(user[0])
    confine(None)
