"""TFTP, with the extra ``tftp``: no login, no resuming, no way to identify versions."""

import logging
import queue
import threading
from typing import Any, Final

from spkg.download.url import Location
from spkg.download.worker import BrokenError, Transfer
from spkg.errors import ACCESS, CONTACT, TransferError

__all__ = ["TftpTransport"]

BLOCK: Final = 1428
"""The size of a block that fits into an Ethernet frame, in bytes (RFC 2348)."""
AHEAD: Final = 64
"""How many blocks may wait to be read; beyond that, the server waits for an answer."""
ASK_AGAIN: Final = 5
"""After how many seconds a block is requested again."""


class TftpTransport:
    """Requests a location by TFTP.

    Args:
        location: The location of the file.
        patience: After how many seconds without data a server is given up.

    Raises:
        TransferError: The library can't be imported.
    """

    def __init__(self, location: Location, patience: float) -> None:
        try:
            import tftpy  # noqa: PLC0415 - an extra
        except ImportError as exc:
            raise TransferError(f"tftpy can't be imported: {exc}", reason=ACCESS) from exc
        logging.getLogger("tftpy").addHandler(logging.NullHandler())
        self._location = location
        self._retries = max(1, round(patience / ASK_AGAIN))
        self._library = tftpy

    def open(self, offset: int, validator: str | None) -> Transfer:  # noqa: ARG002 - it always begins at 0
        """Request the file.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        transfer = _TftpTransfer(self._library, self._location, self._retries)
        transfer.wait()
        return transfer


class _TftpTransfer:
    """A thread that runs the library's loop, and a queue of the blocks that it writes."""

    offset = 0
    validator = None

    def __init__(self, library: Any, location: Location, retries: int) -> None:
        self._location = location
        self._library = library
        self._octets = b""
        self._over = False
        self._blocks: queue.Queue[bytes | Exception] = queue.Queue(AHEAD)
        self._client = library.TftpClient(location.host, location.port, {"blksize": BLOCK, "tsize": 0})
        threading.Thread(target=self._run, args=[retries], daemon=True).start()

    def _run(self, retries: int) -> None:
        try:
            self._client.download(self._location.path, self, timeout=ASK_AGAIN, retries=retries)
        except Exception as exc:  # noqa: BLE001 - every error ends the transfer and is raised by the reader
            self._blocks.put(exc)
        else:
            self._blocks.put(b"")

    def write(self, octets: bytes) -> None:
        """Take a block from the library."""
        if self._over:
            raise BrokenError("the transfer is closed")
        if octets:
            self._blocks.put(octets)

    def wait(self) -> None:
        """Wait for the first block.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        self._octets = self._take()

    @property
    def total(self) -> int | None:
        """The size of the file in bytes, if the server states it (RFC 2349)."""
        stated = self._client.context.options.get("tsize")
        return int(stated) if stated and str(stated).isdecimal() else None

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The server does not send any more.
        """
        if not self._octets and not self._over:
            self._octets = self._take()
        octets, self._octets = self._octets[:size], self._octets[size:]
        return octets

    def close(self) -> None:
        """Make the thread end at its next block."""
        self._over = True
        while not self._blocks.empty():
            self._blocks.get()

    def _take(self) -> bytes:
        block = self._blocks.get()
        if isinstance(block, bytes):
            self._over = not block
            return block
        if isinstance(block, self._library.TftpTimeout | OSError):
            raise BrokenError(f"{self._location}: no answer in time", reason=CONTACT) from block
        raise TransferError(f"{self._location}: {block}", reason=ACCESS) from block
