"""Connection requests: who is let in, and what nobody else learns (3.2.2)."""

import base64
import socket
import threading
import time
from contextlib import ExitStack, closing
from typing import Final

import pytest

from spkg.agent import listener as listener_module
from spkg.agent.listener import MOST_CONNECTIONS, MOST_FAILURES, MOST_NOTES
from spkg.agent.request_login import MOST_NONCES, NONCE_LIFE, RateLimit, RequestLogin, path_of
from spkg.errors import HostError
from tests.support.commands import PATIENCE
from tests.support.listening import PATH, Listening, digest, without_qop

NOTHING: Final = b"HTTP/1.1 404 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BASIC: Final = base64.b64encode(b"acs:open sesame").decode()
REFUSED: Final = "refused a connection request from 127.0.0.1: "


# Who is let in.


def test_an_acs_is_let_in_by_digest_on_one_connection() -> None:  # C1, C5
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = caller.get()
        answer = caller.get(Authorization=digest(challenge.challenge))
        listening.wait(1)

    assert challenge.status == 401
    assert challenge.headers["www-authenticate"] == (
        'Digest realm="spkg", qop="auth", nonce="nonce-0", algorithm=MD5'
    )
    assert "connection" not in challenge.headers
    assert answer.octets == b"HTTP/1.1 200 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert listening.notes == []


def test_an_acs_that_knows_no_qop_is_let_in() -> None:  # P31
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = without_qop(caller.get().challenge)

        assert caller.get(Authorization=digest(challenge)).status == 200


def test_an_acs_may_answer_on_another_connection() -> None:
    with Listening() as listening:
        with closing(listening.caller()) as caller:
            challenge = caller.get().challenge
        with closing(listening.caller()) as caller:
            assert caller.get(Authorization=digest(challenge)).status == 200


@pytest.mark.parametrize(
    "target", [f"{PATH}?x=1", f"http://gateway:7547{PATH}", f"HTTP://[::1]:7547{PATH}?"], ids=str
)
def test_what_a_request_carries_is_ignored(target: str) -> None:  # C4
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = caller.get(target).challenge
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        login = digest(challenge, uri=target)
        answer = caller.say(f"{head}Authorization: {login}\r\n\r\nhello".encode())
        listening.wait(1)

    assert answer.status == 200


def test_a_body_longer_than_a_request_is_left_unread() -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        answer = caller.say(
            f"GET {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode() + b"x" * 9999
        )

    assert answer.status in {0, 401}  # 0: the connection was reset over what was not read
    assert listening.accepted == []


def test_the_answer_has_left_before_a_session_may_begin() -> None:  # P30
    """The callback blocks the loop, as nothing of ours does; the answer is there all the same."""
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = caller.get().challenge

        answered = threading.Event()

        def accepted() -> None:
            listening.accepted.append(0 if answered.wait(PATIENCE) else 1)

        listening.listener._accepted = accepted
        answer = caller.get(Authorization=digest(challenge))
        answered.set()
        listening.wait(1)

    assert (answer.status, listening.accepted) == (200, [0])


def test_a_session_may_begin_within_50_milliseconds() -> None:
    with Listening() as listening:
        took = []
        for number in range(9):
            begun = time.monotonic()
            assert listening.ask().status == 200
            listening.wait(number + 1)
            took.append(listening.accepted[-1] - begun)

    assert min(took) < 0.05


def test_a_nonce_lets_one_request_in() -> None:
    with Listening() as listening, ExitStack() as stack:
        first, second = (stack.enter_context(closing(listening.caller())) for _ in range(2))
        login = digest(first.get().challenge)
        assert first.get(Authorization=login).status == 200

        again = second.get(Authorization=login)

    assert again.status == 401
    assert again.challenge["stale"] == "true"
    assert listening.notes == [f"{REFUSED}the nonce is too old, or was used before"]
    assert len(listening.accepted) == 1


def test_a_nonce_is_good_for_a_minute() -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = caller.get().challenge
        listening.ahead = NONCE_LIFE + 1
        late = caller.get(Authorization=digest(challenge))
        answer = caller.get(Authorization=digest(late.challenge))

    assert (late.challenge["stale"], answer.status) == ("true", 200)


# Who is not, and why (P32).


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (lambda said: digest(said, username="other"), "unknown user name"),
        (lambda said: digest(said, password="other"), "wrong password"),
        (lambda said: digest(said, uri="/other"), "the digest is for another path"),
        (lambda said: digest(said, verb="POST"), "wrong password"),
        (lambda said: digest(said | {"realm": "x"}), "expected realm spkg, got x"),
        (lambda said: digest(said | {"algorithm": "SHA-256"}), "expected digest algorithm MD5, got SHA-256"),
        (
            lambda said: digest(said | {"qop": "undefined"}),
            "expected digest qop auth with nc and cnonce, got undefined",
        ),
        (
            lambda _: "Basic " + base64.b64encode(b"acs:open sesame").decode(),
            "expected digest authentication, got basic",
        ),
        (lambda _: 'Digest username="acs"', "the digest has no realm"),
        (lambda _: '"', "expected digest authentication, got nothing"),
        (lambda said: digest(said, username="\x1b[2J"), "unknown user name"),
    ],
)
def test_a_login_that_fails_is_noted_with_its_reason(said: object, words: str) -> None:  # P32, C5
    with Listening() as listening, closing(listening.caller()) as caller:
        challenge = caller.get().challenge
        answer = caller.get(Authorization=said(challenge))  # type: ignore[operator]

    assert answer.status == 401
    assert listening.notes == [REFUSED + words]
    assert listening.accepted == []


def test_without_a_password_nobody_is_let_in() -> None:
    with Listening() as listening:
        listening.credentials = None
        answer = listening.ask()

    assert answer.status == 401
    assert listening.notes == [f"{REFUSED}no ConnectionRequestPassword is set"]


def test_two_logins_in_one_request_are_none() -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        login = digest(caller.get().challenge)
        twice = f"Authorization: {login}\r\n" * 2
        answer = caller.say(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n{twice}\r\n".encode())

    assert answer.status == 401


# Limits (C6, P35, P36).


def test_requests_that_are_let_in_have_a_limit() -> None:  # C6, P35
    with Listening(per_minute=3) as listening:
        before = [listening.ask().status for _ in range(3)]
        refused = listening.ask()
        listening.ahead = 61
        after = listening.ask()

    assert before == [200, 200, 200]
    assert refused.status == 503
    assert 55 <= int(refused.headers["retry-after"]) <= 60
    assert after.status == 200
    assert listening.notes == [f"{REFUSED}more than per-minute allows"]
    assert len(listening.accepted) == 4


def test_logins_that_fail_have_a_limit_of_their_own() -> None:
    with Listening() as listening:
        failed = [listening.ask("other").status for _ in range(MOST_FAILURES)]
        barred = listening.ask("other")
        other = listening.ask(source="127.0.0.2")

    assert failed == [401] * MOST_FAILURES
    assert barred.status == 503
    assert other.status == 200
    assert listening.notes[-1] == "gives 127.0.0.1 no more challenges for a minute: too many logins failed"


def test_challenges_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "MOST_CHALLENGES", 3)
    with Listening() as listening, closing(listening.caller()) as caller:
        answers = [caller.get().status for _ in range(4)]

    assert answers == [401, 401, 401, 503]


def test_notes_have_a_limit() -> None:
    with Listening(sources=["192.0.2.0/24"]) as listening:
        for _ in range(MOST_NOTES + 5):
            with closing(listening.caller()) as caller:
                assert caller.get().status == 0

    assert len(listening.notes) == MOST_NOTES


def test_nobody_from_another_network_is_heard() -> None:
    with Listening(sources=["127.0.0.2/32", "::1/128"]) as listening:
        with closing(listening.caller()) as caller:
            assert caller.get().octets == b""
        assert listening.ask(source="127.0.0.2").status == 200

    assert listening.notes == ["closed a connection from 127.0.0.1: not from a network in 'from'"]


@pytest.mark.parametrize("target", ["/", "/3mK0q-secre", f"{PATH}/", f"/{PATH}", "*", "/cgi-bin/;reboot"])
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_who_does_not_know_the_path_learns_nothing(verb: str, target: str) -> None:  # C2, P36
    with Listening() as listening, closing(listening.caller()) as caller:
        answer = caller.get(target, verb, Authorization="Digest x", Cookie="C107373883=/omg")

    assert answer.octets == NOTHING
    assert listening.notes == []


def test_nothing_but_get_is_spoken() -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        answer = caller.get(verb="POST", Content_Length="0")

    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000, 431),
        (b"x" * 9999, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 3000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
    ids=["headers", "line", "whole", "tls", "no host", "length", "encoding", "connect"],
)
def test_what_is_no_request_is_refused(octets: bytes, status: int) -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        answer = caller.say(octets)
        with closing(listening.caller()) as another:
            assert another.get().status == 401

    assert answer.status in {status, 0}  # 0: the connection was reset over what was not read
    assert listening.accepted == []


def drip(caller: socket.socket) -> None:
    """Send an octet at a time, for half a minute."""
    for _ in range(600):
        caller.sendall(b"G")
        time.sleep(0.05)


def test_who_is_slow_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "HEAD_TIME", 0.2)
    with Listening() as listening, closing(listening.caller()) as caller:
        with pytest.raises(ConnectionError):
            drip(caller.own)

    assert listening.accepted == []


def test_one_connection_more_closes_the_oldest(caplog: pytest.LogCaptureFixture) -> None:  # P35
    with Listening() as listening, ExitStack() as stack:
        idle = [stack.enter_context(closing(listening.caller())) for _ in range(MOST_CONNECTIONS)]
        assert listening.ask().status == 200

        idle[0].own.settimeout(PATIENCE)
        assert idle[0].hear().octets == b""
        assert idle[-1].get().status == 401
    assert caplog.messages == []  # or everybody could fill the log of the service


def test_a_connection_has_an_end() -> None:
    with Listening() as listening, closing(listening.caller()) as caller:
        answers = [caller.get().status for _ in range(5)]

    assert answers == [401, 401, 401, 401, 0]


# Where it listens.


def test_sockets_of_others_are_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        with Listening(sockets=[own.dup()], address=None) as listening:
            assert listening.port == port
            assert listening.ask().status == 200


def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with Listening(address="::", sources=["::1/128", "127.0.0.0/8"]) as listening:
        assert listening.ask().status == 200
        assert listening.ask(source="::1").status == 200


def test_without_an_address_nothing_listens() -> None:
    with Listening(address=None) as listening:
        assert listening.listener.port is None


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        with pytest.raises(HostError) as caught, Listening(port=port):
            pass

    assert caught.value.problem == f"connection requests on 127.0.0.1:{port}: address already in use"
    assert caught.value.hint == "set listen in [connection-requests] to a port that nobody else listens on"


def test_a_listener_that_is_closed_lets_go_of_its_connections() -> None:
    with Listening() as listening:
        caller = listening.caller()
        caller.get()

    with closing(caller):
        assert caller.get().octets == b""


# The parts.


def test_nonces_are_bounded() -> None:
    numbers = iter(range(10**6))
    login = RequestLogin(lambda: ("acs", "x"), lambda: 0.0, lambda: str(next(numbers)))

    for _ in range(MOST_NONCES * 2):
        login.challenge()

    assert len(login._nonces) == MOST_NONCES
    assert str(MOST_NONCES * 2 - 1) in login._nonces


def test_sources_of_a_limit_are_bounded() -> None:
    limit = RateLimit(1, lambda: 0.0)

    assert all(limit.take(str(source)) for source in range(1000))
    assert not limit.take("999")
    assert len(limit._times) == 256


def test_a_limit_says_how_long_to_wait() -> None:
    now = [0.0]
    limit = RateLimit(1, lambda: now[0])

    assert limit.wait() == 0
    limit.take()
    now[0] = 20.0
    assert (limit.take(), limit.wait()) == (False, 40)


def test_the_path_of_a_target() -> None:
    assert path_of("/a?b") == "/a"
    assert path_of("http://host/a/b?c") == "/a/b"
    assert path_of("http://host") == "/"
