"""Headers that a file adds to requests, such as the token of a device."""

import re
from pathlib import Path
from typing import Final

from spkg.errors import FormatError

__all__ = ["load_headers"]

MAX_HEADER_FILE: Final = 1 << 16
"""The longest file, in bytes."""
MAX_HEADER_LINE: Final = 8192
"""The longest line, in bytes."""
MAX_HEADERS: Final = 50
LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~\t]*[!-~])?)[ \t]*")
"""A name and a value of printable ASCII characters, which is not empty (RFC 9110, 5.5)."""
OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""The headers that the download itself sets or does without."""


def load_headers(path: Path) -> tuple[tuple[str, str], ...]:
    """Read a file of headers, a ``Name: value`` on each line.

    Raises:
        FormatError: It is malformed; the message never shows a value.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        octets = file.read(MAX_HEADER_FILE + 1)
    if len(octets) > MAX_HEADER_FILE:
        raise FormatError(f"the file has more than {MAX_HEADER_FILE} bytes", source=str(path))
    found: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(octets.removesuffix(b"\n").split(b"\n"), 1):
        matched = LINE.fullmatch(line.removesuffix(b"\r"))
        if matched is None or len(line) > MAX_HEADER_LINE:
            problem = f"expected 'Name: value' in printable ASCII characters, at most {MAX_HEADER_LINE} bytes"
            raise FormatError(problem, source=str(path), field=f"line {number}")
        name, value = matched[1].decode(), matched[2].decode()
        if name.lower() in OURS:
            problem = f"the header {name} is set by the download itself"
            raise FormatError(problem, source=str(path), field=f"line {number}")
        if name.lower() in found:
            raise FormatError(f"the header {name} occurs twice", source=str(path), field=f"line {number}")
        found[name.lower()] = name, value
    if len(found) > MAX_HEADERS:
        raise FormatError(f"{len(found)} headers exceed the limit of {MAX_HEADERS}", source=str(path))
    return tuple(found.values())
