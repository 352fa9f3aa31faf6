"""Vouchers in each form in which a server writes them: XML, base64, lines, and SetVouchers requests.

Files of lines are read line by line, so that they may have any number of vouchers.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Final

from spkg.common.hostile_xml import XML_BLANKS
from spkg.cwmp.arrays import References
from spkg.cwmp.envelopes import MessageKind, read_message
from spkg.errors import FormatError, SpkgError
from vouchers.signature.shape import MAX_FILE, unwrap
from vouchers.signature.voucher_list import read_voucher_list

__all__ = ["MAX_VOUCHER_ENVELOPE", "open_vouchers", "read_vouchers"]

MAX_VOUCHER_ENVELOPE: Final = 1 << 22
"""The longest SetVouchers request, in bytes."""
MAX_VOUCHER_LINE: Final = MAX_FILE + (1 << 12)
"""The longest line of a file of vouchers, in bytes."""
BULK_FILES: Final = ("vouchers.ndjson", "vouchers.base64")
"""What an output with all vouchers in one file has."""


def open_vouchers(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the source of each voucher, for errors, and its XML, from a file or from an output of many.

    Raises:
        FormatError: It has something else in it.
        OSError: It can't be read.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            yield from read_vouchers(file, str(path))
        return
    whole = [path / name for name in BULK_FILES if (path / name).exists()]
    files = whole or sorted(path.glob("*.xml"), key=lambda one: (len(one.name), one.name))
    if not files:
        raise FormatError(f"expected {' or '.join(BULK_FILES)} or XML files in it", source=str(path))
    for one in files:
        yield from open_vouchers(one)


def read_vouchers(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the source of each voucher, for errors, and its XML.

    Args:
        file: The input, at its beginning.
        name: Its name, for errors.

    Raises:
        FormatError: It has something else in it.
        OSError: It can't be read.
    """
    first = file.readline(MAX_VOUCHER_LINE + 1)
    start = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") or _is_whole(start):
        yield from _lines(chain([first], iter(lambda: file.readline(MAX_VOUCHER_LINE + 1), b"")), name)
        return
    octets = first + file.read(MAX_VOUCHER_ENVELOPE + 1 - len(first))
    if start.startswith(b"<") and b"Envelope" in octets[:1000]:
        yield from _request(octets, name)
        return
    try:
        yield name, unwrap(octets)
    except SpkgError as exc:
        exc.source = exc.source or name
        raise


def _is_whole(line: bytes) -> bool:
    """Whether a line alone is a voucher in base64."""
    try:
        found = b64decode(line.strip(), validate=True)
    except ValueError:
        return False
    return found.lstrip().startswith(b"<") and found.rstrip().endswith(b"Signature>")


def _lines(lines: Iterator[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the vouchers of lines: base64, or JSON objects with a ``voucher``."""
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_VOUCHER_LINE:
            raise FormatError(
                f"expected at most {MAX_VOUCHER_LINE} bytes, got more", source=name, line=number
            )
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not text:
            continue
        try:
            if text.startswith(b"{"):
                text = json.loads(text)["voucher"].encode()
            yield (
                f"{name}: line {number}",
                b64decode(text.translate(None, XML_BLANKS.encode()), validate=True),
            )
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as exc:
            problem = "expected a voucher in base64, or a JSON object with one as 'voucher'"
            raise FormatError(problem, source=name, line=number) from exc


def _request(octets: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the vouchers of a SetVouchers request."""
    if len(octets) > MAX_VOUCHER_ENVELOPE:
        raise FormatError(f"expected at most {MAX_VOUCHER_ENVELOPE} bytes, got more", source=name)
    try:
        request = read_message(octets)
        if request.kind is not MessageKind.CALL or request.name != "SetVouchers":
            raise FormatError("expected the envelope of a SetVouchers request", section="A.4.1.3")
        found = read_voucher_list(request, References(request))
    except SpkgError as exc:
        exc.source = exc.source or name
        raise
    for place, one in found:
        yield f"{name}: {place}", one
