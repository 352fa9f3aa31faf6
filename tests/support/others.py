"""What others do to a tree while a package is on trial, and what going back has to make of that.

The judge is written from what is promised (docs/going-back.md), not from the plan: it knows the tree before
the package, what ``apply`` said that it changed, the tree when going back begins, and not how it is done.
"""

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any, Final, Self

from hypothesis import strategies as st

from spkg.install.tree_path import Parts, split
from tests.support.naive_installer import Directory, File, Link, Node, Special, paths

__all__ = ["EDITS", "Before", "Edit", "Standing", "edits", "survey"]

Changes = Sequence[Mapping[str, Any]]
"""What ``apply`` or ``rollback`` says that it changed."""


@dataclass(frozen=True)
class Standing:
    """What stands at a path, and which one it is."""

    node: Node
    inode: int


Survey = dict[Parts, Standing]


def place_of(root: Path, path: Parts) -> Path:
    return root / os.fsdecode(b"/".join(path))


def survey(root: Path, *, own: bool = False) -> Survey:
    """Return what stands below a directory; the installer's own only on request."""
    found: Survey = {}
    waiting: list[Parts] = [()]
    while waiting:
        position = waiting.pop()
        for name in map(os.fsencode, (one.name for one in place_of(root, position).iterdir())):
            path = (*position, name)
            if path == (b".spkg",) and not own:
                continue
            place = place_of(root, path)
            status = place.lstat()
            mode = stat.S_IMODE(status.st_mode)
            node: Node
            if stat.S_ISREG(status.st_mode):
                node = File(place.read_bytes(), mode)
            elif stat.S_ISDIR(status.st_mode):
                node = Directory(mode)
                waiting.append(path)
            elif stat.S_ISLNK(status.st_mode):
                node = Link(os.fsencode(place.readlink()))
            else:
                node = Special()
            found[path] = Standing(node, status.st_ino)
    return found


# What others do.


@dataclass(frozen=True)
class Edit:
    """Something that others do at a path."""

    what: str
    where: str | int
    """A path, or which of those that there are."""
    other: str | int

    def do(self, root: Path, known: Iterable[Parts]) -> bool:
        """Do it, if it can be done, and tell whether it was.

        Args:
            root: The root.
            known: The paths that concern the package.
        """
        choice = sorted({*known, *survey(root)})
        path, other = (
            split(one) if isinstance(one, str) else choice[one % len(choice)] if choice else (b"a",)
            for one in (self.where, self.other)
        )
        before = survey(root)
        with suppress(OSError):
            EDITS[self.what](root, path, other)
        return survey(root) != before


def _clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _write(root: Path, path: Parts, _other: Parts) -> None:
    """Edit a file in place."""
    place = place_of(root, path)
    if stat.S_ISREG(place.lstat().st_mode):
        place.write_bytes(b"edited in place")


def _replace(root: Path, path: Parts, _other: Parts) -> None:
    """Replace a file, as careful programs do."""
    place, fresh = place_of(root, path), root / "fresh"
    fresh.write_bytes(b"replaced")
    try:
        fresh.rename(place)
    finally:
        fresh.unlink(missing_ok=True)


def _delete(root: Path, path: Parts, _other: Parts) -> None:
    _clear(place_of(root, path))


def _file(root: Path, path: Parts, _other: Parts) -> None:
    """Make a file, and the directories above it."""
    place = place_of(root, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as file:
        file.write(b"of others")


def _file_below(root: Path, path: Parts, _other: Parts) -> None:
    """Make a file in a directory, which is made too if it is missing."""
    _file(root, (*path, b"others"), ())


def _directory(root: Path, path: Parts, _other: Parts) -> None:
    """Make a directory, and those above it."""
    place_of(root, path).mkdir(mode=0o711, parents=True)


def _file_in_place(root: Path, path: Parts, _other: Parts) -> None:
    """Put a file where anything else was, a whole tree too."""
    _clear(place_of(root, path))
    place_of(root, path).write_bytes(b"instead")


def _directory_in_place(root: Path, path: Parts, _other: Parts) -> None:
    """Put a directory with something in it where anything else was."""
    _clear(place_of(root, path))
    _file(root, (*path, b"inside"), ())


def _link_in_place(root: Path, path: Parts, other: Parts) -> None:
    """Put a link where anything else was: to something, or to nothing."""
    _clear(place_of(root, path))
    place_of(root, path).symlink_to(b"/" + b"/".join(other) if len(other) > 1 else other[0])


def _pipe_in_place(root: Path, path: Parts, _other: Parts) -> None:
    _clear(place_of(root, path))
    os.mkfifo(place_of(root, path))


def _mode(root: Path, path: Parts, other: Parts) -> None:
    place = place_of(root, path)
    if not place.is_symlink():
        place.chmod(0o600 if len(other) > 1 else 0o711)


def _rename(root: Path, path: Parts, other: Parts) -> None:
    """Give something another name, in the place of what has that, and leave a link to it sometimes."""
    if path[: len(other)] == other or other[: len(path)] == path or not place_of(root, path).exists():
        return
    place_of(root, other).parent.mkdir(parents=True, exist_ok=True)
    _clear(place_of(root, other))
    place_of(root, path).rename(place_of(root, other))
    if len(path) != len(other):
        place_of(root, path).symlink_to(b"/" + b"/".join(other))


def _second(root: Path, path: Parts, other: Parts) -> None:
    """Give a file a second name, in the place of another file sometimes."""
    if path != other and len(path) == len(other):
        place_of(root, other).unlink(missing_ok=True)
    os.link(place_of(root, path), place_of(root, other), follow_symlinks=False)


EDITS: Final = {
    "write": _write,
    "replace": _replace,
    "delete": _delete,
    "file": _file,
    "file below": _file_below,
    "directory": _directory,
    "file in place": _file_in_place,
    "directory in place": _directory_in_place,
    "link in place": _link_in_place,
    "pipe in place": _pipe_in_place,
    "mode": _mode,
    "rename": _rename,
    "second": _second,
}
_where = st.one_of(st.integers(0, 999), st.integers(0, 999), paths)
_edit = st.builds(Edit, st.sampled_from(sorted(EDITS)), _where, _where)
edits = st.one_of(st.lists(_edit, max_size=3), st.lists(_edit, min_size=3, max_size=9)).map(tuple)


# What going back has to make of it.


class Before:
    """A tree before a package, with its files held open: they are known whatever becomes of their names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tree = survey(root)
        self._stack = ExitStack()
        self._open: dict[Parts, int] = {}
        for path, found in self._tree.items():
            if isinstance(found.node, File):
                self._open[path] = os.open(place_of(root, path), os.O_RDONLY)
                self._stack.callback(os.close, self._open[path])
        self.touched: frozenset[Parts] = frozenset()
        self._placed: frozenset[Parts] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def after(self, changes: Changes) -> None:
        """Learn what the package touched: what it put, removed, moved or made, with all below that."""
        paths = {split(change["path"]) for change in changes}
        self._placed = frozenset(split(one["path"]) for one in changes if one["action"] == "put")
        sources = {split(change["source"]) for change in changes if "source" in change}
        below = {path for path in self._tree if any(path[: len(top)] == top for top in paths)}
        self.touched = frozenset({*paths, *sources, *below})

    def of(self, path: Parts) -> Standing | None:
        """Return what was at a path: a file with the edits that were made to itself since."""
        found = self._tree.get(path)
        if path not in self._open or found is None:
            return found
        descriptor = self._open[path]
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        contents = os.pread(descriptor, 1 << 20, 0)
        return Standing(File(contents, mode), found.inode)

    def has_above(self, path: Parts) -> bool:
        """Whether something has to come back below a path."""
        return any(
            len(path) < len(one) and one[: len(path)] == path and one in self._tree for one in self.touched
        )

    def may_be_refused(self, now: Survey) -> list[Parts]:
        """Return the links that may lead to a directory, among those above what the package touched."""
        above = {path[:depth] for path in self.touched for depth in range(1, len(path))}
        return [path for path in sorted(above) if path in now and isinstance(now[path].node, Link)]

    def must_be_refused(self, now: Survey) -> bool:
        """Whether one of those leads to a directory, and is not set aside itself, nor something above it."""
        return any(
            all(isinstance(getattr(now.get(one), "node", None), Directory) for one in _way(path, link))
            for path in self.may_be_refused(now)
            if not any(path[:depth] in self.touched for depth in range(1, len(path) + 1))
            and isinstance(link := now[path].node, Link)
        )

    def problems(
        self, now: Survey, after: Survey, aside: Survey, changes: Changes, said: Sequence[str]
    ) -> list[str]:
        """Return what is not as it has to be after going back.

        Args:
            now: The tree when it began.
            after: The tree afterwards.
            aside: What lies in ``.spkg/aside``.
            changes: What it said that it changed.
            said: What it said that it set aside.
        """
        found = [*self._unlike(after)]
        places = {
            split(one["path"]): split(one["place"])[2:] for one in changes if one["action"] == "set-aside"
        }
        if sorted(said) != sorted("/" + os.fsdecode(b"/".join(path)) for path in places):
            found.append(f"{said} are said to be set aside, and {[*places]} are")
        for path, place in places.items():
            found += self._aside(path, place, now, aside, after)
        for path, standing in now.items():
            top = next((path[:depth] for depth in range(1, len(path) + 1) if path[:depth] in places), None)
            if path in self.touched or top is not None:
                continue
            if after.get(path) != standing:
                found.append(f"{path} is of others, and {after.get(path)} instead of {standing}")
        for path, standing in after.items():
            if path in self.touched or (path in now and path not in places):
                continue
            if standing.node != Directory(0o755) or not self.has_above(path):
                found.append(f"{path} was made: {standing}")
        return found

    def _unlike(self, after: Survey) -> Iterable[str]:
        for path in sorted(self.touched):
            if after.get(path) != self.of(path):
                yield f"{path} is {after.get(path)}, and was {self.of(path)}"

    def _aside(self, path: Parts, place: Parts, now: Survey, aside: Survey, after: Survey) -> Iterable[str]:
        if len(place) != len(path) or not all(
            name == found or re.fullmatch(re.escape(name[:240]) + rb"\.[1-9][0-9]*", found)
            for name, found in zip(path, place, strict=True)
        ):
            yield f"{path} is set aside as {place}"
        if path not in now:
            yield f"{path} is said to be set aside, and there was nothing"
            return
        was = {one[len(path) :]: found for one, found in now.items() if one[: len(path)] == path}
        lies = {one[len(place) :]: found for one, found in aside.items() if one[: len(place)] == place}
        if was != lies:
            yield f"{path} is set aside, and {lies} instead of {was}"
        if path in self._placed and isinstance(now[path].node, File):
            yield f"{path} was placed by the package, and is set aside"
        above = path[:-1]
        if not (path in self.touched or self.has_above(path) or (above in self.touched)) or (
            after.get(path) == now[path]
        ):
            yield f"{path} is set aside, and was not in the way"


def _way(path: Parts, link: Link) -> list[Parts]:
    """Return the directories that a link leads through, and to."""
    here: Parts = () if link.target.startswith(b"/") else path[:-1]
    for part in link.target.split(b"/"):
        if part == b"..":
            here = here[:-1]
        elif part not in {b"", b"."}:
            here = (*here, part)
    return [here[:depth] for depth in range(1, len(here) + 1)]
