"""What can go wrong, one class for each thing a caller can do about it.

Every class is one exit status of the command line (README, "Exit statuses"); nothing else derives from
``Exception`` in this library, and nothing here prints or exits.
"""

import os
from typing import ClassVar

__all__ = [
    "FormatError",
    "RefusedError",
    "SpkgError",
    "SurroundingsError",
    "UntrustedError",
    "UsageError",
    "os_problem",
]


class SpkgError(Exception):
    """The base of every error this library raises on purpose.

    Args:
        problem: What is wrong, lower case, without a full stop.
        source: The file that it is in, where there are several.
        offset: Where in the input, in octets from its beginning.
        field: The path of the field, as ``command[3].path_length``.
        section: The clause that is broken, as ``E.4.3``.
        hint: What the reader could do about it.
    """

    STATUS: ClassVar[str] = "error"
    """The word for this outcome in JSON results."""

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        offset: int | None = None,
        field: str | None = None,
        section: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.source = source
        self.offset = offset
        self.field = field
        self.section = section
        self.hint = hint

    def __str__(self) -> str:
        file = "" if self.source is None else f"{self.source}: "
        place = "" if self.offset is None else f"offset 0x{self.offset:04x}: "
        subject = "" if self.field is None else f"{self.field}: "
        clause = "" if self.section is None else f" [TR-069 {self.section}]"
        return f"{file}{place}{subject}{self.problem}{clause}"


class UsageError(SpkgError):
    """What was asked for contradicts itself, or an output is there already."""


class FormatError(SpkgError):
    """An input is malformed, or beyond the limits of this reader."""

    STATUS = "malformed"


class UntrustedError(SpkgError):
    """No accepted signature, or contents that are not the signed ones."""

    STATUS = "untrusted"


class RefusedError(SpkgError):
    """Genuine and well formed, but not for this case, not now, or not twice."""

    STATUS = "refused"


class SurroundingsError(SpkgError):
    """A file, key or certificate can't be read or written."""


def os_problem(error: OSError) -> str:
    """Return what an error of the operating system says, in the form of our own: the file first."""
    reason = error.strerror or str(error)
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{reason[:1].lower()}{reason[1:]}"
