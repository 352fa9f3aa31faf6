"""What tests of the methods are made of: any values of any method, and the messages of both sides."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st

from spkg.cwmp.events import Event
from spkg.cwmp.types import write_cwmp_time
from spkg.cwmp.values import (
    AttributeChange,
    DeviceId,
    FaultStruct,
    FileTypeArgument,
    ParameterAttributes,
    ParameterInfo,
    ParameterValue,
    QueuedTransfer,
)
from tests.support.kit import AT

__all__ = [
    "ANSWERED",
    "ANSWERS",
    "ARGUMENTS",
    "CALLED",
    "DEVICE_ID",
    "GATEWAY",
    "XML_TEXT",
    "answers",
    "arguments",
    "plain",
]

GATEWAY: Final = "InternetGatewayDevice."
DEVICE_ID: Final = DeviceId(
    manufacturer="2Wire", oui="00D09E", product_class="Gateway", serial_number="123456789"
)
CONTROLS: Final = [*map(chr, range(32)), "\ufffe", "\uffff"]
XML_TEXT: Final = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS), st.sampled_from("\t\n\r&<>\"']")
)
"""Any character that XML has, those that need care more often."""


def _text(most: int, least: int = 0) -> st.SearchStrategy[str]:
    return st.text(XML_TEXT, min_size=least, max_size=most) | st.text("x", min_size=most, max_size=most)


def _times() -> st.SearchStrategy[datetime | None]:
    first, last = datetime(2, 1, 1), datetime(9999, 12, 30)  # noqa: DTZ001 - hypothesis adds the zone
    whole = st.datetimes(first, last, timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))
    return st.none() | whole


UNSIGNED: Final = st.integers(0, (1 << 32) - 1)
STATUS: Final = st.integers(0, 1)
NAMES: Final = _text(256).map(lambda name: name[:256])
KEYS: Final = _text(32)
ACCESS: Final = st.lists(st.just("Subscriber"), max_size=2).map(tuple)
TEXTS: Final[Mapping[str, st.SearchStrategy[str]]] = {
    "string": _text(40),
    "int": st.integers(-(1 << 31), (1 << 31) - 1).map(str),
    "unsignedInt": UNSIGNED.map(str),
    "boolean": st.sampled_from("01"),
    "dateTime": _times().map(write_cwmp_time),
    "base64": st.binary(max_size=20).map(lambda octets: b64encode(octets).decode()),
}
"""What a value of each type may be."""
VALUES: Final = st.lists(
    st.one_of([st.builds(ParameterValue, NAMES, st.just(kind), text) for kind, text in TEXTS.items()]),
    max_size=5,
).map(tuple)
FILE_TYPES: Final = st.sampled_from(["1 Vendor Configuration File", "X 00D09E Any"])
PATHS: Final = NAMES.map(lambda name: "".join(name.splitlines())[:255] + ".")
FILE: Final = {
    "CommandKey": KEYS,
    "FileType": FILE_TYPES,
    "URL": _text(256),
    "Username": _text(256),
    "Password": _text(256),
}
DEVICES: Final = st.builds(
    DeviceId,
    manufacturer=_text(64),
    oui=st.text("0123456789ABCDEF", min_size=6, max_size=6),
    product_class=_text(64),
    serial_number=_text(64, 1),
)
EVENTS: Final = st.sampled_from(["0 BOOTSTRAP", "1 BOOT", "M Download", "X 00D09E Any thing"])
MANY_NAMES: Final = st.lists(NAMES, min_size=1, max_size=5).map(tuple)
ARGUMENTS: Final[Mapping[str, Mapping[str, st.SearchStrategy[Any]]]] = {
    "GetRPCMethods": {},
    "SetParameterValues": {"ParameterList": VALUES, "ParameterKey": KEYS},
    "GetParameterValues": {"ParameterNames": MANY_NAMES},
    "GetParameterNames": {"ParameterPath": NAMES, "NextLevel": st.booleans()},
    "SetParameterAttributes": {
        "ParameterList": st.lists(
            st.builds(AttributeChange, NAMES, st.none() | st.integers(0, 2), st.none() | ACCESS),
            min_size=1,
            max_size=5,
        ).map(tuple)
    },
    "GetParameterAttributes": {"ParameterNames": MANY_NAMES},
    "AddObject": {"ObjectName": PATHS, "ParameterKey": KEYS},
    "DeleteObject": {"ObjectName": PATHS, "ParameterKey": KEYS},
    "Reboot": {"CommandKey": KEYS},
    "Download": {
        **FILE,
        "FileType": st.sampled_from(["1 Firmware Upgrade Image", "2 Web Content", "X 00D09E Any"]),
        "FileSize": UNSIGNED,
        "TargetFileName": _text(256),
        "DelaySeconds": UNSIGNED,
        "SuccessURL": _text(256),
        "FailureURL": _text(256),
    },
    "Upload": {**FILE, "DelaySeconds": UNSIGNED},
    "FactoryReset": {},
    "GetQueuedTransfers": {},
    "ScheduleInform": {"DelaySeconds": st.integers(1, (1 << 32) - 1), "CommandKey": KEYS},
    "Inform": {
        "DeviceId": DEVICES,
        "Event": st.lists(st.builds(Event, EVENTS, KEYS), max_size=16).map(tuple),
        "MaxEnvelopes": UNSIGNED,
        "CurrentTime": _times(),
        "RetryCount": UNSIGNED,
        "ParameterList": VALUES,
    },
    "TransferComplete": {
        "CommandKey": KEYS,
        "FaultStruct": st.builds(FaultStruct, st.sampled_from([0, 9001, 9002, 9010, 9011, 9012]), _text(256)),
        "StartTime": _times(),
        "CompleteTime": _times(),
    },
    "RequestDownload": {
        "FileType": st.sampled_from(["2 Web Content", "X 00D09E Any"]),
        "FileTypeArg": st.lists(st.builds(FileTypeArgument, _text(64), _text(256)), max_size=16).map(tuple),
    },
    "Kicked": {"Command": _text(32), "Referer": _text(64), "Arg": _text(256), "Next": _text(1024)},
}
"""What each method may be called with, by the schema."""
ANSWERS: Final[Mapping[str, Mapping[str, st.SearchStrategy[Any]]]] = {
    **{name: {} for name in ARGUMENTS},
    "GetRPCMethods": {"MethodList": st.lists(_text(64), min_size=1, max_size=5).map(tuple)},
    "SetParameterValues": {"Status": STATUS},
    "GetParameterValues": {"ParameterList": VALUES},
    "GetParameterNames": {
        "ParameterList": st.lists(st.builds(ParameterInfo, NAMES, st.booleans()), max_size=5).map(tuple)
    },
    "GetParameterAttributes": {
        "ParameterList": st.lists(
            st.builds(ParameterAttributes, NAMES, st.integers(0, 2), ACCESS), max_size=5
        ).map(tuple)
    },
    "AddObject": {"InstanceNumber": st.integers(1, (1 << 32) - 1), "Status": STATUS},
    "DeleteObject": {"Status": STATUS},
    "Download": {"Status": STATUS, "StartTime": _times(), "CompleteTime": _times()},
    "Upload": {"Status": STATUS, "StartTime": _times(), "CompleteTime": _times()},
    "GetQueuedTransfers": {
        "TransferList": st.lists(st.builds(QueuedTransfer, KEYS, st.integers(1, 3)), max_size=16).map(tuple)
    },
    "Inform": {"MaxEnvelopes": UNSIGNED},
    "Kicked": {"NextURL": _text(1024)},
}
"""What each method may answer, by the schema."""


def arguments(method: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return all that a method may be called with."""
    return st.fixed_dictionaries(dict(ARGUMENTS[method]))


def answers(method: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return all that a method may answer."""
    return st.fixed_dictionaries(dict(ANSWERS[method]))


TIMES: Final = {"StartTime": AT, "CompleteTime": AT.replace(hour=13)}
SETTINGS: Final = (
    ParameterValue(f"{GATEWAY}ManagementServer.PeriodicInformInterval", "unsignedInt", "600"),
    ParameterValue(f"{GATEWAY}DeviceInfo.ProvisioningCode", "string", "<ISP> & \u20ac\U0001f4fa"),
    ParameterValue(f"{GATEWAY}ManagementServer.PeriodicInformEnable", "boolean", "1"),
    ParameterValue(f"{GATEWAY}ManagementServer.PeriodicInformTime", "dateTime", "2026-01-01T03:00:00Z"),
)
CHANGES: Final = (
    AttributeChange(f"{GATEWAY}DeviceInfo.", 2, None),
    AttributeChange(f"{GATEWAY}Time.Enable", None, ("Subscriber",)),
    AttributeChange(GATEWAY, 0, ()),
)
DOWNLOADED: Final = {
    "CommandKey": "k 1",
    "FileType": "1 Firmware Upgrade Image",
    "URL": "http://192.0.2.1/gw?a=1&b=2",
    "Username": "user",
    "Password": "p<w>",
    "FileSize": 4294967295,
    "TargetFileName": "",
    "DelaySeconds": 0,
    "SuccessURL": "",
    "FailureURL": "",
}
CALLED: Final[Mapping[str, dict[str, Any]]] = {
    "GetRPCMethods": {},
    "SetParameterValues": {"ParameterList": SETTINGS, "ParameterKey": "key 1"},
    "GetParameterValues": {"ParameterNames": (GATEWAY, "")},
    "GetParameterNames": {"ParameterPath": "", "NextLevel": True},
    "SetParameterAttributes": {"ParameterList": CHANGES},
    "GetParameterAttributes": {"ParameterNames": (f"{GATEWAY}Time.",)},
    "AddObject": {"ObjectName": f"{GATEWAY}Layer3Forwarding.Forwarding.", "ParameterKey": ""},
    "DeleteObject": {"ObjectName": f"{GATEWAY}Layer3Forwarding.Forwarding.7.", "ParameterKey": "k"},
    "Reboot": {"CommandKey": "k 1"},
    "Download": DOWNLOADED,
    "Upload": {
        **{name: DOWNLOADED[name] for name in ("CommandKey", "URL", "Username", "Password")},
        "FileType": "2 Vendor Log File",
        "DelaySeconds": 60,
    },
    "FactoryReset": {},
    "GetQueuedTransfers": {},
    "ScheduleInform": {"DelaySeconds": 60, "CommandKey": "s"},
    "Inform": {
        "DeviceId": DEVICE_ID,
        "Event": (Event("1 BOOT"), Event("M Reboot", "k 1"), Event("X 00D09E <Any> thing")),
        "MaxEnvelopes": 1,
        "CurrentTime": AT,
        "RetryCount": 3,
        "ParameterList": SETTINGS,
    },
    "TransferComplete": {
        "CommandKey": "k 1",
        "FaultStruct": FaultStruct(9010, "/www/a.js: contents do not match"),
        **TIMES,
    },
    "RequestDownload": {"FileType": "2 Web Content", "FileTypeArg": (FileTypeArgument("Version", "1.2"),)},
    "Kicked": {"Command": "c", "Referer": "r", "Arg": "a=1&b=<2>", "Next": "http://192.0.2.1/"},
}
"""One call of each method."""
ANSWERED: Final[Mapping[str, dict[str, Any]]] = {
    **{name: {} for name in CALLED},
    "GetRPCMethods": {"MethodList": ("GetRPCMethods", "X_00D09E_Any")},
    "SetParameterValues": {"Status": 1},
    "GetParameterValues": {"ParameterList": SETTINGS},
    "GetParameterNames": {
        "ParameterList": (ParameterInfo(GATEWAY, writable=False), ParameterInfo("A.B", writable=True))
    },
    "GetParameterAttributes": {
        "ParameterList": (ParameterAttributes("A.B", 2, ("Subscriber",)), ParameterAttributes("A.C", 0, ()))
    },
    "AddObject": {"InstanceNumber": 7, "Status": 0},
    "DeleteObject": {"Status": 0},
    "Download": {"Status": 1, **TIMES},
    "Upload": {"Status": 0, **TIMES},
    "GetQueuedTransfers": {"TransferList": (QueuedTransfer("k 1", 1), QueuedTransfer("", 3))},
    "Inform": {"MaxEnvelopes": 16},
    "Kicked": {"NextURL": "/index.html?a=1&b=2"},
}
"""One answer of each method."""


def plain(value: Any) -> Any:
    """Return arguments as programs have them that know no types: text, lists and dictionaries."""
    match value:
        case dict():
            return {name: plain(one) for name, one in value.items()}
        case tuple():
            return [plain(one) for one in value]
        case bool():
            return f"{value:d}"
        case datetime():
            return write_cwmp_time(value)
        case ParameterValue():
            return {"Name": value.name, "Value": value.value}
        case AttributeChange():
            return {
                "Name": value.name,
                "NotificationChange": f"{value.notification is not None:d}",
                "Notification": str(value.notification or 0),
                "AccessListChange": f"{value.access is not None:d}",
                "AccessList": [*(value.access or ())],
            }
        case int() | str():
            return str(value)
    names = FIELDS[type(value)]
    return {name: plain(getattr(value, attribute)) for name, attribute in names.items()}


FIELDS: Final[Mapping[type, Mapping[str, str]]] = {
    DeviceId: {
        "Manufacturer": "manufacturer",
        "OUI": "oui",
        "ProductClass": "product_class",
        "SerialNumber": "serial_number",
    },
    Event: {"EventCode": "code", "CommandKey": "command_key"},
    ParameterInfo: {"Name": "name", "Writable": "writable"},
    ParameterAttributes: {"Name": "name", "Notification": "notification", "AccessList": "access"},
    QueuedTransfer: {"CommandKey": "command_key", "State": "state"},
    FaultStruct: {"FaultCode": "code", "FaultString": "text"},
    FileTypeArgument: {"Name": "name", "Value": "value"},
}
"""The fields of each structure as its table calls them, written from the tables and not from the code."""
