"""Outputs appear whole or not at all, and never over something that is there unless asked.

Files are written beside their place and renamed into it; the only module that writes outside a root.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from spkg.errors import UsageError

__all__ = ["new_directory", "new_file", "refuse_existing", "write_all"]


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
    if not force:
        raise UsageError(f"{path} exists", hint="--force overwrites it")


@contextmanager
def new_file(path: Path, *, force: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that appears at *path* when the block ends, whole, or not at all when it raises.

    Args:
        path: Where it appears; a symbolic link there is replaced, not followed.
        force: Whether it may replace a file.
        mode: Its permissions, less the umask.

    Raises:
        UsageError: Something is there already, now or at the end.
        OSError: It can't be written.
    """
    refuse_existing(path, force=force)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w+b", buffering=0) as file:
            yield file
            os.fsync(descriptor)
        if force:
            temporary.replace(path)
        else:
            _move_new(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_directory(path.parent)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a directory to fill, whose contents appear in *path* when the block ends, or not at all.

    Args:
        path: A directory that is empty, or that does not exist yet.

    Raises:
        UsageError: Something is there already.
        OSError: It can't be written.
    """
    if path.is_dir():
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty")
        temporary = path / f".{secrets.token_hex(4)}.part"
    elif os.path.lexists(path):
        raise UsageError(f"{path} exists and is no directory")
    else:
        temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    try:
        yield temporary
        if temporary.parent == path:
            for entry in list(temporary.iterdir()):
                entry.rename(path / entry.name)
            temporary.rmdir()
        else:
            temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_directory(path.parent)


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
    """Make a rename durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(output: BinaryIO, octets: bytes | memoryview) -> None:
    """Write all of *octets* to a file without a buffer, which may take them in parts."""
    view = memoryview(octets)
    while view:
        view = view[output.write(view) :]
