"""The device: what it knows about itself, and how packages are installed on it (docs/device.md).

A device file is read, never written: the device updates the version in it after the reboot.
"""

import re
from collections.abc import Collection
from dataclasses import field, replace
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spkg.common.frozen import dataclass
from spkg.common.portable import os_name
from spkg.format.commands import ROLES
from spkg.format.entities import read_entity, read_vendor
from spkg.format.modes import ModeRule, read_mode, read_mode_rule
from spkg.format.versions import parse_version

if TYPE_CHECKING:
    from spkg.common.toml_document import Table

__all__ = [
    "VENDOR_ROLE",
    "Device",
    "DeviceAttribute",
    "FileHandler",
    "LinkPolicy",
    "load_device",
    "read_device",
]

PLAIN: Final = 0o644
MAX_PROVISIONING_CODE: Final = 64
"""The longest ProvisioningCode, in characters (Appendix B)."""
MAX_OPTION_NAME: Final = 64
"""The longest OptionName, in characters."""
MAX_SIZE: Final = (1 << 63) - 1
"""The largest size of a medium."""
VENDOR_ROLE: Final = "vendor"
"""The name of all roles that vendors define."""
HOOK_TIMEOUT: Final = 300
"""How long a hook may take unless the device says otherwise, in seconds."""


class LinkPolicy(Enum):
    """How to treat a path with a symbolic link among its parents."""

    REFUSE = "refuse"
    FOLLOW_IN_ROOT = "follow-in-root"
    """The link is followed as if the root were ``/``."""


@dataclass(frozen=True, kw_only=True)
class DeviceAttribute:
    """An attribute that Required Attributes commands can ask for (E.4.13)."""

    defining_entity: int
    class_: int
    value: int


@dataclass(frozen=True, kw_only=True)
class FileHandler:
    """What files of a package are given to instead of being written, if their paths match."""

    pattern: str
    """Such as ``/images/*.img``, for the whole path; ``*`` also matches slashes."""
    command: tuple[str, ...]
    """The program and its arguments; it reads the file from standard input."""

    def matches(self, path: str) -> bool:
        """Whether it takes the file at *path*, which begins with a slash."""
        return fnmatchcase(path, self.pattern)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device.  An empty field, or None, is unknown: a requirement on it is not met."""

    manufacturer: str | None = None
    oui: str | None = None
    product_class: str | None = None
    serial_number: str | None = None
    software_version: str | None = None
    provisioning_code: str | None = None
    supported_options: tuple[str, ...] | None = None
    """The supported Options; None if unknown."""
    non_volatile: int | None = None
    """The size of the medium, in bytes; None if it is to be measured."""
    volatile: int | None = None
    roles: frozenset[int] = field(default_factory=lambda: frozenset(ROLES.values()))
    links: LinkPolicy = LinkPolicy.REFUSE
    file_mode: int = PLAIN
    modes: tuple[ModeRule, ...] = ()
    recovery_command: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """The hook that runs before anything changes: a program and its arguments; empty for no hook."""
    after: tuple[str, ...] = ()
    """The hook that runs once a package is installed."""
    failed: tuple[str, ...] = ()
    """The hook that runs after an installation that failed."""
    hook_timeout: float = HOOK_TIMEOUT
    """How long each of these programs may take, in seconds."""
    handlers: tuple[FileHandler, ...] = ()
    max_extracted: int | None = None
    """The most bytes that a package may write."""
    minimum_package_version: tuple[int, ...] | None = None
    attributes: frozenset[DeviceAttribute] = frozenset()

    def mode_for(self, path: str) -> int | None:
        """Return the mode from the first rule that applies to *path*."""
        return next((rule.mode for rule in self.modes if rule.matches(path)), None)

    def handler_for(self, path: str) -> FileHandler | None:
        """Return the first handler that takes the file at *path*."""
        return next((handler for handler in self.handlers if handler.matches(path)), None)

    def expecting(self, names: Collection[str]) -> "Device":
        """Return the device as it accepts only packages of these roles; ``vendor`` is that of any vendor."""
        known = {number: name for name, number in ROLES.items()}
        return replace(
            self, roles=frozenset(role for role in self.roles if known.get(role, VENDOR_ROLE) in names)
        )


def load_device(path: Path) -> Device:
    """Read a device file.

    Raises:
        FormatError: It is not a valid device file.
        OSError: It can't be read.
    """
    from spkg.common.toml_document import load_table  # noqa: PLC0415 - start-up: most have no device file

    return read_device(load_table(path))


def read_device(document: "Table") -> Device:
    """Return the device that *document* describes.

    Raises:
        FormatError: It does not describe a device.
    """
    facts = document.table("device")
    options = document.table("options")
    storage = document.table("storage")
    install = document.table("install")
    oui = facts.text("oui")
    if oui is not None and re.fullmatch("[0-9A-F]{6}", oui) is None:
        raise facts.error("oui", f"must be an OUI of six upper-case hexadecimal digits, got {oui[:40]!r}")
    code = facts.text("provisioning-code")
    if code is not None and len(code) > MAX_PROVISIONING_CODE:
        problem = f"must have at most {MAX_PROVISIONING_CODE} characters, got {len(code)}"
        raise facts.error("provisioning-code", problem, section="B")
    device = Device(
        manufacturer=facts.text("manufacturer"),
        oui=oui,
        product_class=facts.text("product-class"),
        serial_number=facts.text("serial-number"),
        software_version=facts.text("software-version"),
        provisioning_code=code,
        supported_options=_supported(options),
        non_volatile=storage.size("non-volatile", MAX_SIZE),
        volatile=storage.size("volatile", MAX_SIZE),
        roles=_roles(install),
        links=_links(install),
        file_mode=PLAIN if "file-mode" not in install else read_mode(install, "file-mode"),
        modes=tuple(read_mode_rule(table) for table in install.tables("mode")),
        recovery_command=_command(install, "recovery-command"),
        before=_command(install, "before"),
        after=_command(install, "after"),
        failed=_command(install, "failed"),
        hook_timeout=HOOK_TIMEOUT if (limit := install.seconds("hook-timeout")) is None else limit,
        handlers=tuple(_handler(table) for table in install.tables("handler")),
        max_extracted=install.size("max-extracted", MAX_SIZE),
        minimum_package_version=_version(install, "minimum-package-version"),
        attributes=frozenset(_attribute(table) for table in document.tables("attribute")),
    )
    for table in (facts, options, storage, install, document):
        table.finish()
    return device


def _supported(table: "Table") -> tuple[str, ...] | None:
    """Return the names of Options that GetOptions reports (A.4.1.4, Table 48)."""
    if "supported" not in table:
        return None
    names = table.texts("supported")
    if len({*names}) != len(names):
        raise table.error("supported", "an Option is listed twice", section="A.4.1.4")
    for name in names:
        if not 1 <= len(name) <= MAX_OPTION_NAME or not name.isprintable():
            problem = f"expected 1 to {MAX_OPTION_NAME} printable characters, got {name[:MAX_OPTION_NAME]!r}"
            raise table.error("supported", problem, section="A.4.1.4")
    return names


def _roles(table: "Table") -> frozenset[int]:
    """Return the accepted roles: names of standard roles, and vendors, each for all of its roles (E.4.11)."""
    if "roles" not in table:
        return frozenset(ROLES.values())
    from spkg.common.toml_document import Table  # noqa: PLC0415 - start-up

    return frozenset(
        _vendor_role(role) if isinstance(role, Table) else _standard_role(table, role)
        for role in table.elements("roles")
    )


def _vendor_role(table: "Table") -> int:
    entity = read_vendor(table, "vendor")
    table.finish()
    return entity


def _standard_role(table: "Table", role: object) -> int:
    if not isinstance(role, str) or role not in ROLES:
        problem = f'each must be one of {", ".join(ROLES)} or {{ vendor = "OUI" }}, got {role!r:.40}'
        raise table.error("roles", problem, section="E.4.11")
    return ROLES[role]


def _links(table: "Table") -> LinkPolicy:
    text = table.text("symlinks")
    try:
        return LinkPolicy(text or "refuse")
    except ValueError as exc:
        problem = f'must be "refuse" or "follow-in-root", got {(text or "")[:40]!r}'
        raise table.error("symlinks", problem) from exc


def _command(table: "Table", key: str) -> tuple[str, ...]:
    """Return a program and its arguments; none if the key is missing or its array is empty."""
    words = table.texts(key)
    if words and not words[0]:
        raise table.error(key, "must begin with a program, got an empty string")
    if any("\0" in word for word in words):
        raise table.error(key, "must have no NUL in any string")
    return tuple(map(os_name, words))


def _handler(table: "Table") -> FileHandler:
    pattern, command = table.text("path"), _command(table, "command")
    if pattern is None or not pattern.startswith("/"):
        raise table.error("path", "must be a pattern that begins with a slash")
    if not command:
        raise table.error("command", "must be an array of a program and its arguments")
    table.finish()
    return FileHandler(pattern=pattern, command=command)


def _version(table: "Table", key: str) -> tuple[int, ...] | None:
    text = table.text(key)
    if text is None:
        return None
    try:
        return parse_version(text)
    except ValueError as exc:
        raise table.error(key, str(exc)) from exc


def _attribute(table: "Table") -> DeviceAttribute:
    entity, kind, value = (
        read_entity(table, "defining-entity"),
        table.integer("class"),
        table.integer("value"),
    )
    table.finish()
    if entity is None or kind is None or value is None:
        raise table.error("", "needs defining-entity, class and value", section="E.4.13")
    return DeviceAttribute(defining_entity=entity, class_=kind, value=value)
