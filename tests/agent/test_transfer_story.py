"""The whole story with the real installer: Download, reboot, TransferComplete, killed at each step.

The agent runs as a process of its own, its keeper as another one, and ``spkg apply`` as a third.  Between the
steps of the agent, all or one of them are killed.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.agent.keeper_client import KeeperClient
from spkg.agent.keeper_settings import InstallTarget
from spkg.agent.restarts import Restarts
from spkg.agent.state import AgentState
from spkg.agent.transfers import TransferQueue
from spkg.common.child_process import fork
from spkg.cwmp.schedule import Moment
from tests.support.commands import PATIENCE
from tests.support.fake_servers import Script, serving
from tests.support.installation import furnish_root, tree, wait_for_octets
from tests.support.keeper_kit import keeper_config, start_keeper
from tests.support.package_files import TRUST
from tests.support.sampling import sample
from tests.support.served_package import NEW, OCTETS
from tests.support.simulated_device import DOWNLOAD, settings

BOOT: Final = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
REBOOT: Final = ("sh", "-c", "echo reboot >> reboots")
STEPS: Final = 40
"""More than the story has."""
pytestmark = pytest.mark.part("kill")


@dataclass
class Stepping:
    """Counts the steps of an agent, and kills it at one."""

    kill_at: int
    count: int = 0
    client: KeeperClient | None = None

    def step(self) -> None:
        self.count += 1
        with Path("steps").open("a") as file:
            file.write(".")
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def stepping(*arguments: Any, **named: Any) -> Any:
            if name != "transfer_result":
                self.step()
            found = method(*arguments, **named)
            if name != "transfer_result" or not found.is_running:  # how often it runs is up to the machine
                self.step()
            return found

        return stepping


@dataclass
class Told:
    """What the ACS knows; it outlives each agent."""

    path: Path = field(default_factory=lambda: Path("acs"))

    def note(self, what: str) -> None:
        with self.path.open("a") as file:
            file.write(what + "\n")

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    with serving(Script(octets=OCTETS)) as place:
        yield f"{place}/p.spkg"


def agent(url: str, boot: str, kill_at: int) -> None:
    """Be an agent: from its start until it waits for nothing but the reboot, or all is told."""
    target = InstallTarget(root=Path("root"), options=(*TRUST, "--back-up=600"))
    client, keeper = start_keeper(keeper_config(targets={"1": target}, reboot=REBOOT))
    Path("keeper.pid").write_text(str(keeper))
    stepping = Stepping(kill_at, client=client)
    acs = Told()
    state = AgentState(Path("state.db"))
    commit = state._commit

    def watched(contents: Any) -> None:
        stepping.step()
        commit(contents)
        stepping.step()

    state._commit = watched  # type: ignore[method-assign]
    queue = TransferQueue(
        state,
        stepping,
        settings(),
        boot_id=boot,
        clock=lambda: Moment(time.time(), time.monotonic()),
        token=lambda: os.urandom(8).hex(),
        back_up=600,
    )
    restarts = Restarts(
        state,
        client,
        queue,
        boot_id=boot,
        clock=lambda: Moment(time.time(), time.monotonic()),
        has_reset_command=False,
    )
    restarts.at_start()
    queue.at_start()
    if not any(line.startswith("answered") for line in acs.lines):
        queue.download({**DOWNLOAD, "URL": url})
        acs.note("answered key 1")
        stepping.step()
    while not restarts.rebooting:
        if not (restarts.work() or queue.work()):
            if not queue.is_running:
                break
            time.sleep(0.02)
    if restarts.rebooting:
        Path("rebooting").touch()
    for done in queue.to_tell():
        stepping.step()
        acs.note(f"told {done.arguments['CommandKey']}")
        stepping.step()
        queue.told(done)
    if not queue.queued():
        acs.note("done")
    client.close()


def run_agent(url: str, boot: str, kill_at: int) -> None:
    pid = fork()
    if pid == 0:
        try:
            agent(url, boot, kill_at)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def cut_power() -> None:
    """Kill the keeper, and all that transfers."""
    keeper = int(Path("keeper.pid").read_text())
    with suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGKILL)
    with suppress(ValueError, OSError):
        noted = json.loads(Path("keeper/transfer").read_text())["group"]
        if noted:
            os.killpg(noted, signal.SIGKILL)
            deadline = time.monotonic() + PATIENCE
            while any(b"--report=keeper" in one for one in commands()) and time.monotonic() < deadline:
                time.sleep(0.02)


def commands() -> Iterator[bytes]:
    """Give the command lines of all processes that work in this directory."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == Path.cwd():
                yield (process / "cmdline").read_bytes()


def story(url: str, kill_at: int, *, power: bool) -> int:
    """Run it, and return how many steps the first agent took."""
    furnish_root()
    boots, commanded = 0, 0
    run_agent(url, BOOT, kill_at)
    first = Path("steps").stat().st_size
    if power:
        cut_power()
    for _ in range(6):
        if Path("rebooting").exists():
            wait_for_octets("reboots")  # the agent would wait to be ended by it
            Path("rebooting").unlink()
            commanded, boots = Path("reboots").stat().st_size // len("reboot\n"), boots + 1
        if "done" in Told().lines:
            break
        run_agent(url, BOOT if not boots else f"another boot {boots}", 0)
    lines = Told().lines

    assert tree() == NEW
    assert lines[-1] == "done"
    assert "told key 1" in lines
    assert lines.index("told key 1") > lines.index("answered key 1")
    assert commanded == 1
    record = json.loads(Path("root/.spkg/installed").read_text())
    assert [one["command_key"] for one in record["installed"]] == ["key 1"]
    assert not Path("root/.spkg/trial").exists()
    return first


def test_a_download_is_applied_rebooted_for_and_told(url: str) -> None:
    steps = story(url, 0, power=False)

    assert 15 < steps < STEPS
    assert Told().lines == ["answered key 1", "told key 1", "done"]


@pytest.mark.part("kill", turns=True, few=4)
@pytest.mark.parametrize("power", [False, True], ids=["agent", "power"])
@pytest.mark.parametrize("kill_at", sample(range(1, STEPS), 7, 3))
def test_killed_at_a_step_it_is_told_and_rebooted_for_once(kill_at: int, url: str, *, power: bool) -> None:
    story(url, kill_at, power=power)
