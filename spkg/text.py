"""Text for people: what comes from an input can't control their terminal."""

import unicodedata
from typing import Final

__all__ = ["amount", "printable", "size", "toml_string"]

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what is not a visible character: controls, overrides of direction, separators."""


def printable(text: str) -> str:
    """Return *text* in one line, with everything in it that is no visible character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(char) in HIDDEN
        else char
        for char in text
    )


def amount(number: int, noun: str, several: str = "") -> str:
    """Return a number of things as people say it."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def size(octets: int) -> str:
    """Return a number of octets as people read it."""
    if octets < 1024:
        return amount(octets, "octet")
    value, unit = octets / 1024, "KiB"
    for larger in ("MiB", "GiB"):
        if round(value, 1) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"


def toml_string(text: str) -> str:
    """Return *text* as a basic string of TOML."""
    pieces = []
    for char in text:
        if char in {'"', "\\"}:
            pieces.append(f"\\{char}")
        elif unicodedata.category(char) in HIDDEN:
            code = ord(char)
            pieces.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            pieces.append(char)
    return f'"{"".join(pieces)}"'
