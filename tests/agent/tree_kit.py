"""A tree of parameters with providers for the tests: the sample provider as a process, and scripted ones."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from spkg.agent.config import load_agent_config
from spkg.agent.settings import AgentConfig, ProviderKind, ProviderSettings
from spkg.agent.state import AgentState
from spkg.agent.tree.builtin import TreeSurroundings
from spkg.agent.tree.provider import ParameterSource, ProviderNotice
from spkg.agent.tree.sources import open_sources
from spkg.agent.tree.tree import Tree
from spkg.device import load_device
from tests.support.kit import ROOT as PROJECT

IGD: Final = "InternetGatewayDevice."
MANAGEMENT: Final = f"{IGD}ManagementServer."
SAMPLE: Final = PROJECT / "samples" / "agent" / "providers" / "example.py"
BOOT_ID: Final = "3f9fd7a2-0000-4000-8000-000000000001"
DEVICE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
software-version = "5.3.0.12"
provisioning-code = "TLCO"
"""
CONFIG: Final = """
[acs]
url = "https://acs.example.net/cwmp"
[device]
file = "device.toml"
model-name = "Gateway 6"
hardware-version = "B"
[install]
trust = ["root.pem"]
back-up = "10min"
[commands]
reboot = ["/sbin/reboot"]
[back-up]
parameters = ["ManagementServer.URL"]
[state]
directory = "state"
"""

Answer = Callable[[Mapping[str, Any]], object]


class Scripted:
    """A provider whose every answer is given by a function; what is no document is written as it is."""

    def __init__(
        self, answer: Answer, *, name: str = "scripted", paths: tuple[str, ...] = ("LANDevice.",)
    ) -> None:
        self.settings = ProviderSettings(
            name=name, kind=ProviderKind.COMMAND, command=("none",), path=None, paths=paths
        )
        self.asked: list[Mapping[str, Any]] = []
        self.started = 0
        self.says: Callable[[bytes], object] = lambda _octets: None
        self._answer = answer
        self._ours: list[socket.socket] = []

    def start(self) -> socket.socket:
        """Begin to answer at a new socket."""
        ours, theirs = socket.socketpair()
        self.started += 1
        self._ours.append(ours)
        self.says = ours.sendall
        threading.Thread(target=self._serve, args=(ours,), daemon=True).start()
        return theirs

    def close(self) -> None:
        """End all connections."""
        for one in self._ours:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def ops(self) -> list[str]:
        """Return what was asked for, in order."""
        return [str(one["op"]) for one in self.asked]

    def _serve(self, ours: socket.socket) -> None:
        with ours, ours.makefile("rb") as lines, suppress(OSError):
            for line in lines:
                request = json.loads(line)
                self.asked.append(request)
                found = self._answer(request)
                if found is None:
                    return
                if isinstance(found, bytes):
                    ours.sendall(found)
                else:
                    assert isinstance(found, dict)
                    ours.sendall(json.dumps({"id": request["id"], **found}).encode() + b"\n")


class Bench:
    """A tree, and what is around it, all of which a test can change."""

    def __init__(self, place: Path, config: str = CONFIG, providers: tuple[Scripted, ...] = ()) -> None:
        self.place = place
        (place / "device.toml").write_text(DEVICE)
        (place / "agent.toml").write_text(config)
        self.config = load_agent_config(place / "agent.toml")
        if providers:
            self.config = replace(self.config, providers=tuple(one.settings for one in providers))
        self.scripted = {one.settings.name: one for one in providers}
        self.boot_id = BOOT_ID
        self.boot_clock = 100.0
        self.address = "192.0.2.7"
        self.request_url = "http://192.0.2.7:7547/path"
        self.options: str | None = None
        self.log = "log"
        self.secrets: dict[str, str] = {}
        self.environment: Mapping[str, str] | None = None
        """That of programs of providers; None for that of the tests."""
        self.notes: list[str] = []
        self.notices: list[ProviderNotice] = []
        self.clock: Callable[[], float] = time.monotonic
        self.state = AgentState(place / "state" / "state.db")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sources: tuple[ParameterSource, ...] = ()
        self.tree = self.opened()

    def opened(self) -> Tree:
        """Return the tree as it is after a start."""
        self.sources = open_sources(self.config, self._start, self.notices.append, self._now)
        device = load_device(self.config.device.file)
        return Tree(self.config, device, self.state, self.around(), sources=self.sources, clock=self._now)

    def around(self) -> TreeSurroundings:
        """Return what comes from outside."""
        options = self.options
        return TreeSurroundings(
            boot_id=self.boot_id,
            boot_clock=lambda: self.boot_clock,
            address=lambda: self.address,
            connection_request_url=lambda: self.request_url,
            note=self.notes.append,
            enabled_options=None if options is None else lambda: self.options or "",
            device_log=lambda: self.log,
            secrets=self.secrets,
        )

    def restart(self, config: AgentConfig | None = None) -> Tree:
        """End and start again."""
        self.config = config or self.config
        self.tree.close()
        self.state.close()
        self.state = AgentState(self.place / "state" / "state.db")
        self.tree = self.opened()
        return self.tree

    def close(self) -> None:
        """End all of it."""
        self.tree.close()
        self.state.close()
        for one in self.scripted.values():
            one.close()
        for process in self.processes:
            process.wait(10)

    def _now(self) -> float:
        return self.clock()

    def _start(self, name: str) -> socket.socket:
        if name in self.scripted:
            return self.scripted[name].start()
        settings = next(one for one in self.config.providers if one.name == name)
        ours, theirs = socket.socketpair()
        with theirs:
            self.processes.append(
                subprocess.Popen(
                    settings.command, stdin=theirs.fileno(), stdout=theirs.fileno(), env=self.environment
                )
            )
        return ours


def sample_provider(place: Path, name: str = "gateway", *paths: str) -> str:
    """Return the configuration of the sample provider."""
    owned = json.dumps([*(paths or ("LANDevice.", "Layer3Forwarding."))])
    command = json.dumps([sys.executable, str(SAMPLE), str(place / f"{name}.json")])
    return f'[[provider]]\nname = "{name}"\ncommand = {command}\npaths = {owned}\n'


@contextmanager
def bench(place: Path, config: str = CONFIG, *providers: Scripted) -> Iterator[Bench]:
    """Give a tree."""
    found = Bench(place, config, providers)
    try:
        yield found
    finally:
        found.close()
