"""Extraction: the files of a package into a directory of their own, all or nothing.

This takes a package apart; it installs nothing.  Paths are checked before they get here, and the directory
is new, so nothing can stand in it that leads elsewhere.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from itertools import count
from pathlib import Path
from shutil import copyfile
from typing import Final

from spkg.errors import SurroundingsError
from spkg.manifest_text import describe_manifest
from spkg.output import new_directory, write_all
from spkg.package import Package, PayloadFile
from spkg.payload import Payload, PayloadReport, Progress, compare_payload
from spkg.ranges import Range
from spkg.verification import TrustedPackage

__all__ = ["Extraction", "extract", "unsafe_extract"]

PLAIN: Final = 0o644
"""The mode of a file of which the package states none; the umask goes off."""
TREE: Final = "rootfs"
"""Where the files go beside a manifest."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What was extracted."""

    report: PayloadReport
    places: tuple[str, ...]
    """Where each file went, below the directory, in the order of the commands."""
    renamed: tuple[int, ...]
    """Which of them could not have their own path: it was taken by another of other contents."""
    rebuilds: bool | None
    """Whether the manifest builds the same header, command list and payload; None without one."""


def extract(
    trusted: TrustedPackage,
    payload: Payload,
    directory: Path,
    *,
    manifest: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Extract the files of *trusted* into *directory*, which is empty or does not exist.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        directory: Where the files go, under their paths.
        manifest: Whether they go to ``rootfs``, beside a manifest that builds the package again.
        progress: Is told the octets done.

    Raises:
        DamagedPayloadError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        SurroundingsError: There is not room for the files.
        UsageError: *directory* is not empty.
        OSError: A file can't be written.
    """
    return unsafe_extract(trusted.package, payload, directory, manifest=manifest, progress=progress)


def unsafe_extract(
    package: Package,
    payload: Payload,
    directory: Path,
    *,
    manifest: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Extract the files of a package that nobody vouches for; as :func:`extract` otherwise."""
    with new_directory(directory) as new:
        tree = new / TREE if manifest else new
        tree.mkdir(exist_ok=True)
        _check_room(package, new)
        names = _Names()
        places = [names.give(file) for file in package.files]
        copies: defaultdict[Range, list[int]] = defaultdict(list)
        for index, file in enumerate(package.files):
            copies[file.range].append(index)

        writers = [
            _Writer(wanted, tree / places[first], package.files[first].mode or PLAIN)
            for wanted, (first, *_) in copies.items()
        ]
        try:
            report = compare_payload(package, payload, also=writers, progress=progress)
        finally:
            for writer in writers:
                writer.close()
        for first, *others in copies.values():
            for other in others:
                if places[other] != places[first]:
                    _make(tree / places[other], package.files[other].mode or PLAIN).close()
                    copyfile(tree / places[first], tree / places[other])

        prefix = f"{TREE}/" if manifest else ""
        rebuilds: bool | None = None
        if manifest:
            text, rebuilds = describe_manifest(package, [prefix + place for place in places])
            (new / "manifest.toml").write_text(text, encoding="utf-8")
    return Extraction(
        report=report,
        places=tuple(prefix + place for place in places),
        renamed=tuple(names.renamed),
        rebuilds=rebuilds,
    )


class _Names:
    """Gives every file a name of its own: its path, or one like it where that is taken."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Range, int]] = {}
        self._directories: set[str] = set()
        self._given = 0
        self.renamed: list[int] = []

    def give(self, file: PayloadFile) -> str:
        """Return the place of *file*, below the tree."""
        wanted = "/".join(part.decode() for part in file.record.path.parts)
        place = ""
        parts = wanted.split("/")
        for part in parts[:-1]:
            place = self._free(place, part, lambda path: path in self._files)
            self._directories.add(place)
        contents = (file.range, file.mode)
        place = self._free(
            place,
            parts[-1],
            lambda path: path in self._directories or self._files.get(path, contents) != contents,
        )
        self._files[place] = contents
        if place != wanted:
            self.renamed.append(self._given)
        self._given += 1
        return place

    @staticmethod
    def _free(directory: str, name: str, taken: Callable[[str], bool]) -> str:
        """Return *name* in *directory*, with the first number behind it that makes it free."""
        for number in count(1):
            suffix = "" if number == 1 else f".{number}"
            path = f"{directory}/{name}{suffix}" if directory else f"{name}{suffix}"
            if not taken(path):
                return path
        raise AssertionError("there is always another number")


class _Writer:
    """A consumer that writes its range into a file."""

    def __init__(self, wanted: Range, path: Path, mode: int) -> None:
        self.range = wanted
        self._path = path
        self._mode = mode
        self._file: FileIO | None = None

    def begin(self) -> None:
        """Make the file."""
        self._file = _make(self._path, self._mode)

    def feed(self, octets: memoryview) -> None:
        """Write the next octets."""
        assert self._file is not None  # begin comes before
        write_all(self._file, octets)

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Let go of the file, if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _make(path: Path, mode: int) -> FileIO:
    """Make a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    return FileIO(str(path), "w", opener=lambda *_: descriptor)


def _check_room(package: Package, directory: Path) -> None:
    """Refuse before a disk is filled: a hundred octets of commands can ask for 4 GiB, many times over."""
    wanted = sum(file.record.file_length for file in package.files)
    room = os.statvfs(directory)
    if wanted > room.f_bavail * room.f_frsize:
        raise SurroundingsError(f"the files need {wanted} octets, {room.f_bavail * room.f_frsize} are free")
