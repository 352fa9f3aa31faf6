"""Outputs appear whole or not at all, and never over something that is there unless asked.

Files are written beside their place and renamed into it; the only module that writes outside a root.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from spkg.common.portable import (
    BINARY,
    CLOSE_ON_EXEC,
    DIRECTORY,
    NO_FOLLOW,
    lock,
    own,
    restrict,
    sync_all,
)
from spkg.errors import HostError, UsageError

LONGEST_NAME: Final = 200
"""How much of a name, in octets, goes into that of its temporary file."""

PARTLY: Final = ".unfinished"
"""The file that tells a bulk output of ours from other people's directories."""

__all__ = ["bulk_directory", "new_directory", "new_file", "new_files", "refuse_existing", "write_all"]


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse an output that is there already; called before any work is done.

    Raises:
        UsageError: It exists and *force* is not given, or it is no regular file.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory")
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise UsageError(f"{path} is no regular file")
    if not force:
        raise UsageError(f"{path} exists", hint="--force overwrites it")


@contextmanager
def new_file(
    path: Path, *, force: bool = False, mode: int | None = None, replaces: os.stat_result | None = None
) -> Iterator[FileIO]:
    """Open a file that appears at *path* when the block ends, whole, or not at all when it raises.

    Args:
        path: Where it appears; a symbolic link there is replaced, not followed.
        force: Whether it may replace a file.
        mode: Its permissions, whatever the umask; None gives those of any new file.
        replaces: The file that is there, as it was when it was read.  Its permissions carry over, and its
            owner where that is allowed; at the end it must be there still, and unchanged.

    Raises:
        UsageError: Something is there already, now or at the end.
        HostError: What was to be replaced is another file by now.
        OSError: It can't be written; the error names *path*.
    """
    force = force or replaces is not None
    mode = mode if replaces is None else stat.S_IMODE(replaces.st_mode)
    refuse_existing(path, force=force)
    temporary = _beside(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | CLOSE_ON_EXEC | BINARY
    try:
        # Inside, so that a signal between the making and the next line leaves nothing either.
        with _named(path):
            descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
        # The file goes by its final name, so that whatever can't be written to it is told by that.
        with FileIO(str(path), "r+", opener=lambda *_: descriptor) as file:
            if replaces is not None:
                own(descriptor, replaces.st_uid, replaces.st_gid)
            if mode is not None:
                restrict(descriptor, mode)
            yield file
            with _named(path):
                os.fsync(descriptor)
        if replaces is not None and _version(path.stat()) != _version(replaces):
            raise HostError(f"{path} was changed by somebody else in the meantime; it stays as it is")
        if force:
            temporary.replace(path)
        else:
            _move_new(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_directory(path.parent)


def new_files(
    directory: Path, files: Sequence[tuple[str, bytes, int | None]], *, force: bool = False
) -> None:
    """Write small files into a directory, which is made where it is not there: all of them, or none.

    Args:
        directory: Where they appear.
        files: The name, the contents and the mode of each, as for :func:`new_file`.
        force: Whether they may replace others.

    Raises:
        UsageError: One is there already.
        OSError: One can't be written.
    """
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            for name, contents, mode in files:
                write_all(stack.enter_context(new_file(directory / name, force=force, mode=mode)), contents)
    except BaseException:
        if made:
            with suppress(OSError):
                directory.rmdir()
        raise


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill, whose contents appear in *path* when the block ends, or not at all.

    Args:
        path: A directory that does not exist yet, which then appears in one step, or that is empty, which
            stays the one it is: somebody may stand in it, or it may be a mount point.

    Raises:
        UsageError: Something is there already.
        OSError: It can't be written.
    """
    empty = path.is_dir()
    _refuse_filled(path)
    temporary = path / f".{secrets.token_hex(4)}.part" if empty else _beside(path)
    moves: list[tuple[Path, Path]] = []
    done = False
    try:
        with _named(path):
            temporary.mkdir()
        yield temporary
        if empty:
            moves += [(entry, path / entry.name) for entry in temporary.iterdir()]
            if set(path.iterdir()) != {temporary}:
                raise UsageError(f"{path} is no longer empty")
            for source, target in moves:
                source.rename(target)
            temporary.rmdir()
        else:
            temporary.rename(path)
        done = True
    except OSError as exc:
        # The user knows nothing of the place where the directory comes to be.
        name = None if exc.filename is None else os.fsdecode(exc.filename)
        if name is not None and Path(name).is_relative_to(temporary):
            raise OSError(exc.errno, exc.strerror, str(path / Path(name).relative_to(temporary))) from exc
        raise
    finally:
        if not done:
            _move_back(moves)
            shutil.rmtree(temporary, ignore_errors=True)
    _sync_directory(path if empty else path.parent)


@contextmanager
def bulk_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill with many files, ``path.part``, that becomes *path* when the block ends.

    Where the block raises it stays as it is, if there is anything in it; the next one begins anew.

    Raises:
        UsageError: *path* is there already, or ``path.part`` is there and none of ours, or in use.
        OSError: It can't be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists", hint="in another place the same batch is written once more")
    part = path.with_name(f"{path.name}.part")
    with suppress(FileExistsError):
        part.mkdir()
    with _locked(part):
        marker = part / PARTLY
        entries = [*part.iterdir()]
        if entries and marker not in entries:
            raise UsageError(f"{part} exists, and is no bulk output that was cut off")
        marker.touch()
        for left in entries:
            if left != marker:
                left.unlink()
        try:
            yield part
        except BaseException:
            if [*part.iterdir()] == [marker]:
                marker.unlink()
                part.rmdir()
            raise
        sync_all()  # of a million files each by itself takes too long
        if os.path.lexists(path):
            raise UsageError(f"{path} exists by now; what was written is in {part}")
        part.rename(path)
        (path / PARTLY).unlink()
    _sync_directory(path.parent)


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Hold a directory, so that no other run writes it at the same time."""
    problem = f"{part} exists, and is no bulk output that was cut off"
    try:
        descriptor = os.open(part, os.O_RDONLY | DIRECTORY | NO_FOLLOW | CLOSE_ON_EXEC)
    except NotADirectoryError as exc:
        raise UsageError(problem) from exc
    try:
        if not lock(descriptor):
            raise UsageError(f"{part} is being written by another run")
        if not part.exists() or not os.path.samestat(os.fstat(descriptor), part.stat()):
            raise UsageError(f"{part} was finished by another run a moment ago")
        yield
    finally:
        os.close(descriptor)


def _refuse_filled(path: Path) -> None:
    """Refuse what is there, unless it is an empty directory."""
    if path.is_dir():
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty")
    elif os.path.lexists(path):
        raise UsageError(f"{path} exists and is no directory")


def _move_back(moves: Sequence[tuple[Path, Path]]) -> None:
    """Take back what was moved to its place, and nothing that is somebody else's."""
    for source, target in moves:
        if source.parent.exists() and not os.path.lexists(source):
            with suppress(OSError):
                target.rename(source)


def _version(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from others, and from what it was before."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _move_new(temporary: Path, path: Path) -> None:
    """Give a file its name unless something has it, in one step where the file system can."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError as exc:
        raise UsageError(f"{path} exists", hint="--force overwrites it") from exc
    except OSError:  # a file system without hard links
        refuse_existing(path, force=False)
        temporary.replace(path)


def _sync_directory(path: Path) -> None:
    """Make a rename durable, where the directory may be read: the output is there in any case."""
    if not DIRECTORY:  # a system whose directories can't be opened
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | DIRECTORY | CLOSE_ON_EXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(output: FileIO, octets: bytes | memoryview) -> None:
    """Write all of *octets* to a file without a buffer, which may take them in parts.

    Raises:
        OSError: It can't be written; the error names the file.
    """
    view = memoryview(octets)
    with _named(output.name):
        while view:
            view = view[output.write(view) :]


def _beside(path: Path) -> Path:
    """Return a name that nobody has, in the directory of *path*, no longer than a name may be."""
    name = os.fsdecode(os.fsencode(path.name)[:LONGEST_NAME])
    return path.with_name(f".{name}.{secrets.token_hex(4)}.part")


@contextmanager
def _named(path: Path | str) -> Iterator[None]:
    """Have an error name what it is about: the output, not the place where it comes to be."""
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
