"""What can go wrong, one class for each thing a caller can do about it.

Every class is one exit status of the command line (docs/json-and-exit-statuses.md); nothing else derives from
``Exception`` in this library, and nothing here prints or exits.
"""

import os
from typing import ClassVar, Final, Literal

__all__ = [
    "ACCESS",
    "CONTACT",
    "CORRUPTED",
    "LOGIN",
    "NO_ROOM",
    "SIZE",
    "TIMEOUT",
    "FailedError",
    "FormatError",
    "HostError",
    "Reason",
    "RefusedError",
    "SpkgError",
    "TransferError",
    "UnsafeError",
    "UntrustedError",
    "UsageError",
    "os_problem",
]


Reason = Literal[
    "access",
    "contact",
    "corrupted",
    "error",
    "failed",
    "incomplete",
    "login",
    "malformed",
    "no-room",
    "refused",
    "size",
    "timeout",
    "unsafe",
    "untrusted",
    "usage",
]
"""Why something failed, in a word that never changes (docs/faults-and-reasons.md).

Each class of errors has one of its own; the constants below are those that say more than a class does.
"""
CONTACT: Final = "contact"
"""No file server answers."""
ACCESS: Final = "access"
"""A file server answers, but does not give the file."""
LOGIN: Final = "login"
"""A file server refused the login."""
TIMEOUT: Final = "timeout"
"""A transfer took too long."""
SIZE: Final = "size"
"""A transfer is longer or shorter than was stated."""
CORRUPTED: Final = "corrupted"
"""Contents are not the signed ones."""
NO_ROOM: Final = "no-room"
"""There is more than the device can hold."""


class SpkgError(Exception):
    """The base of every error this library raises on purpose.

    Args:
        problem: What is wrong, lower case, without a full stop.
        source: The file that it is in, where there are several.
        offset: Where in the input, in octets from its beginning.
        field: The path of the field, as ``command[3].path_length``.
        section: The clause that is broken, as ``E.4.3``.
        hint: What the reader could do about it.
        reason: Why it failed, where that is not the reason of the class.
    """

    STATUS: ClassVar[str] = "error"
    """The word for this outcome in JSON results."""
    REASON: ClassVar[Reason] = "error"
    """Why it failed, where nothing more is known."""

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        offset: int | None = None,
        field: str | None = None,
        section: str | None = None,
        hint: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.source = source
        self.offset = offset
        self.field = field
        self.section = section
        self.hint = hint
        self.reason: Reason = reason or self.REASON

    def __str__(self) -> str:
        file = "" if self.source is None else f"{self.source}: "
        place = "" if self.offset is None else f"offset 0x{self.offset:04x}: "
        subject = "" if self.field is None else f"{self.field}: "
        clause = "" if self.section is None else f" [TR-069 {self.section}]"
        return f"{file}{place}{subject}{self.problem}{clause}"


class UsageError(SpkgError):
    """What was asked for contradicts itself, or an output is there already."""

    REASON: ClassVar[Reason] = "usage"


class FormatError(SpkgError):
    """An input is malformed, or beyond the limits of this reader."""

    STATUS = "malformed"
    REASON: ClassVar[Reason] = "malformed"


class UntrustedError(SpkgError):
    """No accepted signature, or contents that are not the signed ones."""

    STATUS = "untrusted"
    REASON: ClassVar[Reason] = "untrusted"


class RefusedError(SpkgError):
    """Genuine and well formed, but not for this case, not now, or not twice."""

    STATUS = "refused"
    REASON: ClassVar[Reason] = "refused"


class FailedError(SpkgError):
    """An installation could not be carried out; the root is as it was, or usable, changed in place."""

    STATUS = "failed"
    REASON: ClassVar[Reason] = "failed"


class UnsafeError(SpkgError):
    """An installation failed where it could not be undone; the root needs recovery."""

    STATUS = "unsafe"
    REASON: ClassVar[Reason] = "unsafe"


class TransferError(SpkgError):
    """A download failed or took too long; the root is as with :class:`FailedError`.

    The reason is ``contact``, ``login``, ``access``, ``timeout``, ``size``, or ``incomplete`` for all else.
    """

    STATUS = "transfer-failed"
    REASON: ClassVar[Reason] = "incomplete"


class HostError(SpkgError):
    """A file, key or certificate can't be read or written."""


def os_problem(error: OSError) -> str:
    """Return what an error of the operating system says, in the form of our own: the file first."""
    reason = error.strerror or str(error)
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{reason[:1].lower()}{reason[1:]}"
