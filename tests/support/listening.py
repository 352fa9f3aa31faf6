"""A listener for connection requests in a thread, and an ACS that asks it, written from RFC 2617."""

import asyncio
import hashlib
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final, Self
from urllib.request import parse_http_list, parse_keqv_list

from spkg.agent.listener import Listener
from spkg.agent.settings import ListenerSettings

__all__ = ["PATH", "Caller", "Listening", "Reply", "digest", "listener_settings", "without_qop"]

PATH: Final = "/3mK0q-secret"
USERNAME: Final = "acs"
PASSWORD: Final = "open sesame"
PATIENCE: Final = 10


def listener_settings(**stated: Any) -> ListenerSettings:
    """Return where connection requests are taken: on loopback, at any port."""
    settings = ListenerSettings(
        address="127.0.0.1",
        port=0,
        host="auto",
        username=None,
        password_file=None,
        per_minute=10,
        sources=(),
    )
    return replace(settings, **{name: _value(name, value) for name, value in stated.items()})


def _value(name: str, value: Any) -> Any:
    return tuple(map(ip_network, value)) if name == "sources" else value


class Listening:
    """A listener that listens, and all that came of it; its clock can be put forward."""

    def __init__(self, *, sockets: Sequence[socket.socket] = (), **stated: Any) -> None:
        self.credentials: tuple[str, str] | None = (USERNAME, PASSWORD)
        self.ahead = 0.0
        self.accepted: list[float] = []
        self.notes: list[str] = []
        self._tokens = iter(range(10**9))
        self._sockets = sockets
        self._settings = listener_settings(**stated)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.listener = Listener(
            self._settings,
            path=PATH,
            credentials=lambda: self.credentials,
            accepted=lambda: self.accepted.append(time.monotonic()),
            note=self.notes.append,
            clock=lambda: time.monotonic() + self.ahead,
            token=lambda: f"nonce-{next(self._tokens)}",
        )
        self._thread.start()
        try:
            self.run(self.listener.start(self._sockets))
        except BaseException:
            self._end()
            raise
        self.port = self.listener.port or 0
        self.url = f"http://127.0.0.1:{self.port}{PATH}"
        return self

    def __exit__(self, *_problem: object) -> None:
        self.run(self.listener.close())
        self._end()

    def run(self, work: Any) -> Any:
        """Have something done in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def wait(self, count: int) -> None:
        """Wait until so many requests were let in."""
        deadline = time.monotonic() + PATIENCE
        while len(self.accepted) < count:
            assert time.monotonic() < deadline, f"only {len(self.accepted)} were let in: {self.notes}"
            time.sleep(0.002)

    def caller(self, source: str = "127.0.0.1") -> "Caller":
        """Return a connection to it."""
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        host = "::1" if ":" in source else "127.0.0.1"
        own = socket.socket(family)
        own.settimeout(PATIENCE)
        own.bind((source, 0))
        own.connect((host, self.port))
        return Caller(own)

    def ask(self, password: str = PASSWORD, source: str = "127.0.0.1", **said: str) -> "Reply":
        """Do as an ACS: ask, log in on the same connection, and return the second answer."""
        with closing(self.caller(source)) as caller:
            first = caller.get()
            assert first.status == 401, first
            return caller.get(Authorization=digest(first.challenge | said, password=password))


class Reply:
    """An answer as it came."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        head = octets.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.status = int(head[0].split(" ")[1]) if octets else 0
        lines = (line.partition(":") for line in head[1:])
        self.headers = {name.lower(): value.strip() for name, _, value in lines}

    def __repr__(self) -> str:
        return repr(self.octets)

    @property
    def challenge(self) -> dict[str, str]:
        """The parameters of its challenge."""
        kind, _, said = self.headers["www-authenticate"].partition(" ")
        assert kind == "Digest"
        return parse_keqv_list(parse_http_list(said))


class Caller:
    """A connection to a listener."""

    def __init__(self, own: socket.socket) -> None:
        self.own = own

    def close(self) -> None:
        """Hang up."""
        self.own.close()

    def say(self, octets: bytes) -> Reply:
        """Send something and return what is answered; a status of 0 if that is nothing."""
        try:
            self.own.sendall(octets)
        except ConnectionError:
            return Reply(b"")
        return self.hear()

    def hear(self) -> Reply:
        """Return the next answer."""
        octets = b""
        try:
            while not octets.endswith(b"\r\n\r\n") and (piece := self.own.recv(4096)):
                octets += piece
        except ConnectionError:
            pass
        return Reply(octets)

    def get(self, target: str = PATH, verb: str = "GET", **headers: str) -> Reply:
        """Send a request."""
        lines = [f"{verb} {target} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.say(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def digest(
    said: dict[str, str],
    *,
    username: str = USERNAME,
    password: str = PASSWORD,
    uri: str = PATH,
    verb: str = "GET",
) -> str:
    """Return the answer to a challenge."""
    realm, nonce = said["realm"], said["nonce"]
    secret, request = _md5(f"{username}:{realm}:{password}"), _md5(f"{verb}:{uri}")
    parts = f'username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}"'
    if said.get("qop"):
        response = _md5(f"{secret}:{nonce}:00000001:xyz:{said['qop']}:{request}")
        parts += f', qop={said["qop"]}, nc=00000001, cnonce="xyz"'
    else:
        response = _md5(f"{secret}:{nonce}:{request}")
    algorithm = said.get("algorithm")
    parts += f", algorithm={algorithm}" if algorithm else ""
    return f'Digest {parts}, response="{response}"'


def without_qop(said: dict[str, str]) -> dict[str, str]:
    """Return a challenge as RFC 2069 has it."""
    return {name: value for name, value in said.items() if name not in {"qop", "algorithm"}}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
