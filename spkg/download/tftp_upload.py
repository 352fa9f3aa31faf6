"""Sending a file by TFTP (RFC 1350), with the option for the size of blocks (RFC 2347 and 2348).

There is no login.  One block is on its way at a time, and sent again until its number comes back; an
acknowledgement that comes twice is dropped (the Sorcerer's Apprentice, RFC 1123).
"""

import socket
import struct
from typing import Any, Final

from spkg.common.printable import printable
from spkg.download.tftp import (
    ASK_AGAIN,
    BLOCK,
    LONGEST_WAIT,
    PACKET_HEAD,
    PLAIN_BLOCK,
    SMALLEST_BLOCK,
    STRAY_PACKETS,
    Opcode,
    Refusal,
    breaking_tftp,
    host_of,
)
from spkg.download.url import Location
from spkg.download.worker import MAX_SERVER_TEXT, BrokenError, read_size
from spkg.errors import ACCESS, CONTACT, TransferError

__all__ = ["send_by_tftp"]

WRITE_REQUEST: Final = 2
"""The kind of a packet that asks to store a file."""
WITHOUT_OPTIONS: Final = frozenset({Refusal.UNDEFINED, Refusal.ILLEGAL, Refusal.OPTIONS})
"""What servers say that do not know options."""
BLOCK_NUMBERS: Final = 1 << 16


def send_by_tftp(octets: bytes, location: Location, patience: float) -> None:
    """Store a file at a location.

    Args:
        octets: The file.
        location: Where it goes.
        patience: After how many seconds without an answer a server is given up.

    Raises:
        BrokenError: It failed, but may succeed later.
        TransferError: It failed for good.
    """
    with breaking_tftp(location):
        family, *_, address = socket.getaddrinfo(location.host, location.port, type=socket.SOCK_DGRAM)[0]
        for options in (True, False):
            with socket.socket(family, socket.SOCK_DGRAM) as connection:
                if _Sender(connection, address, location, patience).send(octets, options=options):
                    return


class _Sender:
    """One attempt to store a file."""

    def __init__(self, connection: socket.socket, address: Any, location: Location, patience: float) -> None:
        self._socket = connection
        self._address = address
        self._location = location
        self._patience = patience
        self._peer: Any = None
        """The server's address for this transfer, known from its first packet on."""

    def send(self, octets: bytes, *, options: bool) -> bool:
        """Send all; return whether that was possible, with these options."""
        words = [self._location.path.encode(), b"octet", *([b"blksize", b"%d" % BLOCK] if options else [])]
        request = struct.pack("!H", WRITE_REQUEST) + b"".join(word + b"\0" for word in words)
        size = self._begin(request, options=options)
        if size is None:
            return False
        # The last block is a short one, and may be empty.
        for index, start in enumerate(range(0, len(octets) + 1, size), start=1):
            number = index % BLOCK_NUMBERS
            packet = PACKET_HEAD.pack(Opcode.DATA, number) + octets[start : start + size]
            self._exchange(packet, number)
        return True

    def _begin(self, request: bytes, *, options: bool) -> int | None:
        """Ask to store a file; return the size of its blocks, None where options are not understood."""
        answer = self._exchange(request, 0, options=options)
        kind, _ = PACKET_HEAD.unpack_from(answer)
        if kind == Opcode.ERROR:
            return None
        if kind == Opcode.ACKNOWLEDGEMENT:
            return PLAIN_BLOCK
        words = answer[2:].removesuffix(b"\0").split(b"\0")
        stated = {
            name.lower(): value.decode("latin-1")
            for name, value in zip(words[::2], words[1::2], strict=False)
        }
        size = read_size(stated.get(b"blksize", str(PLAIN_BLOCK)))
        if size is None or not SMALLEST_BLOCK <= size <= BLOCK or not stated.keys() <= {b"blksize"}:
            self._refuse(self._peer, Refusal.OPTIONS, b"options that were not requested")
            return None
        return size

    def _exchange(self, packet: bytes, number: int, *, options: bool = False) -> bytes:
        """Send a packet until it is acknowledged, and return the answer.

        Raises:
            BrokenError: No answer comes in time.
            TransferError: The server refuses.
        """
        waited, pause, strays = 0.0, ASK_AGAIN, 0
        self._socket.sendto(packet, self._peer or self._address)
        while waited < self._patience and strays < STRAY_PACKETS:
            self._socket.settimeout(min(pause, self._patience))
            try:
                answer = self._receive()
            except TimeoutError:
                waited += pause
                pause = min(2 * pause, LONGEST_WAIT)
                self._socket.sendto(packet, self._peer or self._address)
                continue
            kind, code = PACKET_HEAD.unpack_from(answer.ljust(PACKET_HEAD.size, b"\0"))
            if kind == Opcode.ERROR:
                if options and code in WITHOUT_OPTIONS:
                    return answer.ljust(PACKET_HEAD.size, b"\0")
                text = printable(answer[PACKET_HEAD.size :].partition(b"\0")[0].decode("utf-8", "replace"))
                problem = text[:MAX_SERVER_TEXT] or f"the server refused with error {code}"
                raise TransferError(f"{self._location}: {problem}", reason=ACCESS)
            if (kind, code) == (Opcode.ACKNOWLEDGEMENT, number) or (kind == Opcode.OPTIONS and options):
                return answer
            strays += 1
        raise BrokenError(f"{self._location}: no answer in time", reason=CONTACT)

    def _receive(self) -> bytes:
        """Return the next packet; an empty one if it does not belong to this transfer."""
        packet, sender = self._socket.recvfrom(PACKET_HEAD.size + BLOCK)
        if self._peer is None and host_of(sender) == host_of(self._address):
            self._peer = sender
        if sender == self._peer:
            return packet
        self._refuse(sender, Refusal.UNKNOWN_TRANSFER, b"unknown transfer")
        return b""

    def _refuse(self, address: Any, code: Refusal, text: bytes) -> None:
        self._socket.sendto(PACKET_HEAD.pack(Opcode.ERROR, code) + text + b"\0", address)
