"""File modes: nine bits, stated for a file or for all whose paths match a pattern."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from spkg.common.frozen import dataclass

if TYPE_CHECKING:
    from spkg.common.toml_document import Table

__all__ = ["OTHERS", "PERMISSIONS", "ModeRule", "read_mode", "read_mode_rule", "widened"]

PERMISSIONS: Final = 0o777
"""The bits of a mode that a package can state."""
OTHERS: Final = 0o077
"""What group and others may do: these bits of a mode must never grow unnoticed."""


@dataclass(frozen=True, kw_only=True)
class ModeRule:
    """The mode of the files whose paths match a pattern."""

    pattern: str
    """Such as ``/bin/*``, for the whole path; ``*`` also matches slashes."""
    mode: int

    def matches(self, path: str) -> bool:
        """Whether the rule applies to the file at *path*, which begins with a slash."""
        return fnmatchcase(path, self.pattern)


def widened(mode: int, before: int) -> bool:
    """Whether group or others may do more with *mode* than with *before*."""
    return bool(mode & ~before & OTHERS)


def read_mode(table: "Table", key: str) -> int:
    """Return a mode, written in octal digits.

    Raises:
        FormatError: The value is something else, or missing.
    """
    text = table.text(key)
    if text is None or re.fullmatch("0?[0-7]{3}", text) is None:
        raise table.error(key, 'must be a mode in octal digits, such as "0755"')
    return int(text, 8)


def read_mode_rule(table: "Table") -> ModeRule:
    """Return the rule that a table states.

    Raises:
        FormatError: It is not a rule.
    """
    pattern = table.text("path")
    if pattern is None or not pattern.startswith("/"):
        raise table.error("path", "must be a pattern that begins with a slash")
    rule = ModeRule(pattern=pattern, mode=read_mode(table, "mode"))
    table.finish()
    return rule
