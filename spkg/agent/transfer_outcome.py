"""How a transfer ended: from the installer's report and its record to what TransferComplete says."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self

from spkg.agent.records import Transfer
from spkg.common.times import read_time
from spkg.cwmp.faults import MAX_FAULT_STRING, FaultCode
from spkg.cwmp.values import FaultStruct, SinceBoot
from spkg.errors import ROLLED_BACK

__all__ = [
    "TransferOutcome",
    "completion",
    "failed_outcome",
    "read_outcome",
    "rolled_back_outcome",
    "voucher_fault",
]

TRANSFER_FAULTS: Final = frozenset(
    {
        FaultCode.REQUEST_DENIED,
        FaultCode.INTERNAL_ERROR,
        FaultCode.DOWNLOAD_FAILURE,
        FaultCode.UPLOAD_FAILURE,
        FaultCode.AUTHENTICATION_FAILURE,
    }
)
"""The FaultCodes of TransferComplete (Table 38)."""
BOOT_TIME: Final = re.compile(r"0000-00-(\d\d)T(\d\d):(\d\d):(\d\d)", re.ASCII)
"""A time since boot (A.2.1)."""
OUT_OF_REACH: Final = "installed, but the ACS was out of reach for {} s: rolled back"


@dataclass(frozen=True, kw_only=True)
class TransferOutcome:
    """What is kept of a transfer until the ACS has answered its TransferComplete."""

    code: int = 0
    """The FaultCode; 0 for success."""
    text: str = ""
    """The FaultString."""
    start: str = ""
    """When it began, as a dateTime; empty if that is not known."""
    complete: str = ""
    """When it was complete."""
    installed: bool = False
    """Whether it has changed a root."""
    reboot: bool = False
    """Whether a reboot belongs to it, which has not come yet in the boot in which it was completed."""
    package: str | None = None
    """What the installer's record calls the package: it may be rolled back until the ACS has answered."""
    on_trial: bool = False
    """Whether it was on trial when it was installed."""

    def to_document(self) -> dict[str, Any]:
        """Return it as it is in the agent's state."""
        return asdict(self)

    @classmethod
    def of(cls, transfer: Transfer) -> Self:
        """Return the outcome of a transfer that is complete."""
        known = transfer.result or {}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})


def read_outcome(report: Mapping[str, Any], direction: str, *, resumed: bool) -> TransferOutcome:
    """Return the outcome that a report states.

    Args:
        report: What the transferring process reported.
        direction: Download or Upload.
        resumed: Whether it was begun before, so that the package may have been installed then.
    """
    fault = report.get("fault")
    stated = fault if isinstance(fault, Mapping) else {}
    start, complete = _text(report.get("start_time")), _text(report.get("complete_time"))
    if report.get("exit") == 0:
        changed = direction == "Download" and not report.get("already_installed")
        reboot = changed and bool(report.get("reboot_required"))
        return TransferOutcome(installed=changed, reboot=reboot, start=start, complete=complete)
    failure = FaultCode.DOWNLOAD_FAILURE if direction == "Download" else FaultCode.UPLOAD_FAILURE
    code = stated.get("code")
    if code not in TRANSFER_FAULTS:
        code = FaultCode.INTERNAL_ERROR
    if resumed and report.get("reason") == ROLLED_BACK:  # the package failed here, and not the request
        code = failure
    text = _text(stated.get("string")) or _text(report.get("message")) or "failed"
    return TransferOutcome(code=int(code), text=text[:MAX_FAULT_STRING], start=start, complete=complete)


def failed_outcome(code: FaultCode, text: str, *, when: str = "") -> TransferOutcome:
    """Return the outcome of a transfer that failed before there was a report."""
    return TransferOutcome(code=int(code), text=text[:MAX_FAULT_STRING], start=when, complete=when)


def voucher_fault(code: int, text: str) -> dict[str, Any]:
    """Return what is kept of a voucher that was refused, of the fault that SetVouchers would answer."""
    known = code if code in TRANSFER_FAULTS else FaultCode.DOWNLOAD_FAILURE
    return {"code": int(known), "text": text[:MAX_FAULT_STRING]}


def rolled_back_outcome(outcome: TransferOutcome, gone: Mapping[str, Any], back_up: float) -> TransferOutcome:
    """Return the outcome of a package that was installed, and rolled back before the ACS knew.

    Args:
        outcome: How it was installed.
        gone: The entry of the installer's record.
        back_up: How long packages are on trial, in seconds.
    """
    why = _text(gone.get("reason")) or f"by {_text(gone.get('by')) or 'a command'}"
    by_time = gone.get("by") == "delay"
    text = OUT_OF_REACH.format(f"{back_up:.0f}") if by_time else f"installed, then rolled back: {why}"
    return TransferOutcome(
        code=int(FaultCode.DOWNLOAD_FAILURE),
        text=text[:MAX_FAULT_STRING],
        start=outcome.start,
        complete=_text(gone.get("time")) or outcome.complete,
    )


def completion(transfer: Transfer) -> Mapping[str, Any]:
    """Return the arguments of TransferComplete (Table 36)."""
    outcome = TransferOutcome.of(transfer)
    return {
        "CommandKey": transfer.command_key,
        "FaultStruct": FaultStruct(outcome.code, outcome.text if outcome.code else ""),
        "StartTime": _time(outcome.start),
        "CompleteTime": _time(outcome.complete),
    }


def _time(text: str) -> datetime | SinceBoot | None:
    """Return the time that a report states; None if it states none."""
    since = BOOT_TIME.fullmatch(text)
    if since is not None:
        days, hours, minutes, seconds = map(int, since.groups())
        return SinceBoot(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    try:
        return read_time(text)
    except ValueError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
