"""What a plan does to a tree: one operation for each path."""

from typing import Final

from spkg.common.frozen import dataclass
from spkg.install.heritage import NO_HERITAGE, Heritage
from spkg.install.root_tree import EntryKind
from spkg.install.tree_path import Parts

__all__ = ["DIRECTORY_MODE", "DeleteEntry", "Effect", "HandleFile", "MakeDirectory", "MoveEntry", "PutFile"]

DIRECTORY_MODE: Final = 0o755
"""The mode of every new directory (decision 20)."""


@dataclass(frozen=True, kw_only=True)
class PutFile:
    """A file of the payload is put at a path."""

    path: Parts
    file: int
    """Its index among the files of the package."""
    mode: int
    owner: tuple[int, int] | None
    """User and group of the file it replaces."""
    replaces: EntryKind | None
    """What was at the path before."""
    heritage: Heritage = NO_HERITAGE
    """What its directory gives it."""


@dataclass(frozen=True, kw_only=True)
class DeleteEntry:
    """The entry at a path is removed, with everything below it."""

    path: Parts
    kind: EntryKind


@dataclass(frozen=True, kw_only=True)
class MoveEntry:
    """An entry that is not a directory moves from one path to another."""

    source: Parts
    path: Parts
    replaces: EntryKind | None


@dataclass(frozen=True, kw_only=True)
class MakeDirectory:
    """A directory is made."""

    path: Parts
    replaces: EntryKind | None
    heritage: Heritage = NO_HERITAGE
    """What the directory above gives it."""


@dataclass(frozen=True, kw_only=True)
class HandleFile:
    """A file of the payload is given to a program of the device, and not put into the tree."""

    path: Parts
    """Its path in the package, whatever is there in the tree."""
    file: int
    """Its index among the files of the package."""


Effect = PutFile | DeleteEntry | MoveEntry | MakeDirectory
