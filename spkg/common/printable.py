"""Text for people: nothing from an input can control their terminal."""

import re
import unicodedata
from typing import Final

__all__ = [
    "amount",
    "is_hidden",
    "printable",
    "rough_size",
    "size",
    "toml_key",
    "toml_string",
    "without_surrogates",
]

HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
"""Unicode categories of characters that are not visible: controls, direction overrides, separators."""
INVISIBLE: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
)
"""Letters, marks and symbols that are invisible too."""
SURROGATES: Final = re.compile("[\ud800-\udfff]")
"""Characters that no encoding has; Python has them for bytes that it could not decode."""
UNDECODED: Final = 0xDC00
"""What Python adds to a byte that it could not decode."""
BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
"""A key of TOML that needs no quotes."""
TOML_ESCAPES: Final = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}
"""The one-letter escapes of TOML."""


def is_hidden(char: str) -> bool:
    """Whether *char* is invisible, or looks like a space but is not one."""
    return char != " " and (unicodedata.category(char) in HIDDEN or ord(char) in INVISIBLE)


def printable(text: str) -> str:
    """Return *text* in one line, with every invisible character escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if is_hidden(char) else char
        for char in without_surrogates(text)
    )


def without_surrogates(text: str) -> str:
    """Return *text* with its lone surrogates escaped: they stand for bytes that are not UTF-8."""
    return SURROGATES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    """Return a byte that is not UTF-8, or any other lone surrogate, as an escape."""
    code = ord(found[0])
    return f"\\x{code - UNDECODED:02x}" if UNDECODED + 0x80 <= code <= UNDECODED + 0xFF else f"\\u{code:04x}"


def amount(number: int, noun: str, several: str = "") -> str:
    """Return a number with its noun, such as ``1 file`` or ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def rough_size(octets: int) -> str:
    """Return a number of bytes in three digits or so, such as ``293 KiB``, where no more are of use."""
    number, unit = size(octets).split(" ")
    return f"{float(number):.0f} {unit}" if float(number) >= 10 else f"{number} {unit}"


def size(octets: int) -> str:
    """Return a number of bytes as people read it."""
    if octets < 1024:
        return amount(octets, "byte")
    value, unit = octets / 1024, "KiB"
    for larger in ("MiB", "GiB"):
        if round(value, 1) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"


def toml_string(text: str) -> str:
    """Return *text* as a TOML basic string."""
    return f'"{"".join(map(_in_toml, text))}"'


def toml_key(text: str) -> str:
    """Return *text* as a TOML key, in quotes only where they are needed."""
    return text if BARE_KEY.fullmatch(text) else toml_string(text)


def _in_toml(char: str) -> str:
    if char in TOML_ESCAPES or not is_hidden(char):
        return TOML_ESCAPES.get(char, char)
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
