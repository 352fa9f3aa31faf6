"""What simulated devices are like: a profile of all that can be chosen (docs/agent-fleet.md).

In texts of a profile ``{n}`` stands for the number of a device, ``{n:08}`` for that with leading zeros, and
``{serial}`` for its serial number.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from spkg.agent.settings import TransferSettings
from spkg.cwmp.faults import FaultCode, MethodFaultError
from spkg.cwmp.methods import MAX_QUEUED
from spkg.cwmp.types import CwmpType, read_type
from spkg.cwmp.values import DeviceId, ParameterInfo

__all__ = ["FleetParameter", "FleetProfile", "FleetShares", "fill_pattern"]

PATTERN: Final = re.compile(r"\{(?:n(?::0(?P<width>[1-9][0-9]?))?|(?P<serial>serial))\}")

WAN_ADDRESS: Final = "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress"
INFORMED: Final = (
    "DeviceInfo.SpecVersion",
    "DeviceInfo.HardwareVersion",
    "DeviceInfo.SoftwareVersion",
    "DeviceInfo.ProvisioningCode",
    "ManagementServer.ConnectionRequestURL",
    "ManagementServer.ParameterKey",
    WAN_ADDRESS,
)


def fill_pattern(pattern: str, number: int, serial: str = "") -> str:
    """Return a text of a profile for one device."""
    if "{" not in pattern:
        return pattern

    def one(match: re.Match[str]) -> str:
        return serial if match["serial"] else f"{number:0{match['width'] or 1}}"

    return PATTERN.sub(one, pattern)


@dataclass(frozen=True, kw_only=True)
class FleetParameter:
    """A parameter that every device has."""

    type: CwmpType
    value: str
    """In the canonical form of its type, or a pattern of it."""
    writable: bool = False
    secret: bool = False
    """Whether it is read as an empty string."""


@dataclass(frozen=True, kw_only=True)
class FleetShares:
    """How many devices are not as they should be, each from 0 to 1."""

    slow: float = 0.0
    """Wait before each post."""
    slow_delay: float = 2.0
    """How long, in seconds."""
    fault: float = 0.0
    """Answer calls with a fault."""
    fault_code: FaultCode = FaultCode.INTERNAL_ERROR
    drop: float = 0.0
    """Close the connection after the response to the Inform, in every second session."""


@dataclass(frozen=True, kw_only=True)
class FleetProfile:
    """What the devices of a fleet are like."""

    manufacturer: str = "spkg fleet"
    oui: str = "00D09E"
    product_class: str = "Simulated"
    serial: str = "SIM{n:08}"
    first: int = 1
    """The number of the first device."""
    root: str = "InternetGatewayDevice"
    hardware_version: str = "A"
    software_version: str = "1.0"
    provisioning_code: str = ""
    username: str = "{oui}-{serial}"
    password: str | None = field(default=None, repr=False)
    """None if a server that asks for a login gets none."""
    ca_bundle: Path | None = None
    timeout: float = 30.0
    """For each response, in seconds."""
    interval: float = 300.0
    """Between the periodic Informs of one device, in seconds."""
    at_once: bool = False
    """Whether all devices are switched on in the same moment, and not spread over an interval."""
    shares: FleetShares = field(default_factory=FleetShares)
    download: bool = True
    max_size: int = 64 << 20
    """The largest file that is downloaded, in bytes."""
    reboot: float = 30.0
    """How long a reboot takes, in seconds."""
    new_version: str | None = None
    """The SoftwareVersion after a firmware download that succeeded; None if it stays."""
    parameters: Mapping[str, FleetParameter] = field(default_factory=dict)
    """Further ones, and other values of those that all devices have, by their full names."""

    def identity(self, number: int) -> DeviceId:
        """Return what the device of this number tells of itself (Table 34)."""
        return DeviceId(
            manufacturer=self.manufacturer,
            oui=self.oui,
            product_class=self.product_class,
            serial_number=fill_pattern(self.serial, number),
        )

    def user(self, number: int) -> str:
        """Return the name with which that device logs in."""
        serial = fill_pattern(self.serial, number)
        return fill_pattern(self.username.replace("{oui}", self.oui), number, serial)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all parameters, sorted."""
        return tuple(sorted(self.tree))

    @cached_property
    def tree(self) -> Mapping[str, FleetParameter]:
        """All parameters of a device, by their full names."""
        served = {
            "DeviceInfo.Manufacturer": ("string(64)", self.manufacturer, False),
            "DeviceInfo.ManufacturerOUI": ("string(6)", self.oui, False),
            "DeviceInfo.ProductClass": ("string(64)", self.product_class, False),
            "DeviceInfo.SerialNumber": ("string(64)", "{serial}", False),
            "DeviceInfo.HardwareVersion": ("string(64)", self.hardware_version, False),
            "DeviceInfo.SoftwareVersion": ("string(64)", self.software_version, False),
            "DeviceInfo.SpecVersion": ("string(16)", "1.0", False),
            "DeviceInfo.ProvisioningCode": ("string(64)", self.provisioning_code, True),
            "DeviceInfo.UpTime": ("unsignedInt", "0", False),
            "ManagementServer.URL": ("string(256)", "", True),
            "ManagementServer.Username": ("string(256)", "", True),
            "ManagementServer.Password": ("string(256)", "", True),
            "ManagementServer.PeriodicInformEnable": ("boolean", "1", True),
            "ManagementServer.PeriodicInformInterval": (
                "unsignedInt[1:]",
                f"{max(1, round(self.interval))}",
                True,
            ),
            "ManagementServer.PeriodicInformTime": ("dateTime", "0001-01-01T00:00:00Z", True),
            "ManagementServer.ParameterKey": ("string(32)", "", False),
            # Of the range for documentation: nobody answers there, and nobody's device is called.
            "ManagementServer.ConnectionRequestURL": ("string(256)", "http://192.0.2.1:7547/{serial}", False),
            "ManagementServer.ConnectionRequestUsername": ("string(256)", "", True),
            "ManagementServer.ConnectionRequestPassword": ("string(256)", "", True),
            "ManagementServer.UpgradesManaged": ("boolean", "1", True),
            WAN_ADDRESS: ("string", "192.0.2.1", False),
        }
        return {
            f"{self.root}.{name}": FleetParameter(
                type=read_type(kind), value=value, writable=writable, secret=name.endswith("Password")
            )
            for name, (kind, value, writable) in served.items()
        } | dict(self.parameters)

    @cached_property
    def informed(self) -> tuple[str, ...]:
        """The names of the parameters in every Inform (Table 33)."""
        return tuple(f"{self.root}.{name}" for name in INFORMED)

    @cached_property
    def transfers(self) -> TransferSettings:
        """Which transfers the ACS may ask for."""
        return TransferSettings(
            download=self.download,
            upload=False,
            schemes=("http", "https"),
            max_waiting=MAX_QUEUED,
            uploads=(),
        )

    def below(self, path: str) -> tuple[str, ...]:
        """Return the names of the parameters that a name or a partial path stands for.

        Raises:
            MethodFaultError: It stands for nothing.
        """
        if path in self.tree:
            return (path,)
        first, last = bisect_left(self.names, path), bisect_left(self.names, f"{path}\U0010ffff")
        if first == last or (path and not path.endswith(".")):
            raise MethodFaultError(FaultCode.INVALID_NAME, f"there is no parameter {path!r:.200}")
        return self.names[first:last]

    def infos(self, path: str, *, next_level: bool) -> tuple[ParameterInfo, ...]:
        """Return what GetParameterNames answers (A.3.2.3).

        Raises:
            MethodFaultError: There is no such name or path, or NextLevel does not fit it.
        """
        tree = self.tree
        if path in tree:
            if next_level:
                problem = "NextLevel: must be false for a full name"
                raise MethodFaultError(FaultCode.INVALID_ARGUMENTS, problem)
            return (ParameterInfo(path, tree[path].writable),)
        found: dict[str, bool] = {path: False} if path and not next_level else {}
        for name in self.below(path):
            nodes = name[len(path) :].split(".")
            deepest = 1 if next_level else len(nodes) - 1
            for index in range(1, min(deepest, len(nodes) - 1) + 1):
                found.setdefault(f"{path}{'.'.join(nodes[:index])}.", False)
            if not next_level or len(nodes) == 1:
                found[name] = tree[name].writable
        return tuple(ParameterInfo(*one) for one in found.items())
