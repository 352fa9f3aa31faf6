"""The structures of the methods, as their users see them (TR-069 Appendix A, Tables 11 to 57).

What a parameter is worth is text in the canonical form of its type (:mod:`spkg.cwmp.types`).
"""

import re
from dataclasses import dataclass
from typing import Final

from spkg.common.xml_text import check_text

__all__ = [
    "AcsFault",
    "AttributeChange",
    "DeviceId",
    "EventEntry",
    "FaultStruct",
    "FileTypeArgument",
    "ParameterAttributes",
    "ParameterInfo",
    "ParameterValue",
    "QueuedTransfer",
    "SinceBoot",
]

OUI: Final = re.compile(r"[0-9A-F]{6}", re.ASCII)
MAX_IDENTITY: Final = 64
"""The longest manufacturer, product class or serial number, in characters."""


@dataclass(frozen=True, kw_only=True)
class DeviceId:
    """Which device it is (Table 34; of a voucher, Table 63)."""

    manufacturer: str
    """For display only."""
    oui: str
    """Six hexadecimal digits, upper case."""
    product_class: str
    serial_number: str

    def __post_init__(self) -> None:
        check_text("Manufacturer", self.manufacturer, MAX_IDENTITY)
        if OUI.fullmatch(self.oui) is None:
            raise ValueError(f"OUI: expected six upper-case hexadecimal digits, got {self.oui[:40]!r}")
        check_text("ProductClass", self.product_class, MAX_IDENTITY)
        check_text("SerialNumber", self.serial_number, MAX_IDENTITY, least=1)

    def is_same_device(self, other: "DeviceId") -> bool:
        """Whether both name the same device; the manufacturer is for display only."""
        return (self.oui, self.product_class, self.serial_number) == (
            other.oui,
            other.product_class,
            other.serial_number,
        )


@dataclass(frozen=True)
class EventEntry:
    """A cause of a session (EventStruct, Table 35)."""

    code: str
    command_key: str = ""


@dataclass(frozen=True)
class ParameterValue:
    """A parameter and what it is worth (ParameterValueStruct, Table 11)."""

    name: str
    type: str
    """The type that is stated, without its namespace, such as ``unsignedInt``; ``string`` where none is."""
    value: str


@dataclass(frozen=True)
class ParameterInfo:
    """A parameter or a partial path, and whether it can be changed (ParameterInfoStruct, Table 16)."""

    name: str
    writable: bool


@dataclass(frozen=True)
class ParameterAttributes:
    """The attributes of a parameter (ParameterAttributeStruct, Table 22)."""

    name: str
    notification: int
    access: tuple[str, ...]


@dataclass(frozen=True)
class AttributeChange:
    """New attributes of a parameter or of all below a path (SetParameterAttributesStruct, Table 19)."""

    name: str
    notification: int | None
    """None if it does not change."""
    access: tuple[str, ...] | None
    """None if it does not change."""


@dataclass(frozen=True)
class QueuedTransfer:
    """A transfer that is not fully completed (QueuedTransferStruct, Table 41)."""

    command_key: str
    state: int
    """1 if it has not begun, 2 if it is in progress, 3 if it is finishing."""


@dataclass(frozen=True)
class FaultStruct:
    """How a transfer ended (Table 38)."""

    code: int
    """0, or 9001, 9002, 9010, 9011 or 9012."""
    text: str


@dataclass(frozen=True)
class FileTypeArgument:
    """What a requested download is about (ArgStruct, Table 57)."""

    name: str
    value: str


@dataclass(frozen=True)
class SinceBoot:
    """A time of a device that has no clock (A.2.1)."""

    seconds: float


@dataclass(frozen=True)
class AcsFault:
    """The fault that a server answers (3.5, Table 59)."""

    code: int
    """The FaultCode; of a SOAP fault without one 8003 or 8002, by whose fault it is said to be."""
    text: str
