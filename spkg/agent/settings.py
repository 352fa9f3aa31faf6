"""What the agent's configuration states, a class a table (docs/agent.md).

Paths are complete; secrets are in files of their own, of which only the paths are here.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

__all__ = [
    "AcsSettings",
    "AgentConfig",
    "BeforeBootClock",
    "DeviceSettings",
    "InformSettings",
    "InstallSettings",
    "ListenerSettings",
    "OtherRoot",
    "ProviderKind",
    "ProviderSettings",
    "StateSettings",
    "TransferSettings",
    "UploadSource",
    "VoucherClock",
    "VoucherSettings",
    "WanAddress",
]


class BeforeBootClock(Enum):
    """What to do about the dates of the ACS's certificate while there is no clock."""

    REFUSE = "refuse"
    IGNORE_DATES = "ignore-dates"
    """The chain and the host are checked, the dates are not."""


class VoucherClock(Enum):
    """When the clock counts as network time (C.2)."""

    BUILD_DATE = "build-date"
    """As soon as it is later than the date of this program."""
    NTP = "ntp"
    """When the kernel says that it is synchronized."""


class ProviderKind(Enum):
    """How a provider of parameters is reached."""

    SOCKET = "socket"
    COMMAND = "command"
    SCRIPT = "script"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class AcsSettings:
    """How to reach the ACS until it says otherwise (``[acs]``)."""

    url: str | None
    username: str | None
    password_file: Path | None
    ca_bundle: Path | None
    client_certificate: Path | None
    client_key: Path | None
    dhcp: bool
    lock_url: bool
    timeout: float
    """How long a response may take, in seconds; at least 30 (3.7.1.4)."""
    retry_limit: int
    """How often a failed session is begun again; then the next cause begins anew."""
    pipelining: bool
    """Whether several envelopes in a response are read."""
    outstanding: int
    """How many requests of ours may be without an answer."""
    change_interval: int
    """At most one session for changes in so many seconds (3.2.1)."""
    before_boot_clock: BeforeBootClock
    unsafe_downgrade: bool
    """Whether SetParameterValues may change the URL from https to http."""
    proxy: str | None


@dataclass(frozen=True, kw_only=True)
class InformSettings:
    """Periodic Informs until the ACS sets them (``[inform]``)."""

    enable: bool
    interval: int
    """In seconds, at least 1."""
    reference: datetime | None
    """PeriodicInformTime; None for a phase that is drawn once."""


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """Where connection requests are taken (``[connection-requests]``)."""

    address: str | None
    """The address to listen at; None for no listener."""
    port: int
    host: str
    """What the ConnectionRequestURL names: a host, ``auto``, or ``interface:NAME``."""
    username: str | None
    password_file: Path | None
    per_minute: int
    """How many requests are accepted in a minute (3.2.2)."""
    sources: tuple[IPv4Network | IPv6Network, ...]
    """The networks that requests may come from; empty for all."""


@dataclass(frozen=True, kw_only=True)
class WanAddress:
    """The ExternalIPAddress of the default connection (Table 33)."""

    parameter: str
    """Its name, without the root."""
    address: str
    """The address, or ``auto`` for the one that packets to the ACS leave from."""


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """What DeviceInfo has besides the device file (``[device]``)."""

    file: Path
    model_name: str
    hardware_version: str
    description: str
    version_file: Path | None
    """Its first line is the SoftwareVersion, read once a boot."""
    root: str
    """The name of the root object, without a dot."""
    wan: WanAddress | None
    kick_url: str | None
    download_progress_url: str | None


@dataclass(frozen=True, kw_only=True)
class OtherRoot:
    """Where packages of another FileType are installed."""

    root: Path


@dataclass(frozen=True, kw_only=True)
class InstallSettings:
    """How packages are installed (``[install]``)."""

    root: Path
    trust: tuple[Path, ...]
    options: tuple[str, ...]
    """Further options of ``spkg apply``."""
    back_up: float
    """How long a package is on trial, in seconds; 0 for no trial."""
    back_up_boots: int | None
    match_roles: bool
    """Whether the role of a package must be that of the FileType."""
    web_content: OtherRoot | None
    vendor_configuration: OtherRoot | None


@dataclass(frozen=True, kw_only=True)
class UploadSource:
    """A file that the ACS may ask for (``[[upload]]``)."""

    file_type: str
    command: tuple[str, ...]
    """A program that prints it; empty if it is a file."""
    file: Path | None
    max_size: int
    """In bytes."""


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Which transfers the ACS may ask for (``[transfers]``)."""

    download: bool
    upload: bool
    schemes: tuple[str, ...]
    max_waiting: int
    uploads: tuple[UploadSource, ...]


@dataclass(frozen=True, kw_only=True)
class VoucherSettings:
    """Where Options are kept, and whose vouchers count (``[vouchers]``)."""

    store: Path
    trust: tuple[Path, ...]
    clock: VoucherClock


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """Who serves the gateway's own parameters (``[[provider]]``)."""

    name: str
    kind: ProviderKind
    command: tuple[str, ...]
    """The program of a command or script; empty otherwise."""
    path: Path | None
    """The socket or the file."""
    paths: tuple[str, ...]
    """The partial paths that it owns, without the root."""


@dataclass(frozen=True, kw_only=True)
class StateSettings:
    """Where the agent keeps its state (``[state]``)."""

    directory: Path
    log_size: int
    """The most that the log may take, in bytes."""
    user: str | None
    """Whom the talking process belongs to; None for the owner of the directory."""


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """A configuration file; its paths are complete."""

    source: Path
    """The file."""
    acs: AcsSettings
    inform: InformSettings
    listener: ListenerSettings
    device: DeviceSettings
    install: InstallSettings
    transfers: TransferSettings
    vouchers: VoucherSettings | None
    reboot: tuple[str, ...]
    """The program that reboots the gateway; empty if nothing does."""
    factory_reset: tuple[str, ...]
    """What follows a FactoryReset of the agent's own state; empty if there is nothing more."""
    back_up_parameters: tuple[str, ...]
    """Parameters that are on trial when the ACS sets them, without the root."""
    providers: tuple[ProviderSettings, ...]
    state: StateSettings
