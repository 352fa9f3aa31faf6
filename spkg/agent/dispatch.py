"""What each method of the ACS does: a row a method (TR-069 A.3, A.4).

What a method changes for good is on disk before its answer is returned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spkg.agent.records import ScheduledInform
from spkg.agent.restarts import Restarts
from spkg.agent.state import AgentState
from spkg.agent.transfers import TransferQueue
from spkg.agent.tree.tree import Tree
from spkg.cwmp.calls import VOUCHER_METHODS, decode_call, encode_answer, encode_fault, listed_methods
from spkg.cwmp.envelopes import Message
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.schedule import DueTime, Moment
from spkg.errors import SpkgError

__all__ = ["Dispatcher"]

Arguments = Mapping[str, Any]

MAX_SCHEDULED_INFORMS: Final = 64
"""The most Informs that ScheduleInform can have waiting."""


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Answers calls."""

    state: AgentState
    tree: Tree
    transfers: TransferQueue
    restarts: Restarts
    vouchers: Callable[[bytes], bytes | None] | None
    """Returns the envelope that answers SetVouchers or GetOptions; None without a store of Options."""
    values_set: Callable[[], object]
    """Called when values have been set: they may change more than themselves."""
    boot_id: str
    clock: Callable[[], Moment]
    note: Callable[[str], None]
    """Is given what was done, for the log."""

    def answer(self, message: Message) -> bytes:
        """Return the envelope that answers a call of the ACS; a fault is an answer, too."""
        try:
            call = decode_call(message)
            if call.method in VOUCHER_METHODS and self.vouchers is not None:
                octets = self.vouchers(message.octets)
                assert octets is not None  # it asks for something
            else:
                octets = encode_answer(call, self._carry_out(call.method, message)(call.arguments))
        except SpkgError as exc:
            self.note(f"{message.name or 'a call'}: fault: {exc}")
            return encode_fault(message, exc)
        self.note(call.method)
        return octets

    def _carry_out(self, method: str, message: Message) -> Callable[[Arguments], Mapping[str, Any]]:
        """Return what carries out a method, given its arguments.

        Raises:
            UnknownMethodError: Nothing does.
        """
        tree = self.tree
        found: Mapping[str, Callable[[Arguments], Mapping[str, Any]]] = {
            "GetRPCMethods": lambda _: {
                "MethodList": listed_methods(without=() if self.vouchers else VOUCHER_METHODS)
            },
            "SetParameterValues": self._set_values,
            "GetParameterValues": lambda given: {"ParameterList": tree.get_values(given["ParameterNames"])},
            "GetParameterNames": lambda given: {
                "ParameterList": tree.get_names(given["ParameterPath"], next_level=given["NextLevel"])
            },
            "SetParameterAttributes": self._set_attributes,
            "GetParameterAttributes": lambda given: {
                "ParameterList": tree.get_attributes(given["ParameterNames"])
            },
            "AddObject": lambda given: dict(
                zip(
                    ("InstanceNumber", "Status"),
                    tree.add_object(given["ObjectName"], given["ParameterKey"]),
                    strict=True,
                )
            ),
            "DeleteObject": lambda given: {
                "Status": tree.delete_object(given["ObjectName"], given["ParameterKey"])
            },
            "Download": self.transfers.download,
            "Upload": self.transfers.upload,
            "GetQueuedTransfers": lambda _: {"TransferList": self.transfers.queued()},
            "ScheduleInform": self._schedule_inform,
            "Reboot": self.restarts.reboot,
            "FactoryReset": self.restarts.factory_reset,
        }
        if method not in found:
            raise message.not_supported()
        return found[method]

    def _schedule_inform(self, given: Arguments) -> Mapping[str, Any]:
        """ScheduleInform (A.4.1.2).

        Raises:
            MethodFaultError: So many wait that the state would grow for ever.
        """
        waiting = len(self.state.schedule())
        if waiting >= MAX_SCHEDULED_INFORMS:
            problem = f"{waiting} Informs are scheduled, and at most {MAX_SCHEDULED_INFORMS} can be"
            raise MethodFaultError(FaultCode.INTERNAL_ERROR, problem)
        due = DueTime.after(given["DelaySeconds"], self.clock(), self.boot_id)
        with self.state.change() as change:
            change.schedule_inform(
                ScheduledInform(
                    command_key=given["CommandKey"],
                    due_wall=due.wall,
                    due_boot=due.boot,
                    boot_id=due.boot_id,
                )
            )
        return {}

    def _set_values(self, given: Arguments) -> Mapping[str, Any]:
        """SetParameterValues (A.3.2.1)."""
        status = self.tree.set_values(given["ParameterList"], given["ParameterKey"])
        self.values_set()
        return {"Status": status}

    def _set_attributes(self, given: Arguments) -> Mapping[str, Any]:
        """SetParameterAttributes (A.3.2.4)."""
        self.tree.set_attributes(given["ParameterList"])
        return {}
