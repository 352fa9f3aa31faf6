"""Text for people: what comes from an input can't control their terminal."""

import unicodedata
from typing import Final

__all__ = ["amount", "is_hidden", "printable", "size", "toml_string"]

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
"""Unicode categories of what is not a visible character: controls, overrides of direction, separators."""
INVISIBLE: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
)
"""Letters, marks and symbols that show nothing all the same."""
TOML_ESCAPES: Final = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}
"""The escapes of one letter that TOML knows."""


def is_hidden(char: str) -> bool:
    """Whether *char* can't be told from nothing, or from a space that it is not."""
    return char != " " and (unicodedata.category(char) in HIDDEN or ord(char) in INVISIBLE)


def printable(text: str) -> str:
    """Return *text* in one line, with everything in it that is no visible character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape", "surrogatepass").decode("ascii") if is_hidden(char) else char
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
    return f'"{"".join(map(_in_toml, text))}"'


def _in_toml(char: str) -> str:
    if char in TOML_ESCAPES or not is_hidden(char):
        return TOML_ESCAPES.get(char, char)
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
