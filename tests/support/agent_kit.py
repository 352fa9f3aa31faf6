"""An agent in the process of a test: with clocks that the test moves, and a keeper that only takes notes."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spkg.agent.assembly import Agent, assemble
from spkg.agent.client import AcsClient
from spkg.agent.clock import EARLIEST, Outside
from spkg.agent.config import load_agent_config
from spkg.agent.journal import LogEntry
from spkg.agent.keeper_client import KeeperClient, TransferNews
from spkg.agent.rights import Rights
from spkg.agent.settings import AgentConfig
from spkg.common.boots import Boot
from spkg.common.documents import Document
from spkg.device import Device
from spkg.errors import HostError
from tests.support.acs import Post, ScriptedAcs

START = EARLIEST.timestamp() + 86_400
"""What the clock shows when a test begins, in seconds since 1970."""
DEVICE = Device(
    manufacturer="2Wire",
    oui="00D09E",
    product_class="Gateway",
    serial_number="123456789",
    software_version="5.3.0.12",
    provisioning_code="ISP-1",
)
APPLIED: Mapping[str, Any] = {
    "status": "installed",
    "exit": 0,
    "fault": {"code": 0, "string": ""},
    "reboot_required": True,
    "already_installed": False,
    "start_time": "2026-11-02T00:00:01Z",
    "complete_time": "2026-11-02T00:00:02Z",
}
"""What the installer reports of a package that wants a reboot."""


@dataclass
class World:
    """What a test changes: the clocks, and the boot."""

    wall: float = START
    boot: float = 100.0
    boot_id: str = "boot-1"
    drawn: float = 0.5
    tokens: int = 0
    synchronized: bool = True

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds

    def reboot(self) -> None:
        self.pass_time(30)
        number = int(self.boot_id.rpartition("-")[2]) + 1
        self.boot_id, self.boot = f"boot-{number}", 10.0

    def token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"

    def outside(self) -> Outside:
        return Outside(
            clock=lambda: self.wall,
            boot=lambda: Boot(identity=self.boot_id, seconds=self.boot),
            draw=lambda: self.drawn,
            token=self.token,
            synchronized=lambda: self.synchronized,
        )


@dataclass
class FakeKeeper:
    """Carries nothing out, and shows what it was asked."""

    orders: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    running: str | None = None
    news: TransferNews = field(default_factory=lambda: TransferNews(token=None, is_running=False))
    installed: list[Document] = field(default_factory=list)
    rolled_back: list[Document] = field(default_factory=list)
    trial: Document | None = None
    broken: str = ""
    file: bytes = b""
    """What a fetch brings."""

    def names(self) -> list[str]:
        return [name for name, _ in self.orders if name not in {"result", "record", "trial"}]

    def _take(self, name: str, **given: Any) -> None:
        self.orders.append((name, given))
        if self.broken == name:
            raise HostError(f"{name} can't be done")

    def start_apply(self, **given: Any) -> None:
        self._take("apply", **given)
        self.running = given["token"]
        self.news = TransferNews(token=given["token"], is_running=True)

    def start_upload(self, **given: Any) -> None:
        self._take("upload", **given)
        self.running = given["token"]
        self.news = TransferNews(token=given["token"], is_running=True)

    def start_fetch(self, **given: Any) -> None:
        self._take("fetch", **given)
        self.running = given["token"]
        self.news = TransferNews(token=given["token"], is_running=True)

    def fetched(self) -> bytes:
        self._take("fetched")
        return self.file

    def end(self, boot_id: str, report: Mapping[str, Any] = APPLIED) -> None:
        """Let the transfer that runs end, as the installer would."""
        status = int(report["exit"])
        self.news = replace(self.news, is_running=False, status=status, result=report)
        if status == 0 and not report["already_installed"] and self.orders_of("apply"):
            given = self.orders_of("apply")[-1]
            entry = {
                "package": f"{len(self.installed):064x}",
                "version": None,
                "time": report["complete_time"],
                "command_key": given["command_key"],
                "boot_id": boot_id,
            }
            self.installed.insert(0, entry)
            self.trial = {"package": entry["package"], "until": None, "boots_left": 3}

    def orders_of(self, name: str) -> list[Mapping[str, Any]]:
        return [given for one, given in self.orders if one == name]

    def transfer_result(self) -> TransferNews:
        return self.news

    def stop_transfer(self) -> None:
        self._take("stop")

    def record(self, file_type: str) -> Document:
        self._take("record", file_type=file_type)
        return {"installed": self.installed, "rolled_back": self.rolled_back, "trial": self.trial}

    def package_on_trial(self, file_type: str) -> Document | None:
        self._take("trial", file_type=file_type)
        return self.trial

    def confirm(self, file_type: str) -> None:
        self._take("confirm", file_type=file_type)
        self.trial = None

    def reboot(self) -> None:
        self._take("reboot")

    def reset(self) -> None:
        self._take("reset")

    def failures(self) -> tuple[tuple[str, int | None], ...]:
        return ()

    def start_provider(self, name: str) -> socket.socket:
        raise HostError(f"no provider {name}")


CONFIG = """
[acs]
url = "{url}"
[connection-requests]
listen = ""
[device]
file = "device.toml"
[install]
trust = ["ca.pem"]
back-up = 600
[commands]
reboot = ["/sbin/reboot"]
[state]
directory = "state"
"""


class Life:
    """A device over all its boots: its state stays, its agents come and go.

    Args:
        directory: Where its files are.
        acs: Its server.
        more: Further lines of its configuration.
        options: What opens its Options; None without vouchers.
        device: What it is.
        changes: What stands in its configuration in place of what.
        keeper: Its keeper, if that is not to be the usual one.
        world: Its clocks and its boot, where they go on from those of an earlier process.
    """

    def __init__(
        self,
        directory: Path,
        acs: ScriptedAcs,
        more: str = "",
        *,
        options: Any = None,
        device: Device = DEVICE,
        keeper: FakeKeeper | KeeperClient | None = None,
        world: World | None = None,
        **changes: str,
    ) -> None:
        self.directory = directory
        self.acs = acs
        self.world = World() if world is None else world
        self.keeper: Any = FakeKeeper() if keeper is None else keeper
        self.entries: list[LogEntry] = []
        self.calls: list[Callable[[], object]] = []
        text = CONFIG.format(url=acs.url)
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        source = directory / "agent.toml"
        if not source.exists() or source.read_text() != text + more:  # or a kill could find it half written
            source.write_text(text + more)
        self.config: AgentConfig = load_agent_config(source)
        self.options = options
        self.device = device
        self.agent = self._begin()

    def _begin(self, **given: Any) -> Agent:
        """Put an agent together; some of its parts may be given."""
        parts: dict[str, Any] = {
            "outside": self.world.outside(),
            "show": self.entries.append,
            "call": self.calls.append,
        }
        return assemble(
            self.config,
            self.device,
            client=lambda: AcsClient(self.config.acs, time.monotonic),
            keeper=self.keeper,
            secrets={},
            options=self.options,
            rights=Rights(confined=True, is_root=False),
            **(parts | given),
        )

    def start(self) -> None:
        self.agent.engine.start()

    def restart(self, *, boot: bool = False) -> None:
        """End the agent as a power cut does, and begin anew."""
        self.agent.close()
        if boot:
            self.world.reboot()
        self.agent = self._begin()
        self.start()

    def step(self) -> float | None:
        """Have one thing done."""
        while self.calls:
            self.calls.pop(0)()
        return self.agent.engine.step()

    def run(self, seconds: float = 0, most: int = 1000) -> None:
        """Let time pass, from one thing to do to the next."""
        end = self.world.boot + seconds
        for _ in range(most):
            wake = self.step()
            if wake is None or wake > end:
                break
            self.world.pass_time(max(0.0, wake - self.world.boot))
        else:
            raise AssertionError("it never rests")
        self.world.pass_time(max(0.0, end - self.world.boot))

    @property
    def log(self) -> list[str]:
        return [f"{entry['kind']}: {entry['text']}" for entry in self.entries]

    def informs(self) -> list[Post]:
        return [post for post in self.acs.posts if post.method == "Inform"]

    def events(self, number: int = -1) -> list[tuple[str, str]]:
        """Return the events of an Inform with their CommandKeys."""
        post = self.informs()[number]
        return [*zip(post.texts("EventCode"), post.texts("CommandKey"), strict=True)]


@contextmanager
def life(directory: Path, acs: ScriptedAcs, more: str = "", **given: Any) -> Iterator[Life]:
    """Yield a device that has been switched on."""
    found = Life(directory, acs, more, **given)
    found.start()
    try:
        yield found
    finally:
        found.agent.close()
