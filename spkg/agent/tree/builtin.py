"""The parameters that the agent itself has: DeviceInfo, ManagementServer, and what goes with them (Table 61).

A row a parameter: its name and type, where its value comes from, who may change it, and whether its changes
are told without being asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from spkg.agent.config import acs_url_problem
from spkg.agent.settings import AgentConfig, WanAddress
from spkg.agent.state import (
    FACT_FIRST_USE,
    FACT_PARAMETER_KEY,
    FACT_URL_DHCP,
    FACT_VERSION,
    FACT_VERSION_BOOT,
    AgentState,
)
from spkg.agent.tree.model import DescribedParameter, ParameterDescription
from spkg.agent.tree.names import (
    ACS_PASSWORD,
    ACS_URL,
    ACS_USERNAME,
    PARAMETER_KEY,
    PROVISIONING_CODE,
    REQUEST_PASSWORD,
    REQUEST_USERNAME,
)
from spkg.common.times import write_time
from spkg.cwmp.types import NO_TIME, read_type
from spkg.device import Device
from spkg.errors import os_problem

__all__ = [
    "BuiltIn",
    "BuiltIns",
    "TreeSurroundings",
]

GATEWAY_ROOT: Final = "InternetGatewayDevice"
GATEWAY_WAN: Final = "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress"
"""The address of the default connection of a gateway whose configuration names none (Table 33)."""
MAX_DEVICE_LOG: Final = 1 << 15
"""The longest DeviceLog, in characters (Table 61)."""
MAX_VERSION_FILE: Final = 4096
_AUTO: Final = "auto"


@dataclass(frozen=True, kw_only=True)
class TreeSurroundings:
    """What the tree learns from outside, given by the loop."""

    boot_id: str
    boot_clock: Callable[[], float]
    """Returns the seconds since the boot; never jumps."""
    address: Callable[[], str]
    """Returns the address that packets to the ACS leave from; empty while none is known."""
    connection_request_url: Callable[[], str]
    """Returns where connection requests are taken; empty where they are not, or there is no address yet."""
    note: Callable[[str], None]
    """Takes what is worth a line in the log."""
    enabled_options: Callable[[], str] | None = None
    """Returns the names of the enabled Options; None without a store of Options."""
    device_log: Callable[[], str] = str
    """Returns the log, for DeviceLog."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Passwords from files, by the names of their parameters, without the root."""


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A parameter of the agent itself."""

    name: str
    """Without the root."""
    type: str
    read: Callable[[], str]
    writable: bool = False
    check: Callable[[str], str | None] = lambda _value: None
    """Returns what is wrong with a new value."""
    informed: bool = False
    """Whether it is in every Inform (Table 33)."""
    forced: bool = False
    """Whether a change makes a session without having been asked for (Table 33)."""
    notifies: bool = True
    """Whether its changes can be told; not for what varies all the time (9009, Table 19)."""
    secret: bool = False
    """Whether it is read as an empty string."""


class BuiltIns:
    """All of them.

    Args:
        config: The configuration.
        device: The device file.
        state: What the ACS has set.
        around: What comes from outside.
    """

    def __init__(
        self, config: AgentConfig, device: Device, state: AgentState, around: TreeSurroundings
    ) -> None:
        self._config = config
        self._device = device
        self._state = state
        self._around = around
        self.root = config.device.root
        self.wan: WanAddress | None = config.device.wan
        if self.wan is None and self.root == GATEWAY_ROOT:
            self.wan = WanAddress(parameter=GATEWAY_WAN, address=_AUTO)
        served = {f"{path}" for one in config.providers for path in one.paths}
        self._serves_wan = self.wan is not None and not any(
            self.wan.parameter.startswith(one) for one in served
        )
        self._version = self._software_version()
        self.rows = {row.name: row for row in (*self._device_info(), *self._management(), *self._others())}

    def description(self) -> ParameterDescription:
        """Return the parameters as a provider describes its own."""
        return ParameterDescription(
            parameters=tuple(
                DescribedParameter(
                    path=f"{self.root}.{row.name}",
                    type=read_type(row.type),
                    writable=row.writable,
                    notifies=row.notifies,
                    secret=row.secret,
                )
                for row in self.rows.values()
            )
        )

    def setting(self, name: str) -> str:
        """Return what is in force for a parameter, passwords too.

        Args:
            name: Its name, without the root.
        """
        if name in self._around.secrets and self._state.value(name) is None:
            return self._around.secrets[name]
        row = self.rows[name]
        return (self._state.value(name) or "") if row.secret else row.read()

    def informed(self) -> tuple[str, ...]:
        """Return the names of what is in every Inform, without the root; one may be a provider's."""
        found = [row.name for row in self.rows.values() if row.informed]
        if self.wan is not None and self.wan.parameter not in found:
            found.append(self.wan.parameter)
        return tuple(found)

    def forced(self) -> frozenset[str]:
        """Return the names of what is told without being asked for, without the root."""
        found = {row.name for row in self.rows.values() if row.forced}
        return frozenset(found | ({self.wan.parameter} if self.wan is not None else set()))

    def url_problem(self, url: str) -> str | None:
        """Return why the URL of the ACS can't become this one; None if it can (3.1, Table 61)."""
        problem = acs_url_problem(url)
        if problem is not None:
            return problem
        secured = self.setting(ACS_URL).lower().startswith("https:")
        if secured and not url.lower().startswith("https:") and not self._config.acs.unsafe_downgrade:
            return "must not go from https to http"
        return None

    def _device_info(self) -> tuple[BuiltIn, ...]:
        device, settings = self._device, self._config.device
        fixed = {
            "Manufacturer": (device.manufacturer, 64),
            "ManufacturerOUI": (device.oui, 6),
            "ModelName": (settings.model_name, 64),
            "Description": (settings.description, 256),
            **({"ProductClass": (device.product_class, 64)} if device.product_class else {}),
            "SerialNumber": (device.serial_number, 64),
        }
        options = self._around.enabled_options
        return (
            *(
                _row(f"DeviceInfo.{name}", f"string({most})", text or "")
                for name, (text, most) in fixed.items()
            ),
            BuiltIn(
                name="DeviceInfo.HardwareVersion",
                type="string(64)",
                read=lambda: settings.hardware_version,
                informed=True,
            ),
            BuiltIn(
                name="DeviceInfo.SoftwareVersion",
                type="string(64)",
                read=lambda: self._version,
                informed=True,
                forced=True,
            ),
            BuiltIn(name="DeviceInfo.SpecVersion", type="string(16)", read=lambda: "1.0", informed=True),
            self._kept(
                PROVISIONING_CODE,
                "string(64)",
                lambda: device.provisioning_code or "",
                informed=True,
                forced=True,
            ),
            BuiltIn(
                name="DeviceInfo.UpTime",
                type="unsignedInt",
                read=lambda: str(int(self._around.boot_clock())),
                notifies=False,
            ),
            BuiltIn(
                name="DeviceInfo.FirstUseDate",
                type="dateTime",
                read=lambda: self._state.fact(FACT_FIRST_USE) or NO_TIME,
            ),
            BuiltIn(
                name="DeviceInfo.DeviceLog",
                type=f"string({MAX_DEVICE_LOG})",
                read=lambda: self._around.device_log()[-MAX_DEVICE_LOG:],
                notifies=False,
            ),
            *(
                ()
                if options is None
                else (BuiltIn(name="DeviceInfo.EnabledOptions", type="string(1024)", read=options),)
            ),
        )

    def _management(self) -> tuple[BuiltIn, ...]:
        acs, inform, listener = self._config.acs, self._config.inform, self._config.listener
        pages = {
            "KickURL": self._config.device.kick_url,
            "DownloadProgressURL": self._config.device.download_progress_url,
        }
        return (
            self._kept(ACS_URL, "string(256)", self._first_url, check=self.url_problem),
            self._kept(
                ACS_USERNAME, "string(256)", lambda: acs.username or self._identity(), check=_name_problem
            ),
            self._kept(ACS_PASSWORD, "string(256)", str, secret=True),
            self._kept("ManagementServer.PeriodicInformEnable", "boolean", lambda: str(int(inform.enable))),
            self._kept(
                "ManagementServer.PeriodicInformInterval", "unsignedInt[1:]", lambda: str(inform.interval)
            ),
            self._kept(
                "ManagementServer.PeriodicInformTime",
                "dateTime",
                lambda: NO_TIME if inform.reference is None else write_time(inform.reference),
            ),
            BuiltIn(
                name=PARAMETER_KEY,
                type="string(32)",
                read=lambda: self._state.fact(FACT_PARAMETER_KEY) or "",
                informed=True,
            ),
            BuiltIn(
                name="ManagementServer.ConnectionRequestURL",
                type="string(256)",
                read=self._around.connection_request_url,
                informed=True,
                forced=True,
            ),
            self._kept(REQUEST_USERNAME, "string(256)", lambda: listener.username or ""),
            self._kept(REQUEST_PASSWORD, "string(256)", str, secret=True),
            self._kept("ManagementServer.UpgradesManaged", "boolean", lambda: "1"),
            *(_row(f"ManagementServer.{name}", "string(256)", url) for name, url in pages.items() if url),
        )

    def _others(self) -> tuple[BuiltIn, ...]:
        found = [self._kept("DeviceConfig.PersistentData", "string(256)", str)]
        if self.root == GATEWAY_ROOT:  # counted when they are read
            found += [
                _row(f"{name}NumberOfEntries", "unsignedInt", "0") for name in ("LANDevice", "WANDevice")
            ]
        wan = self.wan
        if wan is not None and self._serves_wan:
            stated = wan.address
            found.append(
                BuiltIn(
                    name=wan.parameter,
                    type="string(64)",
                    read=self._around.address if stated == _AUTO else lambda: stated,
                    informed=True,
                    forced=True,
                )
            )
        return tuple(found)

    def _kept(
        self,
        name: str,
        kind: str,
        first: Callable[[], str],
        *,
        check: Callable[[str], str | None] = lambda _value: None,
        informed: bool = False,
        forced: bool = False,
        secret: bool = False,
    ) -> BuiltIn:
        """Return a parameter that can be set, and until then has a first value."""

        def read() -> str:
            kept = self._state.value(name)
            return first() if kept is None else kept

        return BuiltIn(
            name=name,
            type=kind,
            read=str if secret else read,
            writable=True,
            check=check,
            informed=informed,
            forced=forced,
            notifies=not secret,
            secret=secret,
        )

    def _first_url(self) -> str:
        """Return the URL of the ACS before it has set one: the configured one goes before that of DHCP."""
        acs = self._config.acs
        return acs.url or (self._state.fact(FACT_URL_DHCP) if acs.dhcp else None) or ""

    def _identity(self) -> str:
        return f"{self._device.oui or ''}-{self._device.serial_number or ''}"

    def _software_version(self) -> str:
        """Return the version that runs: read once a boot, for a newer one may be installed since."""
        boot = self._around.boot_id
        kept = self._state.fact(FACT_VERSION)
        if kept is not None and self._state.fact(FACT_VERSION_BOOT) == boot:
            return kept
        found = self._version_on_disk()
        with self._state.change() as change:
            change.fact(FACT_VERSION, found)
            change.fact(FACT_VERSION_BOOT, boot)
        return found

    def _version_on_disk(self) -> str:
        path = self._config.device.version_file
        if path is not None:
            try:
                with path.open("rb") as file:
                    line = file.read(MAX_VERSION_FILE).decode(errors="replace").partition("\n")[0]
                return line.strip()[:64]
            except OSError as exc:
                self._around.note(f"the software version can't be read: {os_problem(exc)}")
        return (self._device.software_version or "")[:64]


def _name_problem(name: str) -> str | None:
    """Return why nobody can log in with a name; None if that can be: no header has line breaks."""
    return None if name.isprintable() else "must not contain control characters"


def _row(name: str, kind: str, value: str) -> BuiltIn:
    """Return a parameter that never changes."""
    return BuiltIn(name=name, type=kind, read=lambda: value)
