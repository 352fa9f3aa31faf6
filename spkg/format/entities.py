"""Who defines a role or an attribute: the standard, or a vendor by its OUI (Tables 75 and 77)."""

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spkg.common.toml_document import Table

__all__ = ["VENDOR_MARK", "entity_text", "read_entity", "read_vendor", "vendor_of"]

VENDOR_MARK: Final = 0xFF000000
"""Set in a role or a defining entity whose other three bytes are a vendor's OUI (Tables 75 and 77)."""


def vendor_of(number: int) -> str | None:
    """Return the OUI in a number, as six hexadecimal digits; None if the number is not a vendor's."""
    return f"{number & ~VENDOR_MARK:06X}" if number & VENDOR_MARK == VENDOR_MARK else None


def entity_text(number: int) -> str:
    """Return who defines a role or an attribute, for people."""
    vendor = vendor_of(number)
    if vendor is not None:
        return f"of vendor {vendor}"
    return "standard" if number == 0 else str(number)


def read_vendor(table: "Table", key: str) -> int:
    """Return the number of a vendor on the wire, from an OUI in quotes (Table 75).

    Raises:
        FormatError: The value is something else, or missing.
    """
    text = table.text(key)
    if text is None or re.fullmatch("[0-9A-F]{6}", text) is None:
        raise table.error(key, "must be an OUI of six upper-case hexadecimal digits")
    return VENDOR_MARK | int(text, 16)


def read_entity(table: "Table", key: str) -> int | None:
    """Return a defining entity: an OUI in quotes, or a number as it is on the wire (Table 77).

    Raises:
        FormatError: The value is something else.
    """
    return table.integer(key) if table.is_integer(key) else read_vendor(table, key)
