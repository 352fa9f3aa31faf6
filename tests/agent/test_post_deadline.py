"""A post has one end, whatever it takes, and no post outlasts an agent that has to end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spkg.agent import transport
from spkg.agent.client import AcsClient
from spkg.agent.contact import ContactError, ContactKind
from spkg.agent.transport import Allowance, SilenceError, UnfinishedError
from tests.agent.kit import acs_settings
from tests.support.acs import Answer, ScriptedAcs
from tests.support.agent_place import until
from tests.support.real_servers import web_root


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LOOK", 0.001)


def after(times: int) -> Callable[[], bool]:
    """Return what says for so many times that the agent need not end."""
    numbers = count()
    return lambda: next(numbers) >= times


def broken_off(url: str, ending: Callable[[], bool], **stated: Any) -> ContactError:
    """Post until the agent has to end."""
    client = AcsClient(acs_settings(**stated), lambda: 0.0)  # no time passes
    with client.open(url, ending=ending) as connection, pytest.raises(ContactError) as caught:
        connection.post([b"<a/>"])
    return caught.value


@contextmanager
def silent(*, full: bool = False) -> Iterator[int]:
    """Give the port of a server that says nothing; a full one does not even take connections."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(2 * full)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for one in waiting:
            one.close()


def test_all_redirects_and_logins_of_a_post_share_its_time() -> None:
    steps = count(0, 8)  # the clock goes on by eight seconds each time that somebody looks
    with ScriptedAcs(lambda _post: Answer(status=307, headers=(("Location", "/cwmp"),))) as acs:
        client = AcsClient(acs_settings(timeout=30), lambda: float(next(steps)))
        with client.open(acs.url) as connection, pytest.raises(ContactError) as caught:
            connection.post([b"<a/>"])

    assert caught.value.problem == f"{acs.url}: no complete response in time"
    assert len(acs.posts) < 6, "five redirects would have been followed"


def test_each_post_has_its_own_time() -> None:
    now = 0.0
    allowance = Allowance(lambda: now, 30)

    now = 119.9995
    last = allowance.wait(lambda seconds: seconds)
    now = 120.0
    with pytest.raises(SilenceError):
        allowance.wait(lambda seconds: seconds)
    allowance.begin_post()
    again = allowance.wait(lambda seconds: seconds)

    assert last == pytest.approx(0.0005)
    assert again == 0.001


def test_a_long_request_has_more_time() -> None:
    allowance = Allowance(lambda: 0.0, 30)
    allowance.begin(8 << 10)

    assert allowance._ends == 4 * 30 + 2


def test_what_times_out_is_tried_again_until_the_agent_ends() -> None:
    tried: list[float] = []

    def attempt(seconds: float) -> None:
        tried.append(seconds)
        raise TimeoutError

    with pytest.raises(UnfinishedError):
        Allowance(lambda: 0.0, 30, after(3)).wait(attempt)
    assert tried == [0.001] * 3


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a"])
def test_a_response_is_not_waited_for_once_the_agent_ends(raw: bytes) -> None:
    with ScriptedAcs([Answer(stall=True, raw=raw)]) as acs:
        problem = broken_off(acs.url, after(20))

    assert problem.problem == f"{acs.url}: the agent ends: its post was broken off"
    assert problem.kind is ContactKind.TIMEOUT


def test_neither_is_a_connection() -> None:
    with silent(full=True) as port:
        problem = broken_off(url := f"http://127.0.0.1:{port}/", after(3))

    assert problem.problem == f"{url}: the agent ends: its post was broken off"


def test_neither_is_tls(tmp_path: Path) -> None:
    (tmp_path / "web.pem").write_bytes(web_root().pem)
    with silent() as port:
        problem = broken_off(url := f"https://127.0.0.1:{port}/", after(4), ca_bundle=tmp_path / "web.pem")

    assert problem.problem == f"{url}: the agent ends: its post was broken off"


def test_neither_is_a_server_that_takes_nothing() -> None:
    with silent() as port:
        client = AcsClient(acs_settings(), lambda: 0.0)
        with client.open(url := f"http://127.0.0.1:{port}/", ending=after(500)) as connection:
            with pytest.raises(ContactError) as caught:
                connection.post([bytes(16 << 20)])

    assert caught.value.problem == f"{url}: the agent ends: its post was broken off"


def resolver(answered: threading.Event) -> Callable[..., list[Any]]:
    """Return what looks up names, and waits for that event."""

    def look_up(*_words: object, flags: int = 0, **_named: object) -> list[Any]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        answered.wait()
        return []

    return look_up


def test_neither_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    before = threading.active_count()
    monkeypatch.setattr(socket, "getaddrinfo", resolver(answered))

    problem = broken_off("http://acs.example/", after(3))

    assert problem.problem == "http://acs.example/: the agent ends: its post was broken off"
    answered.set()
    until(lambda: threading.active_count() == before, "the end of the resolver")


def test_a_name_that_nobody_answers_has_an_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", resolver(answered))
    steps = count(0, 5)
    client = AcsClient(acs_settings(timeout=30), lambda: float(next(steps)))

    with client.open("http://acs.example/") as connection, pytest.raises(ContactError) as caught:
        connection.post([])
    answered.set()

    assert (caught.value.problem, caught.value.kind) == (
        "http://acs.example/: the connection timed out",
        ContactKind.NAME,
    )
