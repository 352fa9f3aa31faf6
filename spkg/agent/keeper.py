"""The keeper: the only process of the agent with rights.  It opens no socket of the network.

It knows what it may run from the configuration alone; what the other process sends are numbers, texts that
become single arguments, and names of things that are configured.  So an attacker who controls that process
can have signed packages applied, and nothing else.

Both talk by JSON, one message a packet.  Each request is answered; an event comes unasked.
"""

import json
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from spkg.agent.fetch_work import fetch_work
from spkg.agent.keeper_answers import Passed, record_answer, result_answer
from spkg.agent.keeper_order import KeeperOrder
from spkg.agent.keeper_programs import KeeperPrograms
from spkg.agent.keeper_settings import InstallTarget, KeeperSettings
from spkg.agent.transfer_process import (
    NAME_DESCRIPTOR,
    SECRET_DESCRIPTOR,
    URL_DESCRIPTOR,
    TransferProcess,
)
from spkg.agent.upload_work import upload_work
from spkg.common.documents import Document
from spkg.common.json_input import read_json
from spkg.common.programs import inherited_descriptors, run_program
from spkg.download.url import Location
from spkg.errors import SpkgError, UsageError, os_problem

__all__ = ["MAX_PACKET", "keeper_channel", "serve_keeper"]

MAX_PACKET: Final = 1 << 16
"""The longest message, in bytes."""
MAX_STATUS_ANSWER: Final = 1 << 25
"""The longest answer of ``spkg status``, in bytes: it lists each change."""
PROGRAM_LIMIT: Final = 60
"""How long a program may take that the other process waits for, in seconds."""
WATCH_INTERVAL: Final = 1.0
"""How often the output of a running transfer is looked at, in seconds."""
TRIAL_NOTE: Final = Path(".spkg") / "trial"
"""What exists below a root exactly as long as a package is on trial there."""


def keeper_channel() -> tuple[socket.socket, socket.socket]:
    """Return the two ends over which the keeper and the other process talk."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def serve_keeper(
    channel: socket.socket,
    settings: KeeperSettings,
    *,
    clock: Callable[[], float],
    timestamp: Callable[[], str],
    sleep: Callable[[float], object],
    woken: int | None = None,
) -> None:
    """Follow orders until the other process is gone; a transfer that runs then goes on.

    Args:
        channel: Our end.
        settings: What may be done.
        clock: Returns the time in seconds; it never jumps.
        timestamp: Returns the time as an xs:dateTime.
        sleep: Waits so many seconds.
        woken: A descriptor that does not block, and is readable when a signal has come.
    """
    for number in [*inherited_descriptors()]:  # such as sockets of systemd, which no program is to have
        with suppress(OSError):
            os.set_inheritable(number, False)  # noqa: FBT003 - it has no name
    keeper = _Keeper(channel, settings, clock, timestamp, sleep, woken=woken)
    with keeper.closing:
        while keeper.step():
            pass


class _Keeper:
    """What the orders have begun, and how each is followed."""

    def __init__(
        self,
        channel: socket.socket,
        settings: KeeperSettings,
        clock: Callable[[], float],
        timestamp: Callable[[], str],
        sleep: Callable[[float], object],
        *,
        woken: int | None,
    ) -> None:
        self._woken = woken
        self._channel = channel
        self._settings = settings
        self._clock = clock
        self._timestamp = timestamp
        self._sleep = sleep
        self._transfer = TransferProcess(settings.directory)
        self._programs = KeeperPrograms(settings.environment)
        self.closing = ExitStack()
        self.closing.callback(self._close)
        self._watched: int | None = None
        self._unreported = self._transfer.is_running
        """Whether the end of the transfer is still to be reported."""
        self._orders: Mapping[str, Callable[[KeeperOrder], Document]] = {
            "apply": self._apply,
            "upload": self._upload,
            "fetch": self._fetch,
            "result": self._result,
            "stop": self._stop,
            "record": self._record,
            "trial": self._trial,
            "confirm": self._confirm,
            "reboot": self._reboot,
            "reset": self._reset,
        }

        self._passing: Mapping[str, Callable[[KeeperOrder], Passed]] = {
            "provider": self._provider,
            "fetched": lambda _: self._transfer.fetched.open("rb"),
        }

    def step(self) -> bool:
        """Wait for an order or the end of a process; return whether the other process is still there."""
        ready = select.poll()
        ready.register(self._channel, select.POLLIN)
        running = self._unreported
        if running and self._watched is None:
            self._watched = self._transfer.watched()
        if self._watched is not None:
            ready.register(self._watched, select.POLLIN)
        if self._woken is not None:
            ready.register(self._woken, select.POLLIN)
        busy = running or self._programs.are_running
        found = ready.poll(WATCH_INTERVAL * 1000 if busy else None)
        if self._woken is not None and any(number == self._woken for number, _ in found):
            os.read(self._woken, MAX_PACKET)  # the handlers of signals run now
        for name, status in self._programs.ended():
            if status != 0:
                self._send({"event": "failed", "name": name, "status": status})
        if running:
            self._transfer.shorten()
            self._see_end()
        return not any(number == self._channel.fileno() for number, _ in found) or self._follow()

    def _close(self) -> None:
        """End the providers; a transfer and a reboot go on."""
        self._programs.end_providers()
        if self._watched is not None:
            os.close(self._watched)

    def _see_end(self) -> None:
        if self._transfer.is_running:
            return
        if self._watched is not None:
            os.close(self._watched)
            self._watched = None
        self._unreported = False
        self._send({"event": "ended", "token": self._transfer.token})

    def _follow(self) -> bool:
        """Follow one order; return whether the other process is still there."""
        try:
            octets = self._channel.recv(MAX_PACKET)
        except OSError:
            return False
        if not octets:
            return False
        passed: list[Passed] = []
        try:
            order = KeeperOrder.read(octets)
            if order.name in self._passing:
                passed.append(self._passing[order.name](order))
                reply: Document = {}
            elif order.name in self._orders:
                reply = self._orders[order.name](order)
            else:
                raise UsageError("unknown order")
        except SpkgError as exc:
            reply = {"problem": exc.problem}
        except (OSError, ValueError) as exc:
            reply = {"problem": os_problem(exc) if isinstance(exc, OSError) else str(exc)}
        self._send({"reply": reply}, passed)
        for one in passed:
            one.close()
        return True

    def _send(self, document: Document, passed: Sequence[Passed] = ()) -> None:
        with suppress(OSError):  # the other process is gone: the next step shows it
            socket.send_fds(self._channel, [json.dumps(document).encode()], [one.fileno() for one in passed])

    def _apply(self, order: KeeperOrder) -> Document:
        """Start ``spkg apply`` for a URL."""
        token, location = self._begun(order)
        target = self._target(order)
        size, (username, secret) = order.size, order.login
        command = [
            *self._settings.program,
            "apply",
            "--json",
            "--no-progress",
            f"--root={target.root}",
            f"--report={self._transfer.report}",
            f"--command-key={order.command_key}",
            *([f"--size={size}"] if size else []),
            f"--url-fd={URL_DESCRIPTOR}",
            *target.options,
        ]
        lines = {URL_DESCRIPTOR: location.url.encode()}
        if username is not None and secret is not None:
            command += [f"--username-fd={NAME_DESCRIPTOR}", f"--password-fd={SECRET_DESCRIPTOR}"]
            lines |= {NAME_DESCRIPTOR: username.encode(), SECRET_DESCRIPTOR: secret}
        self._transfer.start(token, command, self._settings.environment, lines)
        self._unreported = True
        return {}

    def _upload(self, order: KeeperOrder) -> Document:
        """Start sending a configured file to a URL."""
        token, location = self._begun(order)
        source = self._settings.uploads.get(order.text("file_type"))
        if source is None:
            raise UsageError("no file is configured for this FileType")
        username, secret = order.login
        work = upload_work(
            source,
            location,
            {**self._settings.upload_options, "username": username, "password": secret or b""},
            environment=self._settings.environment,
            user=self._settings.user,
            clock=self._clock,
            timestamp=self._timestamp,
            sleep=self._sleep,
        )
        self._transfer.start_work(token, work)
        self._unreported = True
        return {}

    def _fetch(self, order: KeeperOrder) -> Document:
        """Start fetching a file for the other process, which has no rights to install it."""
        token, location = self._begun(order)
        username, secret = order.login
        work = fetch_work(
            location,
            {**self._settings.upload_options, "username": username, "password": secret or b""},
            self._transfer.fetched,
            user=self._settings.user,
            clock=self._clock,
            timestamp=self._timestamp,
            sleep=self._sleep,
        )
        self._transfer.start_work(token, work)
        self._unreported = True
        return {}

    def _begun(self, order: KeeperOrder) -> tuple[str, Location]:
        """Return what a transfer is called, and where it goes, if one can begin."""
        location = order.location
        if location.scheme not in self._settings.schemes:
            raise UsageError(f"{location.scheme} is not enabled")
        token = order.text("token")
        if not token:
            raise UsageError("expected a token")
        if self._transfer.is_running:
            raise UsageError("another transfer is running")
        return token, location

    def _result(self, _order: KeeperOrder) -> Document:
        """Return whether the transfer runs, or how the last one ended."""
        ended = self._transfer.end()
        if ended is None:
            return {"running": self._transfer.is_running, "token": self._transfer.token}
        return result_answer(ended)

    def _stop(self, _order: KeeperOrder) -> Document:
        self._transfer.stop()
        return {"running": self._transfer.is_running}

    def _record(self, order: KeeperOrder) -> Document:
        """Return what the installer has recorded of a root, the last package first."""
        root = self._target(order).root
        return record_answer(read_json(self._run("status", root)))

    def _trial(self, order: KeeperOrder) -> Document:
        """Return the package on trial in a root; asked often, it costs nothing without one."""
        there = os.path.lexists(self._target(order).root / TRIAL_NOTE)
        return {"trial": self._record(order)["trial"] if there else None}

    def _confirm(self, order: KeeperOrder) -> Document:
        """End the trial in a root; what was on trial stays."""
        root = self._target(order).root
        if os.path.lexists(root / TRIAL_NOTE):
            self._run("confirm", root)
        return {}

    def _target(self, order: KeeperOrder) -> InstallTarget:
        """Return where packages of the FileType are installed.

        Raises:
            UsageError: Nowhere.
        """
        target = self._settings.targets.get(order.text("file_type").partition(" ")[0])
        if target is None:
            raise UsageError("no root is configured for this FileType")
        return target

    def _run(self, name: str, root: Path) -> bytes:
        """Run a command of this program for a root, and return what it prints.

        Raises:
            UsageError: It fails.
        """
        done = run_program(
            (*self._settings.program, name, f"--root={root}", "--json"),
            environment=self._settings.environment,
            clock=self._clock,
            limit=PROGRAM_LIMIT,
            longest_answer=MAX_STATUS_ANSWER,
        )
        if not done.succeeded:
            said = done.output.strip().splitlines()[:1]
            raise UsageError(f"spkg {name} {done.end}{''.join(f': {line}' for line in said)}")
        return done.answer

    def _reset(self, _order: KeeperOrder) -> Document:
        """Run the command that resets the device, to its end."""
        if not self._settings.reset:
            raise UsageError("no command is configured for factory-reset")
        done = run_program(
            self._settings.reset,
            environment=self._settings.environment,
            clock=self._clock,
            limit=PROGRAM_LIMIT,
        )
        if not done.succeeded:
            raise UsageError(f"{self._settings.reset[0]} {done.end}")
        return {}

    def _reboot(self, _order: KeeperOrder) -> Document:
        """Start the command that reboots the device, and do not wait for it."""
        if not self._settings.reboot:
            raise UsageError("no command is configured for reboot")
        self._programs.start("reboot", self._settings.reboot)
        return {}

    def _provider(self, order: KeeperOrder) -> socket.socket:
        """Start a provider, and return the other end of its standard input and output."""
        name = order.text("name")
        command = self._settings.providers.get(name)
        if command is None:
            raise UsageError("no such provider is configured")
        return self._programs.start_provider(name, command)
