"""Every method of Table 4, declared once: listing, writing and reading run from the table (TR-069 A.3, A.4).

Arguments are a mapping from their names in the tables to values of Python: strings, numbers, booleans, times,
and the structures of :mod:`spkg.cwmp.values`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spkg.cwmp.events import MAX_EVENTS, Event
from spkg.cwmp.faults import METHOD_FAULTS
from spkg.cwmp.fields import Argument, ArgumentKind, flag, moment, number, text
from spkg.cwmp.structures import array, attribute_change, parameter_value, structure
from spkg.cwmp.values import (
    DeviceId,
    FaultStruct,
    FileTypeArgument,
    ParameterAttributes,
    ParameterInfo,
    QueuedTransfer,
)
from spkg.errors import FormatError

__all__ = ["ACS_METHODS", "CPE_METHODS", "MAX_QUEUED", "Method"]

MAX_QUEUED: Final = 16
"""The most transfers that GetQueuedTransfers lists (Table 40)."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: what it is called with, and what it answers."""

    name: str
    section: str
    required: bool
    """Whether the side that is called has to support it (Table 4)."""
    arguments: tuple[Argument, ...] = ()
    answer: tuple[Argument, ...] = ()
    elsewhere: bool = False
    """Whether its arguments are not read here: those of vouchers are a matter of theirs."""

    @property
    def faults(self) -> frozenset[int]:
        """The FaultCodes that a device may answer it with; none for a method of a server."""
        return METHOD_FAULTS.get(self.name, frozenset())


def _device_id(manufacturer: str, oui: str, product_class: str, serial_number: str) -> DeviceId:
    try:
        return DeviceId(
            manufacturer=manufacturer, oui=oui, product_class=product_class, serial_number=serial_number
        )
    except ValueError as exc:
        raise FormatError(str(exc), section="Table 34") from exc


_COMMAND_KEY: Final = Argument("CommandKey", text(32))
_PARAMETER_KEY: Final = Argument("ParameterKey", text(32))
_PARAMETER: Final = text(256, lenient=True)
"""The name of a parameter or a path: one that is too long is one that there is not (9005)."""
_NOTIFICATION: Final = number("int[0:2]")
_ACCESS: Final = array(text(64), named="xsd:string")
_VALUES: Final = array(parameter_value(_PARAMETER))
_NAMES: Final = Argument("ParameterNames", array(_PARAMETER, named="xsd:string"))
_STATUS: Final = Argument("Status", number("int[0:1]"))
_METHOD_LIST: Final = Argument("MethodList", array(text(64, lenient=True), named="xsd:string"))
_DELAY: Final = Argument("DelaySeconds", number("unsignedInt"))
_FILE_TYPE: Final = Argument("FileType", text(64))
_FILE: Final = (
    _COMMAND_KEY,
    _FILE_TYPE,
    Argument("URL", text(256)),
    Argument("Username", text(256)),
    Argument("Password", text(256)),
)
_TIMES: Final = (Argument("StartTime", moment()), Argument("CompleteTime", moment()))
_DEVICE_ID: Final = structure(
    "cwmp:DeviceIdStruct",
    _device_id,
    Argument("Manufacturer", text(64), "manufacturer"),
    Argument("OUI", text(6), "oui"),
    Argument("ProductClass", text(64), "product_class"),
    Argument("SerialNumber", text(64), "serial_number"),
)
_EVENTS: Final = array(
    structure(
        "cwmp:EventStruct",
        Event,
        Argument("EventCode", text(64), "code"),
        Argument("CommandKey", text(32), "command_key"),
    ),
    most=MAX_EVENTS,
)
_INFOS: Final = array(
    structure(
        "cwmp:ParameterInfoStruct",
        ParameterInfo,
        Argument("Name", _PARAMETER, "name"),
        Argument("Writable", flag(), "writable"),
    )
)
_ATTRIBUTES: Final = array(
    structure(
        "cwmp:ParameterAttributeStruct",
        ParameterAttributes,
        Argument("Name", _PARAMETER, "name"),
        Argument("Notification", _NOTIFICATION, "notification"),
        Argument("AccessList", _ACCESS, "access"),
    )
)
_TRANSFERS: Final = array(
    structure(
        "cwmp:QueuedTransferStruct",
        QueuedTransfer,
        Argument("CommandKey", text(32), "command_key"),
        Argument("State", number("int[1:3]"), "state"),
    ),
    most=MAX_QUEUED,
)
_FAULT: Final = structure(
    "cwmp:FaultStruct",
    FaultStruct,
    Argument("FaultCode", number("unsignedInt"), "code"),
    Argument("FaultString", text(256), "text"),
)
_FILE_TYPE_ARGUMENTS: Final = array(
    structure(
        "cwmp:ArgStruct",
        FileTypeArgument,
        Argument("Name", text(64), "name"),
        Argument("Value", text(256), "value"),
    ),
    most=16,
)


def _list(name: str, kind: ArgumentKind) -> tuple[Argument, ...]:
    return (Argument(name, kind),)


_GET_RPC_METHODS: Final = Method(
    name="GetRPCMethods", section="A.3.1.1", required=True, answer=(_METHOD_LIST,)
)

CPE_METHODS: Final[Mapping[str, Method]] = {
    method.name: method
    for method in (
        _GET_RPC_METHODS,
        Method(
            name="SetParameterValues",
            section="A.3.2.1",
            required=True,
            arguments=(*_list("ParameterList", _VALUES), _PARAMETER_KEY),
            answer=(_STATUS,),
        ),
        Method(
            name="GetParameterValues",
            section="A.3.2.2",
            required=True,
            arguments=(_NAMES,),
            answer=_list("ParameterList", _VALUES),
        ),
        Method(
            name="GetParameterNames",
            section="A.3.2.3",
            required=True,
            arguments=(Argument("ParameterPath", _PARAMETER), Argument("NextLevel", flag())),
            answer=_list("ParameterList", _INFOS),
        ),
        Method(
            name="SetParameterAttributes",
            section="A.3.2.4",
            required=True,
            arguments=_list("ParameterList", array(attribute_change(_PARAMETER, _NOTIFICATION, _ACCESS))),
        ),
        Method(
            name="GetParameterAttributes",
            section="A.3.2.5",
            required=True,
            arguments=(_NAMES,),
            answer=_list("ParameterList", _ATTRIBUTES),
        ),
        Method(
            name="AddObject",
            section="A.3.2.6",
            required=True,
            arguments=(Argument("ObjectName", _PARAMETER), _PARAMETER_KEY),
            answer=(Argument("InstanceNumber", number("unsignedInt[1:]")), _STATUS),
        ),
        Method(
            name="DeleteObject",
            section="A.3.2.7",
            required=True,
            arguments=(Argument("ObjectName", _PARAMETER), _PARAMETER_KEY),
            answer=(_STATUS,),
        ),
        Method(name="Reboot", section="A.3.2.9", required=True, arguments=(_COMMAND_KEY,)),
        Method(
            name="Download",
            section="A.3.2.8",
            required=True,
            arguments=(
                *_FILE,
                Argument("FileSize", number("unsignedInt")),
                Argument("TargetFileName", text(256)),
                _DELAY,
                Argument("SuccessURL", text(256)),
                Argument("FailureURL", text(256)),
            ),
            answer=(_STATUS, *_TIMES),
        ),
        Method(
            name="Upload",
            section="A.4.1.5",
            required=False,
            arguments=(*_FILE, _DELAY),
            answer=(_STATUS, *_TIMES),
        ),
        Method(name="FactoryReset", section="A.4.1.6", required=False),
        Method(
            name="GetQueuedTransfers",
            section="A.4.1.1",
            required=False,
            answer=_list("TransferList", _TRANSFERS),
        ),
        Method(
            name="ScheduleInform",
            section="A.4.1.2",
            required=False,
            arguments=(Argument("DelaySeconds", number("unsignedInt[1:]")), _COMMAND_KEY),
        ),
        Method(name="SetVouchers", section="A.4.1.3", required=False, elsewhere=True),
        Method(name="GetOptions", section="A.4.1.4", required=False, elsewhere=True),
    )
}
"""What a server may call on a device, in the order of Table 4."""

ACS_METHODS: Final[Mapping[str, Method]] = {
    method.name: method
    for method in (
        _GET_RPC_METHODS,
        Method(
            name="Inform",
            section="A.3.3.1",
            required=True,
            arguments=(
                Argument("DeviceId", _DEVICE_ID),
                Argument("Event", _EVENTS),
                Argument("MaxEnvelopes", number("unsignedInt")),
                Argument("CurrentTime", moment()),
                Argument("RetryCount", number("unsignedInt")),
                Argument("ParameterList", _VALUES),
            ),
            answer=(Argument("MaxEnvelopes", number("unsignedInt"), absent=1),),
        ),
        Method(
            name="TransferComplete",
            section="A.3.3.2",
            required=True,
            arguments=(_COMMAND_KEY, Argument("FaultStruct", _FAULT), *_TIMES),
        ),
        Method(
            name="RequestDownload",
            section="A.4.2.2",
            required=False,
            arguments=(_FILE_TYPE, Argument("FileTypeArg", _FILE_TYPE_ARGUMENTS)),
        ),
        Method(
            name="Kicked",
            section="A.4.2.1",
            required=False,
            arguments=(
                Argument("Command", text(32)),
                Argument("Referer", text(64)),
                Argument("Arg", text(256)),
                Argument("Next", text(1024)),
            ),
            answer=(Argument("NextURL", text(1024), absent=""),),
        ),
    )
}
"""What a device may call on a server, in the order of Table 4."""
