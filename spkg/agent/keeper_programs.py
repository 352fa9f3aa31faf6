"""The programs that run beside the keeper, in sessions of their own: providers, and the one that reboots."""

import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

from spkg.common.stop_signals import STOP_SIGNALS
from spkg.errors import UsageError

__all__ = ["KeeperPrograms"]

MAX_PROVIDERS: Final = 32
"""The most processes of providers that run at once, so that nobody fills the device with them."""
PROVIDER_PREFIX: Final = "provider "
"""What the name of a program begins with that is a provider."""


class KeeperPrograms:
    """The programs that run beside.

    Args:
        environment: What they find in their environment.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._names: dict[int, str] = {}
        """What each process is."""

    @property
    def are_running(self) -> bool:
        """Whether there is one whose end was not seen."""
        return bool(self._names)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a program.

        Raises:
            OSError: It can't be started.
        """
        self._spawn(name, command, [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)])

    def start_provider(self, name: str, command: Sequence[str]) -> socket.socket:
        """Start a provider, and return the other end of its standard input and output.

        Raises:
            UsageError: Too many of them run.
            OSError: It can't be started.
        """
        running = sum(one.startswith(PROVIDER_PREFIX) for one in self._names.values())
        if running >= MAX_PROVIDERS:
            raise UsageError(f"{running} processes of providers run, and at most {MAX_PROVIDERS} may")
        theirs, ours = socket.socketpair()
        with theirs, ExitStack() as failing:
            failing.enter_context(ours)
            streams = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)]
            self._spawn(f"{PROVIDER_PREFIX}{name}", command, streams)
            failing.pop_all()
        return ours

    def ended(self) -> Iterator[tuple[str, int | None]]:
        """Yield each program that has ended since, and its status, if that is known."""
        for pid, name in [*self._names.items()]:
            status: int | None = None
            with suppress(ChildProcessError):
                found, encoded = os.waitpid(pid, os.WNOHANG)
                if found == 0:
                    continue
                status = os.waitstatus_to_exitcode(encoded)
            del self._names[pid]
            yield name, status

    def end_providers(self) -> None:
        """End the providers: they are of no use to anybody else; a reboot goes on."""
        for pid, name in self._names.items():
            if name.startswith(PROVIDER_PREFIX):
                with suppress(OSError):
                    os.killpg(pid, signal.SIGTERM)

    def _spawn(self, name: str, command: Sequence[str], actions: Sequence[Any]) -> None:
        pid = os.posix_spawnp(
            command[0],
            [*command],
            self._environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=STOP_SIGNALS,
        )
        self._names[pid] = name
