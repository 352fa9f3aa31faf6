"""The room that an installation takes of the file system, counted before it begins, for both modes.

All or nothing, everything new is beside everything old.  In place, each command has what those before it
left: a file is written before the one that it replaces goes.  An overlayfs gives nothing back for what goes
from a lower layer: it notes the name as gone, in a copy of its directory, and it copies what changes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from spkg.errors import NO_ROOM, RefusedError
from spkg.install.directory_growth import DirectoryGrowth, removal_peak
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.planned_tree import Blob, Directory, Leaf, Node
from spkg.install.reserve import RESERVE_INODES, reserve_for
from spkg.install.root_tree import OWN, AnyTree, EntryKind, Room, TreeEntry
from spkg.install.tree_path import Parts

__all__ = [
    "IN_PLACE_OVERHEAD",
    "OVERHEAD",
    "OWN_TEXTS",
    "TEXT",
    "RoomLeft",
    "check_room",
]

OVERHEAD: Final = 16
"""The transaction's own directories, markers, journal and record, in files or blocks."""
IN_PLACE_OVERHEAD: Final = 5
"""Checkpoints, the record and what has arrived, in files or blocks."""
OWN_TEXTS: Final = 12
"""How many blocks of the overhead are not for texts: journal and record."""
OLD_RECORD: Final = 1 << 14
"""What the packages before take in a record, at most, in bytes."""
RECORD_PATH: Final[Parts] = (*OWN, b"installed")
TEXT: Final = 128
"""What a change takes in each text beside its paths, at most, in bytes."""
KEEPING_INODES: Final = RESERVE_INODES + 5
"""What a kept transaction has beside the old entries: the reserve, directories, a mark, and the trial."""


class RoomLeft:
    """What is free while commands take effect one by one.

    Args:
        tree: The existing tree.
        room: What is free before.
        sizes: The lengths of the files of the package.

    Raises:
        RefusedError: There is no room to begin.
    """

    def __init__(self, tree: AnyTree, room: Room, sizes: Sequence[int]) -> None:
        self._tree = tree
        self._block = room.block
        self._octets = room.free
        self._inodes = room.inodes
        self._sizes = sizes
        self._raised: set[Parts] = set()
        self._names_count = room.names_count
        self._grows = room.grows
        self._growth = DirectoryGrowth(room.block, grows=room.grows)
        self.take(IN_PLACE_OVERHEAD * room.block, IN_PLACE_OVERHEAD)

    def take(self, octets: int, inodes: int = 1) -> None:
        """Take room.

        Raises:
            RefusedError: There is less.
        """
        octets = _rounded(octets, self._block)
        _check(octets, self._octets, "bytes")
        if self._octets is not None:
            self._octets -= octets
        if self._inodes is not None:
            _check(inodes, self._inodes, "inodes")
            self._inodes -= inodes

    def put(self, number: int, path: Parts, *, replacing: bool) -> None:
        """Take room for a file of the package; on an overlayfs, the name may be in the lower layer only.

        Raises:
            RefusedError: There is less.
        """
        self.take(self._sizes[number])
        if not replacing or self._tree.layered:
            self._add(path)

    def make(self, directory: Parts, made: int) -> None:
        """Take room for new directories: one, and some of those above it.

        Raises:
            RefusedError: There is less.
        """
        for depth in range(len(directory) - made + 1, len(directory) + 1):
            self.take(self._block)
            self._growth.begin(directory[:depth])
            self._add(directory[:depth])

    def move(self, node: Node, source: Parts, path: Parts) -> None:
        """Take room for a file that gets another name.

        Raises:
            RefusedError: There is less.
        """
        self._add(path)
        if isinstance(node, Leaf) and node.entry.lower:
            self.take(node.entry.size)  # it is copied
            self._note(source)

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
                    self._growth.begin(above)

    def remove(self, nodes: Iterable[Node], above: Parts) -> None:
        """Give back the room of what is removed.

        Args:
            nodes: What is removed.
            above: The directory that it is removed from.

        Raises:
            RefusedError: To note that it is gone takes more than there is.
        """
        removed = list(nodes)
        if self._tree.layered:
            self._note_gone(removed, above)
        for node in removed:
            match node:
                case Blob(file=number):
                    self._give(self._sizes[number])
                case Directory(lower=False):
                    self._give(0)
                case Leaf(entry=entry) if entry.lower:
                    pass
                case Leaf(entry=entry) if entry.links == 1:
                    self._give(entry.size if entry.octets is None else entry.octets)
                case _:
                    pass

    def record(self, effects: Sequence[Effect]) -> None:
        """Take room for the record of what has changed, which is written at the end.

        Raises:
            RefusedError: There is less.
        """
        octets = _texts(effects) + _old_record(effects, self._tree)
        self.take(octets // self._block * self._block, 0)  # the overhead has a block of it

    def _note_gone(self, nodes: Iterable[Node], above: Parts) -> None:
        """Take room to note that entries of a lower layer are gone, and give back what goes in the end."""
        gone = [
            node.origin
            for node in nodes
            if (isinstance(node, Leaf) and node.entry.lower)
            or (isinstance(node, Directory) and node.lower and node.origin)
        ]
        paths = [path for path in gone if path is not None]
        inside = [path for path in paths if path[:-1] != above]
        blocks, names = removal_peak(inside, self._block, grows=self._grows)
        self.take(blocks * self._block, names if self._names_count else 0)
        self._give_octets(blocks * self._block)
        if self._inodes is not None and self._names_count:
            self._inodes += names
        for path in paths:
            if path[:-1] == above:
                self._note(path)

    def _note(self, path: Parts) -> None:
        """Take room to note that an entry of a lower layer is gone."""
        self.take(0, 1 if self._names_count else 0)
        self._add(path)

    def _add(self, path: Parts) -> None:
        """Take room for a name in a directory."""
        self.take(self._growth.add(path) * self._block, 0)

    def _give(self, octets: int) -> None:
        self._give_octets(octets)
        if self._inodes is not None:
            self._inodes += 1

    def _give_octets(self, octets: int) -> None:
        if self._octets is not None:
            self._octets += octets // self._block * self._block  # not more than it took


def check_room(
    effects: Sequence[Effect],
    sizes: Sequence[int],
    tree: AnyTree,
    room: Room,
    staged: Sequence[int] = (),
    *,
    keeping: bool = False,
) -> None:
    """Check that everything new fits beside everything old.

    Args:
        effects: What an installation does.
        sizes: The lengths of the files of the package.
        tree: The existing tree.
        room: The room that there is.
        staged: The lengths of the files that are staged and not put into the tree.
        keeping: Whether everything is kept that going back needs.

    Raises:
        RefusedError: It does not fit: a hundred bytes of commands can require 4 GiB, many times over.
        OSError: The tree can't be read.
    """
    puts = [*(sizes[effect.file] for effect in effects if isinstance(effect, PutFile)), *staged]
    directories = sum(isinstance(effect, MakeDirectory) for effect in effects)
    texts, record = _texts(effects), _old_record(effects, tree)
    own = max(OVERHEAD, OWN_TEXTS + -(-(2 * texts + record) // room.block))
    blocks = sum(-(-size // room.block) for size in puts) + directories + own
    inodes = len(puts) + directories + OVERHEAD
    if keeping:
        blocks += -(-reserve_for(texts, record, room.size) // room.block) + KEEPING_INODES - RESERVE_INODES
        inodes += KEEPING_INODES
        if room.names_count:
            inodes += sum(isinstance(effect, MoveEntry) for effect in effects)
    if room.names_count and not tree.layered:  # there, old files are kept only where they find room
        inodes += sum(_replaced(effect) is not None for effect in effects)
    growth = DirectoryGrowth(room.block, grows=room.grows)
    for effect in effects:
        if isinstance(effect, MakeDirectory):
            growth.begin(effect.path)
    if tree.layered:
        copies = _Copies(effects, tree)
        for path in copies.directories:
            growth.begin(path)
        sizes = [*(1 for _ in copies.directories), *copies.files]
        peaks = [removal_peak(one, room.block, grows=room.grows) for one in copies.removed]
        blocks += sum(-(-size // room.block) for size in sizes) + max((peak for peak, _ in peaks), default=0)
        blocks += sum(growth.add(path) for path in copies.noted)
        inodes += len(sizes)
        if room.names_count:
            inodes += len(copies.noted) + max((names for _, names in peaks), default=0)
    for effect in effects:
        if not isinstance(effect, DeleteEntry) and (effect.replaces is None or tree.layered):
            blocks += growth.add(effect.path)
    _check(blocks * room.block, room.free, "bytes")
    _check(inodes, room.inodes, "inodes")


class _Copies:
    """What an overlayfs has to copy, and to note as gone."""

    def __init__(self, effects: Sequence[Effect], tree: AnyTree) -> None:
        self.directories: list[Parts] = []
        """The directories that are copied: those above what changes."""
        self.files: list[int] = []
        """The sizes of the files that are copied: they move."""
        self.noted: list[Parts] = []
        """What is noted as gone, in directories that stay."""
        self.removed: list[list[Parts]] = []
        """What is removed of each tree, one after the other."""
        known: dict[Parts, TreeEntry] = {}
        for effect in effects:
            for end in [effect.path, *([effect.source] if isinstance(effect, MoveEntry) else ())]:
                for depth in range(1, len(end)):
                    above = known.get(end[:depth]) or tree.entry(end[:depth])
                    if above is None or above.kind is not EntryKind.DIRECTORY:
                        break
                    known[end[:depth]] = above
            if isinstance(effect, MoveEntry):
                source = tree.entry(effect.source)
                if source is not None and source.lower:
                    self.files.append(source.size)
                    self.noted.append(effect.source)
            if isinstance(effect, DeleteEntry) or effect.replaces is EntryKind.DIRECTORY:
                gone = [path for path, entry in _below(tree, effect.path) if entry.lower]
                self.noted += [path for path in gone if path == effect.path]
                self.removed.append([path for path in gone if path != effect.path])
        self.directories += [path for path, entry in known.items() if entry.lower]


def _texts(effects: Sequence[Effect]) -> int:
    """Return what a text takes in which all changes are, in bytes."""
    return sum(TEXT + 4 * sum(map(len, effect.path)) for effect in effects)


def _old_record(effects: Sequence[Effect], tree: AnyTree) -> int:
    """Return what the new record takes for the packages before, in bytes; their changes are not kept."""
    found = tree.entry(RECORD_PATH) if effects else None
    return 0 if found is None else min(found.size, OLD_RECORD)


def _below(tree: AnyTree, path: Parts) -> Iterator[tuple[Parts, TreeEntry]]:
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


def _check(needed: int, free: int | None, what: str) -> None:
    if free is not None and needed > free:
        are = f"{what} are" if needed != 1 else f"{what.removesuffix('s')} is"
        raise RefusedError(f"{needed} {are} needed, {free} are free", reason=NO_ROOM)
