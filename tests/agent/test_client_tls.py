"""TLS to an ACS: who is trusted, who is shown a certificate, and what goes wrong in words (3.3)."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError, ContactKind
from spkg.errors import HostError
from tests.agent.kit import acs_settings
from tests.support.acs import Answer, DigestLogin, Plan, ScriptedAcs, answers, request
from tests.support.kit import Certified
from tests.support.real_servers import (
    ELSEWHERE,
    HOST,
    client,
    put_identity,
    server,
    untimely_server,
    web_root,
)
from tests.support.web_tls import server_context

INFORM: Final = request("Inform", id="1")
LOGGED_IN: Final = ("00D09E-0123456789", "open sesame")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the authority of servers, and the certificate of a client."""
    monkeypatch.chdir(tmp_path)
    Path("web.pem").write_bytes(web_root().pem)
    put_identity(Path("gateway.pem"), client("gateway"))
    return tmp_path


def secure(who: Certified, plan: Plan | tuple[Answer, ...] = (), **more: Any) -> ScriptedAcs:
    login = more.pop("login", None)
    context = server_context(put_identity(Path("server.pem"), who), **more)
    if more.get("verify_mode") is ssl.CERT_REQUIRED:
        context.load_verify_locations("web.pem")
    return ScriptedAcs(plan if callable(plan) else answers(*plan), tls=context, login=login)


def post(url: str, *, ignore_dates: bool = False, times: int = 1, **stated: Any) -> None:
    settings = acs_settings(**{"ca_bundle": Path("web.pem"), "timeout": 5, **stated})
    with AcsClient(settings, monotonic, ignore_dates=ignore_dates).open(url, *LOGGED_IN) as connection:
        for _ in range(times):
            connection.post([INFORM])


def refused(url: str, **stated: Any) -> ContactError:
    with pytest.raises(ContactError) as caught:
        post(url, **stated)
    return caught.value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_within_tls_is_one_connection(here: Path, version: ssl.TLSVersion) -> None:  # H7
    settings: dict[str, Any] = {"minimum_version": version, "maximum_version": version}
    with secure(server(HOST), login=DigestLogin(), **settings) as acs:
        post(acs.url, times=3)

    assert acs.connections == 1
    assert len(acs.refused) == 1


def test_basic_is_answered_within_tls(here: Path) -> None:  # H10; GenieACS asks for it
    with secure(server(HOST), login=DigestLogin(basic=True)) as acs:
        post(acs.url, times=2)

    assert (len(acs.refused), len(acs.posts)) == (1, 2)


def test_a_wrong_password_by_basic_is_tried_once(here: Path) -> None:
    with secure(server(HOST), login=DigestLogin(basic=True, password="other")) as acs:
        problem = refused(acs.url)

    assert problem.problem == f"{acs.url}: login failed"
    assert len(acs.refused) == 2


def test_digest_is_preferred_to_basic(here: Path) -> None:
    said = (
        ("WWW-Authenticate", 'Basic realm="a"'),
        ("WWW-Authenticate", 'Digest realm="a", nonce="b", qop="auth"'),
    )
    with secure(server(HOST), (Answer(status=401, headers=said),)) as acs:
        post(acs.url)

    assert acs.posts[1].headers["authorization"].startswith("Digest ")


def test_basic_is_taken_within_tls_where_digest_cannot_be(here: Path) -> None:
    said = (
        ("WWW-Authenticate", 'Digest realm="a", nonce="b", algorithm=X'),
        ("WWW-Authenticate", 'Basic realm="a"'),
    )
    with secure(server(HOST), (Answer(status=401, headers=said),)) as acs:
        post(acs.url)

    assert acs.posts[1].headers["authorization"].startswith("Basic ")


def test_a_certificate_for_another_host_is_refused(here: Path) -> None:  # H7
    with secure(server(ELSEWHERE)) as acs:
        problem = refused(acs.url)

    assert problem.problem.startswith(
        f"{acs.url}: the server's certificate is not trusted: IP address mismatch"
    )
    assert (problem.kind, problem.hint) == (
        ContactKind.TLS,
        "use a URL with a host name that is in the server's certificate",
    )
    assert acs.posts == []


def test_an_unknown_authority_is_refused(here: Path) -> None:
    with secure(server(HOST)) as acs:
        problem = refused(acs.url, ca_bundle=None)

    assert "the server's certificate is not trusted" in problem.problem
    assert problem.hint == "set ca-bundle for a private certificate authority"
    assert acs.posts == []


def test_a_certificate_of_another_time_is_refused_unless_there_is_no_clock(here: Path) -> None:  # P47
    with secure(untimely_server(HOST)) as acs:
        problem = refused(acs.url)
        post(acs.url, ignore_dates=True)

    assert (
        problem.problem == f"{acs.url}: the server's certificate is not trusted: certificate is not yet valid"
    )
    assert problem.hint == "compare the clock of this device"


def test_without_a_clock_the_host_is_checked_all_the_same(here: Path) -> None:  # P47
    with secure(untimely_server(ELSEWHERE)) as acs:
        problem = refused(acs.url, ignore_dates=True)

    assert "mismatch" in problem.problem


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_what_is_too_old_is_not_spoken(here: Path) -> None:  # H8
    old: dict[str, Any] = dict.fromkeys(["minimum_version", "maximum_version"], ssl.TLSVersion.TLSv1_1)
    with secure(server(HOST), **old) as acs:
        problem = refused(acs.url)

    assert problem.kind is ContactKind.TLS  # this server sends no alert that could be put in words
    assert acs.posts == []


def test_a_client_certificate_is_shown_to_the_acs(here: Path) -> None:  # H9
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED) as acs:
        post(acs.url, client_certificate=Path("gateway.pem"))
        problem = refused(acs.url)

    assert len(acs.posts) == 1
    assert problem.problem.endswith((": the server requires a client certificate", "without a response"))
    assert problem.hint is not None
    assert problem.hint.endswith("set client-certificate and client-key to show a certificate to the server")


def test_a_server_that_refuses_a_handshake_is_named(here: Path) -> None:
    old: dict[str, Any] = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED, **old) as acs:
        problem = refused(acs.url)

    assert problem.problem.endswith("; it may want a client certificate")
    assert problem.hint == "set client-certificate and client-key to show a certificate to the server"


def test_a_client_certificate_is_not_shown_to_another_server(here: Path) -> None:
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED) as other:
        there = Answer(status=307, headers=(("Location", other.url),))
        with secure(server(HOST), (there,)) as acs:
            problem = refused(acs.url, client_certificate=Path("gateway.pem"))

    assert problem.problem.startswith(f"{other.url}: the server ")
    assert other.posts == []


def test_a_redirect_to_http_is_refused(here: Path) -> None:  # D8: no downgrade
    with ScriptedAcs() as plain:
        there = Answer(status=302, headers=(("Location", plain.url),))
        with secure(server(HOST), (there,)) as acs:
            problem = refused(acs.url)

    assert problem.problem == f"{acs.url}: a redirect from https to http is not allowed"
    assert plain.posts == []


def test_a_redirect_to_https_is_followed(here: Path) -> None:
    with secure(server(HOST)) as acs:
        there = Answer(status=302, headers=(("Location", acs.url),))
        with ScriptedAcs([there]) as plain:
            post(plain.url)

    assert len(acs.posts) == 1


def test_a_server_that_speaks_no_tls_is_named(here: Path) -> None:
    with silent(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        problem = refused(url)

    assert problem.kind is ContactKind.TLS
    assert problem.problem == f"{url}: the server does not speak TLS on this port"


@contextmanager
def silent(said: bytes | None = None) -> Iterator[str]:
    """Accept connections, and say nothing; or something, and close."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    kept.append(connection)
                    if said is not None:
                        connection.recv(4096)
                        connection.sendall(said)
                        connection.close()

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        yield f"https://{HOST}:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)
        for one in kept:
            one.close()


def test_a_handshake_has_an_end(here: Path) -> None:
    with silent() as url:
        begun = monotonic()
        problem = refused(url, timeout=0.3)

    assert problem.problem == f"{url}: the connection timed out"
    assert problem.kind is ContactKind.TLS
    assert monotonic() - begun < 20


def test_a_handshake_that_ends_early_is_named(here: Path) -> None:
    with silent(b"") as url:
        problem = refused(url)

    assert problem.problem == (
        f"{url}: the server closed the connection during the TLS handshake; it may want a client certificate"
    )


@pytest.mark.parametrize("answer", [Answer(body=INFORM, drip=0.05), Answer(raw=b"HTTP/1.1 2", stall=True)])
def test_a_response_within_tls_has_an_end_in_time(here: Path, answer: Answer) -> None:
    begun = monotonic()
    with secure(server(HOST), (answer,)) as acs:
        problem = refused(acs.url, timeout=0.25)

    assert problem.problem == f"{acs.url}: no complete response in time"
    assert monotonic() - begun < 20


def test_a_response_within_tls_that_ends_early_is_named(here: Path) -> None:
    with secure(server(HOST), (Answer(body=INFORM, cut=150),)) as acs:
        problem = refused(acs.url)

    assert problem.problem == f"{acs.url}: the response ended early"


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"ca_bundle": Path("empty")}, "empty has no CA certificates"),
        (
            {"client_certificate": Path("empty")},
            "empty: expected a certificate and its key in PEM",
        ),
    ],
)
def test_files_that_are_not_valid_are_named_before_the_network_is_used(
    here: Path, stated: dict[str, Any], words: str
) -> None:
    Path("empty").touch()

    with pytest.raises(HostError) as caught:
        post("https://acs.invalid/", **stated)

    assert caught.value.problem == words


def test_a_key_that_is_encrypted_is_refused(here: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - for one test
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    who = client("gateway")
    secret = BestAvailableEncryption(b"x")
    Path("key.pem").write_bytes(who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    Path("cert.pem").write_bytes(who.pem)

    with pytest.raises(HostError) as caught:
        post("https://acs.invalid/", client_certificate=Path("cert.pem"), client_key=Path("key.pem"))

    assert caught.value.problem == "key.pem: the key is encrypted"
    assert caught.value.hint == "use a key that is not encrypted"
