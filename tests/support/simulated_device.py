"""A device on which an agent can be killed, or the power cut, at each of its steps; no process is run.

It behaves as the keeper and the installer do: a transfer is a process of its own, which goes on without the
agent; a package is installed at once or not at all; the record outlives everything.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from spkg.agent.keeper_client import TransferNews
from spkg.agent.restarts import Restarts
from spkg.agent.settings import TransferSettings, UploadSource
from spkg.agent.state import AgentState
from spkg.agent.transfers import TransferQueue
from spkg.cwmp.schedule import Moment
from spkg.errors import HostError

__all__ = ["DOWNLOAD", "FIRMWARE", "UPLOAD", "Agent", "KilledError", "SimulatedDevice", "settings"]

FIRMWARE: Final = "1 Firmware Upgrade Image"
DOWNLOAD: Final[Mapping[str, Any]] = {
    "CommandKey": "key 1",
    "FileType": FIRMWARE,
    "URL": "http://127.0.0.1/p.spkg",
    "Username": "",
    "Password": "",
    "FileSize": 0,
    "TargetFileName": "",
    "DelaySeconds": 0,
    "SuccessURL": "",
    "FailureURL": "",
}
UPLOAD: Final[Mapping[str, Any]] = {
    "CommandKey": "key 2",
    "FileType": "1 Vendor Configuration File",
    "URL": "http://127.0.0.1/c",
    "Username": "",
    "Password": "",
    "DelaySeconds": 0,
}


class KilledError(BaseException):
    """The agent was killed here."""


@dataclass(kw_only=True)
class _Process:
    """A transfer that runs."""

    token: str
    order: Mapping[str, Any]
    upload: bool
    stopped: bool = False
    report: Mapping[str, Any] | None = None
    status: int | None = None
    is_running: bool = True


@dataclass(kw_only=True)
class SimulatedDevice:
    """The keeper, the installer and the kernel of a device."""

    boots: int = 1
    state: AgentState | None = None
    """That of the agent which began last: it has ended when the next one begins."""
    seconds: float = 100.0
    wall: float | None = 1_000_000.0
    wants_reboot: bool = True
    back_up: float = 0
    fails_with: Mapping[str, Any] | None = None
    """The report of a package that can't be applied."""
    installed: list[dict[str, Any]] = field(default_factory=list)
    rolled_back: list[dict[str, Any]] = field(default_factory=list)
    trial: str | None = None
    process: _Process | None = None
    calls: list[str] = field(default_factory=list)
    commanded: list[int] = field(default_factory=list)
    """The boots in which the command that reboots was started."""
    resets: int = 0
    uploads: int = 0
    broken: set[str] = field(default_factory=set)
    """The orders that fail."""
    failed: list[tuple[str, int | None]] = field(default_factory=list)
    step: Callable[[str], object] = lambda _name: None
    """Called before and after each order."""

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def now(self) -> Moment:
        return Moment(self.wall, self.seconds)

    def start_apply(self, **order: Any) -> None:
        with self._order("apply"):
            self._begin(order, upload=False)

    def start_upload(self, **order: Any) -> None:
        with self._order("upload"):
            self._begin(order, upload=True)

    def start_fetch(self, **_order: Any) -> None:
        raise AssertionError("no vouchers here")

    def fetched(self) -> bytes:
        raise AssertionError("no vouchers here")

    def transfer_result(self) -> TransferNews:
        with self._order("result"):
            if self.process is None:
                return TransferNews(token=None, is_running=False)
            one = self.process
            return TransferNews(
                token=one.token, is_running=one.is_running, status=one.status, result=one.report
            )

    def stop_transfer(self) -> None:
        with self._order("stop"):
            if self.process is not None:
                self.process.stopped = True

    def record(self, file_type: str) -> Mapping[str, Any]:  # noqa: ARG002 - one root
        with self._order("record"):
            return {
                "installed": [dict(one) for one in reversed(self.installed)],
                "rolled_back": [dict(one) for one in self.rolled_back],
                "trial": None if self.trial is None else {"package": self.trial, "until": None},
            }

    def confirm(self, file_type: str) -> None:  # noqa: ARG002 - one root
        with self._order("confirm"):
            self.trial = None

    def reboot(self) -> None:
        with self._order("reboot"):
            self.commanded.append(self.boots)

    def reset(self) -> None:
        with self._order("reset"):
            self.resets += 1

    def failures(self) -> tuple[tuple[str, int | None], ...]:
        found, self.failed = (*self.failed,), []
        return found

    @contextmanager
    def _order(self, name: str) -> Iterator[None]:
        self.step(name)
        self.calls.append(name)
        if name in self.broken:
            raise HostError(f"{name} can't be done")
        yield
        self.step(name)

    def _begin(self, order: Mapping[str, Any], *, upload: bool) -> None:
        assert self.process is None or not self.process.is_running, "two transfers at once"
        self.process = _Process(token=order["token"], order=order, upload=upload)

    # What happens without the agent.

    def transfer(self, *, reported: bool = True) -> None:
        """Let the transfer come to its end, with its report or killed before that."""
        one = self.process
        if one is None or not one.is_running:
            return
        one.is_running = False
        if one.stopped:
            one.report, one.status = {"exit": 143, "status": "error"}, 143
            return
        report = self._upload() if one.upload else self._install(one.order)
        one.report, one.status = (report, report["exit"]) if reported else (None, -9)

    def kill_transfer(self) -> None:
        """Kill it before it has done anything."""
        if self.process is not None:
            self.process.is_running, self.process.status = False, -9

    def boot(self) -> None:
        """Boot again; of processes nothing is left but the records."""
        self.kill_transfer()
        self.boots += 1
        self.seconds = 5.0

    def roll_back(self, by: str = "delay", reason: str | None = "not confirmed within 600 s") -> None:
        """Go back, as the guard does."""
        gone = self.installed.pop()
        self.trial = None
        self.rolled_back = [{"package": gone["package"], "time": self._time(), "by": by, "reason": reason}]

    def _upload(self) -> Mapping[str, Any]:
        self.uploads += 1
        return {"exit": 0, "status": "sent", "start_time": self._time(), "complete_time": self._time()}

    def _install(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        times = {"start_time": self._time(), "complete_time": self._time()}
        if self.fails_with is not None:
            return {**self.fails_with, **times}
        package = f"package of {order['url']}"
        done = {"exit": 0, "status": "installed", "already_installed": False, **times}
        if any(one["package"] == package for one in self.rolled_back):
            fault = {"code": 9001, "string": "the package was rolled back"}
            return {**done, "exit": 5, "status": "refused", "reason": "rolled-back", "fault": fault}
        if self.installed and self.installed[-1]["package"] == package:
            return {**done, "already_installed": True, "reboot_required": False}
        entry = {"package": package, "time": self._time(), "version": None}
        self.installed.append({**entry, "command_key": order["command_key"], "boot_id": self.boot_id})
        self.trial = package if self.back_up else None
        return {**done, "reboot_required": self.wants_reboot}

    def _time(self) -> str:
        return f"2026-11-29T12:{self.boots:02}:{len(self.calls) % 60:02}Z"


def settings(**changes: Any) -> TransferSettings:
    """Return what an agent may transfer."""
    source = UploadSource(
        file_type="1 Vendor Configuration File", command=("dump",), file=None, max_size=1 << 20
    )
    known = {
        "download": True,
        "upload": True,
        "schemes": ("https", "http", "ftp", "tftp"),
        "max_waiting": 16,
        "uploads": (source,),
    }
    return TransferSettings(**{**known, **changes})


class Agent:
    """The part of an agent that transfers and restarts, from a start to its end."""

    def __init__(self, path: Path | None, device: SimulatedDevice, **changes: Any) -> None:
        if device.state is not None:
            device.state.close()
        self.state = device.state = AgentState(path)
        self.device = device
        self.notes: list[str] = []
        self._tokens = 0
        self.queue = TransferQueue(
            self.state,
            device,
            settings(**changes),
            boot_id=device.boot_id,
            clock=device.now,
            token=self._token,
            back_up=device.back_up,
            note=self.notes.append,
        )
        self.restarts = Restarts(
            self.state,
            device,
            self.queue,
            boot_id=device.boot_id,
            clock=device.now,
            has_reset_command=True,
            reset_providers=lambda: self.notes.append(f"providers reset, {len(self.state.values())} values"),
            note=self.notes.append,
        )
        self.restarts.at_start()
        self.queue.at_start()

    def _token(self) -> str:
        self._tokens += 1
        return f"token {self.device.boots} {id(self)} {self._tokens}"

    def settle(self) -> None:
        """Work as long as there is anything to do; transfers come to their end meanwhile."""
        for _ in range(50):
            if self.restarts.rebooting:
                return
            if not (self.restarts.work() or self.queue.work()):
                if self.device.process is None or not self.device.process.is_running:
                    return
                self.device.transfer()
        raise AssertionError("it never settles")
