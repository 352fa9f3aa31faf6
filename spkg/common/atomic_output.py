"""Outputs appear whole or not at all, and replace an existing file only on request.

Files are written next to their final place, then renamed.  The only module that writes outside a root.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from spkg.common.part_files import clear_inside, part_directory, part_file
from spkg.common.portable import (
    CLOSE_ON_EXEC,
    DIRECTORY_ONLY,
    NO_FOLLOW,
    lock,
    own,
    restrict,
    sync_all,
    write_fully,
)
from spkg.errors import HostError, UsageError

PROC: Final = "/proc/"
"""How a link begins that stands for an open file of a process."""
PARTLY: Final = ".unfinished"
"""The file that marks a directory as an unfinished bulk output of ours."""

__all__ = [
    "bulk_directory",
    "make_own_directory",
    "new_directory",
    "new_file",
    "new_files",
    "new_pair",
    "refuse_existing",
    "sync_directory",
    "vacate",
    "write_all",
]


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse an output that already exists; called before any work is done.

    Raises:
        UsageError: It exists and *force* is not given, or it is a device, a pipe or the like, or leads there.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory")
    if not stat.S_ISREG(mode) and (not stat.S_ISLNK(mode) or _leads_to_stream(path)):
        raise UsageError(f"{path} is not a regular file")
    if not force:
        raise UsageError(f"{path} already exists", hint="overwrite it with --force")


def _leads_to_stream(link: Path) -> bool:
    """Whether a symbolic link stands for a descriptor, a device or the like: replacing it would break it.

    ``/dev/stdout`` is such a link, even where it leads to a regular file.
    """
    if os.fspath(link.readlink()).startswith(PROC):
        return True
    try:
        mode = link.stat().st_mode
    except OSError:  # it leads nowhere
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def vacate(path: Path) -> None:
    """Make sure that a file can be written to a place later, and remove the one that is there.

    Raises:
        UsageError: There is something else than a file.
        OSError: It can't be written or removed.
    """
    with new_file(path, force=True) as file, _named(path):
        write_all(file, b"\n")
    path.unlink()
    sync_directory(path.parent)


@contextmanager
def new_file(
    path: Path,
    *,
    force: bool = False,
    mode: int | None = None,
    replaces: os.stat_result | None = None,
    leave: Callable[[BaseException, Path], bool] | None = None,
) -> Iterator[FileIO]:
    """Open a file that appears at *path* when the block ends, whole, or not at all when it raises.

    What an earlier run left beside *path* when it was killed is removed.

    Args:
        path: Where it appears; a symbolic link there is replaced, not followed.
        force: Whether it may replace a file.
        mode: Its permissions, whatever the umask; None for the default permissions of a new file.
        replaces: The existing file, as it was when it was read.  Its permissions carry over, and its owner
            if that is allowed; at the end it must still exist, unchanged.
        leave: If given, the file may begin with what an earlier run left, which the block then has to check;
            it is left for the next run if the block raises something for which this, called with the error
            and the name of the unfinished file, returns true.

    Raises:
        UsageError: The output already exists, now or at the end.
        HostError: The file to replace was changed or replaced in the meantime.
        OSError: It can't be written; the error names *path*.
    """
    force = force or replaces is not None
    mode = mode if replaces is None else stat.S_IMODE(replaces.st_mode)
    refuse_existing(path, force=force)
    part = part_file(path, 0o666 if mode is None else 0o600, leave=leave)
    with ExitStack() as stack:
        with _named(path):
            temporary, descriptor = stack.enter_context(part)
        # The file object has the final name, so errors while writing name that.
        with FileIO(str(path), "r+", opener=lambda *_: descriptor) as file:
            if replaces is not None:
                own(descriptor, replaces.st_uid, replaces.st_gid)
            if mode is not None:
                restrict(descriptor, mode)
            yield file
            with _named(path):
                os.fsync(descriptor)
        if replaces is not None and _version(path.stat()) != _version(replaces):
            raise HostError(f"{path} was changed by another program in the meantime; it is left as it is")
        if force:
            temporary.replace(path)
        else:
            _move_new(temporary, path)
    sync_directory(path.parent)


@contextmanager
def new_pair(path: Path, beside: Path, *, force: bool = False) -> Iterator[tuple[FileIO, FileIO]]:
    """Open a file as :func:`new_file` does; another one, *beside* it, appears with it, or neither does.

    Raises:
        UsageError: One of them already exists, now or at the end.
        OSError: One can't be written.
    """
    before: bytes | None = None
    appeared = False
    try:
        with new_file(path, force=force) as file:
            with new_file(beside, force=force) as other:
                yield file, other
                with _named(path):
                    os.fsync(file.fileno())  # what has no room fails before the first of them appears
                if beside.is_file():
                    before = beside.read_bytes()
            appeared = True
    except BaseException:
        if appeared and before is not None:
            with new_file(beside, force=True) as other:
                write_all(other, before)
        elif appeared:
            beside.unlink()
        raise


def new_files(
    directory: Path, files: Sequence[tuple[str, bytes, int | None]], *, force: bool = False
) -> None:
    """Write small files into a directory, which is created if missing: all of them, or none.

    Args:
        directory: Where they appear.
        files: The name, the contents and the mode of each, as for :func:`new_file`.
        force: Whether they may replace existing files.

    Raises:
        UsageError: One already exists.
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
        path: A directory that does not exist yet and appears in one step, or an empty one, which is kept: it
            may be a mount point or the working directory of a process.

    Raises:
        UsageError: *path* exists and is not an empty directory.
        OSError: It can't be written.
    """
    empty = path.is_dir()
    if empty:
        clear_inside(path)
    _refuse_filled(path)
    with part_directory(path, inside=empty) as temporary:
        yield from _filled(path, temporary, empty=empty)
    sync_directory(path if empty else path.parent)


def _filled(path: Path, temporary: Path, *, empty: bool) -> Iterator[Path]:
    """Yield a temporary directory to fill, and move what is in it to its place."""
    moves: list[tuple[Path, Path]] = []
    done = False
    try:
        yield temporary
        if empty:
            moves += [(entry, path / entry.name) for entry in temporary.iterdir()]
            if set(path.iterdir()) != {temporary}:
                raise UsageError(f"{path} is no longer empty")
            for source, target in moves:
                source.rename(target)
            temporary.rmdir()
        else:
            _rename_into(temporary, path)
        done = True
    except OSError as exc:
        # The user does not know the temporary directory, so the error names the final place.
        name = None if exc.filename is None else os.fsdecode(exc.filename)
        if name is not None and Path(name).is_relative_to(temporary):
            raise OSError(exc.errno, exc.strerror, str(path / Path(name).relative_to(temporary))) from exc
        raise
    finally:
        if not done:
            _move_back(moves)


@contextmanager
def bulk_directory(path: Path, confirm: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a directory to fill with many files, ``path.part``, that becomes *path* when the block ends.

    If the block raises, a directory with files in it is left as it is; the next call starts over.

    Args:
        path: Where it appears.
        confirm: Called once it has appeared.  If that fails, or the process is killed before it is done, the
            next call starts over.

    Raises:
        UsageError: *path* already exists, or ``path.part`` exists and is not ours, or is in use.
        OSError: It can't be written.
    """
    part = path.with_name(f"{path.name}.part")
    if os.path.lexists(path) and not _taken_back(path, part):
        raise UsageError(f"{path} already exists", hint="give another path to write the same batch again")
    with suppress(FileExistsError):
        part.mkdir()
    with _locked(part):
        marker = part / PARTLY
        entries = [*part.iterdir()]
        if entries and marker not in entries:
            raise UsageError(f"{part} exists, and is not an interrupted bulk output")
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
        sync_all()  # syncing a million files one by one takes too long
        if os.path.lexists(path) and not (_unconfirmed(path) and _discarded(path)):
            raise UsageError(f"{path} was created in the meantime; the output is in {part}")
        part.rename(path)
        sync_directory(path.parent)
        confirm()
        (path / PARTLY).unlink()
    sync_directory(path)


def _taken_back(path: Path, part: Path) -> bool:
    """Whether *path* was not confirmed, and could be made ``path.part`` again, to start over."""
    if not _unconfirmed(path) or (os.path.lexists(part) and not _discarded(part)):
        return False
    with _locked(path):
        path.rename(part)
    return True


def _unconfirmed(path: Path) -> bool:
    """Whether the run that wrote *path* was killed before it was confirmed, or is about to confirm it."""
    return not path.is_symlink() and (path / PARTLY).is_file()


def _discarded(directory: Path) -> bool:
    """Whether a directory was an output that no run finishes any more, and could be removed."""
    marker = directory / PARTLY
    with _locked(directory):
        entries = [*directory.iterdir()]
        if entries and marker not in entries:
            return False
        for left in entries:
            if left != marker:
                left.unlink()
        marker.unlink(missing_ok=True)  # the last, so that it is known for what it is until then
        directory.rmdir()
    return True


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Lock a directory, so that no other run writes to it at the same time."""
    problem = f"{part} exists, and is not an interrupted bulk output"
    try:
        descriptor = os.open(part, os.O_RDONLY | DIRECTORY_ONLY | NO_FOLLOW | CLOSE_ON_EXEC)
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
    """Refuse an existing *path*, unless it is an empty directory."""
    if path.is_dir():
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty")
    elif os.path.lexists(path):
        raise UsageError(f"{path} exists and is not a directory")


def _rename_into(temporary: Path, path: Path) -> None:
    """Give a directory its final name.

    Raises:
        UsageError: Another program has made it meanwhile.
        OSError: It can't be renamed.
    """
    try:
        temporary.rename(path)
    except OSError:
        _refuse_filled(path)
        raise


def _move_back(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move back what was moved to its place, and nothing that another program put there."""
    for source, target in moves:
        if source.parent.exists() and not os.path.lexists(source):
            with suppress(OSError):
                target.rename(source)


def _version(status: os.stat_result) -> tuple[int, ...]:
    """Return what identifies a file and this version of it."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _move_new(temporary: Path, path: Path) -> None:
    """Give a file its name unless the name is taken, in one step if the file system can."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError as exc:
        raise UsageError(f"{path} already exists", hint="overwrite it with --force") from exc
    except OSError:  # a file system without hard links
        refuse_existing(path, force=False)
        temporary.replace(path)


def make_own_directory(directory: Path) -> None:
    """Make a directory for its owner alone, if it is missing.

    Raises:
        OSError: It can't be made, or something else is there.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), exc.filename) from exc


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, if it can be opened: the files exist in any case.

    Raises:
        OSError: They can't be made durable.
    """
    if not DIRECTORY_ONLY:  # a system whose directories can't be opened
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | DIRECTORY_ONLY | CLOSE_ON_EXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(output: FileIO, octets: bytes | memoryview) -> None:
    """Write all of *octets* to an unbuffered file, which may accept them in parts.

    Raises:
        OSError: It can't be written; the error names the file.
    """
    with _named(output.name):
        write_fully(output, octets)


@contextmanager
def _named(path: Path | str) -> Iterator[None]:
    """Have errors name the output, not its temporary file."""
    try:
        yield
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
