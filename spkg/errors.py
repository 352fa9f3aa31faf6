"""What can go wrong, one class for each thing a caller can do about it.

Every class is one exit status of the command line (docs/json-and-exit-statuses.md); nothing else derives from
``Exception`` in this library, and nothing here prints or exits.
"""

import os
from typing import ClassVar, Final

NO_ROOM: Final = 9004
"""The FaultCode where there is more than a device can hold (A.5)."""
LOGIN: Final = 9012
"""The FaultCode where a server of files lets nobody in (A.5)."""
SIZE: Final = "size"
"""The reason of a transfer that is longer or shorter than was stated."""
TIMEOUT: Final = "timeout"
"""The reason of a transfer that took too long."""

__all__ = [
    "LOGIN",
    "NO_ROOM",
    "SIZE",
    "TIMEOUT",
    "FailedError",
    "FormatError",
    "RefusedError",
    "SpkgError",
    "SurroundingsError",
    "TransferError",
    "UnsafeError",
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
        fault: The FaultCode of TransferComplete, where it is not that of the class.
        reason: A word for the kind of failure, where it is not that of the class.
    """

    STATUS: ClassVar[str] = "error"
    """The word for this outcome in JSON results."""
    FAULT: ClassVar[int] = 9002
    """The FaultCode of TransferComplete (A.5): 9002 is an internal error."""
    REASON: ClassVar[str] = "error"
    """A word that never changes, from which an agent can choose a FaultCode of a later edition."""

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        offset: int | None = None,
        field: str | None = None,
        section: str | None = None,
        hint: str | None = None,
        fault: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.source = source
        self.offset = offset
        self.field = field
        self.section = section
        self.hint = hint
        self.fault = self.FAULT if fault is None else fault
        self.reason = reason or ("no-room" if fault == NO_ROOM else self.REASON)

    def __str__(self) -> str:
        file = "" if self.source is None else f"{self.source}: "
        place = "" if self.offset is None else f"offset 0x{self.offset:04x}: "
        subject = "" if self.field is None else f"{self.field}: "
        clause = "" if self.section is None else f" [TR-069 {self.section}]"
        return f"{file}{place}{subject}{self.problem}{clause}"


class UsageError(SpkgError):
    """What was asked for contradicts itself, or an output is there already."""

    REASON = "usage"


class FormatError(SpkgError):
    """An input is malformed, or beyond the limits of this reader."""

    STATUS = "malformed"
    FAULT = 9010
    REASON = "malformed"


class UntrustedError(SpkgError):
    """No accepted signature, or contents that are not the signed ones."""

    STATUS = "untrusted"
    FAULT = 9010
    REASON = "untrusted"


class RefusedError(SpkgError):
    """Genuine and well formed, but not for this case, not now, or not twice."""

    STATUS = "refused"
    FAULT = 9001
    REASON = "refused"


class FailedError(SpkgError):
    """An installation could not be carried out; the root is as it was, or usable, changed in place."""

    STATUS = "failed"
    FAULT = 9010
    REASON = "failed"


class UnsafeError(SpkgError):
    """An installation failed where it could not be undone; the root needs recovery."""

    STATUS = "unsafe"
    REASON = "unsafe"


class TransferError(SpkgError):
    """A download failed or took too long; the root is as with :class:`FailedError`.

    The reason is ``contact`` where no server answers, ``login`` where it lets nobody in, ``access`` where it
    does not give the file, ``timeout``, ``size``, or ``incomplete`` for all else.
    """

    STATUS = "transfer-failed"
    FAULT = 9010
    REASON = "incomplete"


class SurroundingsError(SpkgError):
    """A file, key or certificate can't be read or written."""


def os_problem(error: OSError) -> str:
    """Return what an error of the operating system says, in the form of our own: the file first."""
    reason = error.strerror or str(error)
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{reason[:1].lower()}{reason[1:]}"
