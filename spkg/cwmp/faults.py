"""The one table from errors to FaultCodes: by their class, and for some reasons (TR-069 A.5.1, Table 58).

Errors do not have a FaultCode of their own, because one error has two: one in the answer to a method, and one
in the TransferComplete of a download.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from spkg.errors import (
    LOGIN,
    NO_ROOM,
    FailedError,
    FormatError,
    HostError,
    Reason,
    RefusedError,
    SpkgError,
    TransferError,
    UnsafeError,
    UntrustedError,
    UsageError,
)

__all__ = [
    "CLIENT",
    "FAULTS",
    "MAX_FAULT_STRING",
    "METHOD_FAULTS",
    "PARAMETER_FAULTS",
    "REASONS",
    "FaultCode",
    "Faults",
    "MethodFaultError",
    "ParameterFault",
    "UnknownMethodError",
    "method_fault",
    "transfer_fault",
]

MAX_FAULT_STRING: Final = 256
"""The longest FaultString, in characters (Table 38)."""


class FaultCode(IntEnum):
    """A FaultCode that a device returns (Table 58)."""

    METHOD_NOT_SUPPORTED = 9000
    REQUEST_DENIED = 9001
    INTERNAL_ERROR = 9002
    INVALID_ARGUMENTS = 9003
    RESOURCES_EXCEEDED = 9004
    """Never for a parameter in error of SetParameterValues."""
    INVALID_NAME = 9005
    INVALID_TYPE = 9006
    INVALID_VALUE = 9007
    NOT_WRITABLE = 9008
    NOTIFICATION_REJECTED = 9009
    DOWNLOAD_FAILURE = 9010
    UPLOAD_FAILURE = 9011
    AUTHENTICATION_FAILURE = 9012
    """A file server refused the login."""
    UNSUPPORTED_PROTOCOL = 9013


CLIENT: Final = frozenset(
    {
        FaultCode.METHOD_NOT_SUPPORTED,
        FaultCode.REQUEST_DENIED,
        FaultCode.INVALID_ARGUMENTS,
        FaultCode.INVALID_NAME,
        FaultCode.INVALID_TYPE,
        FaultCode.INVALID_VALUE,
        FaultCode.NOT_WRITABLE,
        FaultCode.NOTIFICATION_REJECTED,
        FaultCode.UNSUPPORTED_PROTOCOL,
    }
)
"""The faults caused by the request, with the faultcode Client; this device causes all others (3.5)."""


class UnknownMethodError(UsageError):
    """A method that this device does not support."""


class ParameterFault(NamedTuple):
    """What is wrong with one parameter of a SetParameterValues (3.5, A.3.2.1)."""

    name: str
    code: FaultCode
    text: str


class MethodFaultError(RefusedError):
    """A method that is answered with this fault.

    Args:
        code: The FaultCode.
        text: The FaultString.
        parameters: The parameters in error, for SetParameterValues alone.
    """

    def __init__(self, code: FaultCode, text: str, parameters: tuple[ParameterFault, ...] = ()) -> None:
        super().__init__(text)
        self.code = code
        self.parameters = parameters

    @property
    def text(self) -> str:
        """The FaultString."""
        return self.problem


class Faults(NamedTuple):
    """The FaultCodes of one kind of failure."""

    transfer: FaultCode
    """In TransferComplete; Table 38 allows 9001, 9002, 9010, 9011 and 9012."""
    method: FaultCode
    """In the answer to SetVouchers or GetOptions, or to another method."""


FAULTS: Final[dict[type[SpkgError], Faults]] = {
    SpkgError: Faults(FaultCode.INTERNAL_ERROR, FaultCode.INTERNAL_ERROR),
    UsageError: Faults(FaultCode.INTERNAL_ERROR, FaultCode.INVALID_ARGUMENTS),
    UnknownMethodError: Faults(FaultCode.INTERNAL_ERROR, FaultCode.METHOD_NOT_SUPPORTED),
    FormatError: Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.INVALID_ARGUMENTS),
    UntrustedError: Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.REQUEST_DENIED),
    RefusedError: Faults(FaultCode.REQUEST_DENIED, FaultCode.REQUEST_DENIED),
    FailedError: Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.INTERNAL_ERROR),
    UnsafeError: Faults(FaultCode.INTERNAL_ERROR, FaultCode.INTERNAL_ERROR),
    TransferError: Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.INTERNAL_ERROR),
    HostError: Faults(FaultCode.INTERNAL_ERROR, FaultCode.INTERNAL_ERROR),
}
"""The FaultCodes of each class of errors; a class that is not listed has those of its nearest base."""
REASONS: Final[dict[tuple[type[SpkgError], Reason], Faults]] = {
    # Table 38 has no 9004.
    **{
        (kind, NO_ROOM): Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.RESOURCES_EXCEEDED)
        for kind in (RefusedError, FailedError, HostError)
    },
    # Well formed, but not what the table allows: Options of one voucher for different devices (Table 62).
    (FormatError, RefusedError.REASON): Faults(FaultCode.DOWNLOAD_FAILURE, FaultCode.REQUEST_DENIED),
    (TransferError, LOGIN): Faults(FaultCode.AUTHENTICATION_FAILURE, FaultCode.INTERNAL_ERROR),
}
"""The FaultCodes for some reasons, used before FAULTS; never for an UnsafeError, whatever caused it."""


METHOD_FAULTS: Final[dict[str, frozenset[int]]] = {
    name: frozenset(map(FaultCode, codes))
    for name, codes in {
        "GetRPCMethods": (9001, 9002),
        "SetParameterValues": range(9001, 9009),
        "GetParameterValues": range(9001, 9006),
        "GetParameterNames": (9001, 9002, 9003, 9005),
        "SetParameterAttributes": (*range(9001, 9006), 9009),
        "GetParameterAttributes": range(9001, 9006),
        "AddObject": range(9001, 9006),
        "DeleteObject": (9001, 9002, 9003, 9005),
        "Reboot": (9001, 9002, 9003),
        "Download": (9000, 9001, 9002, 9003, 9010, 9012, 9013),
        "Upload": (9000, 9001, 9002, 9003, 9011, 9012, 9013),
        "FactoryReset": range(9000, 9004),
        "GetQueuedTransfers": (9000, 9001, 9002),
        "ScheduleInform": range(9000, 9004),
        "SetVouchers": range(9000, 9005),
        "GetOptions": range(9000, 9004),
    }.items()
}
"""The FaultCodes that a device may answer each method with (A.3, A.4)."""
PARAMETER_FAULTS: Final = frozenset(map(FaultCode, (9001, 9002, 9003, 9005, 9006, 9007, 9008)))
"""Those that may stand for one parameter in error (A.3.2.1, Table 58)."""


def transfer_fault(error: SpkgError) -> FaultCode:
    """Return the FaultCode of TransferComplete for a download that failed."""
    return _faults(error).transfer


def method_fault(error: SpkgError, method: str = "") -> FaultCode:
    """Return the FaultCode that answers a method that failed; one that the *method* knows."""
    code = error.code if isinstance(error, MethodFaultError) else _faults(error).method
    known = METHOD_FAULTS.get(method)
    if known is None or code in known or code is FaultCode.METHOD_NOT_SUPPORTED:
        return code
    # Where 9004 is not known, the request is too large, or else something here too full.
    refused = code is FaultCode.RESOURCES_EXCEEDED and isinstance(error, RefusedError)
    if not refused and code not in CLIENT:
        return FaultCode.INTERNAL_ERROR
    return FaultCode.INVALID_ARGUMENTS if FaultCode.INVALID_ARGUMENTS in known else FaultCode.REQUEST_DENIED


def _faults(error: SpkgError) -> Faults:
    kind = next(kind for kind in type(error).__mro__ if kind in FAULTS)
    return REASONS.get((kind, error.reason), FAULTS[kind])
