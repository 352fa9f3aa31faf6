"""Landlock: confines a process, so that it can change nothing outside one directory."""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

__all__ = ["confine", "confine_changes"]

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
VERSION_FLAG: Final = 1
PATH_BENEATH: Final = 1
NO_NEW_PRIVILEGES: Final = 38
EXECUTE: Final = 1 << 0
READ_FILE: Final = 1 << 2
READ: Final = READ_FILE | 1 << 3
"""For files and directories."""
RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many file access rights each version of Landlock has."""
RENAMES_FROM: Final = 2
"""Version 1 (Linux 5.13 to 5.18) refuses every rename and link from one directory to another."""
NETWORK_FROM: Final = 4
SCOPES_FROM: Final = 6
READABLE: Final = ("/proc", "/dev/null", "/usr/share/zoneinfo")
"""What a program reads in addition to itself."""
_libc = ctypes.CDLL(None, use_errno=True)


def confine(descriptor: int | None) -> int:  # pragma: no cover - it can't write down what it ran
    """Let this process change only what is below a directory, and return the version of Landlock.

    It can still read that directory, the program itself and kernel information; open files stay open.  It has
    no network, and the confinement can't be undone.

    Args:
        descriptor: The directory.  Without one no file can be changed, and everything else is allowed.

    Returns:
        0 if the kernel has no Landlock, or one that lets no directory change: then nothing is confined.
    """
    if descriptor is None:
        return confine_changes()
    version, rights = _known_rights()
    if version < RENAMES_FROM:
        return 0

    def allow(rules: int) -> None:
        _allow(rules, descriptor, rights & ~EXECUTE)
        _allow_reading(rules)

    fields = [rights, *[0b11] * ((version >= NETWORK_FROM) + (version >= SCOPES_FROM))]
    return _restrict(version, fields, allow)


def confine_changes(*descriptors: int) -> int:  # pragma: no cover - as above
    """Let this process change only what is below these directories, and return the version of Landlock.

    It can read and run what it could before, and has its network; the confinement can't be undone.  A kernel
    whose Landlock refuses renames from one directory to another confines, too: nothing here needs them.

    Returns:
        0 if the kernel has no Landlock: then nothing is confined.
    """
    version, rights = _known_rights()
    changes = rights & ~READ & ~EXECUTE
    if version < 1:
        return 0

    def allow(rules: int) -> None:
        for descriptor in descriptors:
            _allow(rules, descriptor, changes)

    return _restrict(version, [changes], allow)


def _known_rights() -> tuple[int, int]:  # pragma: no cover - as above
    """Return the version of Landlock, and all access rights to files that it has."""
    version = _call(CREATE_RULESET, None, 0, VERSION_FLAG)
    if version < 1:
        return 0, 0
    return version, (1 << RIGHTS[max(known for known in RIGHTS if known <= version)]) - 1


def _restrict(
    version: int, fields: Sequence[int], allow: Callable[[int], None]
) -> int:  # pragma: no cover - as above
    """Restrict this process, and return *version*; 0 if the kernel doesn't."""
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _call(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return 0
    try:
        allow(rules)
        if _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0 or _call(RESTRICT_SELF, rules, 0) != 0:
            return 0
    finally:
        os.close(rules)
    return version


def _allow_reading(rules: int) -> None:  # pragma: no cover - as above
    """Allow reading what a program reads in addition to its data."""
    for path in {*READABLE, *sys.path, sys.prefix, sys.base_prefix}:
        with suppress(OSError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                _allow(rules, opened, READ if stat.S_ISDIR(os.fstat(opened).st_mode) else READ_FILE)
            finally:
                os.close(opened)


def _allow(rules: int, descriptor: int, rights: int) -> None:
    rule = struct.pack("=Qi", rights, descriptor)
    if _call(ADD_RULE, rules, PATH_BENEATH, rule, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call(number: int, *arguments: Any) -> int:
    return int(_libc.syscall(number, *arguments))
