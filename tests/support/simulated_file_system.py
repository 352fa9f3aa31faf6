"""A file system that can lose power: ALICE's model of what a crash leaves on a disk.

What is done is seen at once and written to a log.  ``fsync`` of a file makes its octets and mode durable, of
a directory its entries, ``syncfs`` all that came before; each other operation of the log may have reached the
disk or not, whatever became of those before it.  A rename is one operation, and durable once both of its
directories are.  So a :class:`Simulation` is what is seen now, and can tell all that a power cut may leave.

A simulation may be an overlayfs: what was planted lies in a lower layer.  A directory of it can't be renamed,
and what changes or gets another name is copied up before, with the directories above it, which takes room.

Or a vfat: it ignores the case of names and the dots at their ends, has no second names and no modes, and
can't exchange two names.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress, count, product
from pathlib import Path
from random import Random
from typing import Final

from spkg.install.heritage import NO_HERITAGE, Heritage
from spkg.install.new_file import NewFile
from spkg.install.root import Root
from spkg.install.tree_path import shown
from tests.support.naive_installer import Directory, File, Garden, Link, Parts, Special, Tree, Twin

ROOT: Final = 1
"""The inode of the root."""
FAT_MODE: Final = 0o755
"""The mode of everything on a vfat."""
TYPES: Final = {stat.S_IFREG: File, stat.S_IFLNK: Link, stat.S_IFIFO: Special}


@dataclass
class Inode:
    """What is on the disk behind a name."""

    type: int
    mode: int
    contents: bytes = b""
    """Of a file, or the target of a link."""
    entries: dict[bytes, int] = field(default_factory=dict)
    fixed: bool = False
    """Whether it is immutable."""

    def copy(self) -> "Inode":
        return Inode(self.type, self.mode, self.contents, dict(self.entries), self.fixed)


Disk = dict[int, Inode]


@dataclass(frozen=True)
class Entries:
    """Names appear and go, all at once."""

    changes: tuple[tuple[int, bytes, int | None], ...]

    @property
    def inodes(self) -> frozenset[int]:
        return frozenset(directory for directory, _, _ in self.changes)

    def apply(self, disk: Disk) -> None:
        for directory, name, inode in self.changes:
            if inode is None:
                disk[directory].entries.pop(name, None)
            else:
                disk[directory].entries[name] = inode


@dataclass(frozen=True)
class Octets:
    """Octets of a file; what lies before them and never came is zero."""

    inode: int
    offset: int
    octets: bytes

    @property
    def inodes(self) -> frozenset[int]:
        return frozenset((self.inode,))

    def apply(self, disk: Disk) -> None:
        file = disk[self.inode]
        before = file.contents[: self.offset].ljust(self.offset, b"\0")
        file.contents = before + self.octets + file.contents[self.offset + len(self.octets) :]


@dataclass(frozen=True)
class Cut:
    """The contents of a file end."""

    inode: int
    length: int

    @property
    def inodes(self) -> frozenset[int]:
        return frozenset((self.inode,))

    def apply(self, disk: Disk) -> None:
        disk[self.inode].contents = disk[self.inode].contents[: self.length]


@dataclass(frozen=True)
class Mode:
    inode: int
    mode: int

    @property
    def inodes(self) -> frozenset[int]:
        return frozenset((self.inode,))

    def apply(self, disk: Disk) -> None:
        disk[self.inode].mode = self.mode


@dataclass(frozen=True)
class Sync:
    """An inode is made durable, or all of them."""

    inode: int | None


Change = Entries | Octets | Cut | Mode


class Simulation(Root):
    """A root in memory.

    Args:
        disk: What is there, all of it durable; from now on it is the simulation's.
        lower: The inodes in the lower layer of an overlayfs; None for another file system.
        raised: Those of them that are copied up.
        fat: Whether it is a vfat.
    """

    room: int = 1 << 20
    """How many blocks and how many inodes are said to be free."""

    tap: Callable[[str, Parts], None]
    """Is told every primitive and its path before it is done, and may raise in its place."""

    def __init__(
        self,
        disk: Disk | None = None,
        lower: Iterable[int] | None = None,
        raised: Iterable[int] = (),
        *,
        fat: bool = False,
    ) -> None:
        self._durable = {ROOT: Inode(stat.S_IFDIR, 0o755)} if disk is None else disk
        self.kind = 0
        self.layered = lower is not None
        self._lower = set(lower or ())
        self._raised = set(raised)
        self._fat = fat
        self._disk = {number: inode.copy() for number, inode in self._durable.items()}
        self._born: Disk = {}
        self._log: list[Change | Sync] = []
        self._numbers = count(max(self._disk) + 1)
        self.path = Path("/simulated")
        self.tap = lambda _name, _path: None

    def close(self) -> None:
        pass

    def fileno(self) -> int:
        return -1  # there is nothing to be confined to

    def plant(self, garden: Garden) -> None:
        """Make a tree, durable at once."""
        for path, node in garden:
            parent, name = self._place(path)
            match node:
                case File(contents=contents, mode=mode):
                    inode = self._make(stat.S_IFREG, mode, contents)
                case Directory(mode=mode):
                    inode = self._make(stat.S_IFDIR, mode)
                case Link(target=target):
                    inode = self._make(stat.S_IFLNK, 0o777, target)
                case Special():
                    inode = self._make(stat.S_IFIFO, 0o644)
                case Twin(of=of):
                    inode = self._find(of)
            self._change(Entries(((parent, name, inode),)))
        self.settle()

    def fix(self, path: Parts) -> None:
        """Make an entry immutable."""
        for disk in (self._disk, self._durable):
            disk[self._find(path)].fixed = True

    def settle(self) -> None:
        """Let all that was done be durable."""
        self._durable = {number: inode.copy() for number, inode in self._disk.items()}
        self._born, self._log = {}, []

    def copy(self) -> "Simulation":
        """Return another one of what is seen, all of it durable."""
        return self._of({number: inode.copy() for number, inode in self._disk.items()})

    def layer(self) -> "Simulation":
        """Return an overlayfs whose lower layer is what is seen, but for the installer's own directory."""
        own = {number for path, number in self._paths() if path[:1] == (b".spkg",)}
        disk = {number: inode.copy() for number, inode in self._disk.items()}
        return Simulation(disk, set(disk) - own, {ROOT})

    def _of(self, disk: Disk) -> "Simulation":
        made = Simulation(disk, self._lower if self.layered else None, self._raised, fat=self._fat)
        made.room = self.room
        return made

    def _paths(self) -> Iterator[tuple[Parts, int]]:
        waiting: list[tuple[Parts, int]] = [((), ROOT)]
        while waiting:
            path, number = waiting.pop()
            yield path, number
            waiting += [((*path, name), below) for name, below in self._disk[number].entries.items()]

    def _raise(self, path: Parts) -> None:
        """Copy what is at a path up, and the directories above it, as far as it is not."""
        for depth in range(1, len(path) + 1):
            number = self._find(path[:depth])
            if number in self._lower - self._raised:
                self.tap("copy up", path[:depth])
                self._raised.add(number)

    def seen(self, top: Parts = ()) -> Tree:
        """Return the tree below a directory, but for the installer's own; of a missing one, nothing."""
        tree: Tree = {}
        waiting = [(top, self._find(top))] if self._has(top) else []
        while waiting:
            position, directory = waiting.pop()
            for name, number in self._disk[directory].entries.items():
                path, inode = (*position, name), self._disk[number]
                if path == (b".spkg",):
                    continue
                match inode.type:
                    case stat.S_IFREG:
                        tree[path] = File(inode.contents, inode.mode)
                    case stat.S_IFLNK:
                        tree[path] = Link(inode.contents)
                    case stat.S_IFDIR:
                        tree[path] = Directory(inode.mode)
                        waiting.append((path, number))
                    case _:
                        tree[path] = Special()
        return tree

    # What the installer calls.

    @contextmanager
    def staying(self) -> Iterator[None]:
        yield

    def status(self, path: Parts) -> os.stat_result | None:
        self.tap("status", path)
        try:
            number = self._find(path)
        except FileNotFoundError:
            return None
        inode = self._disk[number]
        return _status(inode, number)

    def names(self, path: Parts) -> list[bytes]:
        self.tap("names", path)
        return sorted(self._disk[self._directory_at(path)].entries)

    def target(self, path: Parts) -> bytes:
        self.tap("target", path)
        return self._disk[self._find(path)].contents

    def read(self, path: Parts, limit: int) -> bytes:
        self.tap("read", path)
        inode = self._disk[self._find(path)]
        if inode.type != stat.S_IFREG:
            raise _error(errno.EINVAL, path)
        if len(inode.contents) > limit:
            raise _error(errno.EFBIG, path)
        return inode.contents

    def fixed(self, path: Parts, *, whole: bool = False) -> tuple[Parts, str] | None:
        inode = self._disk[self._find(path)] if self._has(path) else None
        if inode is None or inode.fixed:
            return None if inode is None else (path, "immutable")
        found = (self.fixed((*path, name), whole=True) for name in inode.entries if whole)
        return next((one for one in found if one is not None), None)

    def writable(self, path: Parts) -> bool:  # noqa: ARG002 - all have one owner
        return True

    def is_read_only(self) -> bool:
        return False

    def space(self) -> os.statvfs_result:
        size, free = 1 << 20, self.room
        return os.statvfs_result((4096, 4096, size, free, free, size, free, free, 0, 255))

    def file_system(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self, path: Parts) -> Iterator[bool]:
        self._directory_at(path)
        yield True

    def create(self, path: Parts) -> NewFile:
        self.tap("create", path)
        inode = self._new(path, stat.S_IFREG, 0o600)
        return SimulatedFile(self, inode, path)

    def reopen(self, path: Parts) -> NewFile:
        self.tap("open", path)
        return SimulatedFile(self, self._find(path), path)

    def heritage(self, path: Parts) -> Heritage:
        self._directory_at(path)
        return NO_HERITAGE

    def attribute_names(self, path: Parts) -> tuple[str, ...]:
        self._find(path)
        return ()

    def access_list(self, path: Parts) -> bytes | None:
        self._find(path)
        return None

    def mkdir(self, path: Parts, mode: int, heritage: Heritage = NO_HERITAGE) -> None:
        assert heritage == NO_HERITAGE
        self.tap("mkdir", path)
        inode = self._new(path, stat.S_IFDIR, 0o700)
        self.tap("fchmod", path)
        self._change(Mode(inode, mode))

    def disown(self, path: Parts) -> None:
        """Nothing has access control lists."""

    def mkdir_like(self, model: Parts, path: Parts) -> None:
        self.mkdir(path, self._disk[self._directory_at(model)].mode)

    def can_move(self, path: Parts, obstacle: Parts) -> bool:
        self.tap("probe", path)
        assert self._disk[self._directory_at(obstacle)].entries
        return self._directory_at(path) not in self._lower

    def bring_up(self, path: Parts) -> None:
        self.tap("utime", path)
        self._raise(path)

    def rename(self, source: Parts, destination: Parts) -> None:
        self.tap("rename", destination)
        moving = self._find(source)
        parent, name = self._place(source)
        other, new = self._place(destination)
        there = self._disk[other].entries.get(new)
        is_directory = self._disk[moving].type == stat.S_IFDIR
        if there == moving:
            return  # two names of one file both stay
        if is_directory and destination[: len(source)] == source:
            raise _error(errno.EINVAL, source)
        if there is not None and self._disk[there].type == stat.S_IFDIR:
            if not is_directory:
                raise _error(errno.EISDIR, destination)
            if self._disk[there].entries:
                raise _error(errno.ENOTEMPTY, destination)
        elif there is not None and is_directory:
            raise _error(errno.ENOTDIR, destination)
        if is_directory and moving in self._lower:
            raise _error(errno.EXDEV, source)
        self._raise(source)
        self._raise(destination[:-1])
        self._change(Entries(((parent, name, None), (other, new, moving))))

    def exchange(self, one: Parts, other: Parts) -> bool:
        if self._fat:
            return False
        self.tap("exchange", other)
        parent, name = self._place(one)
        others, new = self._place(other)
        self._change(Entries(((parent, name, self._find(other)), (others, new, self._find(one)))))
        return True

    def link(self, source: Parts, destination: Parts) -> None:
        self.tap("link", destination)
        inode = self._find(source)
        parent, name = self._place(destination)
        if self._fat or self._disk[inode].type == stat.S_IFDIR:
            raise _error(errno.EPERM, source)
        if name in self._disk[parent].entries:
            raise _error(errno.EEXIST, destination)
        self._raise(source)
        self._raise(destination[:-1])
        self._change(Entries(((parent, name, inode),)))

    def unlink(self, path: Parts) -> None:
        self.tap("unlink", path)
        if self._disk[self._find(path)].type == stat.S_IFDIR:
            raise _error(errno.EISDIR, path)
        self._raise(path[:-1])
        parent, name = self._place(path)
        self._change(Entries(((parent, name, None),)))

    def remove_tree(self, path: Parts) -> None:
        inode = self._disk[self._find(path)]
        if inode.type != stat.S_IFDIR:
            self.unlink(path)
            return
        for name in list(inode.entries):
            self.remove_tree((*path, name))
        self.tap("rmdir", path)
        self._raise(path[:-1])
        parent, name = self._place(path)
        self._change(Entries(((parent, name, None),)))

    def sweep(self, path: Parts) -> OSError | None:
        if not self._has(path):
            return None
        inode = self._disk[self._find(path)]
        if inode.type == stat.S_IFDIR:
            problems = [one for name in list(inode.entries) if (one := self.sweep((*path, name)))]
            if problems:
                return problems[0]
        try:
            self.remove_tree(path)
        except OSError as exc:
            return exc
        return None

    def sync_directory(self, path: Parts) -> None:
        inode = self._directory_at(path)
        if self.layered:
            self.sync_all()
            return
        self.tap("fsync", path)
        self._log.append(Sync(inode))

    def sync_all(self) -> None:
        self.tap("syncfs", ())
        self._log.append(Sync(None))

    # What a power cut leaves.

    @property
    def done(self) -> int:
        """How much was done since all was durable: a time for :meth:`after_power_cuts`."""
        return len(self._log)

    def after_power_cuts(
        self, random: Random, *, most: int, samples: int, since: int = 0
    ) -> Iterator["Simulation"]:
        """Give what may be found after a power cut, each state once.

        What was not durable right before a sync could be lost at any time before it, so that only those
        times are looked at.

        Args:
            random: Chooses where there is too much to choose from.
            most: Up to so many operations that are not durable all subsets of them are tried.
            samples: How many subsets of more of them are, beside those of the first so many, of one, and of
                all but one; for 0 just those of the first so many.
            since: The earliest time of the cut.
        """
        tried: set[tuple[int, ...]] = set()
        durable: set[int] = set()
        pending: dict[int, frozenset[int]] = {}
        for position, entry in enumerate([*self._log, Sync(None)]):
            if not isinstance(entry, Sync):
                pending[position] = entry.inodes
                continue
            if position >= since:
                for chosen in _subsets(list(pending), random, most=most, samples=samples):
                    reached = tuple(sorted(durable.union(chosen)))
                    if reached not in tried:
                        tried.add(reached)
                        yield self._with(reached)
            left = {
                number: waiting - {entry.inode}
                for number, waiting in pending.items()
                if entry.inode is not None
            }
            pending = {number: waiting for number, waiting in left.items() if waiting}
            durable.update(number for number in range(position) if number not in pending)
            durable = {number for number in durable if not isinstance(self._log[number], Sync)}

    def _with(self, reached: Sequence[int]) -> "Simulation":
        """Return what is found where so much of the log reached the disk."""
        disk = {number: inode.copy() for number, inode in (self._durable | self._born).items()}
        for position in reached:
            change = self._log[position]
            assert not isinstance(change, Sync)  # only changes are ever pending
            change.apply(disk)
        return self._of(disk)

    # Inodes.

    def _make(self, type_: int, mode: int, contents: bytes = b"") -> int:
        number = next(self._numbers)
        mode = FAT_MODE if self._fat else mode
        self._disk[number] = Inode(type_, mode, contents)
        self._born[number] = Inode(type_, mode, contents)
        return number

    def _new(self, path: Parts, type_: int, mode: int) -> int:
        parent, name = self._place(path)
        if name in self._disk[parent].entries:
            raise _error(errno.EEXIST, path)
        self._raise(path[:-1])
        inode = self._make(type_, mode)
        self._change(Entries(((parent, name, inode),)))
        return inode

    def _change(self, change: Change) -> None:
        if isinstance(change, Entries):
            for directory, name, inode in change.changes:
                there = self._disk[directory].entries.get(name)
                if any(one is not None and self._disk[one].fixed for one in (directory, there, inode)):
                    raise _error(errno.EPERM, (name,))
        if self._fat and isinstance(change, Mode):
            return  # and says nothing
        change.apply(self._disk)
        self._log.append(change)

    def _find(self, path: Parts) -> int:
        """Return the inode at a path, as openat2 finds it: through directories alone."""
        number = ROOT
        for name in path:
            inode = self._disk[number]
            if inode.type != stat.S_IFDIR:
                raise _error(errno.ELOOP if inode.type == stat.S_IFLNK else errno.ENOTDIR, path)
            spelled = self._spelled(inode, name)
            if spelled not in inode.entries:
                raise _error(errno.ENOENT, path)
            number = inode.entries[spelled]
        return number

    def _spelled(self, directory: Inode, name: bytes) -> bytes:
        """Return how a name is spelled in a directory, or would be."""
        if not self._fat or name in directory.entries:
            return name
        short = name.rstrip(b".")
        return next((one for one in directory.entries if one.lower() == short.lower()), short)

    def _has(self, path: Parts) -> bool:
        try:
            self._find(path)
        except OSError:
            return False
        return True

    def _directory_at(self, path: Parts) -> int:
        number = self._find(path)
        if self._disk[number].type != stat.S_IFDIR:
            raise _error(errno.ENOTDIR, path)
        return number

    def _place(self, path: Parts) -> tuple[int, bytes]:
        directory = self._directory_at(path[:-1])
        return directory, self._spelled(self._disk[directory], path[-1])


class SimulatedFile(NewFile):
    """A file that was just made in a simulation."""

    def __init__(self, simulation: Simulation, inode: int, path: Parts) -> None:
        self._path = path
        self._simulation = simulation
        self._inode = inode

    @property
    def _contents(self) -> bytes:
        return self._simulation._disk[self._inode].contents

    def write(self, octets: bytes | memoryview) -> None:
        self._write(octets, len(self._contents))

    def _write(self, octets: bytes | memoryview, offset: int) -> None:
        self._simulation.tap("write", self._path)
        # In two parts, of which a power cut may keep one.
        middle, end = len(octets) // 2, len(octets)
        for first, last in ((0, middle), (middle, end)):
            if first < last:
                part = Octets(self._inode, offset + first, bytes(octets[first:last]))
                self._simulation._change(part)

    def rewrite(self, octets: bytes) -> None:
        self._write(octets, 0)
        self._simulation.tap("truncate", self._path)
        self._simulation._change(Cut(self._inode, len(octets)))

    def read(self) -> Iterator[memoryview]:
        yield memoryview(self._contents)

    def set_mode(
        self,
        mode: int,
        owner: tuple[int, int] | None,  # noqa: ARG002 - all have one owner
        heritage: Heritage = NO_HERITAGE,
    ) -> None:
        assert heritage == NO_HERITAGE
        self._simulation.tap("fchmod", self._path)
        self._simulation._change(Mode(self._inode, mode))

    def sync(self) -> None:
        self._simulation.tap("fsync", self._path)
        self._simulation._log.append(Sync(self._inode))

    def close(self) -> None:
        pass


def _status(inode: Inode, number: int) -> os.stat_result:
    """Return a status, with the times and the blocks of Linux."""
    size = len(inode.contents)
    fields = (inode.type | inode.mode, number, 1, 1, 0, 0, size, 0, 0, 0, *[0.0] * 3, *[0] * 3)
    return os.stat_result((*fields, 4096, -(-size // 4096) * 8, 0))


def _error(number: int, path: Parts) -> OSError:
    return OSError(number, os.strerror(number), shown(path))


def _subsets(pending: list[int], random: Random, *, most: int, samples: int) -> Iterator[Sequence[int]]:
    """Give all subsets of a few, and of many the telling ones and some more."""
    if len(pending) <= most:
        for mask in product((False, True), repeat=len(pending)):
            yield tuple(compress(pending, mask))
        return
    for length in range(len(pending) + 1):
        yield pending[:length]
    for one in pending if samples else ():
        yield (one,)
        yield [other for other in pending if other != one]
    for _ in range(samples):
        weight = random.random()
        yield [one for one in pending if random.random() < weight]
