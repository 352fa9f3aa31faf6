"""A server of files on loopback that does what a test tells it to: cut, stall, drip, corrupt, lie."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mmap import mmap
from typing import Any

import spkg.download.http  # noqa: F401 - once here, and not in each process that downloads

__all__ = ["Asked", "Script", "nobody", "serving"]


@dataclass(frozen=True)
class Asked:
    """What a request said."""

    path: str
    headers: dict[str, str]


@dataclass(kw_only=True)
class Script:
    """How a file is served; lists have something for each answer, and then nothing more."""

    octets: bytes | mmap
    etag: str | None = '"1"'
    ranges: bool = True
    length: bool = True
    """Whether the size is told; without it an answer ends with its connection."""
    cuts: list[int] = field(default_factory=list)
    """The octet of the file before which an answer ends."""
    replaced: list[bytes] = field(default_factory=list)
    """What the file is from the next answer on, under the same tag."""
    stalls: list[int] = field(default_factory=list)
    """The octet before which an answer stops, its connection open."""
    drip: float = 0
    """How many seconds lie between drops."""
    drop: int = 1
    """How many octets come at once while it drips."""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """Answers that are given before the file: status, headers, body."""
    partial: Callable[[int], tuple[int, dict[str, str], bytes]] | None = None
    """Gives the answer to each request for what is behind an octet."""
    extra: dict[str, str] = field(default_factory=dict)
    """More headers."""
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    """How many octets of the file went out."""
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def ranged(self) -> list[str | None]:
        """The ranges that were asked for."""
        return [one.headers.get("range") for one in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_GET(self) -> None:
        script = self.script
        script.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
        if script.answers:
            self._answer(*script.answers.pop(0))
            return
        start, wanted = 0, self.headers.get("Range", "")
        if wanted and script.partial is not None:
            self._answer(*script.partial(int(wanted.removeprefix("bytes=").partition("-")[0])))
            return
        if script.ranges and wanted and self.headers.get("If-Range", script.etag) == script.etag:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            total = len(script.octets)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if script.length:
            self.send_header("Content-Length", str(len(script.octets) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        if script.etag is not None:
            self.send_header("ETag", script.etag)
        for name, value in script.extra.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(script, start)

    def _send(self, script: Script, start: int) -> None:
        cut = script.cuts.pop(0) if script.cuts else None
        stall = script.stalls.pop(0) if script.stalls else None
        end = min(one for one in (len(script.octets), cut, stall) if one is not None)
        position, step = start, script.drop if script.drip else 1 << 16
        with suppress(OSError):
            while position < end and not script.over.is_set():
                piece = script.octets[position : min(position + step, end)]
                self.wfile.write(piece)
                position += len(piece)
                script.sent += len(piece)
                time.sleep(script.drip)
            if stall is not None and end == stall:
                script.over.wait(30)
        if script.replaced:
            script.octets = script.replaced.pop(0)
        if end < len(script.octets) or cut is not None:
            self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection: a client may keep it, and with it the thread that serves it."""
        self._open.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """End, and all connections with it."""
        super().server_close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_arguments: Any) -> None:
        """A client that hangs up is what tests are about."""


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a file, and give the URL of the directory that it is in."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        script.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def nobody() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
