"""The room that an installation takes of the file system, counted before it begins, for both modes.

All or nothing, everything new is beside everything old.  In place, each command has what those before it
left: a file is written before the one that it replaces goes.  An overlayfs gives nothing back for what goes
from a lower layer: it notes that it is gone, which takes an inode, and it copies what changes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from spkg.errors import NO_ROOM, RefusedError
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.planned_tree import Blob, Directory, Leaf, Node
from spkg.install.root_tree import EntryKind, Room, Tree, TreeEntry
from spkg.install.tree_path import Parts

__all__ = ["IN_PLACE_OVERHEAD", "OVERHEAD", "OWN_TEXTS", "TEXT", "RoomLeft", "check_room"]

OVERHEAD: Final = 16
"""The transaction's own directories, markers, journal and record, in files or blocks."""
IN_PLACE_OVERHEAD: Final = 5
"""Checkpoints, the record and what has arrived, in files or blocks."""
OWN_TEXTS: Final = 12
"""How many blocks of the overhead are not for texts: journal and record."""
TEXT: Final = 128
"""What a change takes in each text beside its paths, at most, in bytes."""


class RoomLeft:
    """What is free while commands take effect one by one.

    Args:
        tree: The existing tree.
        room: What is free before.
        sizes: The lengths of the files of the package.

    Raises:
        RefusedError: There is no room to begin.
    """

    def __init__(self, tree: Tree, room: Room, sizes: Sequence[int]) -> None:
        self._tree = tree
        self._block = room.block
        self._octets = room.free
        self._inodes = room.inodes
        self._sizes = sizes
        self._raised: set[Parts] = set()
        self.take(IN_PLACE_OVERHEAD * room.block, IN_PLACE_OVERHEAD)

    def take(self, octets: int, inodes: int = 1) -> None:
        """Take room.

        Raises:
            RefusedError: There is less.
        """
        octets = _rounded(octets, self._block)
        _check(octets, self._octets, "bytes")
        self._octets -= octets
        if self._inodes is not None:
            _check(inodes, self._inodes, "inodes")
            self._inodes -= inodes

    def put(self, number: int) -> None:
        """Take room for a file of the package.

        Raises:
            RefusedError: There is less.
        """
        self.take(self._sizes[number])

    def make(self, directories: int) -> None:
        """Take room for new directories.

        Raises:
            RefusedError: There is less.
        """
        self.take(directories * self._block, directories)

    def move(self, node: Node) -> None:
        """Take room for a file that gets another name.

        Raises:
            RefusedError: There is less.
        """
        if isinstance(node, Leaf) and node.entry.lower:
            self.take(node.entry.size, 2)  # a copy, and the note that it is gone

    def change(self, path: Parts) -> None:
        """Take room for the directories above an entry that changes.

        Raises:
            RefusedError: There is less.
            OSError: The tree can't be read.
        """
        if not self._tree.layered:
            return
        for above in (path[:depth] for depth in range(1, len(path))):
            if above not in self._raised:
                self._raised.add(above)
                found = self._tree.entry(above)
                if found is None or found.kind is not EntryKind.DIRECTORY:
                    return
                if found.lower:
                    self.take(self._block)

    def remove(self, nodes: Iterable[Node]) -> None:
        """Give back the room of what is removed.

        Raises:
            RefusedError: To note that it is gone takes more than there is.
        """
        for node in nodes:
            match node:
                case Blob(file=number):
                    self._give(self._sizes[number])
                case Directory(lower=True):
                    self.take(self._block, 2)  # it is copied, to note what is gone from it
                case Directory():
                    self._give(0)
                case Leaf(entry=entry) if entry.lower:
                    self.take(0)
                case Leaf(entry=entry) if entry.links == 1:
                    self._give(entry.size if entry.octets is None else entry.octets)
                case Leaf():
                    pass

    def _give(self, octets: int) -> None:
        self._octets += octets // self._block * self._block  # not more than it took
        if self._inodes is not None:
            self._inodes += 1


def check_room(effects: Sequence[Effect], sizes: Sequence[int], tree: Tree, room: Room) -> None:
    """Check that everything new fits beside everything old.

    Args:
        effects: What an installation does.
        sizes: The lengths of the files of the package.
        tree: The existing tree.
        room: The room that there is.

    Raises:
        RefusedError: It does not fit: a hundred bytes of commands can require 4 GiB, many times over.
        OSError: The tree can't be read.
    """
    puts = [sizes[effect.file] for effect in effects if isinstance(effect, PutFile)]
    directories = sum(isinstance(effect, MakeDirectory) for effect in effects)
    texts = sum(_rounded(TEXT + 4 * sum(map(len, effect.path)), 1) for effect in effects)
    own = max(OVERHEAD, OWN_TEXTS + 2 * -(-texts // room.block))
    blocks = sum(-(-size // room.block) for size in puts) + directories + own
    inodes = len(puts) + directories + OVERHEAD
    if room.names_count:
        inodes += sum(_replaced(effect) is not None for effect in effects)
    copies, notes = _copied(effects, tree) if tree.layered else ([], 0)
    blocks += sum(-(-size // room.block) for size in copies)
    _check(blocks * room.block, room.free, "bytes")
    if room.inodes is not None:
        _check(inodes + len(copies) + notes, room.inodes, "inodes")


def _copied(effects: Sequence[Effect], tree: Tree) -> tuple[list[int], int]:
    """Return the sizes of what an overlayfs has to copy, and how many entries it has to note as gone."""
    there: dict[Parts, TreeEntry] = {}
    moved: list[TreeEntry] = []
    gone: list[TreeEntry] = []
    for effect in effects:
        for end in [effect.path, *([effect.source] if isinstance(effect, MoveEntry) else ())]:
            for depth in range(1, len(end)):
                above = there.get(end[:depth]) or tree.entry(end[:depth])
                if above is None or above.kind is not EntryKind.DIRECTORY:
                    break
                there[end[:depth]] = above
        if isinstance(effect, MoveEntry) and (source := tree.entry(effect.source)) is not None:
            moved.append(source)
        if isinstance(effect, DeleteEntry) or _replaced(effect) is EntryKind.DIRECTORY:
            below = dict(_below(tree, effect.path))
            gone += below.values()
            there |= {path: entry for path, entry in below.items() if entry.kind is EntryKind.DIRECTORY}
    copied = [1 for entry in there.values() if entry.lower] + [one.size for one in moved if one.lower]
    return copied, sum(entry.lower for entry in (*moved, *gone))


def _below(tree: Tree, path: Parts) -> Iterator[tuple[Parts, TreeEntry]]:
    """Give everything in a tree."""
    waiting = [path]
    while waiting:
        one = waiting.pop()
        entry = tree.entry(one)
        if entry is None:
            continue
        yield one, entry
        if entry.kind is EntryKind.DIRECTORY:
            waiting += [(*one, name) for name in tree.names(one)]


def _replaced(effect: Effect) -> EntryKind | None:
    return None if isinstance(effect, DeleteEntry) else effect.replaces


def _rounded(octets: int, block: int) -> int:
    return -(-octets // block) * block


def _check(needed: int, free: int, what: str) -> None:
    if needed > free:
        are = f"{what} are" if needed != 1 else f"{what.removesuffix('s')} is"
        raise RefusedError(f"{needed} {are} needed, {free} are free", reason=NO_ROOM)
