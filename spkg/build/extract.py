"""Extraction: the files of a package into a directory of their own, all or nothing.

This takes a package apart; it installs nothing.  Paths are checked before they get here.  The directory is
new, so it can't contain a link that leads elsewhere.
"""

import os
import stat
from collections import Counter, defaultdict
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from shutil import copyfile
from typing import Final

from spkg.build.manifest_writer import Rebuild, describe_manifest
from spkg.common.atomic_output import new_directory, write_all
from spkg.common.portable import BINARY, CLOSE_ON_EXEC, NO_FOLLOW, free_room, os_name
from spkg.errors import HostError
from spkg.format.package import Package, PayloadFile
from spkg.format.ranges import Range
from spkg.verify.contents import PayloadReport, compare_payload
from spkg.verify.payload import Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import Consumer, Progress

__all__ = ["Extraction", "extract_package", "unsafe_extract_package"]

DEFAULT_MODE: Final = 0o644
"""The mode of a file if the package states none; the umask is applied to it."""
MAX_FILE_NAME: Final = 255
"""The longest file name, in bytes, that file systems accept."""
FILES_DIRECTORY: Final = "rootfs"
"""The directory of the files, next to a manifest."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What was extracted."""

    report: PayloadReport
    places: tuple[str, ...]
    """Where each file went, below the directory, in the order of the commands."""
    renamed: tuple[int, ...]
    """Which of them could not get their own path, because a file with different contents has it."""
    rebuild: Rebuild | None
    """What building from the manifest would give; None without one."""


def extract_package(
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
        directory: Where the files are written, under their paths.
        manifest: Whether to write them to ``rootfs``, next to a manifest that rebuilds the package.
        progress: Called with the number of bytes processed.

    Raises:
        DamagedPayloadError: The contents of a file are not the signed ones.
        FormatError: The payload is shorter or longer than the header states.
        HostError: There is not enough room for the files.
        UsageError: *directory* is not empty.
        OSError: A file can't be written.
    """
    return unsafe_extract_package(trusted.package, payload, directory, manifest=manifest, progress=progress)


def unsafe_extract_package(
    package: Package,
    payload: Payload,
    directory: Path,
    *,
    manifest: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Extract the files of a package without a trusted signature; otherwise as :func:`extract_package`."""
    with new_directory(directory) as new:
        tree = new / FILES_DIRECTORY if manifest else new
        tree.mkdir(exist_ok=True)
        _check_room(package, new)
        names = _Names()
        places = [names.give(file) for file in package.files]
        # Of identical files, the first is written while the payload is read; the others are copies of it.
        wanted: defaultdict[Range, dict[str, int]] = defaultdict(dict)
        for file, place in zip(package.files, places, strict=True):
            wanted[file.range][place] = file.mode or DEFAULT_MODE
        writers = [_Writer(range_, tree / os_name(next(iter(modes)))) for range_, modes in wanted.items()]
        try:
            report = compare_payload(package, payload, also=writers, progress=progress)
        finally:
            for writer in writers:
                writer.close()
        for modes in wanted.values():
            first, *others = map(os_name, modes)
            for other in others:
                _make(tree / other).close()
                copyfile(tree / first, tree / other)
            for place, mode in modes.items():
                _set_mode(tree / os_name(place), mode)

        prefix = f"{FILES_DIRECTORY}/" if manifest else ""
        rebuild: Rebuild | None = None
        if manifest:
            text, rebuild = describe_manifest(package, [prefix + place for place in places])
            (new / "manifest.toml").write_text(text, encoding="utf-8")
    return Extraction(
        report=report,
        places=tuple(prefix + place for place in places),
        renamed=tuple(names.renamed),
        rebuild=rebuild,
    )


class _Names:
    """Gives every file a unique name: its path, or a similar one if that is taken."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Range, int] | None] = {}
        self._given: dict[tuple[str, tuple[Range, int] | None], str] = {}
        self._numbers: Counter[str] = Counter()
        self._count = 0
        self.renamed: list[int] = []

    def give(self, file: PayloadFile) -> str:
        """Return the place of *file*, below the tree."""
        *above, name = [part.decode() for part in file.record.path.parts]
        place = ""
        for part in above:
            place = self._take(place + part, None) + "/"
        place = self._take(place + name, (file.range, file.mode))
        if place != "/".join([*above, name]):
            self.renamed.append(self._count)
        self._count += 1
        return place

    def _take(self, wanted: str, contents: tuple[Range, int] | None) -> str:
        """Return *wanted*, or a similar path, for these contents; a directory has None."""
        key = (wanted, contents)
        if key not in self._given:
            place = wanted
            while self._places.get(place, contents) != contents:
                self._numbers[wanted] += 1
                place = _numbered(wanted, self._numbers[wanted] + 1)
            self._places[place] = contents
            self._given[key] = place
        return self._given[key]


def _numbered(path: str, number: int) -> str:
    """Return *path* with a number after its name, which is shortened if it would be too long."""
    above, slash, name = path.rpartition("/")
    suffix = f".{number}"
    return f"{above}{slash}{name.encode()[: MAX_FILE_NAME - len(suffix)].decode(errors='ignore')}{suffix}"


class _Writer(Consumer):
    """A consumer that writes its range into a file."""

    def __init__(self, wanted: Range, path: Path) -> None:
        self.range = wanted
        self._path = path
        self._file: FileIO | None = None

    def begin(self) -> None:
        """Create the file."""
        self._file = _make(self._path)

    def feed(self, octets: memoryview) -> None:
        """Write the next bytes."""
        assert self._file is not None  # begin comes before
        write_all(self._file, octets)

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _make(path: Path) -> FileIO:
    """Create a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | CLOSE_ON_EXEC | BINARY, 0o777
    )
    return FileIO(str(path), "w", opener=lambda *_: descriptor)


def _set_mode(path: Path, mode: int) -> None:
    """Limit the mode to what package and umask both allow; done last, since some modes forbid writing."""
    path.chmod(stat.S_IMODE(path.stat().st_mode) & mode)


def _check_room(package: Package, directory: Path) -> None:
    """Refuse before a disk is filled: a hundred bytes of commands can ask for 4 GiB, many times over."""
    wanted = sum(file.record.file_length for file in package.files)
    free = free_room(directory)
    if free is not None and wanted > free:
        raise HostError(f"the files need {wanted} bytes, but only {free} are free")
