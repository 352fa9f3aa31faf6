"""What a plan does to a tree: one operation for each path."""

from dataclasses import dataclass
from typing import Final

from spkg.install.root import Parts
from spkg.install.root_tree import EntryKind

__all__ = ["DIRECTORY_MODE", "DeleteEntry", "Effect", "MakeDirectory", "MoveEntry", "PutFile"]

DIRECTORY_MODE: Final = 0o755
"""Of every directory that is made (decision 20)."""


@dataclass(frozen=True, kw_only=True)
class PutFile:
    """A file of the payload appears at a path."""

    path: Parts
    file: int
    """Which of the package's files."""
    mode: int
    owner: tuple[int, int] | None
    """User and group of the file it replaces."""
    replaces: EntryKind | None
    """What stands there before."""


@dataclass(frozen=True, kw_only=True)
class DeleteEntry:
    """What stands at a path goes, with all below it."""

    path: Parts
    kind: EntryKind


@dataclass(frozen=True, kw_only=True)
class MoveEntry:
    """What stood at one path, and is no directory, appears at another."""

    source: Parts
    path: Parts
    replaces: EntryKind | None


@dataclass(frozen=True, kw_only=True)
class MakeDirectory:
    """A directory appears."""

    path: Parts
    replaces: EntryKind | None


Effect = PutFile | DeleteEntry | MoveEntry | MakeDirectory
