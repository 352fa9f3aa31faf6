"""The directory that commands for vouchers are tried in: a device, vouchers for it, and who is trusted."""

import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from click.testing import Result

from tests.support import commands
from tests.support.commands import PATIENCE, PROGRAM
from tests.support.kit import root
from tests.support.voucher_kit import DEVICE, QOS, signed
from vouchers.model import Mode, Option, Voucher

__all__ = [
    "ACCEPTED",
    "ANCHOR",
    "APPLY",
    "CALLED",
    "DEVICE_FILE",
    "ELSEWHERE",
    "HERE",
    "IPTV_ON",
    "LINES",
    "OFF",
    "OTHERS",
    "QOS_ON",
    "STORE",
    "SUPPORTED",
    "TIME",
    "TRUST",
    "VPN",
    "applied",
    "failed",
    "furnish",
    "genuine",
    "one",
    "process",
    "run",
    "specification",
    "struct",
    "structs",
    "told",
]

TIME: Final = ("--at", "2026-06-01T12:00:00Z")
ANCHOR: Final = ("--trust", "ca.pem")
TRUST: Final = (*ANCHOR, *TIME)
STORE: Final = ("--store", "o.db")
HERE: Final = ("--device", "device.toml", *STORE)
APPLY: Final = (*TRUST, *HERE)
DEVICE_FILE: Final = """[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
provisioning-code = "ISP-1"
"""
SUPPORTED: Final = '[options]\nsupported = ["VPN", "IPTV", "QoS"]\n'
OFF: Final = replace(QOS, serial="4003", mode=Mode.DISABLE, transferable=False)
VPN: Final = replace(QOS, serial="4004", ident="VPN", transferable=False)
OTHERS: Final = replace(QOS, device=replace(DEVICE, serial_number="7"))
CALLED: Final = "CN=Voucher Signer"
LINES: Final = """option 0
  VSerialNum     4001
  device         00D09E Gateway 123456789 (2Wire)
  OptionIdent    IPTV
  OptionDesc     Television over DSL
  Mode           EnableWithExpiration
  StartDate      2026-05-01T00:00:00Z
  Duration       12
  DurationUnits  Months
option 1
  VSerialNum    4002
  device        00D09E Gateway 123456789 (2Wire)
  OptionIdent   QoS
  OptionDesc    Quality of service
  Mode          EnableWithoutExpiration
  Transferable  1
"""
"""The two Options of the voucher of the kit, for people."""
ACCEPTED: Final = f"{CALLED}, sha256: accepted\n  trusted through CN=Test Root\n"
ELSEWHERE: Final = (
    "DeviceId: the voucher is for 00D09E 'Gateway' '7', but this device is 00D09E 'Gateway' '123456789'"
    " [TR-069 C.3, Table 62]"
)


@cache
def one(option: Option, which: str = "signer", subject: str = "Voucher Signer") -> bytes:
    """Return a voucher for one Option."""
    return signed(Voucher(options=(option,)), which, subject=subject)


@cache
def genuine() -> bytes:
    return signed()


def run(*args: str) -> Result:
    """Run a command for vouchers in this process."""
    return commands.run("voucher", *args)


def process(*args: str, given: bytes) -> subprocess.CompletedProcess[str]:
    """Run a command for vouchers as a process that has something on its standard input."""
    done = subprocess.run(
        [*PROGRAM, "voucher", *args], input=given, capture_output=True, timeout=PATIENCE, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def told(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def failed(status: int, *lines: str, stdout: str = "") -> tuple[int, str, str]:
    """Return how a command ends that says one error, and perhaps a hint."""
    words = ("error", "hint")
    return (
        status,
        stdout,
        "".join(f"spkg: {word}: {line}\n" for word, line in zip(words, lines, strict=False)),
    )


def specification(option: Option, **changes: object) -> dict[str, object]:
    """Return an Option as JSON tells it, written from Table 62 once more."""
    start = option.start
    return {
        "VSerialNum": option.serial,
        "DeviceId": {
            "Manufacturer": option.device.manufacturer,
            "OUI": option.device.oui,
            "ProductClass": option.device.product_class,
            "SerialNumber": option.device.serial_number,
        },
        "OptionIdent": option.ident,
        "OptionDesc": option.description,
        "StartDate": None if start is None else f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "Duration": option.duration,
        "DurationUnits": None if option.units is None else option.units.value,
        "Mode": option.mode.value,
        "Transferable": option.transferable,
        "extra": [],
        **changes,
    }


def struct(name: str, **facts: object) -> dict[str, object]:
    """Return an OptionStruct, that of an Option for which there was never a voucher (Table 48)."""
    nothing = {
        "OptionName": name,
        "VoucherSN": 0,
        "State": 0,
        "Mode": 0,
        "StartDate": None,
        "ExpirationDate": None,
        "IsTransferable": False,
        "VSerialNum": None,
        "ended": None,
    }
    assert facts.keys() <= nothing.keys()
    return {**nothing, **facts}


IPTV_ON: Final = struct(
    "IPTV",
    VoucherSN=4001,
    State=1,
    Mode=1,
    StartDate="2026-05-01T00:00:00Z",
    ExpirationDate="2027-05-01T00:00:00Z",
    VSerialNum="4001",
)
QOS_ON: Final = struct(
    "QoS",
    VoucherSN=4002,
    State=1,
    Mode=2,
    StartDate="2026-06-01T12:00:00Z",
    IsTransferable=True,
    VSerialNum="4002",
)


def structs(*args: str, at: str = "2026-06-01T12:00:00Z") -> list[dict[str, Any]]:
    """Return what the store says at a time."""
    result = run("options", *STORE, "--at", at, "--json", *args)
    assert told(result)[::2] == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)["options"]
    return found


def applied(*files: str) -> None:
    assert run("apply", *files, *APPLY).exit_code == 0


def furnish() -> None:
    """Put into this directory a device, its vouchers, and who is trusted."""
    Path("ca.pem").write_bytes(root().pem)
    Path("v.xml").write_bytes(genuine())
    Path("off.xml").write_bytes(one(OFF))
    Path("vpn.xml").write_bytes(one(VPN))
    Path("others.xml").write_bytes(one(OTHERS))
    Path("device.toml").write_text(DEVICE_FILE + SUPPORTED)
    Path("plain.toml").write_text(DEVICE_FILE)
