"""TFTP (RFC 1350), with options for the size of blocks and of the file (RFC 2347 to 2349).

There is no login, no resuming, and no way to identify versions: each transfer begins at 0.  One block is on
its way at a time.  A block that comes again is not acknowledged at once, or a server that answers each
acknowledgement would send everything twice (the Sorcerer's Apprentice, RFC 1123).
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, Final

from spkg.common.printable import printable
from spkg.download.url import Location
from spkg.download.worker import MAX_SERVER_TEXT, BrokenError, OpenTransfer, read_size, system_words
from spkg.errors import ACCESS, CONTACT, TransferError

__all__ = [
    "ASK_AGAIN",
    "BLOCK",
    "LONGEST_WAIT",
    "PACKET_HEAD",
    "PLAIN_BLOCK",
    "SMALLEST_BLOCK",
    "STRAY_PACKETS",
    "Opcode",
    "Refusal",
    "TftpTransport",
    "breaking_tftp",
    "host_of",
]

BLOCK: Final = 1428
"""The size of a block that fits into an Ethernet frame, in bytes (RFC 2348)."""
PLAIN_BLOCK: Final = 512
"""The size of a block where none is agreed (RFC 1350)."""
SMALLEST_BLOCK: Final = 8
LAST_NUMBER: Final = 0xFFFF
"""The number of a block after which servers go on with 0 or with 1."""
ASK_AGAIN: Final = 1.0
"""After how many seconds a packet is first sent again; each time it takes twice as long."""
LONGEST_WAIT: Final = 8.0
STRAY_PACKETS: Final = 300
"""How many packets that are not the next block are dropped while one waits for that."""
PACKET_HEAD: Final = struct.Struct("!HH")


class Opcode(IntEnum):
    """The kind of a packet."""

    REQUEST = 1
    DATA = 3
    ACKNOWLEDGEMENT = 4
    ERROR = 5
    OPTIONS = 6


class Refusal(IntEnum):
    """The codes of errors that mean something here."""

    UNDEFINED = 0
    ILLEGAL = 4
    UNKNOWN_TRANSFER = 5
    OPTIONS = 8


class _OptionsError(Exception):
    """The server can't be talked to with options."""


class TftpTransport:
    """Requests a location by TFTP.

    Args:
        location: The location of the file.
        patience: After how many seconds without a block a server is given up.
    """

    def __init__(self, location: Location, patience: float) -> None:
        self._location = location
        self._patience = patience
        self._options = True
        self._asked = 0

    def open(self, offset: int, validator: str | None) -> OpenTransfer:  # noqa: ARG002 - it always begins at 0
        """Request the file.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        location = self._location
        with breaking_tftp(location):
            found = socket.getaddrinfo(location.host, location.port, type=socket.SOCK_DGRAM)
            family, *_, address = found[self._asked % len(found)]  # another one each time
            self._asked += 1
            if self._options:
                try:
                    return _TftpTransfer(location, family, address, self._patience, options=True)
                except _OptionsError:
                    self._options = False
            return _TftpTransfer(location, family, address, self._patience, options=False)


class _TftpTransfer:
    """A file that arrives block by block; made with the first one."""

    offset = 0
    validator = None

    def __init__(
        self,
        location: Location,
        family: int,
        address: Any,
        patience: float,
        *,
        options: bool,
    ) -> None:
        self._location = location
        self._patience = patience
        self._address = address
        self._peer: Any = None
        """The server's address for this transfer, known from its first packet on."""
        self._size = PLAIN_BLOCK
        self._optional = options
        """Whether options can still be agreed."""
        self._number = 0
        """The number of the last block."""
        self._over = False
        self.total: int | None = None
        wanted = {b"blksize": b"%d" % BLOCK, b"tsize": b"0"} if options else {}
        words = [location.path.encode(), b"octet", *(word for option in wanted.items() for word in option)]
        self._last = struct.pack("!H", Opcode.REQUEST) + b"".join(word + b"\0" for word in words)
        """The packet that the server has to answer."""
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._send(self._last)
            self._octets = self._block()
        except BaseException:
            self._socket.close()
            raise

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The server does not send any more.
            TransferError: It says why.
        """
        if not self._octets and not self._over:
            with breaking_tftp(self._location):
                self._octets = self._block()
        octets, self._octets = self._octets[:size], self._octets[size:]
        return octets

    def close(self) -> None:
        """Tell the server, unless the file is complete: it would send its last block again and again."""
        if not self._over:
            with suppress(OSError):
                self._refuse(self._peer, Refusal.UNDEFINED, b"not wanted any more")
        self._socket.close()

    def _block(self) -> bytes:
        """Wait for the next block, and acknowledge it.

        Raises:
            BrokenError: None comes in time.
            TransferError: The server refuses.
        """
        waited, pause, strays = 0.0, ASK_AGAIN, 0
        while waited < self._patience and strays < STRAY_PACKETS:
            self._socket.settimeout(min(pause, self._patience))
            try:
                packet = self._receive()
            except TimeoutError:
                waited += pause
                pause = min(2 * pause, LONGEST_WAIT)
                self._send(self._last)
                continue
            octets = self._take(packet)
            if octets is not None:
                return octets
            strays += 1
            if strays % 3 == 0:  # our answer may be lost, and the server faster than our pause
                self._send(self._last)
        raise BrokenError(f"{self._location}: no answer in time", reason=CONTACT)

    def _receive(self) -> bytes:
        """Return the next packet; an empty one if it does not belong to this transfer."""
        packet, sender = self._socket.recvfrom(PACKET_HEAD.size + BLOCK + 1)
        if self._peer is None and host_of(sender) == host_of(self._address):
            self._peer = sender
        if sender == self._peer:
            return packet
        self._refuse(sender, Refusal.UNKNOWN_TRANSFER, b"unknown transfer")
        return b""

    def _take(self, packet: bytes) -> bytes | None:
        """Return the contents of a packet, if it is the next block.

        Raises:
            TransferError: The server refuses.
            BrokenError: The packet is malformed.
        """
        kind, number = PACKET_HEAD.unpack_from(packet.ljust(PACKET_HEAD.size, b"\0"))
        if kind == Opcode.DATA and number in self._next:
            octets = packet[PACKET_HEAD.size :]
            if len(octets) > self._size:
                problem = f"expected a block of at most {self._size} bytes, got a longer one"
                raise BrokenError(f"{self._location}: {problem}")
            self._number = number
            self._over = len(octets) < self._size
            self._acknowledge()
            return octets
        if kind == Opcode.OPTIONS and self._optional:
            self._agree(packet[2:])
            self._acknowledge()
        elif kind == Opcode.ERROR:
            text = printable(packet[PACKET_HEAD.size :].partition(b"\0")[0].decode("utf-8", "replace"))
            if self._optional and number in {Refusal.UNDEFINED, Refusal.ILLEGAL, Refusal.OPTIONS}:
                raise _OptionsError
            problem = text[:MAX_SERVER_TEXT] or f"the server refused with error {number}"
            raise TransferError(f"{self._location}: {problem}", reason=ACCESS)
        return None

    @property
    def _next(self) -> frozenset[int]:
        """The numbers that the next block may have."""
        return frozenset({0, 1} if self._number == LAST_NUMBER else {self._number + 1})

    def _agree(self, octets: bytes) -> None:
        """Take the options that the server agrees to; their names may be in any case.

        Raises:
            _OptionsError: They are not what was asked for.
        """
        words = [word.decode("latin-1") for word in octets.removesuffix(b"\0").split(b"\0")]
        options = {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=False)}
        size = read_size(options.get("blksize", str(PLAIN_BLOCK)))
        valid = size is not None and SMALLEST_BLOCK <= size <= BLOCK
        if size is None or not valid or len(words) % 2 or not options.keys() <= {"blksize", "tsize"}:
            self._refuse(self._peer, Refusal.OPTIONS, b"options that were not requested")
            raise _OptionsError
        self._size = size
        self.total = read_size(options.get("tsize", "")) or None  # a server may only repeat the 0

    def _acknowledge(self) -> None:
        self._optional = False
        self._last = PACKET_HEAD.pack(Opcode.ACKNOWLEDGEMENT, self._number)
        self._send(self._last)

    def _send(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._peer or self._address)

    def _refuse(self, address: Any, code: Refusal, text: bytes) -> None:
        if address is not None:
            self._socket.sendto(PACKET_HEAD.pack(Opcode.ERROR, code) + text + b"\0", address)


def host_of(address: Any) -> str:
    """Return the host of an address, without its zone."""
    host: str = address[0]
    return host.partition("%")[0]


@contextmanager
def breaking_tftp(location: Location) -> Iterator[None]:
    """Turn errors of the system into :class:`BrokenError`."""
    try:
        yield
    except OSError as exc:
        raise BrokenError(f"{location}: {system_words(exc)}", reason=CONTACT) from exc
