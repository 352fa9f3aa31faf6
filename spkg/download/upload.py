"""Sending a file to a server: by PUT to one of HTTP, or by FTP or TFTP."""

from collections.abc import Callable
from typing import Final

from spkg.download.ftp import FtpTransport
from spkg.download.tftp_upload import send_by_tftp
from spkg.download.url import Location, Login
from spkg.download.worker import CONTACTS, FIRST_PAUSE, BrokenError
from spkg.errors import TransferError

__all__ = ["send_file"]

LONGEST_UPLOAD_PAUSE: Final = 60
"""The longest pause that a server may ask for, in seconds."""


def send_file(
    octets: bytes, location: Location, login: Login, *, patience: float, sleep: Callable[[float], object]
) -> None:
    """Store a file on a server; after a failure that may be over soon, it is sent again.

    Args:
        octets: The file.
        location: Where it goes.
        login: The credentials for the server, and how to reach it.
        patience: After how many seconds without an answer a connection is given up.
        sleep: Waits so many seconds.

    Raises:
        TransferError: It failed.
        HostError: Something that is needed on this host is missing or invalid.
        OSError: A file for TLS can't be read.
    """
    if location.scheme.startswith("http"):
        from spkg.download.http import WebTransport  # noqa: PLC0415 - start-up: others need no requests

        send: Callable[[bytes], None] = WebTransport(location, login, patience).send
    elif location.scheme == "tftp":
        send = _by_tftp(location, patience)
    else:
        send = FtpTransport(location, login, patience).send
    for attempt in range(1, CONTACTS + 1):
        try:
            send(octets)
        except BrokenError as exc:
            if attempt == CONTACTS:
                raise TransferError(str(exc), reason=exc.reason) from exc
            sleep(min(LONGEST_UPLOAD_PAUSE, exc.delay or FIRST_PAUSE * 2**attempt))
        else:
            return


def _by_tftp(location: Location, patience: float) -> Callable[[bytes], None]:
    return lambda octets: send_by_tftp(octets, location, patience)
