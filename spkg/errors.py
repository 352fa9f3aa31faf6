"""What can go wrong: one class for each way a caller can react.

Every class is one exit status of the command line (docs/json-and-exit-statuses.md); nothing else derives from
``Exception`` in this library, and nothing here prints or exits.
"""

import os
import re
from typing import ClassVar, Final, Literal

__all__ = [
    "ACCESS",
    "CONTACT",
    "CORRUPTED",
    "LOGIN",
    "NOTHING_KEPT",
    "NO_ROOM",
    "ON_TRIAL",
    "ROLLED_BACK",
    "SCHEME",
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
    "file_name",
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
    "nothing-kept",
    "on-trial",
    "refused",
    "rolled-back",
    "scheme",
    "size",
    "timeout",
    "unsafe",
    "untrusted",
    "usage",
]
"""Why something failed, in a word that never changes (docs/faults-and-reasons.md).

Each class of errors has its own reason; the constants below are the reasons that say more than the class.
"""
CONTACT: Final = "contact"
"""No file server answers."""
ACCESS: Final = "access"
"""A file server answers, but does not deliver the file."""
LOGIN: Final = "login"
"""A file server refused the login."""
SCHEME: Final = "scheme"
"""A URL has a protocol that is not supported."""
TIMEOUT: Final = "timeout"
"""A transfer took too long."""
SIZE: Final = "size"
"""A transfer is longer or shorter than stated."""
CORRUPTED: Final = "corrupted"
"""Contents do not match what was signed."""
NO_ROOM: Final = "no-room"
"""There is more data than the device can hold."""
NOTHING_KEPT: Final = "nothing-kept"
"""There is no installation on trial, so nothing to go back to."""
ON_TRIAL: Final = "on-trial"
"""Another package is on trial: it has to be confirmed or rolled back first."""
ROLLED_BACK: Final = "rolled-back"
"""The package was rolled back, and no other one has been installed since."""


OCTET_IN_REPR: Final = re.compile(r"\\udc([89a-f][0-9a-f])")
"""How ``repr`` writes a byte that could not be decoded: everywhere else it is shown as ``\\xe4``."""


class SpkgError(Exception):
    """The base of every error this library raises on purpose.

    Args:
        problem: What is wrong, lower case, without a full stop.
        source: The file with the problem, if there are several.
        line: Where in a text, as editors count lines.
        offset: Where in the input, in bytes from its beginning.
        field: The path of the field, such as ``command[3].path_length``.
        section: The clause that is violated, such as ``E.4.3``.
        hint: What the reader can do next.
        reason: Why it failed, if not for the reason of the class.
        others: What else was found wrong at the same time.
        unlisted: How many more there are.
    """

    STATUS: ClassVar[str] = "error"
    """The word for this outcome in JSON results."""
    REASON: ClassVar[Reason] = "error"
    """Why it failed, if nothing more is known."""

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        line: int | None = None,
        offset: int | None = None,
        field: str | None = None,
        section: str | None = None,
        hint: str | None = None,
        reason: Reason | None = None,
        others: "tuple[SpkgError, ...]" = (),
        unlisted: int = 0,
    ) -> None:
        problem = OCTET_IN_REPR.sub(r"\\x\1", problem)
        super().__init__(problem)
        self.problem = problem
        self.source = source
        self.line = line
        self.offset = offset
        self.field = field
        self.section = section
        self.hint = hint
        self.reason: Reason = reason or self.REASON
        self.others = others
        self.unlisted = unlisted

    def __str__(self) -> str:
        line = "" if self.line is None else f"{self.line}: "
        file = f"line {line}" if line else ""
        if self.source is not None:
            file = f"{self.source}:{line or ' '}"
        place = "" if self.offset is None else f"offset 0x{self.offset:04x}: "
        subject = "" if self.field is None else f"{self.field}: "
        clause = "" if self.section is None else f" [TR-069 {self.section}]"
        return f"{file}{place}{subject}{self.problem}{clause}"


class UsageError(SpkgError):
    """The request contradicts itself, or an output already exists."""

    REASON: ClassVar[Reason] = "usage"


class FormatError(SpkgError):
    """An input is malformed, or exceeds the limits of this reader."""

    STATUS = "malformed"
    REASON: ClassVar[Reason] = "malformed"


class UntrustedError(SpkgError):
    """No accepted signature, or contents that do not match what was signed."""

    STATUS = "untrusted"
    REASON: ClassVar[Reason] = "untrusted"


class RefusedError(SpkgError):
    """Genuine and well formed, but not applicable here, not now, or not a second time."""

    STATUS = "refused"
    REASON: ClassVar[Reason] = "refused"


class FailedError(SpkgError):
    """An installation failed; the root is unchanged, or was changed in place and is usable."""

    STATUS = "failed"
    REASON: ClassVar[Reason] = "failed"


class UnsafeError(SpkgError):
    """An installation failed and could not be undone; the root needs recovery."""

    STATUS = "unsafe"
    REASON: ClassVar[Reason] = "unsafe"


class TransferError(SpkgError):
    """A download failed or took too long; the root is as after a :class:`FailedError`.

    The reason is ``contact``, ``login``, ``access``, ``timeout``, ``size``, or else ``incomplete``.
    """

    STATUS = "transfer-failed"
    REASON: ClassVar[Reason] = "incomplete"


class HostError(SpkgError):
    """A file, key or certificate can't be read or written."""


def os_problem(error: OSError) -> str:
    """Return the message of an operating system error in the form of our own: the file first."""
    reason = error.strerror or str(error)
    name = "" if error.filename is None else f"{file_name(error.filename)}: "
    return f"{name}{reason[:1].lower()}{reason[1:]}"


def file_name(path: str | bytes | os.PathLike[str]) -> str:
    """Return the name of a file for people: UTF-8 if it is that, otherwise in the encoding of the locale."""
    octets = os.fsencode(path)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return os.fsdecode(octets)
