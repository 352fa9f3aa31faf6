"""Which error is which FaultCode: the table of docs/faults-and-reasons.md, with A.5.1 and Table 38."""

from collections.abc import Iterator
from importlib import import_module
from typing import Final, get_args

import pytest

from spkg import errors
from spkg.common.child_process import ChildKilledError
from spkg.cwmp.faults import (
    CLIENT,
    FAULTS,
    REASONS,
    FaultCode,
    MethodFaultError,
    ParameterFault,
    UnknownMethodError,
    method_fault,
    transfer_fault,
)
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
from spkg.verify.contents import DamagedPayloadError, PayloadReport
from tests.support.source_modules import MODULES, module_of

CODES: Final[dict[type[SpkgError], tuple[int, int, Reason]]] = {
    SpkgError: (9002, 9002, "error"),
    UsageError: (9002, 9003, "usage"),
    FormatError: (9010, 9003, "malformed"),
    UntrustedError: (9010, 9001, "untrusted"),
    RefusedError: (9001, 9001, "refused"),
    FailedError: (9010, 9002, "failed"),
    UnsafeError: (9002, 9002, "unsafe"),
    TransferError: (9010, 9002, "incomplete"),
    HostError: (9002, 9002, "error"),
    UnknownMethodError: (9002, 9000, "usage"),
}
"""The codes of TransferComplete and of a method, and the reason."""
ALLOWED: Final = {9001, 9002, 9010, 9011, 9012}
"""What FaultStruct may say (Table 38)."""
DOWNLOADS: Final[dict[Reason, int]] = {
    **dict.fromkeys(("contact", "access", "timeout", "size", "incomplete"), 9010),
    "login": 9012,
}


def below(kind: type[SpkgError]) -> Iterator[type[SpkgError]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_every_class_of_errors_has_its_codes(kind: type[SpkgError]) -> None:
    error = kind("x")

    assert (transfer_fault(error), method_fault(error), error.reason) == CODES[kind]


def test_every_class_of_errors_was_looked_at() -> None:
    for path in MODULES:
        if path.name not in {"__init__.py", "__main__.py"}:
            import_module(module_of(path))

    own = {kind for kind in below(SpkgError) if kind.__module__ == errors.__name__}

    assert {SpkgError, UnknownMethodError, *own} == CODES.keys() == FAULTS.keys()
    # Others have the codes of what they are a kind of, which is a class of its own, not the base of all.
    for kind in below(SpkgError):
        assert any(issubclass(kind, one) for one in own), kind


@pytest.mark.parametrize(
    ("error", "transfer", "method"),
    [
        (RefusedError("x", reason=NO_ROOM), 9010, 9004),
        (FailedError("x", reason=NO_ROOM), 9010, 9004),
        (HostError("x", reason=NO_ROOM), 9010, 9004),
        (UnsafeError("x", reason=NO_ROOM), 9002, 9002),
        (UnsafeError("x", reason=LOGIN), 9002, 9002),
        (FormatError("x", reason=LOGIN), 9010, 9003),
        (FormatError("x", reason="refused"), 9010, 9001),
        (FailedError("x", reason="untrusted"), 9010, 9002),
        (ChildKilledError("x"), 9010, 9002),
        (DamagedPayloadError("x", PayloadReport(files=(), uncovered=())), 9010, 9001),
    ],
)
def test_a_reason_counts_where_it_says_more(error: SpkgError, transfer: int, method: int) -> None:
    assert (transfer_fault(error), method_fault(error)) == (transfer, method)


@pytest.mark.parametrize("reason", DOWNLOADS)
def test_of_a_download_only_the_login_has_a_code_of_its_own(reason: Reason) -> None:
    error = TransferError("x", reason=reason)

    assert (transfer_fault(error), error.reason) == (DOWNLOADS[reason], reason)


def test_transfer_complete_says_only_what_it_may() -> None:
    assert {one.transfer for one in (*FAULTS.values(), *REASONS.values())} <= ALLOWED


def test_the_source_of_a_fault_is_the_request_or_this_device() -> None:
    assert {code: code in CLIENT for code in FaultCode} == {
        9000: True,
        9001: True,
        9002: False,
        9003: True,
        9004: False,
        9005: True,
        9006: True,
        9007: True,
        9008: True,
        9009: True,
        9010: False,
        9011: False,
        9012: False,
        9013: True,
    }


def test_a_fault_of_a_method_is_answered_as_it_says() -> None:
    wrong = ParameterFault("A.B", FaultCode.INVALID_VALUE, "too long")
    error = MethodFaultError(FaultCode.INVALID_ARGUMENTS, "one parameter is wrong", (wrong,))

    assert (method_fault(error), error.text, error.parameters) == (9003, "one parameter is wrong", (wrong,))
    assert str(error) == "one parameter is wrong"


def test_every_reason_is_that_of_a_class_or_has_a_name() -> None:
    words = {getattr(errors, name) for name in errors.__all__ if name.isupper()}
    kinds: list[type[SpkgError]] = [SpkgError, *below(SpkgError)]
    classes = {kind.REASON for kind in kinds if kind.__module__ == errors.__name__}

    assert words & classes == set()
    assert words | classes == set(get_args(Reason))
