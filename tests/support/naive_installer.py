"""What a command list does to a tree, by the letter of TR-069 E.4.1 to E.4.9: naive, slow, and our judge.

It shares nothing with the planner: a tree is a mapping from paths to what stands there, every command is
carried out at once, and where the text is silent the numbered decisions (README) are followed, no code.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from spkg.format.commands import (
    Add,
    AddVersioned,
    Extract,
    ExtractVersioned,
    Format,
    Move,
    MoveVersioned,
    PayloadCommand,
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
)
from spkg.format.paths import RootPath, TreePath, VersionedPath

Parts = tuple[bytes, ...]


@dataclass(frozen=True)
class File:
    """A regular file."""

    contents: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Directory:
    """A directory; what is in it stands at paths of its own."""

    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True)
class Special:
    """A FIFO: what is neither file, nor directory, nor link."""


@dataclass(frozen=True)
class Twin:
    """A second name of the file at another path; only in what is planted."""

    of: Parts


Node = File | Directory | Link | Special
Tree = dict[Parts, Node]
"""What stands at each path below the root."""
Garden = tuple[tuple[Parts, Node | Twin], ...]
"""A tree in the making: what is planted where, parents first."""


class RefusedByModelError(Exception):
    """The model can't do a command."""


def interpret(
    records: Sequence[Record], payload: bytes, before: Tree, *, follow: bool = False
) -> Tree | None:
    """Return the tree that a command list leaves, or None where one of its commands can't be done."""
    model = _Model(dict(before), payload, follow=follow)
    try:
        for record in records:
            model.do(record)
    except RefusedByModelError:
        return None
    return model.tree


class _Model:
    def __init__(self, tree: Tree, payload: bytes, *, follow: bool) -> None:
        self.tree = tree
        self._payload = payload
        self._follow = follow

    def do(self, record: Record) -> None:
        match record:
            case Extract():
                # "remove any existing file of the same name and replace it with the specified file"
                path = self._file_path(record.path, make=True)
                self._write(record, path, self.tree.get(path))
            case ExtractVersioned():
                # "removes all existing files with the same base name and any extension prior to installing"
                path = self._file_path(record.path, make=True)
                versions = self._versions(path)
                replaced = self.tree.get(path)
                if replaced is None and versions:
                    replaced = self.tree[_lowest(versions)]
                for version in versions:
                    del self.tree[version]
                self._write(record, path, replaced)
            case Add():
                # "only install the new file if no existing file can be found"
                path = self._file_path(record.path, make=True)
                if path not in self.tree:
                    self._write(record, path, None)
            case AddVersioned():
                # "checks for any file with the same base name as the specified file, regardless of extension"
                path = self._file_path(record.path, make=True)
                if path not in self.tree and not self._versions(path):
                    self._write(record, path, None)
            case Remove():
                # "removes the file with the specified path, if it exists"
                if (parent := self._parent(record.path.parts, make=False)) is not None:
                    path = self._no_directory((*parent, record.path.parts[-1]))
                    self.tree.pop(path, None)
            case RemoveVersioned():
                # "removes all files with the same base as the specified file, regardless of extension"
                if (parent := self._parent(record.path.parts, make=False)) is not None:
                    for version in self._versions((*parent, record.path.parts[-1])):
                        del self.tree[version]
            case RemoveSubTree():
                # "removes all files and directories beneath and including the specified path"
                if not record.path.parts:
                    self.tree.clear()
                elif (parent := self._parent(record.path.parts, make=False)) is not None:
                    top = (*parent, record.path.parts[-1])
                    for path in [path for path in self.tree if path[: len(top)] == top]:
                        del self.tree[path]
            case Move():
                # "If the source file specified in a move command does not exist, no action is taken"
                if (parent := self._parent(record.source_path.parts, make=False)) is not None:
                    source = self._no_directory((*parent, record.source_path.parts[-1]))
                    if source in self.tree:
                        self._rename(source, record.destination_path)
            case MoveVersioned():
                # "only one of the files is moved and the others are deleted"
                if (parent := self._parent(record.source_path.parts, make=False)) is not None:
                    versions = self._versions((*parent, record.source_path.parts[-1]))
                    if versions:
                        source = _lowest(versions)
                        for version in set(versions) - {source}:
                            del self.tree[version]
                        self._rename(source, record.destination_path)
            case Format():
                # "all existing files in the file system ... are to be cleared"
                self.tree.clear()
            case _:
                pass

    def _file_path(self, path: RootPath, *, make: bool) -> Parts:
        """Return the place of a file, without links among its parents."""
        parent = self._parent(path.parts, make=make)
        assert parent is not None  # what is missing is made
        return self._no_directory((*parent, path.parts[-1]))

    def _no_directory(self, path: Parts) -> Parts:
        if isinstance(self.tree.get(path), Directory):
            raise RefusedByModelError
        return path

    def _parent(self, path: Parts, *, make: bool) -> Parts | None:
        """Walk to the directory that a path names something in; links lead as if the root were /."""
        here: Parts = ()
        ahead = list(path[:-1])
        links = 0
        while ahead:
            name = ahead.pop(0)
            if name == b"..":
                here = here[:-1]
                continue
            match self.tree.get((*here, name)):
                case Directory():
                    here = (*here, name)
                case None if make:
                    # "the recipient MUST create the required directory"
                    here = (*here, name)
                    self.tree[here] = Directory()
                case None:
                    return None
                case Link(target=target) if self._follow and links < 40:
                    links += 1
                    if target.startswith(b"/"):
                        here = ()
                    ahead = [part for part in target.split(b"/") if part not in {b"", b"."}] + ahead
                case _:
                    raise RefusedByModelError
        return here

    def _versions(self, path: Parts) -> list[Parts]:
        """Return the regular files beside a path with its base name and any three characters behind it."""
        base, _, _ = path[-1].decode().rpartition(".")

        def matches(other: Parts) -> bool:
            found, dot, extension = other[-1].decode().rpartition(".")
            return other[:-1] == path[:-1] and (found, dot, len(extension)) == (base, ".", 3)

        return [other for other, node in self.tree.items() if isinstance(node, File) and matches(other)]

    def _write(self, record: PayloadCommand, path: Parts, replaced: Node | None) -> None:
        end = record.file_offset + record.file_length
        self._no_special(path)
        mode = replaced.mode if isinstance(replaced, File) else 0o644
        self.tree[path] = File(self._payload[record.file_offset : end], mode)

    def _rename(self, source: Parts, destination: RootPath) -> None:
        """Give a file the name of another, wherever that is."""
        path = self._file_path(destination, make=True)
        if path != source:
            self._no_special(path)
        self.tree[path] = self.tree.pop(source)

    def _no_special(self, path: Parts) -> None:
        """A device is not replaced by a file (decision 20)."""
        if isinstance(self.tree.get(path), Special):
            raise RefusedByModelError


def _lowest(versions: Sequence[Parts]) -> Parts:
    """Return what moves: "if the versioned file extension string is a decimal number, the lowest"."""
    decimal = [path for path in versions if path[-1][-3:].isdigit()]
    return min(decimal or versions, key=lambda path: path[-1])


# A tree on a disk.


def plant(garden: Garden, root: Path) -> None:
    """Make a tree below a real directory."""
    for path, node in garden:
        place = root / os.fsdecode(b"/".join(path))
        match node:
            case File(contents=contents, mode=mode):
                place.write_bytes(contents)
                place.chmod(mode)
            case Directory(mode=mode):
                place.mkdir()
                place.chmod(mode)
            case Link(target=target):
                place.symlink_to(os.fsdecode(target))
            case Special():
                os.mkfifo(place)
            case Twin(of=of):
                place.hardlink_to(root / os.fsdecode(b"/".join(of)))


def grown(garden: Garden) -> Tree:
    """Return the tree that was planted."""
    tree: Tree = {}
    for path, node in garden:
        tree[path] = tree[node.of] if isinstance(node, Twin) else node
    return tree


def seen(root: Path) -> Tree:
    """Return what stands below a real directory, but for the installer's own."""
    tree: Tree = {}
    waiting: list[Parts] = [()]
    while waiting:
        position = waiting.pop()
        with os.scandir(root / os.fsdecode(b"/".join(position))) as entries:
            for entry in entries:
                path = (*position, os.fsencode(entry.name))
                if path == (b".spkg",):
                    continue
                status = entry.stat(follow_symlinks=False)
                mode = stat.S_IMODE(status.st_mode)
                if stat.S_ISREG(status.st_mode):
                    tree[path] = File(Path(entry.path).read_bytes(), mode)
                elif stat.S_ISDIR(status.st_mode):
                    tree[path] = Directory(mode)
                    waiting.append(path)
                elif stat.S_ISLNK(status.st_mode):
                    tree[path] = Link(os.readlink(os.fsencode(entry.path)))  # noqa: PTH115 - which would drop dots
                else:
                    tree[path] = Special()
    return tree


# Trees and command lists in which all the names collide.

PIECES: Final = (b"first", b"the second file", b"", bytes(range(64)))
"""The files of every payload here."""
PAYLOAD: Final = b"".join(PIECES)


def piece(path: str, number: int, kind: type[PayloadCommand] = Extract) -> PayloadCommand:
    """Return a command that installs one of the pieces."""
    return kind(
        path=(VersionedPath if kind in {ExtractVersioned, AddVersioned} else RootPath).of(path),
        hash=sha1(PIECES[number], usedforsecurity=False).digest(),
        file_offset=sum(map(len, PIECES[:number])),
        file_length=len(PIECES[number]),
    )


VERSIONED: Final = ("v.001", "v.010", "v.abc", "w.001")
PLAIN: Final = ("a", "b", "d", "l")
names = st.sampled_from((*VERSIONED, *PLAIN, "v.1"))
directories = st.lists(st.sampled_from(("a", "d", "d", "l", "v.001")), max_size=2)
paths = st.builds(lambda above, name: "/" + "/".join([*above, name]), directories, names)
versioned = st.builds(
    lambda above, name: "/" + "/".join([*above, name]), directories, st.sampled_from(VERSIONED)
)
contents = st.integers(0, len(PIECES) - 1)

commands: st.SearchStrategy[Record] = st.one_of(
    st.builds(piece, paths, contents, st.sampled_from((Extract, Add))),
    st.builds(piece, versioned, contents, st.sampled_from((ExtractVersioned, AddVersioned))),
    st.builds(lambda path: Remove(path=RootPath.of(path)), paths),
    st.builds(lambda path: RemoveVersioned(path=VersionedPath.of(path)), versioned),
    st.builds(lambda path: RemoveSubTree(path=TreePath.of(path)), st.one_of(paths, paths, st.just("/"))),
    st.builds(
        lambda source, path: Move(source_path=RootPath.of(source), destination_path=RootPath.of(path)),
        paths,
        paths,
    ),
    st.builds(
        lambda source, path: MoveVersioned(
            source_path=VersionedPath.of(source), destination_path=VersionedPath.of(path)
        ),
        versioned,
        versioned,
    ),
    st.builds(
        lambda source, path: Move(source_path=RootPath.of(source), destination_path=RootPath.of(path)),
        paths,
        paths,
    ),
    st.sampled_from(range(8)).map(lambda number: Format() if number == 0 else piece("/d/a", 0)),
)
command_lists = st.lists(commands, max_size=7).map(tuple)

_nodes: st.SearchStrategy[Node | str] = st.one_of(
    st.builds(File, st.sampled_from((b"old", b"older", b"")), st.sampled_from((0o600, 0o755))),
    st.just(Directory(0o750)),
    st.just(Directory(0o750)),
    st.builds(Link, st.sampled_from((b"d", b"/d", b"../d", b"a", b"l", b"nowhere", b"d/../a/./d"))),
    st.just(Special()),
    st.just("twin"),
)


def _planted(wanted: Sequence[tuple[str, Node | str]]) -> Garden:
    """Keep of what is wanted all that has a place: a directory above, and nothing there yet."""
    tree: Tree = {}
    garden: list[tuple[Parts, Node | Twin]] = []
    for text, node in wanted:
        path = tuple(part.encode() for part in text[1:].split("/"))
        above = [path[:depth] for depth in range(1, len(path))]
        if path in tree or any(not isinstance(tree.get(one, Directory()), Directory) for one in above):
            continue
        for one in above:
            if one not in tree:
                tree[one] = Directory(0o750)
                garden.append((one, Directory(0o750)))
        if isinstance(node, str):
            files = [other for other, one in tree.items() if isinstance(one, File)]
            if files:
                tree[path] = tree[files[0]]
                garden.append((path, Twin(files[0])))
        else:
            tree[path] = node
            garden.append((path, node))
    return tuple(garden)


gardens = st.lists(st.tuples(paths, _nodes), max_size=9).map(_planted)
