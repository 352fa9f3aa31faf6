"""What the other process orders, read strictly: it may be an attacker's by now."""

from dataclasses import dataclass
from typing import Final, Self

from spkg.common.documents import Document
from spkg.common.json_input import read_json
from spkg.download.url import Location
from spkg.errors import UsageError

__all__ = ["MAX_ARGUMENT_TEXT", "KeeperOrder"]

LONGEST_KEY: Final = 32
"""The longest CommandKey, in characters (Table 27)."""
MAX_ARGUMENT_TEXT: Final = 256
"""The longest other text of a Download, in characters (Table 27)."""
MAX_TOKEN: Final = 64


@dataclass(frozen=True)
class KeeperOrder:
    """An order: its name, and what belongs to it."""

    name: str
    arguments: Document

    @classmethod
    def read(cls, octets: bytes) -> Self:
        """Read an order.

        Raises:
            UsageError: It has no name.
            SpkgError: It is not JSON.
        """
        order = read_json(octets)
        if not isinstance(order, dict) or not isinstance(order.get("order"), str):
            raise UsageError("expected an order")
        return cls(order["order"], order)

    def text(self, key: str, most: int = MAX_TOKEN) -> str:
        """Return a text of at most so many characters, which can be an argument of a program.

        Raises:
            UsageError: It is missing, too long, or has a NUL.
        """
        text = self.arguments.get(key)
        if not isinstance(text, str) or len(text) > most or "\0" in text:
            raise UsageError(f"expected a text of at most {most} characters as {key}")
        return text

    @property
    def command_key(self) -> str:
        """The CommandKey of a Download.

        Raises:
            UsageError: It is missing.
        """
        return self.text("command_key", LONGEST_KEY)

    @property
    def location(self) -> Location:
        """Where a transfer goes.

        Raises:
            UsageError: There is no URL that can be used.
        """
        return Location.parse(self.text("url", MAX_ARGUMENT_TEXT))

    @property
    def size(self) -> int:
        """The size of a file in bytes; 0 if it is not known.

        Raises:
            UsageError: It is no size.
        """
        size = self.arguments.get("size")
        if type(size) is not int or not 0 <= size < 1 << 32:
            raise UsageError("expected a size")
        return size

    @property
    def login(self) -> tuple[str | None, bytes | None]:
        """A name and a password; None for both if nobody has to log in.

        Raises:
            UsageError: One of them is missing or too long.
        """
        username, password = (self.text(key, MAX_ARGUMENT_TEXT) for key in ("username", "password"))
        return (username, password.encode()) if username else (None, None)
