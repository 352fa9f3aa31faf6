"""An ACS that is reached through a proxy, where the configuration asks for one (3.4.2)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError, ContactKind
from tests.agent.kit import acs_settings
from tests.support.acs import DigestLogin, ScriptedAcs, request
from tests.support.real_servers import HOST, put_identity, server, tinyproxy, web_root
from tests.support.web_tls import server_context

INFORM: Final = request("Inform", id="1")


def post(url: str, proxy: str, bundle: Path | None = None) -> int:
    """Post twice; return how many connections that took."""
    client = AcsClient(acs_settings(proxy=proxy, timeout=5, ca_bundle=bundle), monotonic)
    with client.open(url, "00D09E-0123456789", "open sesame") as connection:
        connection.post([INFORM])
        connection.post([])
        return connection.connections


def test_the_whole_url_is_asked_of_a_proxy() -> None:  # H15
    with ScriptedAcs() as proxy:
        assert post("http://acs.invalid/cwmp?x=1", f"http://{HOST}:{proxy.port}") == 1

    assert [one.target for one in proxy.posts] == ["http://acs.invalid/cwmp?x=1"] * 2
    assert {one.headers["host"] for one in proxy.posts} == {"acs.invalid"}


@pytest.mark.judge("tinyproxy")
def test_a_session_within_tls_goes_through_a_tunnel(tmp_path: Path) -> None:  # H15
    bundle = tmp_path / "web.pem"
    bundle.write_bytes(web_root().pem)
    tls = server_context(put_identity(tmp_path / "server.pem", server(HOST)))
    work = tmp_path / "proxy"
    work.mkdir()
    with ScriptedAcs(tls=tls, login=DigestLogin()) as acs, tinyproxy(work, acs.port) as proxy:
        assert post(acs.url, proxy.url, bundle) == 1

    assert proxy.requests() == [f"CONNECT {HOST}:{acs.port}"]
    assert acs.methods == ["Inform", ""]


@contextmanager
def answering(said: bytes) -> Iterator[str]:
    """Answer a connection with something, and close it."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://{HOST}:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"HTTP/1.1 403 Filtered\r\n\r\n", "the proxy answered 403 Filtered"),
        (b"HTTP/1.1 200", "the response ended early"),
        (b"", "the proxy closed the connection"),
    ],
)
def test_a_proxy_that_does_not_connect_is_named(said: bytes, words: str) -> None:
    with answering(said) as proxy, pytest.raises(ContactError) as caught:
        post("https://acs.invalid/", proxy)

    assert caught.value.problem == f"https://acs.invalid/: {words}"
    assert caught.value.kind is ContactKind.CONNECT


def test_a_proxy_that_is_none_is_refused() -> None:
    with pytest.raises(ContactError) as caught:
        post("http://acs.invalid/", "socks5://127.0.0.1")

    assert caught.value.problem.startswith("proxy: expected a URL of http without credentials")
