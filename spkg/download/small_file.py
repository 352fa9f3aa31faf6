"""Fetching a small file whole into memory, from a server of HTTP, FTP or TFTP."""

from collections.abc import Callable
from typing import Final

from spkg.common.printable import size
from spkg.download.ftp import FtpTransport
from spkg.download.tftp import TftpTransport
from spkg.download.url import Location, Login
from spkg.download.worker import CONTACTS, FIRST_PAUSE, BrokenError, Transport
from spkg.errors import TIMEOUT, TransferError

__all__ = ["fetch_small"]

LONGEST_FETCH_PAUSE: Final = 60
"""The longest pause that a server may ask for, in seconds."""
PIECE_OF_FILE: Final = 64 << 10
"""How many bytes are read at once."""


def fetch_small(
    location: Location,
    login: Login,
    *,
    most: int,
    patience: float,
    limit: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> bytes:
    """Return a file; after a failure that may be over soon, it is asked for again.

    Args:
        location: Where it is.
        login: The credentials for the server, and how to reach it.
        most: The most bytes that it may have.
        patience: After how many seconds without an answer a connection is given up.
        limit: How many seconds all of it may take.
        clock: Returns the time in seconds; it never jumps.
        sleep: Waits so many seconds.

    Raises:
        TransferError: It failed, or the file is too long.
        HostError: Something that is needed on this host is missing or invalid.
        OSError: A file for TLS can't be read.
    """
    transport, until = _transport(location, login, patience), clock() + limit
    for attempt in range(1, CONTACTS + 1):
        try:
            return _read(transport, location, most, lambda: clock() >= until)
        except BrokenError as exc:
            pause = min(LONGEST_FETCH_PAUSE, exc.delay or FIRST_PAUSE * 2**attempt)
            if attempt == CONTACTS or clock() + pause >= until:
                raise TransferError(str(exc), reason=exc.reason) from exc
            sleep(pause)
    raise AssertionError("unreachable")


def _transport(location: Location, login: Login, patience: float) -> Transport:
    if location.scheme.startswith("http"):
        from spkg.download.http import WebTransport  # noqa: PLC0415 - start-up: others need no requests

        return WebTransport(location, login, patience)
    if location.scheme == "tftp":
        return TftpTransport(location, patience)
    return FtpTransport(location, login, patience)


def _read(transport: Transport, location: Location, most: int, is_late: Callable[[], bool]) -> bytes:
    """Return all of a file.

    Raises:
        BrokenError: The connection broke.
        TransferError: The file is too long, or takes too long.
    """
    transfer = transport.open(0, None)
    try:
        octets = bytearray()
        while piece := transfer.read(PIECE_OF_FILE):
            octets += piece
            if len(octets) > most:
                raise TransferError(f"{location}: expected at most {size(most)}, got more")
            if is_late():
                raise TransferError(f"{location}: it takes too long", reason=TIMEOUT)
        if transfer.total is not None and len(octets) < transfer.total:
            raise BrokenError(
                f"{location}: the connection ended after {len(octets)} of {transfer.total} bytes"
            )
        return bytes(octets)
    finally:
        transfer.close()
