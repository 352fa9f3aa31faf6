"""The source of a package: a file, standard input or a server, depending on how it is written."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spkg.download.url import Location, Login, file_of, is_url
from spkg.errors import SIZE, TransferError, UsageError
from spkg.format.package import Package
from spkg.verify.payload import Payload, open_package

if TYPE_CHECKING:
    from spkg.download.timeouts import Timeouts

__all__ = ["STREAM", "local_file", "open_source"]

STREAM = "-"
"""The source that means standard input."""


def local_file(source: str) -> Path | None:
    """Return the file that a source names; None if the package comes from a stream or a server.

    Raises:
        UsageError: It is a URL of a file on another host.
    """
    if source == STREAM:
        return None
    if not source:
        raise UsageError("a path can't be empty")
    found = file_of(source) if is_url(source) else Path(source)
    # A file called "-" is written as "./-", and a Path would lose that.
    return found.absolute() if found == Path(STREAM) else found


@contextmanager
def open_source(
    source: str | Path,
    *,
    clock: Callable[[], float],
    timeouts: "Timeouts | None" = None,
    login: Login | None = None,
    size: int = 0,
    stream: int | None = None,
    note: Callable[[str], object] = lambda _text: None,
) -> Iterator[tuple[Package, Payload]]:
    """Read the front matter of a package from any source, and give its payload, which is not yet read.

    Args:
        source: A file, a URL (http, https, ftp, ftps, tftp, file), or ``-`` for *stream*; a path is a file.
        clock: Returns the time in seconds; it never jumps.
        timeouts: The timeouts until a command sets others; not needed for a file (E.4.7).
        login: The credentials for a server, and how to use them.
        size: The size of the package in bytes; 0 if unknown.
        stream: The descriptor to read for ``-``.
        note: Called with notes for people.

    Raises:
        UsageError: The source is not a supported URL, or it is ``-`` and there is no *stream*.
        FormatError: The package is malformed.
        TransferError: The deadline in force has passed, or the transfer failed, or the size is another.
        HostError: Something that the download needs on this host is missing or invalid.
        OSError: A file can't be read, or no process can be started.
    """
    file = source if isinstance(source, Path) else local_file(source)
    if file is not None:
        with open_package(file) as opened:
            descriptor = opened[1].descriptor
            there = 0 if descriptor is None else os.fstat(descriptor).st_size
            if size and there and size != there:
                raise TransferError(f"{file}: expected {size} bytes, the file has {there}", reason=SIZE)
            yield opened
        return
    # Start-up: a file needs none of these, nor has it timeouts (E.4.7).
    from spkg.download.stream import Pipe, open_arrival  # noqa: PLC0415
    from spkg.download.timeouts import Timeouts  # noqa: PLC0415

    if source == STREAM:
        if stream is None:
            raise UsageError("the source is '-', but no stream is given")
        with open_arrival(Pipe(stream, clock, timeouts or Timeouts(), size=size)) as opened:
            yield opened
        return
    from spkg.download.client import download  # noqa: PLC0415 - start-up: a file needs no network

    location = Location.parse(str(source))
    with download(location, login or Login(), clock, timeouts or Timeouts(), size=size) as arrival:
        arrival.note = note
        with open_arrival(arrival) as opened:
            yield opened
