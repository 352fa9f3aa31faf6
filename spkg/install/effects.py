"""What a plan does to a tree: one operation for each path."""

from dataclasses import dataclass
from typing import Final

from spkg.install.root import Parts
from spkg.install.root_tree import Kind

__all__ = ["DIRECTORY_MODE", "Delete", "Effect", "MakeDirectory", "Move", "Put"]

DIRECTORY_MODE: Final = 0o755
"""Of every directory that is made (decision 20)."""


@dataclass(frozen=True, kw_only=True)
class Put:
    """A file of the payload appears at a path."""

    path: Parts
    file: int
    """Which of the package's files."""
    mode: int
    owner: tuple[int, int] | None
    """User and group of the file it replaces."""
    replaces: Kind | None
    """What stands there before."""


@dataclass(frozen=True, kw_only=True)
class Delete:
    """What stands at a path goes, with all below it."""

    path: Parts
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Move:
    """What stood at one path, and is no directory, appears at another."""

    source: Parts
    path: Parts
    replaces: Kind | None


@dataclass(frozen=True, kw_only=True)
class MakeDirectory:
    """A directory appears."""

    path: Parts
    replaces: Kind | None


Effect = Put | Delete | Move | MakeDirectory
