"""The files of a directory tree, in an order that does not depend on the file system.

Nothing is left out silently: a link, a device or a name that no package can carry is an error or is counted.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Final

from spkg.build.steps import TreeLinks, TreeStep
from spkg.common.obstacles import MOST_OBSTACLES, Obstacles
from spkg.common.printable import toml_string
from spkg.errors import FormatError, HostError, SpkgError, file_name, os_problem
from spkg.format.paths import RootPath

__all__ = ["TreeDirectory", "TreeFile", "TreeReport", "walk_tree"]

MAX_LINKS_COPIED: Final = 40
"""How many links in a row are followed, as Linux does."""


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """A file that a tree step carries."""

    path: RootPath
    source: Path
    status: os.stat_result | None = dataclasses.field(default=None, compare=False, repr=False)
    """What the source was when the tree was walked."""


@dataclass(frozen=True, kw_only=True)
class TreeDirectory:
    """A directory with a file below it that a tree step carries."""

    path: str
    """Its path on the device."""
    mode: int


@dataclass(frozen=True, kw_only=True)
class TreeReport:
    """What a tree step took, and what it left out."""

    field: str
    taken: tuple[TreeFile, ...]
    excluded: tuple[str, ...]
    """Files, links and directories that a pattern left out."""
    skipped_links: tuple[str, ...]
    copied_links: tuple[str, ...]
    directories: tuple[TreeDirectory, ...]
    """Those above the files that were taken."""
    empty_directories: tuple[str, ...]
    """Directories with nothing below them that was taken: the format has no directories."""
    unused_patterns: tuple[str, ...]
    """Patterns of ``exclude`` that matched nothing: probably misspelt."""


def walk_tree(step: TreeStep, manifest: str) -> TreeReport:
    """Return what *step* carries, in the byte order of the paths.

    Args:
        step: The step.
        manifest: The name of the manifest, for errors.

    Raises:
        FormatError: The tree contains something that no package can carry; all of that is in the error.
        HostError: A directory in the tree can't be read.
        OSError: The tree can't be read.
    """
    return _Walk(step, manifest).report()


class _Walk:
    """One walk over one tree."""

    def __init__(self, step: TreeStep, manifest: str) -> None:
        self._step = step
        self._manifest = manifest
        self._taken: list[tuple[bytes, TreeFile]] = []  # each with its path below the tree
        self._excluded: list[bytes] = []
        self._skipped: list[bytes] = []
        self._copied: list[bytes] = []
        self._directories: dict[bytes, int] = {}
        self._used: set[str] = set()
        self._obstacles: list[tuple[bytes, SpkgError]] = []
        self._refused: set[bytes] = set()
        self._links = False

    def report(self) -> TreeReport:
        for path, entry in self._entries():
            if entry.is_symlink():
                self._link(path)
            elif entry.is_dir(follow_symlinks=False):
                self._directories[path] = entry.stat(follow_symlinks=False).st_mode
            elif entry.is_file(follow_symlinks=False):
                self._take(path, path, entry.stat(follow_symlinks=False))
            else:
                self._refuse(path, "neither a file nor a directory, so the format can't carry it")
        self._raise_obstacles()
        above = {path[:end] for path, _ in self._taken for end in _slashes(path)}
        return TreeReport(
            field=self._step.field,
            taken=tuple(file for _, file in sorted(self._taken, key=lambda taken: taken[0])),
            excluded=_names(self._excluded),
            skipped_links=_names(self._skipped),
            copied_links=_names(self._copied),
            directories=tuple(
                TreeDirectory(path=_text(self._joined(path)), mode=mode)
                for path, mode in sorted(self._directories.items())
                if path in above
            ),
            empty_directories=_names([path for path in self._directories if path not in above]),
            unused_patterns=tuple(one for one in self._step.exclude if one not in self._used),
        )

    def _entries(self) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
        """Walk through everything that is not excluded, without following links."""
        waiting = [b""]
        while waiting:
            directory = waiting.pop()
            try:
                with os.scandir(os.fsencode(self._place(directory))) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as exc:
                if not directory:
                    raise
                self._refuse(directory, os_problem(OSError(exc.errno, exc.strerror)), HostError)
                continue
            for entry in entries:
                path = b"/".join((directory, entry.name)) if directory else entry.name
                if self._is_excluded(path):
                    self._excluded.append(path)
                    continue
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)

    def _is_excluded(self, path: bytes) -> bool:
        """Whether a pattern excludes *path*: one without a slash matches a name at any depth.

        A slash at its end is ignored: that is how people write a directory.
        """
        whole = _text(path)
        name = whole.rpartition("/")[2]
        matching: set[str] = set()
        for pattern in self._step.exclude:
            wanted = pattern.rstrip("/")
            if fnmatchcase(whole if "/" in wanted else name, wanted.removeprefix("/")):
                matching.add(pattern)
        self._used |= matching
        return bool(matching)

    def _take(self, path: bytes, source: bytes, status: os.stat_result) -> None:
        # Of a directory that no package can carry, not every file is told.
        for end in (*_slashes(path), len(path)):
            try:
                target = RootPath(self._joined(path[:end]))
            except ValueError as exc:
                if path[:end] not in self._refused:
                    self._refuse(path[:end], str(exc))
                return
        self._taken.append((path, TreeFile(path=target, source=self._place(source), status=status)))

    def _link(self, path: bytes) -> None:
        match self._step.links:
            case TreeLinks.ERROR:
                self._links = True
                self._refuse(path, "a symbolic link, which the format can't carry")
            case TreeLinks.SKIP:
                self._skipped.append(path)
            case TreeLinks.COPY:
                try:
                    source = self._resolve(path)
                except ValueError as exc:
                    self._links = True
                    self._refuse(path, str(exc))
                    return
                self._take(path, source, self._place(source).stat())
                self._copied.append(path)

    def _resolve(self, path: bytes) -> bytes:
        """Return the target of a link, resolved as on the device, where the tree is at its path.

        Raises:
            ValueError: It is not a file in the tree; the message says why.
        """
        home = list(self._step.path.parts)
        done = list(home)
        waiting = path.split(b"/")
        links = 0
        while waiting:
            part = waiting.pop(0)
            if part == b"..":
                done = done[:-1]
                continue
            if part not in {b"", b"."}:
                done.append(part)
            if done[: len(home)] != home or done == home:
                continue
            here = self._place(b"/".join(done[len(home) :]))
            if here.is_symlink():
                links += 1
                if links > MAX_LINKS_COPIED:
                    raise ValueError(f"more than {MAX_LINKS_COPIED} symbolic links in a row")
                target = os.readlink(os.fsencode(here))  # noqa: PTH115 - a Path loses the slash at the end
                done = [] if target.startswith(b"/") else done[:-1]
                waiting = [*target.lstrip(b"/").split(b"/"), *waiting]
            elif waiting and not here.is_dir():
                raise ValueError("a symbolic link that does not lead to a file")
        if done[: len(home)] != home:
            raise ValueError("a symbolic link that leads out of the tree")
        below = b"/".join(done[len(home) :])
        if not self._place(below).is_file():
            raise ValueError("a symbolic link that does not lead to a file")
        return below

    def _place(self, path: bytes) -> Path:
        """Return where *path*, below the tree, is on this machine."""
        return self._step.source / os.fsdecode(path)

    def _joined(self, path: bytes) -> bytes:
        """Return the path on the device of what is at *path* below the tree."""
        prefix = self._step.path.octets
        return prefix + path if prefix.endswith(b"/") else prefix + b"/" + path

    def _refuse(self, path: bytes, problem: str, kind: type[FormatError | HostError] = FormatError) -> None:
        """Note something that no package can carry."""
        name = file_name(self._place(path))
        error = kind(
            f"{name}: {problem}",
            source=self._manifest,
            line=self._step.line,
            field=f"{self._step.field}.from",
        )
        self._obstacles.append((path, error))
        self._refused.add(path)

    def _raise_obstacles(self) -> None:
        """Raise all that was noted in the order of the paths, with the patterns that leave it out."""
        found = Obstacles()
        for _, error in sorted(self._obstacles, key=lambda obstacle: obstacle[0]):
            found.add(error)
        if not found:
            return
        shown = sorted(path for path, _ in self._obstacles)[:MOST_OBSTACLES]
        patterns = ", ".join(map(toml_string, [*self._step.exclude, *map(_pattern, shown)]))
        what = "it" if len(shown) == 1 else "them"
        hint = f"exclude = [{patterns}] leaves {what} out"
        if self._links:
            hint = f'{hint}; links = "skip" leaves out all links, "copy" takes the files they lead to'
        min(self._obstacles, key=lambda obstacle: obstacle[0])[1].hint = hint
        found.raise_all()


def _pattern(path: bytes) -> str:
    """Return the pattern that excludes *path*, and as good as nothing else.

    With a slash it matches the whole path.  What is not UTF-8 can't be in a manifest, but ``?`` matches it.
    """
    return "/" + "".join("?" if "\udc80" <= char <= "\udcff" else escape(char) for char in _text(path))


def _slashes(path: bytes) -> Iterator[int]:
    """Yield the place of each slash, so that ``path[:place]`` is each directory above it."""
    place = path.find(b"/")
    while place >= 0:
        yield place
        place = path.find(b"/", place + 1)


def _names(paths: list[bytes]) -> tuple[str, ...]:
    return tuple(_text(path) for path in sorted(paths))


def _text(path: bytes) -> str:
    """Return a path as text, whatever the locale: manifests and packages are in UTF-8."""
    return path.decode("utf-8", "surrogateescape")
