"""The files of a directory tree, in an order that does not depend on the file system.

Nothing is left out silently: a link, a device or a name that no package can carry is an error or is counted.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Final

from spkg.build.manifest import TreeLinks, TreeStep
from spkg.common.printable import toml_string
from spkg.errors import FormatError, file_name
from spkg.format.paths import RootPath

__all__ = ["TreeFile", "TreeReport", "walk_tree"]

MAX_LINKS_COPIED: Final = 40
"""How many links in a row are followed, as Linux does."""


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """A file that a tree step carries."""

    path: RootPath
    source: Path


@dataclass(frozen=True, kw_only=True)
class TreeReport:
    """What a tree step took, and what it left out."""

    field: str
    taken: tuple[TreeFile, ...]
    excluded: tuple[str, ...]
    """Files, links and directories that a pattern left out."""
    skipped_links: tuple[str, ...]
    copied_links: tuple[str, ...]
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
        FormatError: The tree contains something that no package can carry.
        OSError: It can't be read.
    """
    return _Walk(step, manifest).report()


class _Walk:
    """One walk over one tree."""

    def __init__(self, step: TreeStep, manifest: str) -> None:
        self._step = step
        self._manifest = manifest
        self._taken: list[tuple[bytes, bytes]] = []  # (path below the tree, path of the source below it)
        self._excluded: list[bytes] = []
        self._skipped: list[bytes] = []
        self._copied: list[bytes] = []
        self._directories: list[bytes] = []
        self._used: set[str] = set()

    def report(self) -> TreeReport:
        for path, entry in self._entries():
            if entry.is_symlink():
                self._link(path)
            elif entry.is_dir(follow_symlinks=False):
                self._directories.append(path)
            elif entry.is_file(follow_symlinks=False):
                self._taken.append((path, path))
            else:
                raise self._error(
                    path, "neither a file nor a directory, so the format can't carry it", exclude=True
                )
        above = {path[:end] for path, _ in self._taken for end in _slashes(path)}
        return TreeReport(
            field=self._step.field,
            taken=tuple(
                TreeFile(path=self._target(path), source=self._place(source))
                for path, source in sorted(self._taken)
            ),
            excluded=_names(self._excluded),
            skipped_links=_names(self._skipped),
            copied_links=_names(self._copied),
            empty_directories=_names([path for path in self._directories if path not in above]),
            unused_patterns=tuple(one for one in self._step.exclude if one not in self._used),
        )

    def _entries(self) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
        """Walk through everything that is not excluded, without following links."""
        waiting = [b""]
        while waiting:
            directory = waiting.pop()
            with os.scandir(os.fsencode(self._place(directory))) as found:
                # Sorted, so that of several errors the same one is always reported.
                entries = sorted(found, key=lambda entry: entry.name)
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

    def _link(self, path: bytes) -> None:
        match self._step.links:
            case TreeLinks.ERROR:
                raise self._error(path, "a symbolic link, which the format can't carry", exclude=True)
            case TreeLinks.SKIP:
                self._skipped.append(path)
            case TreeLinks.COPY:
                self._taken.append((path, self._resolve(path)))
                self._copied.append(path)

    def _resolve(self, path: bytes) -> bytes:
        """Return the target of a link, resolved as on the device, where the tree is at its path."""
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
                    raise self._error(
                        path, f"more than {MAX_LINKS_COPIED} symbolic links in a row", exclude=True
                    )
                target = os.readlink(os.fsencode(here))  # noqa: PTH115 - a Path loses the slash at the end
                done = [] if target.startswith(b"/") else done[:-1]
                waiting = [*target.lstrip(b"/").split(b"/"), *waiting]
            elif waiting and not here.is_dir():
                raise self._error(path, "a symbolic link that does not lead to a file", exclude=True)
        if done[: len(home)] != home:
            raise self._error(path, "a symbolic link that leads out of the tree", exclude=True)
        below = b"/".join(done[len(home) :])
        if not self._place(below).is_file():
            raise self._error(path, "a symbolic link that does not lead to a file", exclude=True)
        return below

    def _place(self, path: bytes) -> Path:
        """Return where *path*, below the tree, is on this machine."""
        return self._step.source / os.fsdecode(path)

    def _target(self, path: bytes) -> RootPath:
        prefix = self._step.path.octets
        joined = prefix + path if prefix.endswith(b"/") else prefix + b"/" + path
        try:
            return RootPath(joined)
        except ValueError as exc:
            raise self._error(path, str(exc)) from exc

    def _error(self, path: bytes, problem: str, *, exclude: bool = False) -> FormatError:
        name = file_name(self._place(path))
        # With a slash, the pattern matches only this path, not other files of that name.
        pattern = toml_string("/" + escape(_text(path)))
        hint = f"exclude = [{pattern}] leaves it out" if exclude else None
        if exclude and "link" in problem:
            hint = f'{hint}; links = "skip" leaves out all links, "copy" takes the files they lead to'
        return FormatError(
            f"{name}: {problem}", source=self._manifest, field=f"{self._step.field}.from", hint=hint
        )


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
