"""Fetching what the agent itself takes, such as a voucher: without rights, into a file for it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from spkg.agent.transfer_work import SERVER_PATIENCE, WORK_MODE, leave_rights, reported
from spkg.cwmp.faults import FaultCode
from spkg.download.url import Location, Login

__all__ = ["MAX_FETCHED", "fetch_work"]

MAX_FETCHED: Final = 1 << 20
"""The longest file, in bytes: more than a voucher may have."""
FETCH_LIMIT: Final = 900
"""How long all of it may take, in seconds."""


def fetch_work(
    location: Location,
    login: Mapping[str, Any],
    fetched: Path,
    *,
    user: tuple[int, int] | None,
    clock: Callable[[], float],
    timestamp: Callable[[], str],
    sleep: Callable[[float], object],
) -> Callable[[Path], None]:
    """Return the work of a process that fetches a file, and writes how that went into a report.

    Args:
        location: Where it is.
        login: The fields of a :class:`Login`.
        fetched: The file for what arrives.
        user: The user and group to talk to the server as; None to stay who this is.
        clock: Returns the time in seconds; it never jumps.
        timestamp: Returns the time as an xs:dateTime.
        sleep: Waits so many seconds.
    """

    def work(report: Path) -> None:  # pragma: no cover - a confined process can't record its coverage
        from spkg.download.small_file import fetch_small  # noqa: PLC0415 - the keeper stays small

        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fetched, flags, WORK_MODE)

        def act() -> None:
            leave_rights(user, location.scheme)
            octets = fetch_small(
                location,
                Login(**login),
                most=MAX_FETCHED,
                patience=SERVER_PATIENCE,
                limit=FETCH_LIMIT,
                clock=clock,
                sleep=sleep,
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())  # before the report says that it is there

        reported(report, act, done="fetched", failure=FaultCode.DOWNLOAD_FAILURE, timestamp=timestamp)

    return work
