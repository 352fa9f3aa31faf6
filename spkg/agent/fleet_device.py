"""A simulated device: what it remembers, and what it answers to the ACS; all of it is in memory."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from spkg.agent.fleet_parameters import FleetParameters
from spkg.agent.fleet_profile import FleetProfile
from spkg.agent.transfer_rules import check_download
from spkg.cwmp.calls import VOUCHER_METHODS, decode_call, encode_answer, encode_fault, listed_methods
from spkg.cwmp.envelopes import Message
from spkg.cwmp.events import Event, EventCode, method_event
from spkg.cwmp.faults import FaultCode, MethodFaultError, method_fault
from spkg.cwmp.methods import MAX_QUEUED
from spkg.cwmp.retries import Attempts
from spkg.cwmp.schedule import DueTime, Facts, Moment, TimeTold
from spkg.cwmp.values import FaultStruct, ParameterValue, QueuedTransfer
from spkg.errors import SpkgError

__all__ = ["FLEET_BOOT", "FleetDevice", "FleetTransfer"]

FLEET_BOOT: Final = "fleet"
"""The boot id of all simulated devices: their clocks run on while they restart."""
FLEET_RETRIES: Final = 11
"""How often a device tries again, which is the default of an agent."""
FIRST_MOMENT: Final = 1e-3
"""The moment of the grid in which a device is switched on is no periodic Inform, in seconds."""
DOWNLOADED: Final = method_event("Download", "").code
FIRMWARE: Final = "1 "
"""How the FileType of firmware begins (Table 27)."""
MAX_SCHEDULED: Final = 16
"""The most ScheduleInforms of a device that wait."""
UNSUPPORTED: Final = VOUCHER_METHODS | {"Upload"}
FACTORY: Final = (Event(EventCode.BOOTSTRAP), Event(EventCode.BOOT))
# Numbers whose multiples are spread evenly, and each as if the others were not there.
SLOW, FAULTY, DROPPING = 0.3166247903554, 0.41421356237309515, 0.7320508075688772


@dataclass(slots=True)
class FleetTransfer:
    """A download of a device."""

    command_key: str
    file_type: str
    url: str
    username: str
    password: str = field(repr=False)
    size: int
    due: DueTime
    running: bool = False
    result: Mapping[str, Any] | None = None
    """The arguments of TransferComplete, once it has ended."""
    tried: bool = False
    """Whether the ACS was told."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of the session that reports it."""
        return Event(EventCode.TRANSFER_COMPLETE), method_event("Download", self.command_key)


class FleetDevice:
    """A simulated device.

    Args:
        profile: What it is like.
        number: Its number, which decides its serial number, its phase, and what it does wrong.
    """

    __slots__ = (
        "busy",
        "facts",
        "number",
        "off_until",
        "parameters",
        "profile",
        "restart",
        "sessions",
        "since",
        "transfers",
        "wake",
    )

    def __init__(self, profile: FleetProfile, number: int) -> None:
        self.profile = profile
        self.number = number
        self.parameters = FleetParameters(profile, number)
        self.facts = Facts(boot_id=FLEET_BOOT, waiting=FACTORY, periodic=self.parameters.periodic)
        self.transfers: list[FleetTransfer] = []
        self.restart: tuple[Event, ...] = ()
        """The events of a restart that is to come; empty if none is."""
        self.busy = False
        """Whether a session runs."""
        self.off_until = 0.0
        self.since = 0.0
        """When it was started last."""
        self.wake = 0.0
        """When it wants to be looked at."""
        self.sessions = 0
        """How many sessions it has begun."""

    @property
    def slow(self) -> bool:
        """Whether it waits before each post."""
        return self.number * SLOW % 1 < self.profile.shares.slow

    @property
    def faulty(self) -> bool:
        """Whether it answers calls with a fault."""
        return self.number * FAULTY % 1 < self.profile.shares.fault

    @property
    def drops(self) -> bool:
        """Whether it breaks off this session after the Inform."""
        return self.number * DROPPING % 1 < self.profile.shares.drop and self.sessions % 2 == 0

    def switch_on(self, boot: float) -> None:
        """Have it come up for the first time at a moment, in seconds since the fleet began."""
        self.since = boot
        self.facts = replace(self.facts, arrived=boot, periodic_since=boot + FIRST_MOMENT)

    def begin_session(self) -> None:
        """Count a session, and begin no other beside it."""
        self.sessions += 1
        self.busy = True

    def session_over(
        self,
        begun: Moment,
        reported: tuple[Event, ...],
        now: Moment,
        *,
        periodic: TimeTold | None,
    ) -> None:
        """Take the clean end of a session, and do what waited for it."""
        self.busy = False
        self.facts = self.facts.after_session(begun, reported, now.boot, periodic=periodic)
        for transfer in self.transfers:
            if transfer.result is not None:
                self._raise_again(transfer, now)
        if self.restart:
            self.off_until = now.boot + self.profile.reboot

    def session_failed(
        self, now: Moment, draw: Callable[[], float], *, informed: bool, retry_after: float | None
    ) -> None:
        """Take a session that failed: its events stay, and it is tried again later."""
        attempts = self.facts.attempts
        attempts = attempts.inform_answered() if informed else attempts.inform_failed()
        attempts = attempts.session_failed(now.boot, draw, limit=FLEET_RETRIES, retry_after=retry_after)
        self.busy = False
        self.facts = replace(self.facts, attempts=attempts, last_session=now.boot)
        if self.restart:
            self.off_until = now.boot + self.profile.reboot

    def inform_values(self, now: Moment) -> tuple[ParameterValue, ...]:
        """Return the parameters of an Inform (Table 33)."""
        return self.parameters.told(self.profile.informed, now.boot - self.since)

    def told_transfers(self, causes: Iterable[Event]) -> list[FleetTransfer]:
        """Return the downloads that a session with these events reports."""
        keys = {one.command_key for one in causes if one.code == DOWNLOADED}
        told = [one for one in self.transfers if one.result is not None and one.command_key in keys]
        for one in told:
            one.tried = True
        return told

    def begin_transfer(self, now: Moment) -> FleetTransfer:
        """Begin the next download that is due."""
        waiting = [one for one in self.transfers if one.result is None and not one.running]
        transfer = min(waiting, key=lambda one: one.due.remaining(now, FLEET_BOOT))
        transfer.running = True
        self.transfers_changed()
        return transfer

    def start(self, now: Moment) -> None:
        """Come up after a restart."""
        events, self.restart = self.restart, ()
        self.since = now.boot
        self.facts = replace(self.facts, attempts=Attempts())
        self.raise_events(events, now)

    def raise_events(self, events: Iterable[Event], now: Moment) -> None:
        """Have a session begin for some events."""
        waiting = (*self.facts.waiting, *(one for one in events if one not in self.facts.waiting))
        self.facts = replace(self.facts, waiting=waiting, arrived=now.boot)

    def transfers_changed(self) -> None:
        """Have the schedule know which downloads wait."""
        waiting = tuple(one.due for one in self.transfers if one.result is None and not one.running)
        running = any(one.running for one in self.transfers)
        self.facts = replace(self.facts, transfers=waiting, transfer_running=running)

    def transfer_ended(
        self, transfer: FleetTransfer, fault: FaultStruct, times: tuple[datetime, datetime], now: Moment
    ) -> None:
        """Take what came of a download: firmware has the device restart before it is reported."""
        transfer.running = False
        transfer.result = {
            "CommandKey": transfer.command_key,
            "FaultStruct": fault,
            "StartTime": times[0],
            "CompleteTime": times[1],
        }
        installed = not fault.code and transfer.file_type.startswith(FIRMWARE)
        version = self.profile.new_version
        if installed and version is not None:
            self.parameters.set_version(version)
        self.transfers_changed()
        if installed:
            self._restart_with(Event(EventCode.BOOT), *transfer.events)
            self.off_until = now.boot + self.profile.reboot
        else:
            self.raise_events(transfer.events, now)

    def answer(self, message: Message, now: Moment) -> tuple[bytes, FaultCode | None]:
        """Return the envelope that answers a call of the ACS, and the code if it is a fault."""
        try:
            call = decode_call(message)
            if self.faulty:
                raise MethodFaultError(self.profile.shares.fault_code, "simulated")
            if call.method in UNSUPPORTED:
                raise message.not_supported()
            return encode_answer(call, self._carry_out(call.method, call.arguments, now)), None
        except SpkgError as exc:
            return encode_fault(message, exc), method_fault(exc, message.name)

    def _carry_out(self, method: str, given: Mapping[str, Any], now: Moment) -> Mapping[str, Any]:
        match method:
            case "GetRPCMethods":
                return {"MethodList": listed_methods(without=UNSUPPORTED)}
            case "GetParameterValues":
                names = self.parameters.named(given["ParameterNames"])
                return {"ParameterList": self.parameters.told(names, now.boot - self.since)}
            case "GetParameterNames":
                return {
                    "ParameterList": self.profile.infos(given["ParameterPath"], next_level=given["NextLevel"])
                }
            case "GetParameterAttributes":
                return {"ParameterList": self.parameters.attributes(given["ParameterNames"])}
            case "SetParameterAttributes":
                self.parameters.set_attributes(given["ParameterList"])
                return {}
            case "SetParameterValues":
                self.parameters.set_values(given["ParameterList"], given["ParameterKey"])
                self.facts = replace(self.facts, periodic=self.parameters.periodic)
                return {"Status": 0}
            case "AddObject" | "DeleteObject":
                raise MethodFaultError(
                    FaultCode.INVALID_NAME, f"there is no table {given['ObjectName']!r:.80}"
                )
            case "Download":
                return self._download(given, now)
            case "GetQueuedTransfers":
                states = (
                    (one.command_key, 3 if one.result else 2 if one.running else 1) for one in self.transfers
                )
                return {"TransferList": tuple(QueuedTransfer(*one) for one in states)}
            case "ScheduleInform":
                self._schedule(given, now)
                return {}
            case "Reboot":
                self._restart_with(Event(EventCode.BOOT), method_event("Reboot", given["CommandKey"]))
                return {}
            case _:
                assert method == "FactoryReset"  # the last of the table
                self._restart_with(*FACTORY)
                self.parameters.reset()
                self.facts = replace(self.facts, periodic=self.parameters.periodic)
                return {}

    def _restart_with(self, *events: Event) -> None:
        """Have the device restart, and report these events then, besides what another cause has to report."""
        self.restart = tuple(dict.fromkeys((*self.restart, *events)))

    def _raise_again(self, transfer: FleetTransfer, now: Moment) -> None:
        """Report a download in the next session: in one of its own, unless the ACS refused to be told."""
        if transfer.tried:
            self.facts = replace(
                self.facts, passive=tuple(dict.fromkeys((*self.facts.passive, *transfer.events)))
            )
        else:
            self.raise_events(transfer.events, now)

    def _download(self, given: Mapping[str, Any], now: Moment) -> Mapping[str, Any]:
        check_download(given, self.profile.transfers)
        if len(self.transfers) >= MAX_QUEUED:
            raise MethodFaultError(FaultCode.RESOURCES_EXCEEDED, f"{MAX_QUEUED} transfers wait already")
        self.transfers.append(
            FleetTransfer(
                command_key=given["CommandKey"],
                file_type=given["FileType"],
                url=given["URL"],
                username=given["Username"],
                password=given["Password"],
                size=given["FileSize"],
                due=DueTime.after(given["DelaySeconds"], now, FLEET_BOOT),
            )
        )
        self.transfers_changed()
        return {"Status": 1, "StartTime": None, "CompleteTime": None}

    def _schedule(self, given: Mapping[str, Any], now: Moment) -> None:
        if len(self.facts.scheduled) >= MAX_SCHEDULED:
            raise MethodFaultError(FaultCode.RESOURCES_EXCEEDED, f"{MAX_SCHEDULED} Informs wait already")
        due = DueTime.after(given["DelaySeconds"], now, FLEET_BOOT)
        self.facts = replace(self.facts, scheduled=(*self.facts.scheduled, (given["CommandKey"], due)))
