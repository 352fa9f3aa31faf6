"""The agent's two processes where nothing confines them, so that what they run is measured."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.control import ask_agent
from spkg.agent.rights import Rights
from tests.support.acs import Answer, ScriptedAcs, session
from tests.support.agent_place import CONFIG, furnish_agent, until
from tests.support.commands import run

VOUCHERS = '[vouchers]\nstore = "options.db"\ntrust = ["ca.pem"]\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a device, and rights that are kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "spkg.agent.service.give_up_rights", lambda _config, _talker: Rights(confined=False, is_root=False)
    )
    furnish_agent()
    return tmp_path


def agent(*words: str) -> Any:
    return run("agent", *words, "--config", "agent.toml")


def test_once_with_and_without_a_session() -> None:
    with ScriptedAcs(session()) as acs:
        Path("agent.toml").write_text(CONFIG.format(url=acs.url) + VOUCHERS)
        assert agent("once").exit_code == 0
        assert agent("once", "--force").exit_code == 0
        assert acs.methods == ["Inform", ""] * 2
        acs.plan = lambda _post: Answer(status=500)
        assert agent("once", "--force").exit_code == 8


def test_a_device_file_that_is_wrong_ends_the_talker() -> None:
    with ScriptedAcs(session()) as acs:
        Path("agent.toml").write_text(CONFIG.format(url=acs.url))
        Path("device.toml").write_text("[device]\n")
        assert agent("once").exit_code == 3
        Path("device.toml").unlink()
        assert agent("once").exit_code == 9


@pytest.mark.parametrize(
    ("error", "status"),
    [(ZeroDivisionError("by nought"), 1), (ModuleNotFoundError("No module named 'h11'", name="h11"), 9)],
)
def test_what_ends_the_talker_is_the_status(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    with ScriptedAcs(session()) as acs:
        Path("agent.toml").write_text(CONFIG.format(url=acs.url))
        monkeypatch.setattr("spkg.agent.assembly.assemble", broken)

        assert agent("once").exit_code == status


def test_the_service_runs_until_it_is_told_to_end() -> None:
    with ScriptedAcs(session()) as acs:
        Path("agent.toml").write_text(CONFIG.format(url=acs.url) + VOUCHERS)

        def end() -> None:
            until(lambda: len(acs.posts) >= 2 and Path("state/control").exists(), "a session")
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=end)
        thread.start()
        done = agent("run")
        thread.join()

        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            lambda: Path("agent.toml").write_text("[acs]\ntimeout = 1\n"),
            "agent.toml: device.file: missing",
        ),
        (lambda: Path("acs.password").chmod(0o644), "others may read or write it"),
    ],
)
def test_a_configuration_that_became_wrong_leaves_the_service_as_it_was(
    spoil: Callable[[], object], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execv", lambda *_: sys.exit("it began anew"))
    with ScriptedAcs(session()) as acs:
        Path("agent.toml").write_text(CONFIG.format(url=acs.url))

        def end() -> None:
            until(lambda: len(acs.posts) >= 2 and Path("state/control").exists(), "a session")
            try:
                spoil()
                os.kill(os.getpid(), signal.SIGHUP)
                ask_agent(Path("state"), "status")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=end)
        thread.start()
        done = agent("run")
        thread.join()

        assert done.exit_code == 0
        warning = "spkg: warning: the configuration is not read again, and what was read before counts: "
        assert warning in done.stderr
        assert problem in done.stderr
