"""A proxy that is named: what it is told, and what is for the server alone."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spkg.download.http import WebTransport
from spkg.download.url import Location, Login
from spkg.download.worker import BrokenError
from spkg.errors import TransferError
from tests.support.fake_servers import Script, nobody, serving
from tests.support.real_servers import HOST, put_identity, relay, server, web_root

OCTETS = bytes(range(256)) * 8
FOR_SERVER = ("Authorization", "Bearer s3cret")
FOR_PROXY = ("Proxy-Authorization", "Basic cHJveHk6cGFzcw==")
LOGIN_HINT = "write a line 'Proxy-Authorization: ...' into the file of --header-file"


@dataclass(kw_only=True)
class Proxy:
    """A proxy for one host, and the heads of the requests that it saw."""

    url: str = ""
    heads: list[str] = field(default_factory=list)
    answer: bytes = b""
    """What it answers to everything; if empty, it does its work."""


@contextmanager
def proxy(answer: bytes = b"") -> Iterator[Proxy]:
    found = Proxy(answer=answer)

    def copy(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while octets := one.recv(1 << 16):
                other.sendall(octets)
            other.shutdown(socket.SHUT_WR)

    def work(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            found.heads.append(head.decode())
            if found.answer:
                connection.sendall(found.answer)
                return
            port = re.match(r"[A-Z]+ (?:http://)?[^:/]+:(\d+)", head.decode())
            assert port is not None
            with socket.create_connection((HOST, int(port[1]))) as there:
                if head.startswith(b"CONNECT"):
                    connection.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
                else:
                    there.sendall(re.sub(rb"^GET http://[^/]+", b"GET ", head))
                threading.Thread(target=copy, args=[there, connection], daemon=True).start()
                copy(connection, there)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=work, args=[listening.accept()[0]], daemon=True).start()

    with socket.create_server((HOST, 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        found.url = f"http://{HOST}:{listening.getsockname()[1]}"
        yield found
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put_identity(tmp_path / "server.pem", server(HOST)))
    return context


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (path := tmp_path / "web.pem").write_bytes(web_root().pem)
    return path


def fetch(url: str, login: Login, offset: int = 0) -> bytes:
    answer = WebTransport(Location.parse(url), login, 10).open(offset, '"1"' if offset else None)
    return b"".join(iter(lambda: answer.read(1000), b""))


def test_a_request_of_http_goes_through_the_proxy() -> None:
    with serving(script := Script(octets=OCTETS)) as url, proxy() as between:
        login = Login(proxy=between.url, headers=(FOR_SERVER, FOR_PROXY))
        assert fetch(f"{url}/p?q", login) == OCTETS
        assert fetch(f"{url}/p?q", login, 1000) == OCTETS[1000:]

    assert [one.path for one in script.asked] == ["/p?q"] * 2
    assert [one.splitlines()[0] for one in between.heads] == [f"GET {url}/p?q HTTP/1.1"] * 2
    assert all("Proxy-Authorization: Basic cHJveHk6cGFzcw==" in one for one in between.heads)


def test_https_is_a_tunnel_that_learns_nothing(context: ssl.SSLContext, bundle: Path) -> None:
    with serving(script := Script(octets=OCTETS), context) as url, proxy() as between:
        login = Login(proxy=between.url, headers=(FOR_SERVER, FOR_PROXY), ca_bundle=bundle)
        where = url.removeprefix("http://")
        assert fetch(f"https://{where}/p", login) == OCTETS
        with pytest.raises(TransferError, match="the server's certificate is not trusted"):
            fetch(f"https://{where}/p", Login(proxy=between.url))

    (head, _) = between.heads
    assert head.startswith(f"CONNECT {where} HTTP/1.")
    assert "Proxy-Authorization: Basic cHJveHk6cGFzcw==" in head
    assert "s3cret" not in head
    assert script.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "proxy-authorization" not in script.asked[0].headers


def test_a_digest_through_a_proxy_is_that_of_the_path() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    with serving(script := Script(octets=OCTETS, answers=[(401, challenge, b"")])) as url:
        with proxy() as between:
            assert fetch(f"{url}/p?q", Login(proxy=between.url, username="a", password=b"b")) == OCTETS

    assert 'uri="/p?q"' in script.asked[-1].headers["authorization"]


def test_what_broke_goes_on_through_the_proxy(bundle: Path) -> None:
    with serving(Script(octets=OCTETS)) as url, proxy() as between:
        port = int(between.url.rpartition(":")[2])
        with relay(HOST, port, after=1500) as relayed:
            asking = WebTransport(Location.parse(f"{url}/p"), Login(proxy=f"http://{HOST}:{relayed}"), 10)
            answer = asking.open(0, None)
            octets = b"".join(iter(lambda: answer.read(1000), b""))
            rest = asking.open(len(octets), answer.validator)
            octets += b"".join(iter(lambda: rest.read(1000), b""))

    assert octets == OCTETS
    assert len(between.heads) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(scheme: str) -> None:
    login = Login(proxy=f"http://{HOST}:{nobody()}")
    with pytest.raises(
        BrokenError, match=f"^{scheme}://127.0.0.1/p: the proxy: connection refused$"
    ) as caught:
        fetch(f"{scheme}://127.0.0.1/p", login)

    assert caught.value.reason == "contact"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_says_so(scheme: str) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with proxy(refusal) as between, pytest.raises(TransferError) as caught:
        fetch(f"{scheme}://127.0.0.1/p", Login(proxy=between.url))

    assert "407 Proxy Authentication Required" in str(caught.value)
    assert caught.value.hint == LOGIN_HINT
    assert len(between.heads) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "problem"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", TransferError, "the proxy answered 403 Forbidden"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", BrokenError, "the proxy answered 502 Bad Gateway"),
        (b"HTTP/1.1 503 \r\n\r\n", BrokenError, "the proxy answered 503"),
        (b"no proxy\r\n\r\n", BrokenError, "the server's answer is malformed"),
    ],
)
def test_a_proxy_that_does_not_connect_is_not_the_server(
    answer: bytes, kind: type[Exception], problem: str
) -> None:
    with proxy(answer) as between, pytest.raises(kind) as caught:
        fetch("https://127.0.0.1/p", Login(proxy=between.url))

    assert str(caught.value).startswith(f"https://127.0.0.1/p: {problem}")
    assert "_ssl" not in str(caught.value)
