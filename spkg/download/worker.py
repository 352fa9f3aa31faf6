"""The download process: it follows the reader's orders, and resumes broken connections where they stopped.

It never interprets the data.  A server is asked again after a pause that grows each time; the reader decides
how long the whole download may take.
"""

import random
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from spkg.download.tls import tls_words
from spkg.download.worker_protocol import HEAD, FrameKind, TransferOrder, pack, receive_order, send_all
from spkg.errors import SIZE, Reason, TransferError, os_problem

__all__ = [
    "CONTACTS",
    "FIRST_PAUSE",
    "MAX_SERVER_TEXT",
    "BrokenError",
    "Downloader",
    "NotResumableError",
    "OpenTransfer",
    "Transport",
    "read_size",
    "system_words",
]

MAX_SERVER_TEXT: Final = 80
"""How many characters of a server's text are shown at most."""
DIGITS: Final = 19
"""The longest size that is accepted, in digits."""
FRAME_SIZE: Final = 1 << 18
"""The most bytes of one frame."""
CONTACTS: Final = 3
"""How often a server is asked that has not sent any byte yet."""
MISFITS: Final = 8
"""How often a server is asked whose file has another size: it may be a maintenance page."""
FIRST_PAUSE: Final = 0.5
"""How long the first wait between two requests is, in seconds; each is twice the one before."""
LONGEST_PAUSE: Final = 30
"""The longest of these waits, in seconds."""


class BrokenError(Exception):
    """A connection broke or could not be made, but may succeed later.

    Args:
        problem: What happened.
        reason: As for :class:`TransferError`.
        busy: Whether the server is there, and wants to be asked later.
        delay: How many seconds it asks to wait.
    """

    def __init__(
        self, problem: str, *, reason: Reason | None = None, busy: bool = False, delay: float | None = None
    ) -> None:
        super().__init__(problem)
        self.reason = reason
        self.busy = busy
        self.delay = delay


class NotResumableError(Exception):
    """The server does not send the rest of the file, but may send all of it."""


class OpenTransfer(Protocol):
    """A server's answer that is being received."""

    @property
    def offset(self) -> int:
        """The offset of its first byte."""
        ...

    @property
    def total(self) -> int | None:
        """The size of the whole file in bytes, if the server states it."""
        ...

    @property
    def validator(self) -> str | None:
        """A text that identifies this version of the file; None if it is unknown."""
        ...

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        ...

    def close(self) -> None:
        """Close the connection, unless it can be used again."""
        ...


class Transport(Protocol):
    """Requests a location by one protocol."""

    def open(self, offset: int, validator: str | None) -> OpenTransfer:
        """Request the file from an offset on, if it is still the version that *validator* identifies.

        Without a validator, or if the server can't do that, the answer begins at 0.

        Raises:
            NotResumableError: The server does not send the rest; only with an offset and a validator.
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        ...


class Downloader:
    """Downloads for the reader.

    Args:
        connection: The socket to the reader.
        connect: Returns a new transport.
    """

    def __init__(self, connection: socket.socket, connect: Callable[[], Transport]) -> None:
        self._connection = connection
        self._connect = connect
        self._transport: Transport | None = None
        self._transfer: OpenTransfer | None = None
        self._order = TransferOrder(number=0, offset=0, limit=0)
        self._validator: str | None = None
        self._size: int | None = None
        """The size of the version that the validator identifies, if the server stated it."""
        self._resumes = True
        """Whether the server is asked to resume: never again once it gave an unusable answer."""
        self._position = 0
        self._furthest = 0
        self._failures = 0
        self._misfits = 0
        self._ended: int | None = None

    def run(self) -> None:
        """Follow the reader's orders until it is gone.

        Raises:
            OSError: The reader is gone.
        """
        try:
            while self._listen(None if self._position >= self._order.limit else 0):
                try:
                    self._go_on()
                except BrokenError as exc:
                    if not self._break(exc):
                        return
                except TransferError as exc:
                    if not self._furthest or exc.reason == SIZE:
                        raise
                    # The server had the file a moment ago, and may have it again.
                    if not self._break(BrokenError(exc.problem, reason=exc.reason)):
                        return
        except TransferError as exc:
            said = {"problem": exc.problem, "reason": exc.reason, "hint": exc.hint}
            self._send(pack(FrameKind.FAILED, self._order.number, said))
            while self._listen(None):
                pass

    def _go_on(self) -> None:
        """Send the next bytes, if any are wanted."""
        wanted = self._order.limit - self._position
        if wanted <= 0:
            return
        if self._transfer is None:
            self._transfer = self._open()
            expected, total = self._order.total, self._transfer.total
            if expected and total not in {None, expected}:
                self._misfits += 1
                problem = f"expected {expected} bytes, the server now has {total}"
                if self._misfits == MISFITS:
                    raise TransferError(problem, reason=SIZE)
                raise BrokenError(problem)
            self._position = self._transfer.offset
            self._validator, self._size = self._transfer.validator, self._transfer.total
            begins = {
                "offset": self._position,
                "total": self._transfer.total,
                "resumable": self._resumes and self._validator is not None,
            }
            self._send(pack(FrameKind.BEGIN, self._order.number, begins))
            return
        octets = self._transfer.read(min(FRAME_SIZE, wanted))
        if not octets:
            self._end(self._transfer.total)
            return
        self._position += len(octets)
        if self._position > self._furthest:
            self._furthest = self._position
            self._failures = self._misfits = 0
        send_all(self._connection, HEAD.pack(FrameKind.OCTETS, self._order.number, len(octets)), octets)

    def _open(self) -> OpenTransfer:
        """Request the file from the position on; from its beginning, if its server does not resume.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        if self._transport is None:
            self._transport = self._connect()
        if self._resumes:
            try:
                transfer = self._transport.open(self._position, self._validator)
            except NotResumableError as exc:
                problem = str(exc)
            else:
                expected = self._order.total or self._size
                if not transfer.offset or expected is None or transfer.total in {None, expected}:
                    return transfer
                transfer.close()
                problem = f"expected {expected} bytes, the server now has {transfer.total}"
            self._resumes = False
            note = {"text": f"{problem}: starting again from the beginning"}
            self._send(pack(FrameKind.NOTE, self._order.number, note))
        return self._transport.open(0, None)

    def _end(self, total: int | None) -> None:
        """Report the end of the file, unless only the connection may have ended."""
        where = self._position
        # If the size is unknown, ending twice at the same place counts as the end.
        ends = {self._order.total or None, self._ended} if total is None else {total}
        if where not in ends:
            self._ended = where
            of = "" if total is None else f" of {total}"
            raise BrokenError(f"the connection ended after {where}{of} bytes")
        self._send(pack(FrameKind.END, self._order.number, {}))
        self._order = replace(self._order, limit=0)

    def _listen(self, timeout: float | None) -> bool:
        """Take all orders that come within a time; return whether the reader is still there."""
        ready = select.poll()
        ready.register(self._connection, select.POLLIN)
        while ready.poll(None if timeout is None else timeout * 1000):
            order = receive_order(self._connection)
            if order is None:
                return False
            if order.number != self._order.number:
                self._let_go()
                self._position = order.offset
            self._order = order
            timeout = 0
        return True

    def _break(self, problem: BrokenError) -> bool:
        """Close a broken connection, and wait; return whether the reader is still there."""
        self._let_go()
        if 0 < self._position == self._order.total:  # it broke after the last byte
            self._send(pack(FrameKind.END, self._order.number, {}))
            self._order = replace(self._order, limit=0)
            return True
        return self._wait(problem)

    def _wait(self, problem: BrokenError) -> bool:
        """Wait before the server is asked again; return whether the reader is still there.

        Raises:
            TransferError: It was asked often enough.
        """
        self._failures += 1
        if self._failures >= CONTACTS and not self._furthest and not problem.busy:
            raise TransferError(str(problem), reason=problem.reason)
        varied = random.uniform(0.75, 1.25)  # noqa: S311 - gateways must not all come back at once
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10)) * varied
        if problem.delay:
            pause = problem.delay * max(1, varied)
        note = {"text": f"{problem}: trying again in {pause:.1f} s"}
        self._send(pack(FrameKind.NOTE, self._order.number, note))
        return self._listen(pause)

    def _let_go(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def _send(self, frame: bytes) -> None:
        send_all(self._connection, frame)


def read_size(text: str) -> int | None:
    """Return the size that a server states; None if it is not a number that a file can have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS else None


def system_words(error: OSError) -> str:
    """Return what an error of the system or of TLS says, in plain words."""
    if isinstance(error, ssl.SSLError):
        return tls_words(error)
    return os_problem(error)[:MAX_SERVER_TEXT]
