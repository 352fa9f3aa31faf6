"""The process that downloads: it does as it is told, and goes on where a connection breaks.

It never looks at what it brings.  A server is asked again after a while that grows; how long all of it may
take is for the one that reads to say.
"""

import random
import select
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from spkg.download.worker_protocol import HEAD, FrameKind, TransferOrder, pack, receive_order, send_all
from spkg.errors import SIZE, Reason, TransferError

__all__ = ["MAX_SERVER_TEXT", "BrokenError", "Downloader", "Transfer", "Transport"]

MAX_SERVER_TEXT: Final = 80
"""How many characters of what a server says are shown."""
FRAME_SIZE: Final = 1 << 18
"""The most octets of one frame."""
CONTACTS: Final = 3
"""How often a server is asked that has not given one octet yet."""
MISFITS: Final = 8
"""How often one is asked that has something of another size: it may be a page that tells of maintenance."""
FIRST_PAUSE: Final = 0.5
"""How long the first wait between two requests is, in seconds; each is twice the one before."""
LONGEST_PAUSE: Final = 30
"""The longest of these waits, in seconds."""


class BrokenError(Exception):
    """A connection broke, or was never made: it may be better the next time.

    Args:
        problem: What happened.
        reason: As for :class:`TransferError`.
    """

    def __init__(self, problem: str, *, reason: Reason | None = None) -> None:
        super().__init__(problem)
        self.reason = reason


class Transfer(Protocol):
    """An answer of a server, on its way."""

    @property
    def offset(self) -> int:
        """Where its octets begin."""
        ...

    @property
    def total(self) -> int | None:
        """How many octets the whole file has, where the server says so."""
        ...

    @property
    def validator(self) -> str | None:
        """What tells this version of the file from all others; None where nothing does."""
        ...

    def read(self, size: int) -> bytes:
        """Return the octets that are there, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        ...

    def close(self) -> None:
        """Let go of the connection, or of what can't be used again."""
        ...


class Transport(Protocol):
    """Knows a protocol, a place and who asks."""

    def open(self, offset: int, validator: str | None) -> Transfer:
        """Ask for the file from an octet on, if it is still of the version that *validator* tells.

        Without a validator, or where the server can't do that, the answer begins at 0.

        Raises:
            BrokenError: There is no answer now.
            TransferError: There will be none.
        """
        ...


class Downloader:
    """Serves the one that reads.

    Args:
        connection: To it.
        connect: Makes what asks the server.
    """

    def __init__(self, connection: socket.socket, connect: Callable[[], Transport]) -> None:
        self._connection = connection
        self._connect = connect
        self._transport: Transport | None = None
        self._transfer: Transfer | None = None
        self._order = TransferOrder(number=0, offset=0, limit=0)
        self._validator: str | None = None
        self._position = 0
        self._furthest = 0
        self._failures = 0
        self._misfits = 0
        self._ended: int | None = None

    def run(self) -> None:
        """Do as told, until nobody reads.

        Raises:
            OSError: Nobody reads any more.
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
                    # It was there a moment ago, and may be so again.
                    if not self._break(BrokenError(exc.problem, reason=exc.reason)):
                        return
        except TransferError as exc:
            said = {"problem": exc.problem, "reason": exc.reason, "hint": exc.hint}
            self._send(pack(FrameKind.FAILED, self._order.number, said))
            while self._listen(None):
                pass

    def _go_on(self) -> None:
        """Bring the next octets, if any are wanted."""
        wanted = self._order.limit - self._position
        if wanted <= 0:
            return
        if self._transfer is None:
            if self._transport is None:
                self._transport = self._connect()
            self._transfer = self._transport.open(self._position, self._validator)
            expected, total = self._order.total, self._transfer.total
            if expected and total not in {None, expected}:
                self._misfits += 1
                problem = f"the server has {total} octets now, {expected} are expected"
                if self._misfits == MISFITS:
                    raise TransferError(problem, reason=SIZE)
                raise BrokenError(problem)
            self._position = self._transfer.offset
            self._validator = self._transfer.validator
            begins = {
                "offset": self._position,
                "total": self._transfer.total,
                "resumable": self._validator is not None,
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

    def _end(self, total: int | None) -> None:
        """Tell the end of the file, unless it may be that of a connection."""
        where = self._position
        # Where nobody says how much there is, the same end twice is one.
        ends = {self._order.total or None, self._ended} if total is None else {total}
        if where not in ends:
            self._ended = where
            of = "" if total is None else f" of {total}"
            raise BrokenError(f"the connection ended after {where}{of} octets")
        self._send(pack(FrameKind.END, self._order.number, {}))
        self._order = replace(self._order, limit=0)

    def _listen(self, timeout: float | None) -> bool:
        """Take the orders that are there, or come within a time; return whether anybody still reads."""
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
        """Let go of a connection that broke, and wait; return whether anybody still reads."""
        self._let_go()
        if 0 < self._position == self._order.total:  # what broke was no more than the end
            self._send(pack(FrameKind.END, self._order.number, {}))
            self._order = replace(self._order, limit=0)
            return True
        return self._wait(problem)

    def _wait(self, problem: BrokenError) -> bool:
        """Wait before the server is asked again; return whether anybody still reads.

        Raises:
            TransferError: It was asked often enough.
        """
        self._failures += 1
        if self._failures >= CONTACTS and not self._furthest:
            raise TransferError(str(problem), reason=problem.reason)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        pause *= random.uniform(0.75, 1.25)  # noqa: S311 - many gateways must not come back at once
        note = {"text": f"{problem}: trying again in {pause:.1f} s"}
        self._send(pack(FrameKind.NOTE, self._order.number, note))
        return self._listen(pause)

    def _let_go(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def _send(self, frame: bytes) -> None:
        send_all(self._connection, frame)
