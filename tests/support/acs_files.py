"""The directory that a server of an operator issues vouchers in: a key, Options, devices, and a ledger."""

import json
import shutil
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from click.testing import Result

from spkg.cwmp.envelopes import read_message
from tests.support.kit import KEYS, root
from tests.support.voucher_kit import DEVICE, pem, signatory
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import LedgerEntry, SerialState
from vouchers.acs.templates import load_options
from vouchers.model import DeviceId, Voucher
from vouchers.signature.sign import VoucherSigner

__all__ = [
    "DEVICE_FILE",
    "ISSUE",
    "KEY",
    "LEDGER",
    "MANY",
    "NO_REJECTED",
    "OF_THREE",
    "ONE",
    "OPTIONS",
    "PATIENCE",
    "QUICK",
    "SCHEMA",
    "SINGLE",
    "assert_issued",
    "device",
    "entries",
    "failed",
    "furnish",
    "in_envelope",
    "index",
    "new_ledger",
    "prepare",
    "states",
    "voucher",
    "vouchers",
    "write_list",
    "xml",
]

PATIENCE: Final = 120
"""How many seconds a process has before a test gives it up."""
OPTIONS: Final = """
[[option]]
ident = "IPTV"
description = "Television over DSL"
mode = "EnableWithExpiration"
start-date = 2026-05-01T00:00:00Z
duration = 12
duration-units = "Months"

[[option]]
ident = "QoS"
mode = "EnableWithoutExpiration"
transferable = true
"""
ONE: Final = '[[option]]\nident = "QoS"\nmode = "EnableWithoutExpiration"\n'
DEVICE_FILE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
"""
KEY: Final = ("--key", "signer.key", "--cert", "signer.pem")
ISSUE: Final = ("voucher", "issue", *KEY, "--options", "options.toml")
LEDGER: Final = ("--ledger", "ledger.db")
SINGLE: Final = (*ISSUE, "--device", "device.toml", *LEDGER)
MANY: Final = (*ISSUE, "--devices", "devices.csv", *LEDGER, "--batch", "may", "--jobs", "1")
SCHEMA: Final = "spkg.voucher.issue/1"


def now() -> datetime:
    return datetime.now(UTC)


def new_ledger(url: str) -> None:
    Ledger(url, now).close()


QUICK: Final = "small"
"""The RSA key that signs fastest, always the same octets."""


def prepare(which: str = QUICK) -> None:
    shutil.copy(KEYS / f"{which}.key", "signer.key")
    Path("signer.pem").write_bytes(pem(signatory(which).certificate, root().certificate))
    Path("ca.pem").write_bytes(root().pem)
    Path("options.toml").write_text(OPTIONS)
    Path("device.toml").write_text(DEVICE_FILE)


def device(number: int) -> DeviceId:
    return replace(DEVICE, manufacturer="", serial_number=f"{number:06}")


def write_list(numbers: Sequence[int], name: str = "devices.csv") -> None:
    rows = (f"00D09E,Gateway,{number:06}\n" for number in numbers)
    Path(name).write_text(f"oui,product_class,serial_number\n{''.join(rows)}")


def voucher(serials: Sequence[int], one: DeviceId = DEVICE) -> Voucher:
    """Return the voucher for a device under these numbers."""
    pairs = zip(load_options(Path("options.toml")), serials, strict=True)
    return Voucher(options=tuple(template.option(serial, one) for template, serial in pairs))


def xml(serials: Sequence[int], one: DeviceId = DEVICE) -> bytes:
    """Return what the RSA key makes of it, always the same octets."""
    return VoucherSigner(signatory(QUICK)).sign(voucher(serials, one))


def entries(url: str = "ledger.db") -> list[LedgerEntry]:
    with Ledger(url, now, create=False) as ledger:
        return [*ledger.entries()]


def states(url: str = "ledger.db") -> list[tuple[int, str, str, str]]:
    """Return serial number, device, Option and state of all entries."""
    return [(one.serial, one.serial_number, one.option, one.state.value) for one in entries(url)]


def failed(result: Result, status: int, message: str, hint: str | None = None) -> bool:
    """Whether a command failed, and told people just this."""
    told = f"spkg: error: {message}\n" + ("" if hint is None else f"spkg: hint: {hint}\n")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", told)
    return True


def in_envelope(octets: bytes) -> tuple[str | None, list[bytes]]:
    """Return the name of a request SetVouchers, and the vouchers in it."""
    request = read_message(octets)
    assert request.body is not None
    assert request.body.tag == "{urn:dslforum-org:cwmp-1-0}SetVouchers"
    (vouchers,) = request.body
    assert vouchers.tag == "VoucherList"
    return request.id, [b64decode(one.text or "") for one in vouchers]


def vouchers(directory: Path | str = "out") -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Return the numbers and the XML of each device in an output of NDJSON."""
    found = {}
    for text in (Path(directory) / "vouchers.ndjson").read_text().splitlines():
        line = json.loads(text)
        assert line["device"]["serial_number"] not in found
        found[line["device"]["serial_number"]] = (tuple(line["serials"]), b64decode(line["voucher"]))
    return found


def assert_issued(
    count: int, directory: Path | str = "out", batch: str = "may", url: str = "ledger.db"
) -> None:
    """Make sure that a list got a voucher for each device, and that the ledger knows each, and no more."""
    found = vouchers(directory)
    assert sorted(found) == [f"{number:06}" for number in range(count)]
    for serial_number, (serials, octets) in found.items():
        assert octets == xml(serials, device(int(serial_number)))
    kept = [(one.serial, one.serial_number, one.option) for one in entries(url) if one.batch == batch]
    assert kept == sorted(
        (serial, serial_number, option)
        for serial_number, (serials, _) in found.items()
        for serial, option in zip(serials, ("IPTV", "QoS"), strict=True)
    )
    assert {one.state for one in entries(url) if one.batch == batch} == {SerialState.ISSUED}


NO_REJECTED: Final = b"line,reason\r\n"


def index(*rows: str) -> bytes:
    """Return the file that tells whose voucher is where."""
    header = "file,oui,product_class,serial_number,serials"
    return "".join(f"{row}\r\n" for row in (header, *rows)).encode()


OF_THREE: Final = index(
    "1.xml,00D09E,Gateway,000000,1 2",
    "3.xml,00D09E,Gateway,000001,3 4",
    "5.xml,00D09E,Gateway,000002,5 6",
)


def furnish() -> None:
    """Put into this directory a key, Options, a device, a list of three, and an empty ledger."""
    prepare()
    write_list(range(3))
    new_ledger("ledger.db")
