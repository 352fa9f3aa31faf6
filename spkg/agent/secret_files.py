"""Passwords, each the first line of a file that nobody else may read."""

import os
import stat
from pathlib import Path
from typing import Final

from spkg.errors import HostError, os_problem

__all__ = ["read_password_file"]

MAX_PASSWORD: Final = 256
"""The longest password, in bytes (Table 61)."""
RIGHTS_OF_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_password_file(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        HostError: It can't be read, others may read it, or its first line is not a password.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise HostError(f"{path}: not a regular file")
        if found.st_mode & RIGHTS_OF_OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise HostError(
                f"{path}: others may read or write it (mode {mode:04o}), so it is not used",
                hint=f"chmod 600 {path}",
            )
        line = file.readline(MAX_PASSWORD + 2).rstrip(b"\r\n")
    try:
        password = line.decode()
    except UnicodeDecodeError as exc:
        raise HostError(f"{path}: the password is not UTF-8") from exc
    if len(line) > MAX_PASSWORD or not password.isprintable():
        raise HostError(f"{path}: expected at most {MAX_PASSWORD} printable bytes in the first line")
    return password
