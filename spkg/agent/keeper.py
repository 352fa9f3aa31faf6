"""The keeper: the only process of the agent with rights.  It opens no socket of the network.

It knows what it may run from the configuration alone; what the other process sends are numbers, texts that
become single arguments, and names of things that are configured.  So an attacker who controls that process
can have signed packages applied, and nothing else.

Both talk by JSON, one message a packet.  Each request is answered; an event comes unasked.
"""

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from spkg.agent.fetch_work import fetch_work
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
from spkg.common.stop_signals import STOP_SIGNALS
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
LONGEST_KEY: Final = 32
MAX_ARGUMENT_TEXT: Final = 256
"""The longest CommandKey, and the longest other text of a Download, in characters (Table 27)."""
MAX_TOKEN: Final = 64
MAX_PROVIDERS: Final = 32
"""The most processes of providers that run at once, so that nobody fills the device with them."""
PROVIDER_PREFIX: Final = "provider "
"""What the name of a program begins with that is a provider."""
RESULT_KEYS: Final = (
    "status",
    "exit",
    "message",
    "reason",
    "fault",
    "reboot_required",
    "already_installed",
    "roles",
    "start_time",
    "complete_time",
)
"""What is passed on of the report of an installation."""
RECORDED_KEYS: Final = ("package", "version", "time", "command_key", "boot_id")
"""What is passed on of each package in the record."""
ROLLED_BACK_KEYS: Final = ("package", "version", "time", "by", "reason")
"""What is passed on of each package that was rolled back."""
TRIAL_KEYS: Final = ("package", "until", "boots_left")
"""What is passed on of a trial."""


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
) -> None:
    """Follow orders until the other process is gone; a transfer that runs then goes on.

    Args:
        channel: Our end.
        settings: What may be done.
        clock: Returns the time in seconds; it never jumps.
        timestamp: Returns the time as an xs:dateTime.
        sleep: Waits so many seconds.
    """
    for number in [*inherited_descriptors()]:  # such as sockets of systemd, which no program is to have
        with suppress(OSError):
            os.set_inheritable(number, False)  # noqa: FBT003 - it has no name
    keeper = _Keeper(channel, settings, clock, timestamp, sleep)
    with keeper.closing:
        while keeper.step():
            pass


class _Passed(Protocol):
    """What the other process gets a descriptor of."""

    def fileno(self) -> int:
        """Return it."""
        ...

    def close(self) -> None:
        """Close ours."""
        ...


class _Keeper:
    """What the orders have begun, and how each is followed."""

    def __init__(
        self,
        channel: socket.socket,
        settings: KeeperSettings,
        clock: Callable[[], float],
        timestamp: Callable[[], str],
        sleep: Callable[[float], object],
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._clock = clock
        self._timestamp = timestamp
        self._sleep = sleep
        self._transfer = TransferProcess(settings.directory)
        self._children: dict[int, str] = {}
        """The programs that run beside, and what they are."""
        self.closing = ExitStack()
        self.closing.callback(self._close)
        self._watched: int | None = None
        self._unreported = self._transfer.is_running
        """Whether the end of the transfer is still to be reported."""
        self._orders: Mapping[str, Callable[[Document], Document]] = {
            "apply": self._apply,
            "upload": self._upload,
            "fetch": self._fetch,
            "result": self._result,
            "stop": self._stop,
            "record": self._record,
            "confirm": self._confirm,
            "reboot": lambda _: self._start("reboot", self._settings.reboot),
            "reset": self._reset,
        }

        self._passing: Mapping[str, Callable[[Document], _Passed]] = {
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
        busy = running or self._children
        found = ready.poll(WATCH_INTERVAL * 1000 if busy else None)
        self._reap()
        if running:
            self._transfer.shorten()
            self._see_end()
        return not any(number == self._channel.fileno() for number, _ in found) or self._follow()

    def _close(self) -> None:
        """End the providers: they are of no use to anybody else; a transfer and a reboot go on."""
        for pid, name in self._children.items():
            if name.startswith(PROVIDER_PREFIX):
                with suppress(OSError):
                    os.killpg(pid, signal.SIGTERM)
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

    def _reap(self) -> None:
        """Take the status of each program that has ended."""
        for pid, name in [*self._children.items()]:
            status: int | None = None
            with suppress(ChildProcessError):
                found, encoded = os.waitpid(pid, os.WNOHANG)
                if found == 0:
                    continue
                status = os.waitstatus_to_exitcode(encoded)
            del self._children[pid]
            if status != 0:
                self._send({"event": "failed", "name": name, "status": status})

    def _follow(self) -> bool:
        """Follow one order; return whether the other process is still there."""
        try:
            octets = self._channel.recv(MAX_PACKET)
        except OSError:
            return False
        if not octets:
            return False
        passed: list[_Passed] = []
        try:
            order = read_json(octets)
            if not isinstance(order, dict) or not isinstance(order.get("order"), str):
                raise UsageError("expected an order")
            if order["order"] in self._passing:
                passed.append(self._passing[order["order"]](order))
                reply: Document = {}
            elif order["order"] in self._orders:
                reply = self._orders[order["order"]](order)
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

    def _send(self, document: Document, passed: Sequence[_Passed] = ()) -> None:
        with suppress(OSError):  # the other process is gone: the next step shows it
            socket.send_fds(self._channel, [json.dumps(document).encode()], [one.fileno() for one in passed])

    def _apply(self, order: Document) -> Document:
        """Start ``spkg apply`` for a URL."""
        token, location = self._begun(order)
        target = self._target(order)
        size = order.get("size")
        if type(size) is not int or not 0 <= size < 1 << 32:
            raise UsageError("expected a size")
        username, secret = _login(order)
        command = [
            *self._settings.program,
            "apply",
            "--json",
            "--no-progress",
            f"--root={target.root}",
            f"--report={self._transfer.report}",
            f"--command-key={_text(order, 'command_key', LONGEST_KEY)}",
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

    def _upload(self, order: Document) -> Document:
        """Start sending a configured file to a URL."""
        token, location = self._begun(order)
        source = self._settings.uploads.get(_text(order, "file_type", MAX_TOKEN))
        if source is None:
            raise UsageError("no file is configured for this FileType")
        username, secret = _login(order)
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

    def _fetch(self, order: Document) -> Document:
        """Start fetching a file for the other process, which has no rights to install it."""
        token, location = self._begun(order)
        username, secret = _login(order)
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

    def _begun(self, order: Document) -> tuple[str, Location]:
        """Return what a transfer is called, and where it goes, if one can begin."""
        location = Location.parse(_text(order, "url", MAX_ARGUMENT_TEXT))
        if location.scheme not in self._settings.schemes:
            raise UsageError(f"{location.scheme} is not enabled")
        token = _text(order, "token", MAX_TOKEN)
        if not token:
            raise UsageError("expected a token")
        if self._transfer.is_running:
            raise UsageError("another transfer is running")
        return token, location

    def _result(self, _order: Document) -> Document:
        """Return whether the transfer runs, or how the last one ended."""
        ended = self._transfer.end()
        if ended is None:
            return {"running": self._transfer.is_running, "token": self._transfer.token}
        report = ended.report
        return {
            "running": False,
            "token": ended.token,
            "exit": ended.status,
            "result": None if report is None else _short(report, RESULT_KEYS),
            "said": ended.said[-MAX_ARGUMENT_TEXT:],
        }

    def _stop(self, _order: Document) -> Document:
        self._transfer.stop()
        return {"running": self._transfer.is_running}

    def _record(self, order: Document) -> Document:
        """Return what the installer has recorded of a root, the last package first."""
        root = self._target(order).root
        status = read_json(self._run("status", root))
        return {
            "installed": [_short(one, RECORDED_KEYS) for one in status["installed"]],
            "rolled_back": [_short(one, ROLLED_BACK_KEYS) for one in status["rolled_back"]],
            "trial": None if status["trial"] is None else _short(status["trial"], TRIAL_KEYS),
        }

    def _confirm(self, order: Document) -> Document:
        """End the trial in a root; what was on trial stays."""
        root = self._target(order).root
        if os.path.lexists(root / TRIAL_NOTE):
            self._run("confirm", root)
        return {}

    def _target(self, order: Document) -> InstallTarget:
        """Return where packages of the FileType are installed.

        Raises:
            UsageError: Nowhere.
        """
        target = self._settings.targets.get(_text(order, "file_type", MAX_TOKEN).partition(" ")[0])
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

    def _reset(self, _order: Document) -> Document:
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

    def _start(self, name: str, command: Sequence[str]) -> Document:
        """Start a program in a session of its own, and do not wait for it."""
        if not command:
            raise UsageError(f"no command is configured for {name}")
        empty = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        self._spawn(name, command, empty)
        return {}

    def _provider(self, order: Document) -> socket.socket:
        """Start a provider, and return the other end of its standard input and output."""
        name = _text(order, "name", MAX_TOKEN)
        command = self._settings.providers.get(name)
        if command is None:
            raise UsageError("no such provider is configured")
        running = sum(one.startswith(PROVIDER_PREFIX) for one in self._children.values())
        if running >= MAX_PROVIDERS:
            raise UsageError(f"{running} processes of providers run, and at most {MAX_PROVIDERS} may")
        theirs, ours = socket.socketpair()
        with theirs:
            streams = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)]
            self._spawn(f"{PROVIDER_PREFIX}{name}", command, streams)
        return ours

    def _spawn(self, name: str, command: Sequence[str], actions: Sequence[Any]) -> None:
        pid = os.posix_spawnp(
            command[0],
            [*command],
            self._settings.environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=STOP_SIGNALS,
        )
        self._children[pid] = name


def _text(order: Document, key: str, most: int) -> str:
    """Return a text of an order.

    Raises:
        UsageError: It is missing, too long, or can't be an argument.
    """
    text = order.get(key)
    if not isinstance(text, str) or len(text) > most or "\0" in text:
        raise UsageError(f"expected a text of at most {most} characters as {key}")
    return text


def _login(order: Document) -> tuple[str | None, bytes | None]:
    """Return a name and a password; none of both where nobody has to log in."""
    username, password = (_text(order, key, MAX_ARGUMENT_TEXT) for key in ("username", "password"))
    return (username, password.encode()) if username else (None, None)


def _short(document: Mapping[str, Any], names: Sequence[str]) -> Document:
    """Return some values of a document, whose texts are no longer than a message can take."""
    values = {name: document.get(name) for name in names}
    return {
        name: value[:MAX_ARGUMENT_TEXT] if isinstance(value, str) else value for name, value in values.items()
    }
