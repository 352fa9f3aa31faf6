"""How the agent is: in touch or not and why, what it waits for, what is unsafe; and the settings in force."""

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from spkg.agent.clock import Outside
from spkg.agent.engine import Engine
from spkg.agent.masking import is_secret
from spkg.agent.origins import FROM_DHCP, origin_of
from spkg.agent.records import Transfer
from spkg.agent.settings import AgentConfig, BeforeBootClock
from spkg.agent.state import FACT_URL_DHCP, AgentState
from spkg.agent.tree.names import ACS_URL, ACS_USERNAME
from spkg.agent.tree.tree import Tree
from spkg.common.documents import Document
from spkg.common.times import write_time
from spkg.device import Device
from spkg.errors import HostError

__all__ = [
    "StatusDesk",
    "shown_url",
    "status_of_rest",
    "transfer_documents",
    "unsafe_settings",
]

OPEN_TO_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
MOST_METHODS: Final = 64
"""How many methods of an ACS are shown."""
NEVER_TRIED: Final = "no session yet"
SET, NOT_SET = "set", "not set"
FILE_TABLES: Final = {"listener": "connection-requests"}
"""The tables of the file that have another name in the program."""
FROM_FILE, FROM_DEFAULT = "file", "default"


def shown_url(url: str) -> str:
    """Return a URL as it is shown: without its query, which may be secret."""
    return url.partition("?")[0]


def transfer_documents(transfers: Iterable[Transfer]) -> list[Document]:
    """Return transfers as JSON."""
    return [
        {
            "command_key": one.command_key,
            "direction": one.direction,
            "state": one.state,
            "url": shown_url(str(one.arguments["URL"])),
            "due": None if one.state != 1 or one.due_wall is None else _time(one.due_wall),
        }
        for one in transfers
    ]


def unsafe_settings(config: AgentConfig, url: str) -> Iterator[str]:
    """Yield what everybody on the path, or on the device, could make use of."""
    if url.lower().startswith("http:"):
        yield f"{shown_url(url)}: without TLS, everybody on the path can be the ACS"
    if config.acs.unsafe_downgrade:
        yield "unsafe-downgrade: the ACS may change its URL from https to http"
    if config.acs.dhcp:
        yield "dhcp: any DHCP server on the link can name the ACS"
    if config.acs.before_boot_clock is BeforeBootClock.IGNORE_DATES:
        yield "before-boot-clock: an expired certificate of the ACS is accepted while there is no clock"
    with suppress(OSError):  # without it, nothing can be put there
        if config.state.directory.stat().st_mode & OPEN_TO_OTHERS:
            yield f"{config.state.directory}: other users can change what the agent keeps: chmod 700"
    for option in config.install.options:
        if option.startswith("--unsafe"):
            yield f"install: {option.partition('=')[0]}"


def status_of_rest(config: AgentConfig, device: Device, *, url: str | None) -> Document:
    """Return the status of an agent that is not running.

    Args:
        config: Its configuration.
        device: Its device.
        url: The URL of the ACS; None if it is not known.
    """
    return {
        "schema": "spkg.agent.status/1",
        "running": False,
        "in_touch": False,
        "reason": "the agent is not running",
        "acs_url": None if url is None else shown_url(url),
        "device": _device(device, device.software_version),
        "last_session": None,
        "next_session": None,
        "retry_count": 0,
        "acs_methods": None,
        "events": [],
        "transfers": [],
        "trial": None,
        "parameters_on_trial": [],
        "connection_request_url": None,
        "options": [],
        "unsafe": [*unsafe_settings(config, url or "")],
    }


@dataclass(frozen=True, kw_only=True)
class _Sources:
    """Where the parts of the status come from."""

    trial: Callable[[], Document | None]
    """Returns the package on trial."""
    options: Callable[[], Sequence[Any]]
    """Returns the state of the Options."""
    connection_request_url: Callable[[], str]
    confined: bool
    """Whether this process may change its own directories alone."""
    is_root: bool
    """Whether this process has all rights."""


class StatusDesk:
    """Shows how the agent is; a snapshot is ready at any time, also during a session."""

    Sources = _Sources

    def __init__(
        self,
        *,
        config: AgentConfig,
        device: Device,
        engine: Engine,
        state: AgentState,
        tree: Tree,
        outside: Outside,
        sources: _Sources,
    ) -> None:
        self._config = config
        self._device = device
        self._engine = engine
        self._state = state
        self._tree = tree
        self._outside = outside
        self._sources = sources
        self.snapshot: Document = status_of_rest(config, device, url=None) | {
            "running": True,
            "reason": NEVER_TRIED,
        }

    @property
    def line(self) -> str:
        """The status in one line, for a service manager."""
        status = self.snapshot
        if status["in_touch"]:
            return f"in touch with {status['acs_url']}"
        return f"not in touch: {status['reason']}"

    def refresh(self) -> None:
        """Take a new snapshot; to be called in the thread that decides."""
        engine, last = self._engine, self._engine.last
        url = self._tree.setting(ACS_URL)
        version = self._tree.setting("DeviceInfo.SoftwareVersion")
        trial = self._state.trial()
        self.snapshot = {
            "schema": "spkg.agent.status/1",
            "running": True,
            "in_touch": last is not None and last.reason is None,
            "reason": self._reason(url),
            "acs_url": shown_url(url) or None,
            "device": _device(self._device, version),
            "last_session": None
            if last is None
            else {"time": last.when, "events": [*last.events], "reason": last.reason},
            "next_session": self._next_session(),
            "retry_count": engine.attempts.retry_count,
            "acs_methods": self._acs_methods(),
            "events": [
                {"code": event.code, "command_key": event.command_key} for event in self._state.events()
            ],
            "transfers": transfer_documents(self._state.transfers()),
            "trial": self._trial(),
            "parameters_on_trial": [] if trial is None else sorted(trial.before),
            "connection_request_url": self._sources.connection_request_url() or None,
            "options": [*self._options()],
            "unsafe": [*unsafe_settings(self._config, url), *self._rights()],
        }

    def settings(self) -> list[Document]:
        """Return the settings in force, and where each comes from."""
        found = [self._setting(name, secret=is_secret(name)) for name in self._tree.own_settings()]
        for table in ("acs", "inform", "listener", "device", "install", "transfers", "state"):
            for key, value in vars(getattr(self._config, table)).items():
                if value is not None:
                    name = f"{FILE_TABLES.get(table, table)}.{key.replace('_', '-')}"
                    found.append(_row(name, _plain(value), FROM_FILE))
        return found

    def _setting(self, name: str, *, secret: bool) -> Document:
        value = self._tree.setting(name)
        if secret:
            value = SET if value else NOT_SET
        if name == ACS_URL:
            value = shown_url(value)
        if self._state.value(name) is not None:
            return _row(name, value, origin_of(self._state, name))
        if name == ACS_URL and self._config.acs.url is None:
            return _row(name, value, FROM_DHCP if self._state.fact(FACT_URL_DHCP) else FROM_DEFAULT)
        if name == ACS_USERNAME and self._config.acs.username is None:
            return _row(name, value, FROM_DEFAULT)
        return _row(name, value, FROM_FILE)

    def _reason(self, url: str) -> str | None:
        if not url:
            return "no ACS is known: set url, or dhcp = true and 'spkg agent discover'"
        last = self._engine.last
        if self._engine.is_rebooting:
            return "the device is about to reboot"
        return NEVER_TRIED if last is None else last.reason

    def _acs_methods(self) -> list[str] | None:
        """Return the methods that the ACS lists, in part if they are many; None if it was not asked."""
        methods = self._engine.acs_methods
        return None if methods is None else sorted(methods)[:MOST_METHODS]

    def _next_session(self) -> str | None:
        now = self._outside.moment()
        wake = self._engine.due().wake
        if wake is None or now.wall is None:
            return None
        return _time(now.wall + max(0.0, wake - now.boot))

    def _trial(self) -> Document | None:
        try:
            found = self._sources.trial()
        except HostError:
            return None
        return found

    def _options(self) -> Iterator[Document]:
        try:
            options = self._sources.options()
        except HostError:
            return
        for one in options:
            state = "enabled" if one.enabled else "disabled"
            expires = None if one.expires is None else write_time(one.expires)
            yield {"name": one.name, "state": state, "expires": expires}

    def _rights(self) -> Iterator[str]:
        if self._sources.is_root:
            yield "the process that talks to the ACS runs as root: set user in [state]"
        if not self._sources.confined:
            yield "the kernel has no Landlock: the process that talks to the ACS is not confined"


def _device(device: Device, version: str | None) -> Document:
    return {
        "oui": device.oui,
        "product_class": device.product_class,
        "serial_number": device.serial_number,
        "software_version": version,
    }


def _row(name: str, value: object, source: str) -> Document:
    return {"name": name, "value": value, "from": source}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value if not hasattr(one, "__dataclass_fields__")]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(getattr(value, "value", value))


def _time(seconds: float) -> str:
    return write_time(datetime.fromtimestamp(seconds, UTC))
