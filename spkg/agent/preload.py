"""Everything that is imported late, imported early: once rights are given up, Python may be out of reach."""

from importlib import import_module
from typing import Final

__all__ = ["preload"]

LATE: Final = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.punycode",
    "encodings.unicode_escape",
    "encodings.utf_8",
    "http.cookiejar",
    "http.cookies",
    "spkg.agent.assembly",
    "spkg.agent.contact_check",
    "spkg.agent.listener",
    "spkg.agent.loop",
    "spkg.agent.once",
    "stringprep",
    "traceback",
    "unicodedata",
    "zlib",
)
"""The modules, and the codecs, which Python looks up by their names."""


def preload() -> None:
    """Import them."""
    for name in LATE:
        import_module(name)
