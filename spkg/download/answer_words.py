"""What any answer by HTTP may say: how long to wait, a web page, what broke."""

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

__all__ = ["BYTE_ORDER_MARK", "StatedHeaders", "asked_delay", "is_page"]

DELAY_DIGITS: Final = 9
"""How many digits of a wait are read: more are more than the longest one."""
LONGEST_DELAY: Final = 24 * 3600
"""The longest wait that a server may ask for, in seconds."""
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
PAGE_BEGINNINGS: Final = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<script")


class StatedHeaders(Protocol):
    """The headers of an answer, of whichever library."""

    def get(self, name: str, otherwise: str, /) -> str:
        """Return the value of a header."""
        ...


def asked_delay(headers: StatedHeaders) -> float | None:
    """Return how many seconds the server asks to wait (Retry-After); None if it does not say."""
    text = headers.get("Retry-After", "").strip()
    seconds: float | None = None
    first = text.partition(",")[0].strip()  # a header that comes twice is joined by commas
    if first.isascii() and first.isdigit():
        seconds = float(first[:DELAY_DIGITS])
    else:
        with suppress(ValueError, TypeError, OverflowError):  # not a date
            # By the server's clock: this host may have none.
            seconds = (_date(text) - _date(headers.get("Date", ""))).total_seconds()
    return None if seconds is None else min(max(seconds, 0), LONGEST_DELAY)


def _date(text: str) -> datetime:
    """Return a date of HTTP, in any of its three forms; that of asctime has no zone, but all are GMT.

    Raises:
        ValueError: It is not one.
        TypeError: As above.
    """
    found = parsedate_to_datetime(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def is_page(octets: bytes) -> bool:
    """Whether the first bytes of a body are those of a web page."""
    text = octets.removeprefix(BYTE_ORDER_MARK).lstrip().lower()
    while text.startswith((b"<?xml", b"<!--")):  # what may stand before the first tag
        text = text.partition(b"?>" if text.startswith(b"<?") else b"-->")[2].lstrip()
    return text.startswith(PAGE_BEGINNINGS)
