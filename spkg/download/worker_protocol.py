"""The protocol between the download process and the reader: frames over a pair of sockets.

The reader orders how far the downloader may go, or from where to start again.  Each order has a number, and
frames for an older one are dropped.
"""

import json
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

__all__ = ["HEAD", "FrameKind", "TransferOrder", "pack", "receive_order", "send_all", "send_order", "unpack"]

HEAD: Final = struct.Struct("!BII")
"""The kind of a frame, the number of the order that it belongs to, and its length in bytes."""
ORDER: Final = struct.Struct("!IQQQ")


class FrameKind(IntEnum):
    """The content of a frame."""

    BEGIN = 1
    """The bytes that follow begin at ``offset``; ``total`` is the size of the file, if it is known."""
    OCTETS = 2
    END = 3
    """There are no more bytes, according to the server."""
    NOTE = 4
    """A note for people."""
    FAILED = 5
    """The download failed for good, and why."""


@dataclass(frozen=True, kw_only=True)
class TransferOrder:
    """An order to the downloader."""

    number: int
    offset: int
    """The offset to begin at, if the number is new."""
    limit: int
    """The offset at which to wait for another order."""
    total: int = 0
    """The size in bytes that the package states; 0 until it is trusted."""


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
        OSError: The other process is gone.
    """
    left = [memoryview(piece) for piece in pieces]
    while left:
        sent = connection.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def send_order(connection: socket.socket, order: TransferOrder) -> None:
    """Send an order to the downloader.

    Raises:
        OSError: The downloader is gone.
    """
    connection.sendall(ORDER.pack(order.number, order.offset, order.limit, order.total))


def receive_order(connection: socket.socket) -> TransferOrder | None:
    """Wait for the next order, and return it; None if the reader is gone."""
    octets = connection.recv(ORDER.size, socket.MSG_WAITALL)
    if len(octets) < ORDER.size:
        return None
    number, offset, limit, total = ORDER.unpack(octets)
    return TransferOrder(number=number, offset=offset, limit=limit, total=total)
