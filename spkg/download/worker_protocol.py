"""How the process that downloads and the one that reads talk: frames over a pair of sockets.

The reader says how far the downloader may go, or from where it is to begin anew; each of these has a number,
and what still comes of an older one is dropped.
"""

import json
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

__all__ = ["HEAD", "FrameKind", "TransferOrder", "pack", "receive_order", "send_all", "send_order", "unpack"]

HEAD: Final = struct.Struct("!BII")
"""The kind of a frame, the number of the order that it follows, and how many octets it has."""
ORDER: Final = struct.Struct("!IQQQ")


class FrameKind(IntEnum):
    """What a frame has."""

    BEGIN = 1
    """The octets that follow begin at ``offset``; the file has ``total`` octets, or nobody knows."""
    OCTETS = 2
    END = 3
    """There are no more octets, as far as the server says."""
    NOTE = 4
    """What people may want to know."""
    FAILED = 5
    """There will be nothing more; why."""


@dataclass(frozen=True, kw_only=True)
class TransferOrder:
    """What the downloader is to do."""

    number: int
    offset: int
    """Where to begin, where the number is a new one."""
    limit: int
    """The octet before which to wait for another order."""
    total: int = 0
    """How many octets the package states that it has; 0 as long as nobody trusts it."""


def pack(kind: FrameKind, number: int, document: dict[str, Any]) -> bytes:
    """Return a frame with a JSON document."""
    octets = json.dumps(document).encode()
    return HEAD.pack(kind, number, len(octets)) + octets


def unpack(octets: bytes) -> dict[str, Any]:
    """Return the document of a frame."""
    document: dict[str, Any] = json.loads(octets)
    return document


def send_all(connection: socket.socket, *pieces: bytes | memoryview) -> None:
    """Send several pieces as one.

    Raises:
        OSError: The other side is gone.
    """
    left = [memoryview(piece) for piece in pieces]
    while left:
        sent = connection.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def send_order(connection: socket.socket, order: TransferOrder) -> None:
    """Tell the downloader what to do.

    Raises:
        OSError: It is gone.
    """
    connection.sendall(ORDER.pack(order.number, order.offset, order.limit, order.total))


def receive_order(connection: socket.socket) -> TransferOrder | None:
    """Return the next order, waiting for it; None where the reader is gone."""
    octets = connection.recv(ORDER.size, socket.MSG_WAITALL)
    if len(octets) < ORDER.size:
        return None
    number, offset, limit, total = ORDER.unpack(octets)
    return TransferOrder(number=number, offset=offset, limit=limit, total=total)
