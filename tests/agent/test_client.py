"""The HTTP of a session: one connection, its login, its cookies, its redirects (3.3, 3.4)."""

import gzip
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.agent.acs_response import acs_location
from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.settings import AcsSettings
from spkg.agent.transport import MOST_OCTETS
from spkg.errors import LOGIN, TIMEOUT
from tests.agent.kit import acs_settings
from tests.support.acs import (
    Answer,
    DigestLogin,
    Post,
    ScriptedAcs,
    inform_response,
    request,
    session,
)
from tests.support.fake_servers import nobody

INFORM: Final = request("Inform", id="1")
USERNAME: Final = "00D09E-0123456789"
PASSWORD: Final = "open sesame"
LOGGED_IN: Final = (USERNAME, PASSWORD)
PATIENT: Final = acs_settings()
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def client(settings: AcsSettings = PATIENT) -> AcsClient:
    return AcsClient(settings, time.monotonic)


def posted(acs: ScriptedAcs, *bodies: bytes, login: tuple[str, str] = LOGGED_IN) -> list[bytes]:
    """Post one body after the other in one session."""
    with client().open(acs.url, *login) as connection:
        return [connection.post([body] if body else []) for body in bodies]


def refused(acs: ScriptedAcs | str, *bodies: bytes, settings: AcsSettings = PATIENT) -> ContactError:
    """Post until it is refused."""
    url = acs if isinstance(acs, str) else acs.url
    with client(settings).open(url, *LOGGED_IN) as connection, pytest.raises(ContactError) as caught:
        _ = [connection.post([body]) for body in bodies or (INFORM,)]
    return caught.value


# What is posted.


def test_a_session_is_posts_on_one_connection_that_is_closed_behind_it() -> None:  # H1, H5, S18, S19
    with ScriptedAcs(session(request("GetRPCMethods"))) as acs:
        got = posted(acs, INFORM, b"", request("GetRPCMethodsResponse"))
        acs.wait(lambda one: one.closed == [1])

    assert got == [inform_response("1"), request("GetRPCMethods"), b""]
    assert acs.methods == ["Inform", "", "GetRPCMethodsResponse"]
    assert acs.connections == 1
    assert {(one.verb, one.target) for one in acs.posts} == {("POST", "/cwmp")}


def test_the_headers_of_a_post_are_those_of_soap() -> None:  # H4
    with ScriptedAcs() as acs, client().open(acs.url) as connection:
        connection.post([INFORM])
        connection.post([INFORM, INFORM])
        connection.post([])

    one, two, none = (post.headers for post in acs.posts)
    assert (one["content-type"], one["soapaction"]) == ('text/xml; charset="utf-8"', '""')
    assert (two["content-type"], two["soapaction"]) == ('text/xml; charset="utf-8"', "")
    assert none.keys().isdisjoint({"content-type", "soapaction"})
    assert none["content-length"] == "0"
    assert {post.headers["accept-encoding"] for post in acs.posts} == {"identity"}
    assert acs.posts[1].methods == ("Inform", "Inform")


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USERNAME} password x\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody()}")
    with ScriptedAcs() as acs:
        posted(acs, INFORM)

    assert "authorization" not in acs.posts[0].headers


# Digest and basic (H10, H13).


@pytest.mark.parametrize("algorithm", [None, "MD5", "MD5-sess"])
@pytest.mark.parametrize("qop", [None, "auth", "auth,auth-int"])
def test_a_digest_login_counts_on_one_connection(qop: str | None, algorithm: str | None) -> None:  # P1, P51
    if qop is None and algorithm == "MD5-sess":
        qop = "auth"  # without it RFC 2617 has no cnonce to make the session of
    login = DigestLogin(qop=qop, algorithm=algorithm, per_connection=True)
    with ScriptedAcs(session(request("GetRPCMethods")), login=login) as acs:
        posted(acs, INFORM, b"", request("GetRPCMethodsResponse"))

    assert acs.methods == ["Inform", "", "GetRPCMethodsResponse"]
    assert len(acs.refused) == 1
    assert login.counts == [1, 2, 3]
    assert acs.connections == 1


def test_a_nonce_that_became_stale_is_renewed_on_the_same_connection() -> None:
    login = DigestLogin(lifetime=2)
    with ScriptedAcs(login=login) as acs:
        posted(acs, INFORM, b"", b"", b"", b"")

    assert login.counts == [1, 2, 1, 2, 1]
    assert len(acs.refused) == 3
    assert acs.connections == 1


def test_a_server_that_lets_a_connection_in_once_is_not_asked_for_more() -> None:  # 3.4.4
    with ScriptedAcs(login=DigestLogin(first_only=True)) as acs:
        posted(acs, INFORM, b"", b"")

    assert len(acs.refused) == 1


def test_a_nonce_that_the_server_gives_for_the_next_request_is_used() -> None:
    login = DigestLogin()
    login.nonces["later"] = (1, 0)
    told = Answer(headers=(("Authentication-Info", 'nextnonce="later", qop=auth'),))
    with ScriptedAcs([told], login=login) as acs:
        posted(acs, INFORM, b"")

    assert 'nonce="later"' in acs.posts[1].headers["authorization"]
    assert login.counts == [1, 1]


def test_a_wrong_password_is_tried_once() -> None:
    with ScriptedAcs(login=DigestLogin(password="other")) as acs:
        problem = refused(acs)

    assert str(problem) == f"{acs.url}: login failed"
    assert problem.hint == "check username and password-file, and which ones the server has for this device"
    assert (problem.kind, problem.reason, problem.status) == (ContactKind.LOGIN, LOGIN, 401)
    assert len(acs.refused) == 2


def test_a_server_that_calls_every_nonce_stale_is_given_up() -> None:
    with ScriptedAcs(login=DigestLogin(lifetime=0)) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: login failed: the server calls each new nonce stale"
    assert len(acs.refused) == 3


def test_without_a_name_there_is_no_login() -> None:
    with ScriptedAcs(login=DigestLogin()) as acs, client().open(acs.url) as connection:
        with pytest.raises(ContactError) as caught:
            connection.post([INFORM])

    assert caught.value.problem == f"{acs.url}: the server requires a login"
    assert caught.value.hint == "set username and password-file"


def test_a_password_is_never_sent_in_clear_text_over_http() -> None:  # H10
    with ScriptedAcs(login=DigestLogin(basic=True)) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: the server requires the password in clear text"
    assert problem.hint == "use an https URL, or have the server ask for digest"
    assert all("authorization" not in one.headers for one in acs.refused)


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        ("Negotiate", "the server asks for neither digest nor basic"),
        ('Digest realm="a", nonce="b", algorithm=X', "expected digest algorithm SHA-256 or MD5, got X"),
        ('Digest realm="a", nonce="b", qop="auth-int"', "expected digest qop auth, got auth-int"),
        ('Digest realm="a"', "the server's digest challenge has no realm or no nonce"),
    ],
)
def test_a_challenge_that_cannot_be_answered_is_named(challenge: str, words: str) -> None:
    answer = Answer(status=401, headers=(("WWW-Authenticate", challenge),))
    with ScriptedAcs([answer]) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: login failed: {words}"


# Cookies (H6).


@pytest.mark.parametrize(
    "cookie",
    ["session=x1", "session=x1; Path=/", "session=x1; Path=/cwmp; HttpOnly", 'session="x1"; Discard'],
)
def test_a_cookie_comes_back_within_the_session_alone(cookie: str) -> None:  # P2, P3, P4, P8
    with ScriptedAcs(session(cookie=cookie), login=DigestLogin()) as acs:
        posted(acs, INFORM, b"", b"")
        posted(acs, INFORM, b"")

    carried = [one.cookies.get("session", "").strip('"') for one in acs.posts]
    assert carried == ["", "x1", "x1", "", "x1"]


def test_a_cookie_of_rfc_2965_comes_back() -> None:  # H6
    answer = Answer(headers=(("Set-Cookie2", 'session="x1"; Version="1"; Discard'),))
    with ScriptedAcs([answer]) as acs:
        posted(acs, INFORM, b"")

    assert acs.posts[1].cookies["session"].strip('"') == "x1"


def test_a_session_goes_on_on_a_new_connection_with_its_cookie() -> None:  # P7
    def plan(post: Post) -> Answer:
        return replace(follow(post), close=True)

    follow = session(request("GetRPCMethods"), cookie="session=x1")
    with ScriptedAcs(plan, login=DigestLogin()) as acs:
        posted(acs, INFORM, b"", request("GetRPCMethodsResponse"))

    assert acs.methods == ["Inform", "", "GetRPCMethodsResponse"]
    assert acs.connections == 3


def test_a_request_that_no_connection_took_is_sent_once_more() -> None:
    """The connection is closed as soon as the next request is on it, twice."""
    gone = Answer(raw=b"", close=True)
    with ScriptedAcs([inform_response("1"), gone, b"", gone, gone]) as acs:
        got = posted(acs, INFORM, b"")
        problem = refused(acs, b"")

    assert got == [inform_response("1"), b""]
    assert problem.problem == f"{acs.url}: the server closed the connection without a response"
    assert acs.methods == ["Inform", "", "", ""]  # what a new connection lost is not sent again


@pytest.mark.parametrize(
    ("count", "value", "many"), [(65, "x", "64 cookies"), (3, "x" * 6000, "16384 bytes of cookies")]
)
def test_cookies_without_end_are_refused(count: int, value: str, many: str) -> None:
    cookies = tuple(("Set-Cookie", f"c{number}={value}") for number in range(count))
    with ScriptedAcs([Answer(headers=cookies)]) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: the server set more than {many}"
    assert problem.kind is ContactKind.PROTOCOL


# Redirects (P39).


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_holds_for_the_session_alone(status: int) -> None:  # P39
    there = Answer(status=status, headers=(("Location", "/elsewhere?x=1"),), body=b"gone")
    with ScriptedAcs([there], login=DigestLogin()) as acs:
        posted(acs, INFORM, b"")
        posted(acs, INFORM)

    assert [one.target for one in acs.posts] == ["/cwmp", "/elsewhere?x=1", "/elsewhere?x=1", "/cwmp"]
    assert acs.posts[1].body == INFORM
    assert acs.connections == 2


def test_another_server_is_shown_neither_name_nor_password() -> None:
    with ScriptedAcs(login=DigestLogin()) as other:
        there = Answer(status=307, headers=(("Location", other.url),))
        with ScriptedAcs([there], login=DigestLogin()) as acs:
            problem = refused(acs)

    assert problem.problem == f"{other.url}: login failed"
    assert (
        problem.hint == "use this server's URL: after a redirect to another server, no credentials are sent"
    )
    assert ["authorization" in one.headers for one in other.refused] == [False]


def test_another_server_that_asks_for_nothing_is_spoken_to() -> None:
    with ScriptedAcs([inform_response("1")]) as other:
        there = Answer(status=302, headers=(("Location", other.url),))
        with ScriptedAcs([there], login=DigestLogin()) as acs:
            got = posted(acs, INFORM, b"")

    assert got == [inform_response("1"), b""]
    assert "authorization" not in other.posts[0].headers


def test_a_refusal_with_a_long_body_costs_its_connection_alone() -> None:
    """What is said with a redirect is read where it is short, and not where it is long or cut."""
    long = Answer(status=307, headers=(("Location", "/a"),), body=bytes(70_000))
    cut = Answer(raw=b"HTTP/1.1 307 x\r\nLocation: /b\r\nContent-Length: 9\r\n\r\nab", close=True)
    with ScriptedAcs([long, cut]) as acs:
        posted(acs, INFORM)

    assert [one.target for one in acs.posts] == ["/cwmp", "/a", "/b"]
    assert acs.connections == 3


def test_a_host_that_is_no_name_is_said_in_words() -> None:
    problem = refused(f"http://{'x' * 63}.{'.'.join(['y' * 63] * 4)}/")

    assert problem.problem.endswith(": the host name can't be resolved")


def test_a_circle_of_redirects_ends_after_five() -> None:
    def plan(_post: Post) -> Answer:
        return Answer(status=302, headers=(("Location", "/cwmp"),))

    with ScriptedAcs(plan) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: more than 5 redirects"
    assert problem.kind is ContactKind.REDIRECT
    assert len(acs.posts) == 6


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "expected a redirect with a Location of at most 4096 characters"),
        ("/" + "x" * 4096, "expected a redirect with a Location of at most 4096 characters"),
        ("ftp://127.0.0.1/", "invalid redirect: the URL of the ACS: expected http or https, got ftp"),
        (
            "http://a:b@127.0.0.1/",
            "invalid redirect: the URL of the ACS: a URL must not carry credentials: other users can see it",
        ),
        ("http://[::1", "invalid redirect: not a valid URL"),
    ],
)
def test_a_redirect_to_what_is_no_acs_is_refused(target: str | None, words: str) -> None:
    headers = () if target is None else (("Location", target),)
    with ScriptedAcs([Answer(status=301, headers=headers)]) as acs:
        problem = refused(acs)

    assert problem.problem == f"{acs.url}: {words}"
    assert problem.kind is ContactKind.REDIRECT


# What is not an answer.


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_answer_is_nothing(status: int) -> None:
    with ScriptedAcs([Answer(status=status)]) as acs:
        assert posted(acs, INFORM) == [b""]


def test_what_comes_with_a_status_for_nothing_is_not_taken_for_the_next_answer() -> None:
    odd = Answer(raw=b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    with ScriptedAcs([odd, Answer(body=INFORM)]) as acs:
        assert posted(acs, INFORM, b"") == [b"", INFORM]


def test_what_a_server_says_unasked_is_not_taken_for_an_answer() -> None:
    """Such as a 408 before it closes a connection that was idle."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as beside:
        server.settimeout(5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with client(acs_settings(timeout=5)).open(url) as connection:
            for _ in range(2):
                answer = beside.submit(connection.post, [INFORM])
                with server.accept()[0] as one:
                    one.recv(1 << 16)
                    one.sendall(Answer(body=INFORM).octets())
                    assert answer.result() == INFORM
                    one.sendall(b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n")
            assert connection.connections == 2


def test_a_chunked_answer_is_read() -> None:
    with ScriptedAcs([Answer(body=INFORM, chunked=True), Answer(body=INFORM)]) as acs:
        assert posted(acs, INFORM, b"") == [INFORM, INFORM]
    assert acs.connections == 1


def test_a_fault_with_status_500_is_an_answer_as_soap_has_it() -> None:
    with ScriptedAcs([Answer(body=INFORM, status=500)]) as acs:
        assert posted(acs, INFORM) == [INFORM]


@pytest.mark.parametrize(
    ("answer", "words", "kind"),
    [
        (
            Answer(status=400, body=b"Invalid session", headers=(("Content-Type", "text/plain"),)),
            "expected HTTP status 200 or 204, got 400 Invalid session",
            ContactKind.HTTP,
        ),
        (
            Answer(status=404, body=b"<html>", headers=(("Content-Type", "text/html"),)),
            "expected HTTP status 200 or 204, got 404 Whatever",
            ContactKind.HTTP,
        ),
        (
            Answer(status=500, body=b"<x/>"),
            "expected SOAP, got status 500 without an envelope",
            ContactKind.HTTP,
        ),
        (Answer(body=b"<!DOCTYPE html><html>portal"), "expected SOAP, got a web page", ContactKind.HTTP),
        (
            Answer(body=gzip.compress(bytes(1 << 24)), headers=(("Content-Encoding", "gzip"),)),
            "expected a body without encoding, got gzip",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
            "expected a number as Content-Length, got x",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "expected a number as Content-Length, got 1, 2",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            "expected Transfer-Encoding chunked, got gzip, chunked",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n"),
            "the response is longer than 4194304 bytes",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"),
            "the response is longer than 4194304 bytes",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"SSH-2.0-OpenSSH\r\n", close=True),
            "the response is not valid HTTP",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=CHUNKED + b"zz\r\n"),
            "the response is not valid HTTP",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=CHUNKED + b"-5\r\n"),
            "the response is not valid HTTP",
            ContactKind.PROTOCOL,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a/>", close=True),
            "the response ended early",
            ContactKind.CONNECT,
        ),
        (
            Answer(raw=CHUNKED + b"5\r\nab", close=True),
            "the response ended early",
            ContactKind.CONNECT,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 O", close=True),
            "the response ended early",
            ContactKind.CONNECT,
        ),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nX: y", close=True),
            "the response ended early",
            ContactKind.CONNECT,
        ),
        (
            Answer(raw=b"", close=True),
            "the server closed the connection without a response",
            ContactKind.CONNECT,
        ),
    ],
)
def test_what_is_no_answer_of_an_acs_is_named(answer: Answer, words: str, kind: ContactKind) -> None:
    with ScriptedAcs([answer]) as acs:
        problem = refused(acs, settings=acs_settings(timeout=5))

    assert problem.problem == f"{acs.url}: {words}"
    assert problem.kind is kind


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ((("Retry-After", "60"),), 60),
        ((("Retry-After", "9" * 400),), 86400),
        (
            (
                ("Date", "Sun, 29 Nov 2026 10:00:00 GMT"),
                ("Retry-After", "Sun, 29 Nov 2026 10:01:30 GMT"),
            ),
            90,
        ),
        ((("Retry-After", "soon"),), None),
        ((), None),
    ],
)
def test_a_busy_server_says_when_to_come_again(
    headers: tuple[tuple[str, str], ...], delay: float | None
) -> None:
    with ScriptedAcs([Answer(status=503, headers=headers)]) as acs:
        problem = refused(acs)

    assert (problem.status, problem.retry_after) == (503, delay)


# Time and memory.


@pytest.mark.parametrize(
    "answer",
    [
        Answer(stall=True, raw=b""),
        Answer(stall=True, raw=b"HTTP/1.1 200 OK\r\n"),
        Answer(stall=True, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a"),
        Answer(body=INFORM, drip=0.05),
        Answer(raw=b"HTTP/1.1 200 OK\r\n", endless=b"X: y\r\n", drip=0.05),
        Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n", endless=b"HTTP/1.1 100 Continue\r\n\r\n", drip=0.05),
        Answer(raw=CHUNKED, endless=b"1\r\nx\r\n", drip=0.05),
        Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x", drip=0.05),
    ],
    ids=["nothing", "a line", "half", "drip", "headers", "continue", "chunks", "no length"],
)
def test_a_response_has_an_end_in_time(answer: Answer) -> None:  # S15
    begun = time.monotonic()
    with ScriptedAcs([answer]) as acs:
        problem = refused(acs, settings=acs_settings(timeout=0.25))

    assert problem.problem == f"{acs.url}: no complete response in time"
    assert (problem.kind, problem.reason) == (ContactKind.TIMEOUT, TIMEOUT)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"HTTP/1.1 200 OK\r\n", endless=b"X: " + b"y" * 60000 + b"\r\n"),
        Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n", endless=b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
        Answer(raw=CHUNKED, endless=b"1\r\nx\r\n" * 9999),
        Answer(raw=CHUNKED + b"0\r\n", endless=b"X: y\r\n" * 9999),
        Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=bytes(1 << 16)),
    ],
    ids=["headers", "continue", "chunks", "trailers", "no length"],
)
def test_a_response_has_an_end_in_length(answer: Answer) -> None:
    with ScriptedAcs([answer]) as acs:
        problem = refused(acs, settings=acs_settings(timeout=30))

    assert problem.problem == f"{acs.url}: the response is longer than {MOST_OCTETS} bytes"
    assert problem.kind is ContactKind.PROTOCOL


def test_a_response_of_the_longest_kind_is_read() -> None:
    body = b"<a>" + bytes(MOST_OCTETS - 7).replace(b"\0", b"x") + b"</a>"
    with ScriptedAcs([Answer(body=body)]) as acs:
        assert posted(acs, INFORM) == [body]


def test_a_server_that_does_not_read_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        problem = refused(url, bytes(1 << 24), settings=acs_settings(timeout=0.25))

    assert problem.kind is ContactKind.TIMEOUT


# Who does not answer at all.


def test_what_cannot_be_reached_is_said_in_words() -> None:
    port = nobody()
    closed = refused(f"http://127.0.0.1:{port}/")
    unknown = refused("http://acs.invalid/")

    assert (closed.problem, closed.kind) == (
        f"http://127.0.0.1:{port}/: connection refused",
        ContactKind.CONNECT,
    )
    assert unknown.problem == "http://acs.invalid/: the host name can't be resolved"
    assert unknown.kind is ContactKind.NAME


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://acs.example/", "the URL of the ACS: expected http or https, got ftp"),
        (
            "http://a:b@acs.example/",
            "the URL of the ACS: a URL must not carry credentials: other users can see it",
        ),
        ("acs.example", "the URL of the ACS: unsupported URL scheme '': expected one of "),
        ("http:///cwmp", "the URL of the ACS: a URL must have a host and no fragment"),
    ],
)
def test_a_url_that_is_none_of_an_acs_is_refused(url: str, words: str) -> None:  # D7
    with pytest.raises(ContactError) as caught:
        acs_location(url)

    assert caught.value.problem.startswith(words)
    assert caught.value.kind is ContactKind.URL


def test_the_address_that_packets_leave_from_is_told() -> None:  # C8, C9, P33, P34
    with ScriptedAcs() as acs, client().open(acs.url) as connection:
        before = connection.local_address
        connection.post([INFORM])
        after = connection.local_address

    assert (before, after) == (None, "127.0.0.1")
    assert client().local_address("http://127.0.0.1:7547/") == "127.0.0.1"
    assert client().local_address("http://[::1]/") in {"::1", None}
    assert client().local_address("http://acs.invalid/") is None


def test_our_own_address_is_looked_at_once_for_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    some = AcsClient(acs_settings(), lambda: now[0])
    assert some.local_address("http://127.0.0.1/") == "127.0.0.1"

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    now[0] += 0.4
    assert some.local_address("http://127.0.0.1/") == "127.0.0.1"
    assert some.local_address("http://127.0.0.2/") is None
    now[0] += 60
    assert some.local_address("http://127.0.0.1/") is None


def test_a_resolver_that_does_not_answer_is_not_waited_for_to_know_our_own_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual, answers, asked = socket.getaddrinfo, threading.Event(), list[str]()
    now = [1000.0]

    def look_up(host: str, *more: Any, **how: Any) -> Any:
        if "flags" in how:  # it is no address
            return usual(host, *more, **how)
        asked.append(host)
        answers.wait(20)
        return usual("127.0.0.1", *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("spkg.agent.own_address.RESOLVER_PATIENCE", 0.01)
    some = AcsClient(acs_settings(), lambda: now[0])

    assert some.local_address("http://acs.example/") is None
    now[0] += 5
    assert some.local_address("http://acs.example/") is None
    assert asked == ["acs.example"]  # and no thread more for each time that it is asked
    answers.set()
    monkeypatch.setattr("spkg.agent.own_address.RESOLVER_PATIENCE", 20)
    now[0] += 5
    assert some.local_address("http://acs.example/") == "127.0.0.1"
    assert asked == ["acs.example"]


def test_our_own_address_is_known_also_while_names_can_not_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual, problems = socket.getaddrinfo, list[OSError]()
    now = [1000.0]

    def look_up(host: str, *more: Any, **how: Any) -> Any:
        if "flags" in how:
            return usual(host, *more, **how)
        for problem in problems:
            raise problem
        return usual("127.0.0.1", *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    some = AcsClient(acs_settings(), lambda: now[0])
    assert some.local_address("http://acs.example/") == "127.0.0.1"

    problems.append(socket.gaierror(socket.EAI_AGAIN, "nobody answers"))
    now[0] += 61

    assert some.local_address("http://acs.example/") == "127.0.0.1"
    assert some.local_address("http://other.example/") is None


@pytest.mark.parametrize(("found", "lasts"), [(True, 60), (False, 5)])
def test_a_name_is_looked_up_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, lasts: int, *, found: bool
) -> None:
    asked: list[str] = []
    now = [1000.0]
    usual = socket.getaddrinfo

    def look_up(host: str, *more: Any, **how: Any) -> Any:
        if "flags" in how:  # it is no address
            return usual(host, *more, **how)
        asked.append(host)
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return usual("127.0.0.1", *more, **how)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    some = AcsClient(acs_settings(), lambda: now[0])
    address = "127.0.0.1" if found else None
    assert [some.local_address("http://acs.example/") for _ in range(3)] == [address] * 3
    assert asked == ["acs.example"]

    some.local_address("http://other.example/")
    assert asked == ["acs.example", "other.example"]
    now[0] += lasts - 1
    some.local_address("http://other.example/")
    assert len(asked) == 2
    now[0] += 1
    some.local_address("http://other.example/")
    assert len(asked) == 3
