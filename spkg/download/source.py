"""Where a package comes from: a file, standard input, or a server, by the way it is written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spkg.download.stream import Pipe, open_arrival
from spkg.download.timeouts import Timeouts
from spkg.download.url import Location, Login, file_of, is_url
from spkg.errors import UsageError
from spkg.format.package import Package
from spkg.verify.payload import Payload, open_package

__all__ = ["STREAM", "local_file", "open_source"]

STREAM = "-"
"""How standard input is written."""


def local_file(source: str) -> Path | None:
    """Return the file that a source is; None where its package is on its way.

    Raises:
        UsageError: It is a URL of a file that is not here.
    """
    if source == STREAM:
        return None
    if not source:
        raise UsageError("a path can't be empty")
    found = file_of(source) if is_url(source) else Path(source)
    # A file called "-" is asked for as "./-", and a Path would lose that.
    return found.absolute() if found == Path(STREAM) else found


@contextmanager
def open_source(
    source: str,
    *,
    clock: Callable[[], float],
    timeouts: Timeouts | None = None,
    login: Login | None = None,
    size: int = 0,
    stream: int | None = None,
    note: Callable[[str], object] = lambda _text: None,
) -> Iterator[tuple[Package, Payload]]:
    """Read the front matter of a package, wherever it is, and give its payload, of which nothing is read yet.

    Args:
        source: A file, a URL (http, https, ftp, ftps, tftp, file), or ``-`` for *stream*.
        clock: Gives the time in seconds; it never jumps.
        timeouts: What holds until a command says otherwise; a file has no need of any (E.4.7).
        login: Who asks a server, and what may be done to prove it.
        size: How many octets the package has; 0 where nobody knows.
        stream: The descriptor that ``-`` stands for.
        note: Is told what people may want to know.

    Raises:
        UsageError: The source is no URL of ours, or ``-`` stands for nothing.
        FormatError: The package is malformed.
        TransferError: The deadline in force has passed, or the transfer failed.
        HostError: What a download needs here is missing, or is not what it should be.
        OSError: A file can't be read, or there can be no process.
    """
    file = local_file(source)
    if file is not None:
        with open_package(file) as opened:
            yield opened
        return
    if source == STREAM:
        if stream is None:
            raise UsageError("there is no standard input")
        with open_arrival(Pipe(stream, clock, timeouts, size=size)) as opened:
            yield opened
        return
    from spkg.download.client import download  # noqa: PLC0415 - start-up: a file needs no network

    location = Location.parse(source)
    with download(location, login or Login(), clock, timeouts or Timeouts(), size=size) as arrival:
        arrival.note = note
        with open_arrival(arrival) as opened:
            yield opened
