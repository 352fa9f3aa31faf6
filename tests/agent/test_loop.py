"""The service: its loop, its two processes, and how they end."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.config import load_agent_config
from spkg.agent.control import NotRunningError, ask_agent, follow_agent
from spkg.agent.keeper_client import KeeperClient
from spkg.agent.loop import AgentLoop
from spkg.agent.notify import ServiceManager
from spkg.agent.rights import Rights
from spkg.agent.service import serve
from spkg.common.boots import Boot
from spkg.errors import FormatError, HostError, RefusedError, SpkgError
from tests.agent.tree_kit import Scripted
from tests.support.acs import Answer, Post, ScriptedAcs, inform_response, request, session
from tests.support.acs_calls import ROOT, set_attributes
from tests.support.agent_kit import FakeKeeper, Life
from tests.support.namespaces import isolated, move_loopback, own_network

LONGEST = 30.0


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Ears:
    """A listener that hears nothing."""

    def __init__(self) -> None:
        self.open = False

    @property
    def port(self) -> int | None:
        return 7547 if self.open else None

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:  # noqa: ARG002 - none is handed over
        self.open = True

    async def close(self) -> None:
        self.open = False


class Channel(FakeKeeper):
    """A keeper whose end can be seen."""

    def __init__(self, start_provider: Callable[[str], socket.socket] | None = None) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()
        self.there = True
        if start_provider is not None:
            self.start_provider = start_provider  # type: ignore[method-assign,assignment] # as the keeper

    def fileno(self) -> int:
        return self.ours.fileno()

    def heard(self) -> bool:
        self.ours.recv(1)
        return self.there


@contextmanager
def served(
    directory: Path,
    acs: ScriptedAcs,
    meanwhile: Callable[[Life, Channel], None],
    more: str = "",
    start_provider: Callable[[str], socket.socket] | None = None,
    **changes: Any,
) -> Iterator[Life]:
    """Run a service in this thread while *meanwhile* runs in another, which is to end it."""
    device = Life(directory, acs, more, **changes)
    real = time.time() - device.world.wall
    device.world.wall += real  # the clock of a service goes by itself
    began = time.monotonic() - device.world.boot
    channel = Channel(start_provider)
    outside = device.world.outside()
    object.__setattr__(outside, "boot", lambda: _boot(device, time.monotonic() - began))
    device.agent.close()
    loop = AgentLoop(
        keeper=channel,  # type: ignore[arg-type] # it does what is asked for
        directory=directory / "state",
        service=ServiceManager({}, os.getpid()),
        outside=outside,
    )
    device.keeper = channel

    def show(entry: Any) -> None:
        device.entries.append(entry)
        loop.show(entry)

    device.agent = device._begin(
        outside=outside, call=loop.call, look=loop.look, show=show, alive=loop.alive, ending=loop.ending
    )
    problems: list[BaseException] = []
    over = threading.Event()

    def other() -> None:
        try:
            until((directory / "state" / "control").exists)
            meanwhile(device, channel)
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread of the test
            problems.append(exc)
        finally:
            if not over.wait(0.5):  # it has not ended by itself
                os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=other)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the loop has its own way with it
    thread.start()
    try:
        loop.run(device.agent, Ears())
        over.set()
        yield device
    finally:
        over.set()
        thread.join(LONGEST)
        signal.signal(signal.SIGTERM, before)
        device.agent.close()
        channel.ours.close()
        channel.theirs.close()
    if problems:
        raise problems[0]


def _boot(device: Life, seconds: float) -> Boot:
    return Boot(identity=device.world.boot_id, seconds=seconds)


def test_a_session_without_end_is_broken_off_when_the_agent_has_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(post: Post) -> Answer:
        return Answer(body=inform_response() if post.method == "Inform" else request("GetRPCMethods"))

    monkeypatch.setattr("spkg.agent.loop.STOP_PATIENCE", 0)
    with ScriptedAcs(plan) as acs:
        with served(tmp_path, acs, lambda _device, _keeper: until(lambda: len(acs.posts) > 3)) as device:
            pass

    assert any("the agent ends: " in one for one in device.log), "between two posts, or within one"


def test_a_post_without_end_is_broken_off_when_the_agent_has_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.agent.loop.STOP_PATIENCE", 0)
    monkeypatch.setattr("spkg.agent.transport.LOOK", 0.001)
    with ScriptedAcs([Answer(stall=True, raw=b"")]) as acs:
        with served(tmp_path, acs, lambda _device, _keeper: until(lambda: acs.posts)) as device:
            pass

    assert any("the agent ends: its post was broken off" in one for one in device.log)


def test_the_loop_has_sessions_answers_and_ends_with_sigterm(tmp_path: Path) -> None:
    def meanwhile(device: Life, _keeper: Channel) -> None:
        directory = tmp_path / "state"
        until(lambda: len(device.acs.posts) >= 2)
        until(lambda: ask_agent(directory, "status")["in_touch"])
        assert ask_agent(directory, "status")["running"]
        entries = follow_agent(directory)

        def follow() -> None:
            found.append(next(entries))
            entries.close()

        reading = threading.Thread(target=follow)
        reading.start()
        time.sleep(0.2)
        ask_agent(directory, "inform", event="X 00D09E Hello")
        until(lambda: len(device.acs.posts) >= 4)
        reading.join(LONGEST)
        with pytest.raises(RefusedError, match="the ACS has no Kicked"):
            ask_agent(directory, "kick", command="c")
        ask_agent(directory, "trace", on=True)

    found: list[Mapping[str, Any]] = []
    with ScriptedAcs(session()) as acs, served(tmp_path, acs, meanwhile) as device:
        assert found
        assert found[0]["kind"] == "session"
        assert ("X 00D09E Hello", "") in device.events(1)
    with pytest.raises(NotRunningError):
        ask_agent(tmp_path / "state", "status")


def test_a_provider_that_reports_a_change_whenever_it_is_asked_is_heard_and_makes_no_storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.agent.loop.SETTLING", 0.05)
    monkeypatch.setattr("spkg.cwmp.schedule.SESSION_GAP", 0.05)
    name = f"{ROOT}LANDevice.1.Name"
    values = {name: "before"}

    def answer(request: Mapping[str, Any]) -> Any:
        match request["op"]:
            case "describe":
                return {"parameters": [{"path": name, "type": "string(64)"}]}
            case "get":
                told = json.dumps({"id": request["id"], "values": values}), json.dumps({"changed": [name]})
                return "".join(f"{line}\n" for line in told).encode()
        return {"status": 0}

    gateway = Scripted(answer)

    def meanwhile(device: Life, _keeper: Channel) -> None:
        until(lambda: len(device.acs.posts) >= 3)
        values[name] = "after"
        gateway.says(b'{"changed": ["%s"]}\n' % name.encode())
        until(lambda: len(device.acs.posts) >= 5)
        asked = len(gateway.asked)
        time.sleep(0.3)
        assert len(gateway.asked) - asked < 60

    provider = '[[provider]]\nname = "gateway"\ncommand = ["none"]\npaths = ["LANDevice."]\n'
    plan = session(set_attributes("LANDevice.1.Name", 2))
    with (
        ScriptedAcs(plan) as acs,
        served(tmp_path, acs, meanwhile, provider, lambda _name: gateway.start()) as device,
    ):
        assert device.events() == [("4 VALUE CHANGE", "")]
        assert "after" in [*device.informs()[1].texts("Value")]


def with_another_address(directory: Path) -> None:
    own_network()

    def meanwhile(device: Life, _keeper: Channel) -> None:
        until(lambda: len(device.acs.posts) >= 2)
        time.sleep(1.2)  # a session of its own
        move_loopback("127.0.0.2")
        until(lambda: len(device.acs.posts) >= 4)

    listens: dict[str, Any] = {'listen = ""': 'listen = "127.0.0.1:7547"\nhost = "interface:lo"'}
    with ScriptedAcs(session()) as acs, served(directory, acs, meanwhile, **listens) as device:
        assert device.events() == [("4 VALUE CHANGE", "")]
        urls = [next(one for one in post.texts("Value") if ":7547/" in one) for post in device.informs()]
        assert urls == ["http://127.0.0.1:7547/token-1", "http://127.0.0.2:7547/token-1"]


def test_a_new_address_is_told_at_once_because_the_kernel_says_so_c8_p33(tmp_path: Path) -> None:
    isolated(with_another_address, tmp_path)


def test_the_loop_ends_when_its_keeper_is_gone(tmp_path: Path) -> None:
    def meanwhile(device: Life, keeper: Channel) -> None:
        until(lambda: len(device.acs.posts) >= 2)
        keeper.there = False
        keeper.theirs.send(b"x")
        until(lambda: not (tmp_path / "state" / "control").exists())

    with ScriptedAcs(session()) as acs, served(tmp_path, acs, meanwhile):
        pass


def test_a_disk_that_is_full_does_not_end_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.agent.loop.PAUSE", 0.1)

    def meanwhile(device: Life, _keeper: Channel) -> None:
        until(lambda: len(device.acs.posts) >= 2)
        step = device.agent.engine.step
        failures: list[SpkgError] = [FormatError("not a time"), HostError("no space left on device")]

        def failing(**given: Any) -> float | None:
            if failures:
                raise failures.pop()
            return step(**given)

        device.agent.engine.step = failing  # type: ignore[method-assign] # as a full disk does
        ask_agent(tmp_path / "state", "inform")
        until(lambda: len(device.acs.posts) >= 4)

    with ScriptedAcs(session()) as acs, served(tmp_path, acs, meanwhile) as device:
        assert "failure: no space left on device" in device.log
        assert "failure: not a time" in device.log


def config_of(directory: Path) -> Any:
    with ScriptedAcs(session()) as acs:
        device = Life(directory, acs)
        device.agent.close()
        return device.config


def ended(config: Any, talk: Callable[[KeeperClient, Mapping[str, str], Callable[[], Rights]], int]) -> Any:
    return serve(
        config,
        talk,
        program=("true",),
        environment={},
        clock=time.monotonic,
        timestamp=lambda: "2026-01-01T00:00:00Z",
        sleep=time.sleep,
        died=lambda _error: 6,
    )


def _die(*_: Any) -> int:
    signal.raise_signal(signal.SIGKILL)
    return 0


def test_the_status_of_the_talker_is_that_of_the_service(tmp_path: Path) -> None:
    config = config_of(tmp_path)

    assert ended(config, lambda _keeper, _passwords, _drop: 0).status == 0
    assert ended(config, lambda _keeper, _passwords, _drop: 8).status == 8
    assert ended(config, lambda *_: 1 // 0).status == 6
    with pytest.raises(HostError, match="was ended by SIGKILL"):
        ended(config, _die)


def test_the_talker_can_ask_the_keeper(tmp_path: Path) -> None:
    config = config_of(tmp_path)

    def talk(keeper: KeeperClient, _passwords: Mapping[str, str], _drop: Callable[[], Rights]) -> int:
        return 0 if not keeper.transfer_result().is_running else 1

    assert ended(config, talk).status == 0


def test_one_agent_runs_with_a_state(tmp_path: Path) -> None:
    config = config_of(tmp_path)

    def talk(*_: Any) -> int:
        try:
            ended(config, lambda *_: 0)
        except HostError as exc:
            return 5 if str(exc) == "another agent is running with this state" else 1
        return 0

    assert ended(config, talk).status == 5
    assert ended(config, lambda *_: 0).status == 0


def test_an_agent_of_a_user_who_does_not_exist_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "agent.toml").write_text(
        (tmp_path / "agent.toml").read_text().replace('"state"\n', '"state"\nuser = "nobody-at-all"\n')
    )
    config = load_agent_config(tmp_path / "agent.toml")
    if os.geteuid() != 0:
        assert ended(config, lambda *_: 0).status == 0
        return
    with pytest.raises(HostError, match=r"there is no user 'nobody-at-all' \(\[state\] user\)"):
        ended(config, lambda *_: 0)


def test_nothing_of_the_agent_is_left_open(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    before = len([*Path("/proc/self/fd").iterdir()])

    for _ in range(5):
        ended(config, lambda *_: 0)

    assert len([*Path("/proc/self/fd").iterdir()]) == before
