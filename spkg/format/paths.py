"""Paths as packages carry them: bytes relative to the root of the device, checked once, here.

A path of one of these types contains no ``..``, no empty part and no NUL, and is within the limits; no other
code checks that again (decision 8).
"""

from dataclasses import field
from typing import Final, Self

from spkg.common.frozen import dataclass

__all__ = ["MAX_PART", "MAX_PATH", "MAX_PATH_DEPTH", "RootPath", "TreePath", "VersionedPath"]

MAX_PATH: Final = 1024
"""The longest path, in bytes."""
MAX_PART: Final = 255
"""The longest part of a path, in bytes: the limit of Linux file systems."""
MAX_PATH_DEPTH: Final = 32
"""The most parts of a path."""
OWN_DIRECTORY: Final = b".spkg"
"""The installer's own directory below the root, which no package may name."""
MAX_BASE: Final = 8
"""The longest base of a versioned name, in characters (E.4.1)."""
EXTENSION_LENGTH: Final = 3
"""The length of the extension of a versioned name, in characters (E.4.1)."""


@dataclass(frozen=True)
class RootPath:
    """The path of a file below the root, as the bytes in the package.

    Raises:
        ValueError: The bytes are not such a path; the message says why.
    """

    octets: bytes
    parts: tuple[bytes, ...] = field(init=False, compare=False, repr=False)
    """The names from the root down; different spellings of a path have the same parts."""

    def __post_init__(self) -> None:
        octets = self.octets
        if not octets:
            raise ValueError("the path is empty")
        if len(octets) > MAX_PATH:
            raise ValueError(f"the path has {len(octets)} bytes, the limit is {MAX_PATH}")
        if b"\0" in octets:
            raise ValueError("the path contains a NUL byte")
        try:
            octets.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"the path is not UTF-8: {exc.reason} at byte {exc.start}") from exc
        parts = tuple(self._parts())
        if len(parts) > MAX_PATH_DEPTH:
            raise ValueError(f"the path has {len(parts)} parts, the limit is {MAX_PATH_DEPTH}")
        for part in parts:
            if not part:
                raise ValueError("the path has an empty part")
            if part in {b".", b".."}:
                raise ValueError(f"the path contains the part {part.decode()!r}")
            if len(part) > MAX_PART:
                raise ValueError(f"a part of the path has {len(part)} bytes, the limit is {MAX_PART}")
        if parts and parts[0] == OWN_DIRECTORY:
            raise ValueError("the path is in the installer's own directory .spkg")
        object.__setattr__(self, "parts", parts)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the path written as *text*.

        Raises:
            ValueError: It is not such a path.
        """
        try:
            return cls(text.encode())
        except UnicodeEncodeError as exc:
            raise ValueError("the path can't be written in UTF-8") from exc

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1].decode()

    def __str__(self) -> str:
        return self.octets.decode()

    def _parts(self) -> list[bytes]:
        return self.octets.removeprefix(b"/").split(b"/")


@dataclass(frozen=True)
class TreePath(RootPath):
    """The path of a sub-tree: may end in one ``/``, and may be just ``/``, the whole root (E.4.4)."""

    def _parts(self) -> list[bytes]:
        if self.octets == b"/":
            return []
        return self.octets.removeprefix(b"/").removesuffix(b"/").split(b"/")


@dataclass(frozen=True)
class VersionedPath(RootPath):
    """The path of a versioned file: a base of up to 8 characters and an extension of 3 (E.4.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        base, dot, extension = self.name.rpartition(".")
        if not dot or len(extension) != EXTENSION_LENGTH:
            raise ValueError(f"a versioned name must end in a dot and {EXTENSION_LENGTH} characters")
        if not 1 <= len(base) <= MAX_BASE:
            raise ValueError(
                f"the base of a versioned name must have 1 to {MAX_BASE} characters, got {len(base)}"
            )
        if "." in base:
            raise ValueError("the base of a versioned name must not contain a dot")

    @property
    def base(self) -> str:
        """The name without its extension: what stays the same from version to version."""
        return self.name.rpartition(".")[0]
