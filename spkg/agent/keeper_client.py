"""The other side of the keeper: what the process without rights asks it to do."""

import json
import os
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from spkg.agent.fetch_work import MAX_FETCHED
from spkg.agent.keeper import MAX_PACKET
from spkg.common.documents import Document
from spkg.errors import HostError

__all__ = ["KeeperClient", "KeeperGoneError", "TransferNews"]

KEEPER_PATIENCE: Final = 150
"""How long the keeper may take to answer, in seconds: longer than any program that it waits for."""


class KeeperGoneError(HostError):
    """The keeper has ended: without it the agent is of no use."""


@dataclass(frozen=True, kw_only=True)
class TransferNews:
    """What the keeper knows of the last transfer."""

    token: str | None
    """What it was started as; None if there was none."""
    is_running: bool
    status: int | None = None
    """The exit status of its process, or the negative number of a signal; None if that is not known."""
    result: Mapping[str, Any] | None = None
    """What it reported; None if it did not come to that."""
    said: str = ""
    """The end of what it printed to standard error."""


class KeeperClient:
    """Asks the keeper; it may be used from any thread.

    Each method raises :class:`HostError` if the keeper refuses or can't do it, :class:`KeeperGoneError` if it
    has ended.

    Args:
        channel: Our end.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.settimeout(KEEPER_PATIENCE)
        self._lock = threading.Lock()
        self._failed: list[tuple[str, int | None]] = []

    def fileno(self) -> int:
        """Return what becomes readable when a transfer has ended, or the keeper is gone."""
        return self._channel.fileno()

    def heard(self) -> bool:
        """Take the events that have come; return whether the keeper is still there."""
        with self._lock:
            ready = select.poll()
            ready.register(self._channel, select.POLLIN)
            with suppress(HostError):
                while ready.poll(0):
                    self._take()
                return True
            return False

    def failures(self) -> tuple[tuple[str, int | None], ...]:
        """Return the programs that have failed since, each with its exit status, and forget them."""
        self.heard()
        with self._lock:
            found, self._failed = (*self._failed,), []
            return found

    def start_apply(
        self,
        *,
        token: str,
        url: str,
        username: str,
        password: str,
        size: int,
        command_key: str,
        file_type: str,
    ) -> None:
        """Begin to apply a package; *token* is what :meth:`transfer_result` then calls it."""
        self._ask(
            "apply",
            token=token,
            url=url,
            username=username,
            password=password,
            size=size,
            command_key=command_key,
            file_type=file_type,
        )

    def start_upload(self, *, token: str, url: str, username: str, password: str, file_type: str) -> None:
        """Begin to send the file that is configured for a FileType."""
        self._ask("upload", token=token, url=url, username=username, password=password, file_type=file_type)

    def start_fetch(self, *, token: str, url: str, username: str, password: str) -> None:
        """Begin to fetch a file for the agent itself."""
        self._ask("fetch", token=token, url=url, username=username, password=password)

    def fetched(self) -> bytes:
        """Return the file that was fetched last."""
        with self._lock:
            _, descriptors = self._exchange({"order": "fetched"})
        with open(descriptors[0], "rb") as file:  # noqa: PTH123 - it has no path here
            return file.read(MAX_FETCHED)

    def transfer_result(self) -> TransferNews:
        """Return whether a transfer runs, or how the last one ended."""
        said = self._ask("result")
        return TransferNews(
            token=said["token"],
            is_running=said["running"],
            status=said.get("exit"),
            result=said.get("result"),
            said=said.get("said", ""),
        )

    def stop_transfer(self) -> None:
        """Ask a running transfer to end; it does, unless it is past the point of no return."""
        self._ask("stop")

    def record(self, file_type: str) -> Document:
        """Return ``installed``, ``rolled_back`` and ``trial`` of the root for a FileType."""
        return self._ask("record", file_type=file_type)

    def package_on_trial(self, file_type: str) -> Document | None:
        """Return the package on trial in the root for a FileType; None without one."""
        found: Document | None = self._ask("trial", file_type=file_type)["trial"]
        return found

    def confirm(self, file_type: str) -> None:
        """End the trial in the root for a FileType, durably; without a trial nothing changes."""
        self._ask("confirm", file_type=file_type)

    def reboot(self) -> None:
        """Start the command that reboots the device."""
        self._ask("reboot")

    def reset(self) -> None:
        """Run the command that resets the device, to its end."""
        self._ask("reset")

    def start_provider(self, name: str) -> socket.socket:
        """Start a provider, and return a socket to its standard input and output."""
        with self._lock:
            _, descriptors = self._exchange({"order": "provider", "name": name})
        return socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        """Let the keeper end; a transfer that runs goes on."""
        self._channel.close()

    def _ask(self, order: str, **values: Any) -> Document:
        with self._lock:
            return self._exchange({"order": order, **values})[0]

    def _exchange(self, order: Document) -> tuple[Document, Sequence[int]]:
        """Send an order, and return the reply.

        Raises:
            HostError: The keeper refuses.
            KeeperGoneError: It has ended.
        """
        try:
            self._channel.send(json.dumps(order).encode())
        except OSError as exc:
            raise _gone() from exc
        while True:
            document, descriptors = self._take()
            if "reply" in document:
                reply: Document = document["reply"]
                if "problem" in reply:
                    raise HostError(reply["problem"])
                return reply, descriptors

    def _take(self) -> tuple[Document, Sequence[int]]:
        """Return the next message; an event is noted.

        Raises:
            KeeperGoneError: The keeper has ended.
        """
        try:
            octets, descriptors, _, _ = socket.recv_fds(self._channel, MAX_PACKET, 1)
        except OSError as exc:
            raise _gone() from exc
        if not octets:
            raise _gone()
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - it has no name
        document: Document = json.loads(octets)
        if document.get("event") == "failed":
            self._failed.append((document["name"], document["status"]))
        return document, descriptors


def _gone() -> KeeperGoneError:
    return KeeperGoneError("the process that has the rights of the agent is gone")
