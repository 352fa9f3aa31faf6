"""A tree as commands would leave it, laid over the existing one; nothing is changed.

Each entry is loaded once, when it is first needed.  The net effect is one operation for each path that ends
up different, whatever the commands did to it in between.
"""

from collections.abc import Iterator
from typing import Final

from spkg.common.frozen import dataclass
from spkg.device import LinkPolicy
from spkg.errors import RefusedError
from spkg.format.paths import EXTENSION_LENGTH
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.heritage import NO_HERITAGE, Heritage
from spkg.install.root_tree import OWN, AnyTree, EntryKind, TreeEntry
from spkg.install.tree_path import Parts, shown

__all__ = [
    "Blob",
    "Directory",
    "Leaf",
    "Node",
    "Overlay",
]

MAX_LINKS_FOLLOWED: Final = 40
"""How many symbolic links one path may lead through."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """An existing entry that is not a directory."""

    origin: Parts
    entry: TreeEntry


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A file of the payload."""

    file: int
    mode: int
    owner: tuple[int, int] | None
    heritage: Heritage = NO_HERITAGE


class Directory:
    """A directory: an existing one at its ``origin``, or a new one."""

    def __init__(self, origin: Parts | None, *, lower: bool = False, elsewhere: bool = False) -> None:
        self.origin = origin
        self.elsewhere = elsewhere
        """Whether it is a subvolume: nothing can be renamed into it."""
        self.lower = lower
        """Whether it may be in a lower layer only."""
        self.heritage: Heritage | None = None
        """What it gives to new entries, once it is needed; a new directory has got the same."""
        self.before: dict[bytes, Node] = {}
        """The entries that were there before, as far as they are loaded."""
        self.children: dict[bytes, Node | None] = {}
        """The entries that are there now, as far as they are loaded; None for a name without an entry."""
        self.whole = origin is None
        """Whether all names are among the children."""
        self.versions: dict[str, set[bytes]] | None = None
        """Versioned regular files by their base name, once they are needed."""


Node = Leaf | Blob | Directory


class Overlay:
    """The tree as it would be.

    Args:
        tree: The existing tree.
        links: How to treat symbolic links among the parents of a path.
    """

    def __init__(self, tree: AnyTree, links: LinkPolicy) -> None:
        self._tree = tree
        self._links = links
        self._root = Directory(())
        self.made = 0
        """How many directories were made."""
        self.changed: dict[Parts, EntryKind | None] = {}
        """The paths at which something was put or removed, and what was there before all else."""
        self._spelled: dict[tuple[Parts, str], bytes] = {}
        self._listed: dict[tuple[Parts, str], bytes] = {}
        self._mounts = tree.mounts
        self._to_mounts = frozenset(mount[:depth] for mount in tree.mounts for depth in range(len(mount) + 1))

    def find(self, path: Parts, *, make: bool) -> tuple[Directory, Parts] | None:
        """Return the directory that contains the entry of a path, and the path of the entry without links.

        Args:
            path: At least one name.
            make: Whether missing directories are made.

        Raises:
            RefusedError: The path leads through something that is not a directory.
        """
        names = list(reversed(path))
        directory, position = self._root, Parts()
        stack: list[tuple[Directory, Parts]] = []
        followed = 0
        while len(names) > 1:
            name = names.pop()
            if name == b"..":
                directory, position = stack.pop() if stack else (self._root, Parts())
                continue
            name = self._name(position, name)
            here = (*position, name)
            node = self.child(directory, position, name)
            if node is None and not make:
                return None
            if node is None:
                node = Directory(None)
                node.heritage = self.heritage(directory)
                self.made += 1
                self.set(directory, position, name, node)
            if (
                isinstance(node, Leaf)
                and node.entry.kind is EntryKind.LINK
                and self._links is not LinkPolicy.REFUSE
            ):
                followed += 1
                if followed > MAX_LINKS_FOLLOWED:
                    raise RefusedError(
                        f"{shown(path)} leads through more than {MAX_LINKS_FOLLOWED} symbolic links"
                    )
                target = self._tree.target(node.origin)
                if target.startswith(b"/"):
                    directory, position, stack = self._root, (), []
                names += [part for part in reversed(target.split(b"/")) if part not in {b"", b"."}]
                continue
            if not isinstance(node, Directory):
                what = node.entry.kind.value if isinstance(node, Leaf) else EntryKind.FILE.value
                raise RefusedError(f"{shown(path)} leads through {shown(here)}, a {what}")
            if here in self._mounts:
                raise RefusedError(f"{shown(path)} leads into {shown(here)}, a mount point")
            if node.elsewhere:
                hint = "mount it at its place, and give it as a root of its own"
                problem = f"{shown(path)} leads into {shown(here)}, a subvolume or file system of its own"
                raise RefusedError(problem, hint=hint)
            stack.append((directory, position))
            directory, position = node, here
        return directory, (*position, self._name(position, names[0]))

    def child(self, directory: Directory, position: Parts, name: bytes) -> Node | None:
        """Return the entry with a name in a directory."""
        if name not in directory.children:
            node = None if directory.whole else self._load((*position, name))
            directory.children[name] = node
            if node is not None:
                directory.before[name] = node
        return directory.children[name]

    def set(self, directory: Directory, position: Parts, name: bytes, node: Node | None) -> None:
        """Replace or remove the entry with a name that was loaded.

        Raises:
            RefusedError: It is a mount point, or has one below it.
        """
        if (*position, name) in self._to_mounts:
            raise RefusedError(f"{shown((*position, name))} is a mount point, or has one below it")
        self.changed.setdefault((*position, name), _kind(directory.children[name]))
        directory.children[name] = node
        if directory.versions is not None and (base := self._base(name)) is not None:
            found = directory.versions.setdefault(base, set())
            found.discard(name)
            if _is_regular(node):
                found.add(name)

    def versions(self, directory: Directory, position: Parts, base: str) -> list[bytes]:
        """Return the regular files in a directory whose base name is *base*, sorted by their bytes."""
        if directory.versions is None:
            self._load_all(directory, position)
            directory.versions = {}
            for name, node in directory.children.items():
                if _is_regular(node) and (found := self._base(name)) is not None:
                    directory.versions.setdefault(found, set()).add(name)
        return sorted(directory.versions.get(base.casefold() if self._tree.folds else base, ()))

    def clear(self) -> None:
        """Remove everything from the root.

        Raises:
            RefusedError: There is a mount point below it.
        """
        self._load_all(self._root, ())
        for name, node in self._root.children.items():
            if node is not None:
                self.set(self._root, (), name, None)

    def heritage(self, directory: Directory) -> Heritage:
        """Return what a directory gives to new entries in it."""
        if directory.heritage is None:
            found = NO_HERITAGE if directory.origin is None else self._tree.heritage(directory.origin)
            directory.heritage = found
        return directory.heritage

    def within(self, node: Node, position: Parts) -> Iterator[Node]:
        """Give an entry, and everything below it."""
        waiting: list[tuple[Node, Parts]] = [(node, position)]
        while waiting:
            one, at = waiting.pop()
            yield one
            if isinstance(one, Directory):
                self._load_all(one, at)
                below = [(name, found) for name, found in one.children.items() if found is not None]
                waiting += [(found, (*at, name)) for name, found in below]

    def everything(self) -> Iterator[Node]:
        """Give everything in the root."""
        self._load_all(self._root, ())
        for name, node in self._root.children.items():
            if node is not None:
                yield from self.within(node, (name,))

    def effects(self) -> tuple[Effect, ...]:
        """Return the operations for all paths that differ from before, in the order of the paths."""
        moved = {
            node.origin
            for directory, path, _, node in self._touched()
            if isinstance(node, Leaf) and (directory.origin is None or node.origin != path)
        }
        found: list[Effect] = []
        for _, path, before, node in self._touched():
            # A file that moves away is neither deleted nor replaced.
            was = None if isinstance(before, Leaf) and before.origin in moved else _kind(before)
            match node:
                case None if was is not None:
                    found.append(DeleteEntry(path=path, kind=was))
                case Blob():
                    put = PutFile(
                        path=path,
                        file=node.file,
                        mode=node.mode,
                        owner=node.owner,
                        replaces=was,
                        heritage=node.heritage,
                    )
                    found.append(put)
                case Leaf() if node.origin in moved:
                    found.append(MoveEntry(source=node.origin, path=path, replaces=was))
                case Directory(origin=None):
                    found.append(MakeDirectory(path=path, replaces=was, heritage=self.heritage(node)))
                case _:
                    pass
        return tuple(sorted(found, key=lambda effect: effect.path))

    def _touched(self) -> Iterator[tuple[Directory, Parts, Node | None, Node | None]]:
        """Give all loaded entries: the directory, the path, the entry before, the entry now."""
        waiting: list[tuple[Directory, Parts]] = [(self._root, ())]
        while waiting:
            directory, position = waiting.pop()
            for name, node in directory.children.items():
                path = (*position, name)
                yield directory, path, directory.before.get(name), node
                if isinstance(node, Directory):
                    waiting.append((node, path))

    def _load(self, path: Parts) -> Node | None:
        if path == OWN:
            raise RefusedError(f"{shown(path)} is the installer's own directory")
        entry = self._tree.entry(path)
        if entry is None:
            return None
        if entry.own:
            raise RefusedError(f"{shown(path)} is the installer's own directory")
        if entry.kind is EntryKind.DIRECTORY:
            return Directory(path, lower=entry.lower, elsewhere=entry.elsewhere)
        return Leaf(origin=path, entry=entry)

    def _load_all(self, directory: Directory, position: Parts) -> None:
        if directory.whole:
            return
        for name in self._tree.names(position):
            path = (*position, name)
            folded = (position, _folded(name))
            if name in directory.children or path == OWN or (self._tree.folds and folded in self._spelled):
                continue
            self._listed[folded] = name
            if position == () and (entry := self._tree.entry(path)) is not None and entry.own:
                continue
            self.child(directory, position, name)
        directory.whole = True

    def _name(self, position: Parts, name: bytes) -> bytes:
        """Return the existing spelling of a name, on a file system that ignores case.

        Raises:
            RefusedError: The commands use two spellings of it.
        """
        if not self._tree.folds:
            return name
        folded = (position, _folded(name))
        other = self._spelled.setdefault(folded, name)
        if other != name:
            problem = f"{shown((*position, name))} and {shown((*position, other))} differ only in case"
            raise RefusedError(f"{problem} and are the same on this file system")
        return self._listed.get(folded, name)

    def _base(self, name: bytes) -> str | None:
        """Return the base of a versioned name, or None if the name is not versioned."""
        try:
            base, dot, extension = name.decode().rpartition(".")
        except UnicodeDecodeError:
            return None
        if not dot or len(extension) != EXTENSION_LENGTH:
            return None
        return base.casefold() if self._tree.folds else base


def _folded(name: bytes) -> str:
    return name.decode(errors="surrogateescape").casefold()


def _is_regular(node: Node | None) -> bool:
    return isinstance(node, Blob) or (isinstance(node, Leaf) and node.entry.kind is EntryKind.FILE)


def _kind(node: Node | None) -> EntryKind | None:
    match node:
        case Leaf(entry=entry):
            return entry.kind
        case Directory():
            return EntryKind.DIRECTORY
        case _:
            return None
