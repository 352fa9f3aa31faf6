"""What carries out transfers, as the queue sees it."""

from collections.abc import Mapping
from typing import Any, Protocol

from spkg.agent.keeper_client import TransferNews

__all__ = ["TransferKeeper"]


class TransferKeeper(Protocol):
    """Who transfers; :class:`KeeperClient` describes each method."""

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
        """Begin to apply a package."""
        ...

    def start_upload(self, *, token: str, url: str, username: str, password: str, file_type: str) -> None:
        """Begin to send a file."""
        ...

    def start_fetch(self, *, token: str, url: str, username: str, password: str) -> None:
        """Begin to fetch a file for the agent itself."""
        ...

    def fetched(self) -> bytes:
        """Return the file that was fetched last."""
        ...

    def transfer_result(self) -> TransferNews:
        """Return whether a transfer runs, or how the last one ended."""
        ...

    def stop_transfer(self) -> None:
        """Ask a running transfer to end."""
        ...

    def record(self, file_type: str) -> Mapping[str, Any]:
        """Return what the installer has recorded."""
        ...

    def confirm(self, file_type: str) -> None:
        """End the trial of the last package."""
        ...
