"""Uploading: read what the configuration names for a FileType, then send it, without rights, to a server."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from spkg.agent.rights import can_change
from spkg.agent.settings import UploadSource
from spkg.agent.transfer_work import SERVER_PATIENCE, leave_rights, reported
from spkg.common.printable import size
from spkg.common.programs import run_program
from spkg.cwmp.faults import FaultCode
from spkg.download.url import Location, Login
from spkg.errors import FailedError

__all__ = ["upload_work"]

DUMP_LIMIT: Final = 300
"""How long the command that makes a file may take, in seconds."""


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

    def work(report: Path) -> None:  # pragma: no cover - a confined process can't record its coverage
        from spkg.download.upload import send_file  # noqa: PLC0415 - the keeper stays small

        def act() -> None:
            # Who can put another file in its place, such as a link, must not have it read with our rights.
            theirs = (
                source.file is not None and user is not None and can_change(source.file, user) is not None
            )
            if theirs:
                leave_rights(user, location.scheme)
            octets = _read(source, environment, clock)
            if not theirs:
                leave_rights(user, location.scheme)
            send_file(octets, location, Login(**login), patience=SERVER_PATIENCE, sleep=sleep)

        reported(report, act, done="sent", failure=FaultCode.UPLOAD_FAILURE, timestamp=timestamp)

    return work


def _read(  # pragma: no cover - as above
    source: UploadSource, environment: Mapping[str, str], clock: Callable[[], float]
) -> bytes:
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
