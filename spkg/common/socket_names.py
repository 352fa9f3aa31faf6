"""Names of sockets that fit: the system takes 108 bytes, and paths may be longer."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["socket_name"]

FITS: Final = 100
"""The longest path that is used as it is, in bytes."""


@contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """Yield a name for the socket at a path, as long as the block runs.

    Raises:
        OSError: Its directory can't be opened.
    """
    if len(os.fsencode(path)) <= FITS:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
