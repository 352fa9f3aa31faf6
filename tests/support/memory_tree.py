"""A tree to plan on that is in no file system."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from spkg.install.heritage import NO_HERITAGE, Heritage
from spkg.install.root_tree import EntryKind, Room, TreeEntry
from spkg.install.tree_path import Parts, split

__all__ = ["DIRECTORY", "FILE", "LINK", "SPACIOUS", "Memory", "tree"]

FILE: Final = TreeEntry(kind=EntryKind.FILE)
DIRECTORY: Final = TreeEntry(kind=EntryKind.DIRECTORY, mode=0o755)
LINK: Final = TreeEntry(kind=EntryKind.LINK, mode=0o777)
SPACIOUS: Final = Room(size=1 << 30, free=1 << 30, inodes=100_000, block=4096, memory=1 << 30)


@dataclass
class Memory:
    """A tree in a dict; counts what it is asked."""

    entries: dict[Parts, TreeEntry]
    targets: dict[Parts, bytes] = field(default_factory=dict)
    mounts: frozenset[Parts] = frozenset()
    folds: bool = False
    layered: bool = False
    space: Room = SPACIOUS
    attributes: dict[Parts, str] = field(default_factory=dict)
    foreign: frozenset[Parts] = frozenset()
    """The directories in which this user may not write."""
    heritages: dict[Parts, Heritage] = field(default_factory=dict)
    attributed: dict[Parts, tuple[str, ...]] = field(default_factory=dict)
    lists: dict[Parts, bytes] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def entry(self, path: Parts) -> TreeEntry | None:
        self.calls["entry"] += 1
        return self.entries.get(self._stored(path) or path)

    def names(self, path: Parts) -> Sequence[bytes]:
        self.calls["names"] += 1
        stored = self._stored(path)
        return sorted(entry[-1] for entry in self.entries if entry and entry[:-1] == stored)

    def target(self, path: Parts) -> bytes:
        self.calls["target"] += 1
        return self.targets[path]

    def fixed(self, path: Parts, *, whole: bool = False) -> tuple[Parts, str] | None:
        found = {one: why for one, why in self.attributes.items() if one[: len(path)] == path}
        return next(((one, why) for one, why in found.items() if whole or one == path), None)

    def writable(self, path: Parts) -> bool:
        return path not in self.foreign

    def heritage(self, path: Parts) -> Heritage:
        return self.heritages.get(path, NO_HERITAGE)

    def attribute_names(self, path: Parts) -> tuple[str, ...]:
        return self.attributed.get(path, ())

    def access_list(self, path: Parts) -> bytes | None:
        return self.lists.get(path)

    def room(self) -> Room:
        self.calls["room"] += 1
        return self.space

    def _stored(self, path: Parts) -> Parts | None:
        """Return the spelling in which something is there, as a file system that folds case finds it."""
        if not path or path in self.entries or not self.folds:
            return path
        folded = [part.lower() for part in path]
        return next((one for one in self.entries if [part.lower() for part in one] == folded), None)


def tree(*paths: str, **settings: Any) -> Memory:
    """Return a tree of files, of directories where a slash is at the end, of links where an arrow is."""
    made: dict[Parts, TreeEntry] = {}
    targets: dict[Parts, bytes] = {}
    for text in paths:
        path, _, target = text.partition(" -> ")
        parts = split(path)
        for depth in range(1, len(parts)):
            made.setdefault(parts[:depth], DIRECTORY)
        made[parts] = LINK if target else DIRECTORY if path.endswith("/") else FILE
        if target:
            targets[parts] = target.encode()
    return Memory(made, targets, **settings)
