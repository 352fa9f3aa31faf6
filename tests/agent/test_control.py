"""The control socket: questions, answers, refusals, and those who never ask."""

import asyncio
import json
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.control import CONTROL, ControlServer, NotRunningError, ask_agent, follow_agent
from spkg.common.documents import Document
from spkg.errors import HostError, RefusedError, UsageError


class Desk:
    """What an agent would answer."""

    def __init__(self) -> None:
        self.followers: list[Callable[[Document], None]] = []
        self.joined = threading.Event()

    async def answer(self, name: str, arguments: Mapping[str, Any]) -> Document:
        if name == "refuse":
            raise RefusedError("not now", hint="later")
        if name == "misuse":
            raise UsageError("what is that", field="path")
        if name == "break":
            raise HostError("disk full")
        return {"name": name, "arguments": dict(arguments)}

    def follow(self, send: Callable[[Document], None]) -> Callable[[], None]:
        self.followers.append(send)
        self.joined.set()
        return lambda: self.followers.remove(send)


@contextmanager
def served(directory: Path) -> Iterator[Desk]:
    """Run a control server in a thread of its own."""
    desk, ready = Desk(), threading.Event()
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        server = ControlServer(directory, desk.answer, desk.follow)
        await server.start()
        ready.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield desk
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


def test_a_question_is_answered(tmp_path: Path) -> None:
    with served(tmp_path):
        found = ask_agent(tmp_path, "status", path="Ä.")

    assert found == {"name": "status", "arguments": {"path": "Ä."}}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("refuse", RefusedError, "not now"),
        ("misuse", UsageError, "path: what is that"),
        ("break", HostError, "disk full"),
    ],
)
def test_a_refusal_reaches_the_one_who_asked(
    tmp_path: Path, name: str, kind: type[Exception], message: str
) -> None:
    with served(tmp_path), pytest.raises(kind) as caught:
        ask_agent(tmp_path, name)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("Gr\udcf6\udcdfe", r"expected UTF-8, got \xf6\xdf"),
        ("x" * (1 << 16), "the arguments have 65586 bytes, at most 65536 are taken"),
    ],
    ids=["not UTF-8", "too long"],
)
def test_what_cannot_be_asked_is_not_changed_to_what_can(tmp_path: Path, value: str, problem: str) -> None:
    with served(tmp_path), pytest.raises(UsageError) as caught:
        ask_agent(tmp_path, "set", values={"A": value})

    assert str(caught.value) == problem


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_agent(tmp_path: Path) -> None:
    with served(tmp_path):
        mode = (tmp_path / CONTROL).stat().st_mode

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / CONTROL).exists()


def test_without_an_agent_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="no agent is running with this state"):
        ask_agent(tmp_path, "status")


def test_a_socket_that_a_killed_agent_left_is_no_agent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / CONTROL))

    with pytest.raises(NotRunningError):
        ask_agent(tmp_path, "status")
    with served(tmp_path):
        assert ask_agent(tmp_path, "status")["name"] == "status"


def test_a_directory_with_a_long_name_is_no_obstacle(tmp_path: Path) -> None:
    (directory := tmp_path / ("d" * 100) / ("e" * 100)).mkdir(parents=True)

    with served(directory):
        assert ask_agent(directory, "status")["name"] == "status"


@pytest.mark.parametrize(
    "octets",
    [
        b"rubbish\n",
        b"[]\n",
        b'{"x": 1}\n',
        b'{"ask": "a", "arguments": 1}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 100_000,
        b"",
    ],
)
def test_rubbish_ends_only_its_own_connection(
    tmp_path: Path, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(tmp_path / CONTROL))
            try:
                stranger.sendall(octets)
                stranger.shutdown(socket.SHUT_WR)
                left = stranger.recv(100)
            except OSError:
                left = b""

        assert left == b""
        assert ask_agent(tmp_path, "status")["name"] == "status"
    assert caplog.text == ""  # asyncio logs what nobody caught


def test_an_agent_that_ends_before_it_answers_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / CONTROL))
        listening.listen()
        answering = threading.Thread(target=lambda: listening.accept()[0].close())  # noqa: PLW0108 - the method is of its result
        answering.start()

        with pytest.raises(HostError):
            ask_agent(tmp_path, "status")

        answering.join(10)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[]\n", "the agent answered something else than expected"),
        (b'{"answer": 1}\n', "the agent answered something else than expected"),
        (b'{"error": {"kind": [], "message": 5}}\n', "5"),
        (b"[" * 100_000 + b"\n", "the agent ended before it answered"),
    ],
    ids=["list", "number", "error", "depth"],
)
def test_whoever_answers_in_the_agents_place_is_not_believed(
    tmp_path: Path, line: bytes, problem: str
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / CONTROL))
        listening.listen()

        def answer() -> None:
            with listening.accept()[0] as asked:
                asked.recv(1 << 16)
                asked.sendall(line)

        answering = threading.Thread(target=answer)
        answering.start()

        with pytest.raises(HostError) as caught:
            ask_agent(tmp_path, "status")

        answering.join(10)
    assert str(caught.value) == problem


def test_an_agent_that_does_not_answer_is_not_awaited_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / CONTROL))
        listening.listen()

        with pytest.raises(HostError, match=r"did not answer within 0\.2 s"):
            ask_agent(tmp_path, "status", timeout=0.2)


def test_the_log_can_be_followed(tmp_path: Path) -> None:
    with served(tmp_path) as desk:
        entries = follow_agent(tmp_path)
        found: list[Document] = []
        reading = threading.Thread(target=lambda: found.extend([next(entries), next(entries)]))
        reading.start()
        assert desk.joined.wait(10)
        desk.followers[0]({"text": "one"})
        desk.followers[0]({"text": "two"})
        reading.join(10)
        entries.close()

    assert json.dumps(found) == '[{"text": "one"}, {"text": "two"}]'


def test_an_agent_that_ends_ends_those_who_follow_its_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path) as desk:
        entries = follow_agent(tmp_path)
        found: list[Document] = []
        reading = threading.Thread(target=lambda: found.extend(entries))
        reading.start()
        assert desk.joined.wait(10)
    reading.join(10)

    assert (found, reading.is_alive()) == ([], False)
    assert caplog.messages == []
