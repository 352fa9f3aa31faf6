"""Which text XML 1.0 can carry: not every character, and not at any length that a table sets."""

import re
from typing import Final

__all__ = ["NOT_XML", "check_text"]

NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow."""


def check_text(name: str, text: str, most: int, *, least: int = 0) -> None:
    """Raise ``ValueError`` unless a string has the length of its table and only characters of XML 1.0."""
    if not least <= len(text) <= most:
        raise ValueError(f"{name}: expected {least} to {most} characters, got {len(text)}")
    found = NOT_XML.search(text)
    if found is not None:
        raise ValueError(f"{name}: XML 1.0 does not allow the character U+{ord(found[0]):04X}")
