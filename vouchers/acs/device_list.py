"""Lists of devices, in CSV or JSON as people and GenieACS write them.

Lists are streamed.  A line that names no device is reported with its number and the reason, and the other
lines still count.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from spkg.errors import UsageError
from vouchers.acs.device_objects import read_objects
from vouchers.acs.device_table import read_table
from vouchers.acs.listed_device import ListedDevice, ListLines, plain_oui

__all__ = ["device_identity", "read_device_stream", "read_devices"]


def read_devices(path: Path) -> Generator[ListedDevice, None, None]:
    """Yield the devices of a list; who may not read it to its end closes it.

    Raises:
        FormatError: It is neither CSV with a header that names devices, nor JSON.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        yield from read_device_stream(file, path.name)


def read_device_stream(file: IO[bytes], source: str) -> Iterator[ListedDevice]:
    """Yield the devices of a list from an open file; otherwise like :func:`read_devices`.

    Args:
        file: The list.
        source: Its name, for errors.
    """
    lines = ListLines(file, source)
    first = next((line for line in lines if line.strip()), "")
    kind = read_objects if first.lstrip().startswith(("{", "[")) else read_table
    yield from kind(first, lines)


def device_identity(text: str) -> tuple[str, str, str]:
    """Return OUI, product class and serial number of a device that is given as ``OUI/CLASS/SERIAL``.

    Args:
        text: The three, each percent-encoded where it has a slash or a percent sign.

    Raises:
        UsageError: It is something else.
    """
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) != 3:
        raise UsageError(f"expected a device as OUI/CLASS/SERIAL, got {text[:200]!r}")
    oui, product_class, serial_number = parts
    return plain_oui(oui), product_class, serial_number
