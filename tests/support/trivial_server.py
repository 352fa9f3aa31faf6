"""A server of files by TFTP, as RFC 1350 has it or as crooked as a test wants it."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TrivialServer", "trivial"]

HEAD = struct.Struct("!HH")


@dataclass(kw_only=True)
class TrivialServer:
    """How a file is served; one request is answered after the other."""

    octets: bytes = b""
    options: bool = True
    """Whether it knows any; without it answers with blocks of 512 octets at once."""
    capitals: bool = False
    block: int | None = None
    """The size of blocks that it agrees to, instead of the one asked for."""
    length: bytes | None = None
    """The size that it states, instead of the file's."""
    more: bytes = b""
    """What it adds to its options."""
    wraps_to: int = 0
    repeats: int = 1
    """How often it sends each block."""
    apprentice: bool = False
    """Whether it answers each acknowledgement, also one that it has seen."""
    reorders: bool = False
    """Whether the block before comes again behind each block."""
    waits: bool = False
    """Whether it sends nothing again by itself, but only where an acknowledgement comes again."""
    loses: set[int] = field(default_factory=set)
    """The packets that get lost on their way, counted from 1 for the answer to the request."""
    deaf: set[int] = field(default_factory=set)
    """The acknowledgements that it does not hear, counted likewise."""
    strangers: bool = False
    """Whether somebody else on the host sends blocks, too."""
    errors: list[tuple[int, bytes]] = field(default_factory=list)
    """What it refuses requests with, one after the other."""
    silent_after: int | None = None
    """The block after which nothing more comes."""
    malformed: bytes = b""
    """What it sends in place of a first answer."""
    asked: list[list[bytes]] = field(default_factory=list)
    """The words of each request."""
    told: list[tuple[int, bytes]] = field(default_factory=list)
    """The errors that it was told."""
    sent: int = 0

    def serve(self, request: bytes, client: Any, family: int, host: str) -> None:
        """Answer one request, from a port of its own."""
        words = request[2:].removesuffix(b"\0").split(b"\0")
        self.asked.append(words)
        with socket.socket(family, socket.SOCK_DGRAM) as own, socket.socket(family, socket.SOCK_DGRAM) as two:
            own.bind((host, 0))
            two.bind((host, 0))
            own.settimeout(0.05)
            self._own, self._client, self._two = own, client, two
            self._packets = self._heard = self._idle = 0
            if self.errors:
                code, text = self.errors.pop(0)
                own.sendto(HEAD.pack(5, code) + text + b"\0", client)
                return
            size = 512
            wanted = dict(zip(words[2::2], words[3::2], strict=True)) if self.options else {}
            if self.malformed:
                own.sendto(self.malformed, client)
                wanted = {}
            if wanted:
                size = int(wanted[b"blksize"]) if self.block is None else self.block
                length = b"%d" % len(self.octets) if self.length is None else self.length
                answer = b"blksize\0%d\0tsize\0%b\0" % (size, length)
                answer = (answer.upper() if self.capitals else answer) + self.more
                if not self._exchange(b"\0\6" + answer, 0):
                    return
            self._blocks(size)

    def _blocks(self, size: int) -> None:
        number, before = 0, b""
        for count in range(len(self.octets) // size + 1):
            if self.silent_after == count:
                self._drain()
                return
            number = number + 1 if number < 0xFFFF else self.wraps_to
            packet = HEAD.pack(3, number) + self.octets[count * size : (count + 1) * size]
            if not self._exchange(packet, number, before if self.reorders else b""):
                return
            before = packet

    def _exchange(self, packet: bytes, number: int, behind: bytes = b"") -> bool:
        """Send a packet until it is acknowledged; return whether it was."""
        for _ in range(60):
            self._packets += 1
            for _ in range(self.repeats):
                if self._packets not in self.loses:
                    self.sent += 1
                    self._own.sendto(packet, self._client)
            if behind:
                self._own.sendto(behind, self._client)
            if self.strangers:
                self._two.sendto(HEAD.pack(3, number or 1) + b"forged", self._client)
            answer = self._hear(number)
            if answer is not None:
                return answer
        return False

    def _hear(self, number: int) -> bool | None:
        """Wait for an acknowledgement; return whether it is one, or the end; None if it does not come."""
        while True:
            try:
                answer, _ = self._own.recvfrom(2048)
            except TimeoutError:
                if self.waits and self._idle < 400:
                    self._idle += 1
                    continue
                return None
            kind, value = HEAD.unpack_from(answer)
            if kind == 5:
                self.told.append((value, answer[4:].rstrip(b"\0")))
                return False
            self._heard += 1
            if self._heard in self.deaf:
                continue
            if value == number:
                return True
            if self.apprentice or self.waits:
                return None

    def _drain(self) -> None:
        with suppress(TimeoutError):
            while True:
                answer, _ = self._own.recvfrom(2048)
                if HEAD.unpack_from(answer)[0] == 5:
                    self.told.append((answer[3], answer[4:].rstrip(b"\0")))


@contextmanager
def trivial(server: TrivialServer, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a server, and give the URL of the directory that its file is in."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.bind((host, 0))

        def listen() -> None:
            with suppress(OSError):
                while True:
                    request, client = listening.recvfrom(2048)
                    if request == b"over":
                        return
                    server.serve(request, client, family, host)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        try:
            yield f"tftp://{shown}:{listening.getsockname()[1]}"
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"over", listening.getsockname())
            thread.join(10)
        assert not thread.is_alive()
