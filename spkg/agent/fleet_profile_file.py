"""Reading the profile of a fleet: TOML, in which every key may be missing (docs/agent-fleet.md)."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from spkg.agent.fleet_profile import FleetParameter, FleetProfile, FleetShares
from spkg.agent.secret_files import read_password_file
from spkg.common.toml_document import Table, load_table
from spkg.cwmp.faults import METHOD_FAULTS, FaultCode
from spkg.cwmp.types import read_type
from spkg.errors import FormatError

__all__ = ["load_fleet_profile"]

MAX_PROFILE_PARAMETERS: Final = 20_000
"""The most parameters of a profile; all devices share them."""
MAX_PROFILE_NAME: Final = 256
"""The longest name of a parameter, in characters (Table 11)."""
NUMBERED: Final = re.compile(r"\{n(?::0[1-9][0-9]?)?\}")
PROFILE_NODES: Final = re.compile(
    r"(?:[A-Za-z_][\w-]*|[1-9][0-9]{0,9})(?:\.(?:[A-Za-z_][\w-]*|[1-9][0-9]{0,9}))*", re.ASCII
)
ANSWERED: Final = sorted(METHOD_FAULTS["GetParameterValues"])
"""The faults that devices may answer calls with."""
LARGEST_NUMBER: Final = (1 << 32) - 1
"""The largest number of a device."""
EMPTY: Final = {
    "string": "",
    "base64": "",
    "int": "0",
    "unsignedInt": "0",
    "boolean": "0",
    "dateTime": "0001-01-01T00:00:00Z",
}
"""The value of a parameter that a profile gives none, by its type."""


def load_fleet_profile(path: Path) -> FleetProfile:
    """Read a profile; paths in it are relative to where it lies.

    Raises:
        FormatError: It is not a profile.
        HostError: The file of a password is not valid.
        OSError: It can't be read.
    """
    document = load_table(path)
    settings: dict[str, Any] = {}
    for key, read in (
        ("device", _device),
        ("acs", _acs),
        ("inform", _inform),
        ("shares", _shares),
        ("transfers", _transfers),
    ):
        table = document.table(key)
        settings |= {name: value for name, value in read(table, path.parent).items() if value is not None}
        table.finish()
    tables = document.tables("parameter")
    document.finish()
    profile = FleetProfile(**settings)
    try:
        profile.identity(LARGEST_NUMBER)
    except ValueError as exc:
        raise document.table("device").error("", str(exc)) from exc
    return replace(profile, parameters=_parameters(tables, profile.root))


def _device(table: Table, _directory: Path) -> dict[str, Any]:
    root = table.text("root")
    if root is not None and (not PROFILE_NODES.fullmatch(root) or "." in root):
        raise table.error("root", f"must be the name of an object without a dot, got {root[:80]!r}")
    serial = table.text("serial")
    if serial is not None and not NUMBERED.search(serial):
        raise table.error("serial", "must contain {n}, or {n:08}, so that each device has its own")
    return {
        "manufacturer": _short(table, "manufacturer", 64),
        "oui": table.text("oui"),
        "product_class": _short(table, "product-class", 64),
        "serial": serial,
        "first": table.integer("first"),
        "root": root,
        "hardware_version": _short(table, "hardware-version", 64),
        "software_version": _short(table, "software-version", 64),
        "provisioning_code": _short(table, "provisioning-code", 64),
    }


def _acs(table: Table, directory: Path) -> dict[str, Any]:
    bundle, password = table.text("ca-bundle"), table.text("password-file")
    timeout = table.seconds("timeout")
    if timeout is not None and timeout < 1:
        raise table.error("timeout", f"must be at least 1 s, got {timeout:g}")
    return {
        "username": _short(table, "username", 256),
        "password": None if password is None else read_password_file(directory / password),
        "ca_bundle": None if bundle is None else directory / bundle,
        "timeout": timeout,
    }


def _inform(table: Table, _directory: Path) -> dict[str, Any]:
    interval, start = table.seconds("interval"), table.text("start")
    if interval is not None and interval < 1:
        raise table.error("interval", f"must be at least 1 s, got {interval:g}")
    if start not in {None, "spread", "at-once"}:
        raise table.error("start", f'must be "spread" or "at-once", got {start!r:.80}')
    return {"interval": interval, "at_once": start == "at-once"}


def _transfers(table: Table, _directory: Path) -> dict[str, Any]:
    return {
        "download": table.boolean("download"),
        "max_size": table.size("max-size"),
        "reboot": table.seconds("reboot"),
        "new_version": _short(table, "new-version", 64),
    }


def _shares(table: Table, _directory: Path) -> dict[str, Any]:
    code = table.integer("fault-code")
    if code is not None and code not in ANSWERED:
        raise table.error("fault-code", f"must be from {ANSWERED[0]} to {ANSWERED[-1]}, got {code}")
    found: dict[str, Any] = {
        "slow": _share(table, "slow"),
        "slow_delay": table.seconds("slow-delay"),
        "fault": _share(table, "fault"),
        "fault_code": None if code is None else FaultCode(code),
        "drop": _share(table, "drop"),
    }
    return {"shares": FleetShares(**{name: value for name, value in found.items() if value is not None})}


def _share(table: Table, key: str) -> float | None:
    value = table.any(key)
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value <= 1:
        raise table.error(key, "must be a number from 0 to 1: the share of devices")
    return float(value)


def _short(table: Table, key: str, most: int) -> str | None:
    text = table.text(key)
    if text is not None and (len(text) > most or not text.isprintable()):
        raise table.error(key, f"must have at most {most} printable characters")
    return text


def _parameters(tables: list[Table], root: str) -> dict[str, FleetParameter]:
    """Return the parameters of a profile; with a count, ``{i}`` in a name runs from 1 to it."""
    found: dict[str, FleetParameter] = {}
    for table in tables:
        name, text = table.text("name") or "", table.text("type") or "string"
        count, value, writable = table.integer("count"), table.text("value"), table.boolean("writable")
        table.finish()
        try:
            kind = read_type(text)
            if value is not None and "{" not in value:
                value = kind.read(value)
        except FormatError as exc:
            raise table.error("value" if "value" in table else "type", str(exc)) from exc
        if count is not None and "{i}" not in name:
            raise table.error("count", "needs {i} in the name")
        if len(found) + (count or 1) > MAX_PROFILE_PARAMETERS:
            raise table.error("count", f"a device has at most {MAX_PROFILE_PARAMETERS} parameters")
        for index in range(1, (1 if count is None else count) + 1):
            full = f"{root}.{name if count is None else name.replace('{i}', str(index))}"
            if not PROFILE_NODES.fullmatch(full) or len(full) > MAX_PROFILE_NAME:
                problem = f"must be the name of a parameter without the root, got {name[:80]!r}"
                raise table.error("name", problem)
            found[full] = FleetParameter(
                type=kind, value=EMPTY[kind.base] if value is None else value, writable=bool(writable)
            )
    return found
