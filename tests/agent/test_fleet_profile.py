"""The profile of a fleet: what each device is like, and what is wrong with a file."""

from pathlib import Path

import pytest

from spkg.agent.fleet_profile import FleetProfile, FleetShares, fill_pattern
from spkg.agent.fleet_profile_file import load_fleet_profile
from spkg.cwmp.faults import FaultCode
from spkg.errors import FormatError, HostError

WHOLE = """
[device]
manufacturer = "Example"
oui = "00A0C5"
product-class = "Gateway 6"
serial = "G6-{n:06}"
first = 100
root = "Device"
hardware-version = "B"
software-version = "2.1"
provisioning-code = "TLCO"
[acs]
username = "{serial}@{oui}"
password-file = "password"
ca-bundle = "ca.pem"
timeout = "10s"
[inform]
interval = "10min"
start = "at-once"
[shares]
slow = 0.25
slow-delay = 0.5
fault = 1
fault-code = 9001
drop = 0.1
[transfers]
download = false
max-size = "1MiB"
reboot = "1min"
new-version = "2.2"
[[parameter]]
name = "Hosts.Host.{i}.IPAddress"
type = "string(45)"
value = "192.168.1.{n}"
writable = true
count = 3
[[parameter]]
name = "Time.Enable"
type = "boolean"
"""


def load(tmp_path: Path, text: str) -> FleetProfile:
    (tmp_path / "fleet.toml").write_text(text)
    return load_fleet_profile(tmp_path / "fleet.toml")


def test_a_profile_says_all_that_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / "password").chmod(0o600)

    found = load(tmp_path, WHOLE)

    identity = found.identity(7)
    assert (identity.manufacturer, identity.oui, identity.product_class, identity.serial_number) == (
        "Example",
        "00A0C5",
        "Gateway 6",
        "G6-000007",
    )
    assert (found.first, found.user(7), found.password) == (100, "G6-000007@00A0C5", "open sesame")
    assert (found.ca_bundle, found.timeout) == (tmp_path / "ca.pem", 10.0)
    assert (found.interval, found.at_once) == (600.0, True)
    assert found.shares == FleetShares(
        slow=0.25, slow_delay=0.5, fault=1.0, fault_code=FaultCode.REQUEST_DENIED, drop=0.1
    )
    assert (found.download, found.max_size, found.reboot, found.new_version) == (False, 1 << 20, 60.0, "2.2")
    assert sorted(found.parameters) == [
        "Device.Hosts.Host.1.IPAddress",
        "Device.Hosts.Host.2.IPAddress",
        "Device.Hosts.Host.3.IPAddress",
        "Device.Time.Enable",
    ]
    assert found.parameters["Device.Time.Enable"].value == "0"
    assert "Device.DeviceInfo.SoftwareVersion" in found.names


def test_an_empty_profile_is_the_default_one(tmp_path: Path) -> None:
    assert load(tmp_path, "") == FleetProfile()


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "sesame" not in repr(FleetProfile(password="open sesame"))


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [("plain", "plain"), ("{n}", "42"), ("{n:04}-{serial}", "0042-S"), ("{m} {n:4}", "{m} {n:4}")],
)
def test_patterns_are_filled(pattern: str, filled: str) -> None:
    assert fill_pattern(pattern, 42, "S") == filled


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[device]\nserial = "A1"',
            "device.serial: must contain {n}, or {n:08}, so that each device has its own",
        ),
        ('[device]\nroot = "a.b"', "device.root: must be the name of an object without a dot, got 'a.b'"),
        ('[device]\noui = "xyz"', "device: OUI: expected six upper-case hexadecimal digits, got 'xyz'"),
        (
            f'[device]\nproduct-class = "{"x" * 65}"',
            "device.product-class: must have at most 64 printable characters",
        ),
        ("[acs]\ntimeout = 0.5", "acs.timeout: must be at least 1 s, got 0.5"),
        ("[inform]\ninterval = 0", "inform.interval: must be at least 1 s, got 0"),
        ('[inform]\nstart = "now"', 'inform.start: must be "spread" or "at-once", got \'now\''),
        ("[shares]\nslow = 2", "shares.slow: must be a number from 0 to 1: the share of devices"),
        ("[shares]\ndrop = true", "shares.drop: must be a number from 0 to 1: the share of devices"),
        ("[shares]\nfault-code = 8005", "shares.fault-code: must be from 9001 to 9005, got 8005"),
        ("[shares]\nfualt = 1", "shares.fualt: unknown key; did you mean 'fault'?"),
        ("[share]", "share: unknown key; did you mean 'shares'?"),
        (
            '[[parameter]]\nname = "A..B"',
            "parameter[0].name: must be the name of a parameter without the root, got 'A..B'",
        ),
        ('[[parameter]]\nname = "A"\ntype = "text"', "expected a type such as string(64)"),
        (
            '[[parameter]]\nname = "A"\ntype = "int"\nvalue = "x"',
            "parameter[0].value: expected an integer, got 'x'",
        ),
        ('[[parameter]]\nname = "A"\ncount = 2', "parameter[0].count: needs {i} in the name"),
        (
            '[[parameter]]\nname = "A.{i}.B"\ncount = 20001',
            "parameter[0].count: a device has at most 20000 parameters",
        ),
    ],
)
def test_what_is_wrong_is_located(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        load(tmp_path, text)

    assert problem in str(caught.value)
    assert caught.value.source == "fleet.toml"


def test_a_password_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / "password").chmod(0o644)

    with pytest.raises(HostError, match="others may read or write it"):
        load(tmp_path, '[acs]\npassword-file = "password"')
