"""The installer's own files: each is written whole, and may be found damaged, or be something else."""

import errno
import json
from typing import Any, Final

from spkg.errors import os_problem
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts

__all__ = ["ASIDE_TREE", "read_own", "values_of", "write_whole"]

ASIDE_TREE: Final[Parts] = (*OWN, b"aside")
"""What was in the way of going back, under its path."""

NOT_OURS: Final = {errno.EFBIG: "", errno.EISDIR: "a directory", errno.ELOOP: "a link", errno.EINVAL: ""}
"""Errors for what is no regular file of a length that the installer writes, and what it is."""


def read_own(root: Root, path: Parts, limit: int) -> bytes:
    """Return the contents of one of the installer's own files of at most *limit* bytes.

    Raises:
        ValueError: It is a directory, a link or a special file, or too large.
        OSError: It can't be read, or does not exist.
    """
    try:
        return root.read(path, limit)
    except OSError as exc:
        if exc.errno not in NOT_OURS:
            raise
        raise ValueError(NOT_OURS[exc.errno] or os_problem(OSError(exc.errno, exc.strerror))) from exc


def values_of(octets: bytes) -> Any:
    """Return the values in one of the installer's own files.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(octets)
    except (ValueError, RecursionError) as exc:  # Python's own words are for programmers
        raise ValueError("not JSON") from exc


def write_whole(root: Root, path: Parts, octets: bytes, *, sync: bool = True) -> None:
    """Write a new file, and make its contents durable.

    Args:
        root: The root.
        path: The file, which does not exist yet.
        octets: Its contents.
        sync: Whether to make them durable now; otherwise, the caller syncs everything later.

    Raises:
        OSError: It can't be written.
    """
    file = root.create(path)
    try:
        file.write(octets)
        if sync:
            file.sync()
    finally:
        file.close()
