"""Temporary files beside outputs: locked while they are written, found again if their run was killed.

A file or directory that is not ours, or that another run writes, is never touched.  Where files can't be
locked, nothing is looked for.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from spkg.common.portable import (
    BINARY,
    CLOSE_ON_EXEC,
    DIRECTORY_ONLY,
    LOCKS,
    NO_FOLLOW,
    NON_BLOCKING,
    is_own,
    lock,
)

__all__ = ["clear_inside", "part_directory", "part_file"]

LONGEST_NAME: Final = 200
"""How many bytes of a name become part of the name of its temporary file."""
MARK: Final = re.compile(r"[0-9a-f]{8}\.part")
"""The end of the name of a temporary file or directory."""
SAFELY: Final = CLOSE_ON_EXEC | BINARY | NO_FOLLOW | NON_BLOCKING


@contextmanager
def part_file(
    path: Path, mode: int, *, leave: Callable[[BaseException, Path], bool] | None = None
) -> Iterator[tuple[Path, int]]:
    """Yield the name and descriptor of a temporary file for *path*, after removing those of killed runs.

    The file is removed at the end unless it was renamed; the caller closes the descriptor.

    Args:
        path: The output.
        mode: The permissions of a new file, before the umask.
        leave: If given, the longest file that a killed run left is opened again, and it stays if the block
            raises something for which this, called with the error and its name, returns true.

    Raises:
        OSError: It can't be made.
    """
    prefix = _prefix(path)
    found = _claim(path.parent, prefix, take=leave is not None)
    temporary, descriptor = found or (path, -1)
    keep = False
    held = -1
    try:
        while found is None:
            # Inside the try, so that a signal right after the file is created leaves nothing behind either.
            temporary = path.parent / _new_name(prefix)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, mode)
            if _hold(descriptor) and _is_there(temporary, descriptor):
                break
            os.close(descriptor)  # a run that looks for unfinished files took it for one
        # A second descriptor holds the lock until the file has its final name.
        held = os.dup(descriptor) if LOCKS else -1
        yield temporary, descriptor
    except BaseException as exc:
        keep = leave is not None and leave(exc, temporary)
        raise
    finally:
        if not keep and temporary != path:
            with suppress(FileNotFoundError):
                temporary.unlink()
        if held >= 0:
            os.close(held)


@contextmanager
def part_directory(path: Path, *, inside: bool) -> Iterator[Path]:
    """Yield a new temporary directory for *path*, after removing those of killed runs.

    It is removed at the end unless it was renamed.

    Args:
        path: The output.
        inside: Whether it is made in *path* and not beside it.

    Raises:
        OSError: It can't be made; the error names *path*.
    """
    directory, prefix = (path, ".") if inside else (path.parent, _prefix(path))
    _claim(directory, prefix)
    temporary: Path | None = None
    held: int | None = None
    try:
        while held is None:
            temporary = directory / _new_name(prefix)
            try:
                temporary.mkdir()
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, str(path)) from exc
            held = _hold_directory(temporary)
        assert temporary is not None  # it is held
        yield temporary
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if held is not None and held >= 0:
            os.close(held)


def clear_inside(path: Path) -> None:
    """Remove what killed runs left in a directory, if there is nothing else in it."""
    with suppress(OSError):
        names = [entry.name for entry in path.iterdir()]
        if all(_fits(name, ".") for name in names):
            _claim(path, ".")


def _prefix(path: Path) -> str:
    """Return how the names of the temporary files of *path* begin, within the limit for names."""
    return f".{os.fsdecode(os.fsencode(path.name)[:LONGEST_NAME])}."


def _new_name(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(4)}.part"


def _fits(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and MARK.fullmatch(name.removeprefix(prefix)) is not None


def _claim(directory: Path, prefix: str, *, take: bool = False) -> tuple[Path, int] | None:
    """Remove what killed runs left; return the longest file, locked and open, if it is to be taken."""
    if not LOCKS:
        return None
    try:
        with os.scandir(directory) as entries:
            left = [directory / entry.name for entry in entries if _fits(entry.name, prefix)]
    except OSError:  # a directory that may be written, but not listed
        return None
    best: tuple[Path, int] | None = None
    for one in left:
        spare: tuple[Path, int] | None
        descriptor = _lock_own(one, os.O_RDWR) if take else None
        if descriptor is not None and _may_go_on(descriptor, None if best is None else best[1]):
            best, spare = (one, descriptor), best
        elif descriptor is not None:
            spare = one, descriptor
        else:
            descriptor = _lock_own(one, os.O_RDONLY)
            spare = None if descriptor is None else (one, descriptor)
        if spare is not None:
            _remove(*spare)
    return best


def _may_go_on(descriptor: int, best: int | None) -> bool:
    """Whether a file can be continued, and is longer than the best one so far."""
    status = os.fstat(descriptor)
    return status.st_nlink == 1 and (best is None or status.st_size > os.fstat(best).st_size)


def _lock_own(path: Path, access: int) -> int | None:
    """Open and lock a file or directory of ours that nobody writes; None if it is anything else."""
    try:
        if stat.S_IFMT(path.lstat().st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
            return None
        descriptor = os.open(path, access | SAFELY)
    except OSError:
        return None
    try:
        if lock(descriptor) and is_own(os.fstat(descriptor)) and _is_there(path, descriptor):
            return descriptor
    except OSError:  # a file system without locks
        pass
    os.close(descriptor)
    return None


def _remove(path: Path, descriptor: int) -> None:
    """Remove what we have locked, and close it."""
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """Lock a file; where the file system has no locks, it counts as locked."""
    try:
        return lock(descriptor)
    except OSError:
        return True


def _hold_directory(path: Path) -> int | None:
    """Lock a new directory, and return the descriptor that holds the lock; -1 if there is no lock.

    None is returned if a run that looks for unfinished directories took it for one.
    """
    if not LOCKS:
        return -1
    try:
        descriptor = os.open(path, os.O_RDONLY | DIRECTORY_ONLY | SAFELY)
    except FileNotFoundError:
        return None
    except OSError:  # a mode that does not even let its owner in
        return -1
    if _hold(descriptor) and _is_there(path, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether a name still leads to an open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
