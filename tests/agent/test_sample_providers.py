"""The sample providers in shell, run as the agent runs them, with stand-ins for what OpenWrt has."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.values import ParameterInfo, ParameterValue
from tests.agent.tree_kit import CONFIG, IGD, SAMPLE, Bench, bench

PROVIDERS: Final = SAMPLE.parent
LAN: Final = f"{IGD}LANDevice.1.LANHostConfigManagement."
WAN: Final = f"{IGD}WANDevice.1.WANConnectionDevice.1.WANIPConnection.1."
ROUTES: Final = f"{IGD}Layer3Forwarding.Forwarding."
JSONFILTER: Final = """
found = [json.loads(arguments[arguments.index("-s") + 1])]
steps = re.findall(r"\\.(\\w+)|\\['([^']*)'\\]|\\[(\\d+|\\*)\\]", arguments[arguments.index("-e") + 1])
for name, quoted, index in steps:
    try:
        if index == "*":
            found = [one for inner in found for one in inner]
        else:
            found = [inner[int(index) if index else name or quoted] for inner in found]
    except (KeyError, IndexError):
        sys.exit(1)
for one in found:
    print(json.dumps(one) if not isinstance(one, str) else one)
sys.exit(0 if found else 1)
"""
UCI: Final = """
arguments = [one for one in arguments if one != "-q"]
place = os.path.join(os.path.dirname(sys.argv[0]), "uci.json")
kept = json.load(open(place))
match arguments:
    case ["show", _]:
        for name, value in kept.items():
            print(f"{name}={value}")
    case ["get", name] if name in kept:
        print(kept[name])
    case ["set", text]:
        kept[text.partition("=")[0]] = text.partition("=")[2]
    case ["delete", name] if name in kept:
        kept = {one: value for one, value in kept.items() if one != name and not one.startswith(name + ".")}
    case ["commit", _]:
        pass
    case _:
        sys.exit(1)
json.dump(kept, open(place, "w"))
"""
UBUS: Final = """
if arguments == ["call", "network.interface.wan", "status"]:
    print(json.dumps({"up": True, "uptime": 77, "ipv4-address": [{"address": "198.51.100.9", "mask": 24}]}))
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Give a directory with stand-ins for the programs of OpenWrt."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, text in (("jsonfilter", JSONFILTER), ("uci", UCI), ("ubus", UBUS)):
        program = place / name
        begin = f"#!{sys.executable} -SE\nimport json, os, re, sys\narguments = sys.argv[1:]\n"
        program.write_text(begin + text)
        program.chmod(0o755)
    (place / "uci.json").write_text(
        json.dumps({"dhcp.lan.leasetime": "12h", "dhcp.@dnsmasq[0].domain": 'the "lan"'})
    )
    return place


def provided(tmp_path: Path, tools: Path, *command: str, paths: list[str]) -> Iterator[Bench]:
    text = f'[[provider]]\nname = "p"\nscript = {json.dumps([*command])}\npaths = {json.dumps(paths)}\n'
    with bench(tmp_path, CONFIG + text) as found:
        found.environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        found.clock = lambda: time.monotonic() / 20  # a hundred seconds for what takes one on a busy machine
        yield found


@pytest.fixture
def dhcp(tmp_path: Path, tools: Path) -> Iterator[Bench]:
    settings = tmp_path / "gateway.conf"
    settings.write_text("enabled=1\nfirst=192.168.1.64\nlast=192.168.1.253\nlease_time=86400\nother=kept\n")
    paths = ["LANDevice.1.LANHostConfigManagement."]
    yield from provided(tmp_path, tools, str(PROVIDERS / "script.sh"), str(settings), paths=paths)


@pytest.fixture
def openwrt(tmp_path: Path, tools: Path) -> Iterator[Bench]:
    paths = ["LANDevice.", "WANDevice.", "Layer3Forwarding."]
    yield from provided(tmp_path, tools, str(PROVIDERS / "openwrt-ubus.sh"), paths=paths)


def text(name: str, value: str) -> ParameterValue:
    return ParameterValue(name, "string", value)


def test_the_script_serves_its_settings(dhcp: Bench) -> None:
    assert dhcp.tree.problems() == ()
    assert dhcp.tree.get_values([LAN]) == (
        ParameterValue(f"{LAN}DHCPLeaseTime", "int", "86400"),
        ParameterValue(f"{LAN}DHCPServerEnable", "boolean", "1"),
        text(f"{LAN}MaxAddress", "192.168.1.253"),
        text(f"{LAN}MinAddress", "192.168.1.64"),
    )

    with pytest.raises(MethodFaultError) as caught:
        dhcp.tree.set_values([text(f"{LAN}MinAddress", "here")], "k")
    assert caught.value.parameters == (
        ParameterFault(f"{LAN}MinAddress", FaultCode.INVALID_VALUE, "must be an IPv4 address"),
    )

    assert (
        dhcp.tree.set_values([text(f"{LAN}MinAddress", "10.0.0.2"), text(f"{LAN}DHCPLeaseTime", "60")], "k")
        == 0
    )
    assert sorted((dhcp.place / "gateway.conf").read_text().splitlines()) == [
        "enabled=1",
        "first=10.0.0.2",
        "last=192.168.1.253",
        "lease_time=60",
        "other=kept",
    ]
    dhcp.tree.lock()
    dhcp.tree.unlock()
    assert dhcp.notes == []


def test_the_openwrt_provider_serves_uci_and_ubus(openwrt: Bench) -> None:
    assert openwrt.tree.problems() == ()
    assert [(one.name, one.value) for one in openwrt.tree.get_values([LAN, WAN])] == [
        (f"{LAN}DHCPLeaseTime", "12h"),
        (f"{LAN}DomainName", 'the "lan"'),
        (f"{WAN}ConnectionStatus", "Connected"),
        (f"{WAN}ExternalIPAddress", "198.51.100.9"),
        (f"{WAN}Uptime", "77"),
    ]

    assert openwrt.tree.add_object(ROUTES, "k") == (1, 0)
    assert openwrt.tree.add_object(ROUTES, "k") == (2, 0)
    assert (
        openwrt.tree.set_values(
            [text(f"{ROUTES}2.DestIPAddress", "10.1.0.0"), text(f"{LAN}DomainName", "x")], "k"
        )
        == 0
    )
    assert openwrt.tree.delete_object(f"{ROUTES}1.", "k") == 0

    assert openwrt.tree.get_names(ROUTES, next_level=True) == (ParameterInfo(f"{ROUTES}2.", writable=True),)
    assert [(one.name, one.value) for one in openwrt.tree.get_values([ROUTES, f"{LAN}DomainName"])] == [
        (f"{ROUTES}2.DestIPAddress", "10.1.0.0"),
        (f"{ROUTES}2.DestSubnetMask", ""),
        (f"{ROUTES}2.GatewayIPAddress", ""),
        (f"{LAN}DomainName", "x"),
    ]
    assert openwrt.notes == []


@pytest.mark.parametrize("name", ["example.py", "script.sh", "openwrt-ubus.sh"])
def test_samples_can_be_run_as_they_are(name: str) -> None:
    assert (PROVIDERS / name).stat().st_mode & stat.S_IXUSR


@pytest.mark.judge("shellcheck")
def test_shellcheck_has_nothing_to_say_against_the_providers() -> None:
    scripts = sorted(map(str, PROVIDERS.glob("*.sh")))

    outcome = subprocess.run(
        ["shellcheck", "-s", "sh", *scripts], capture_output=True, text=True, check=False
    )

    assert len(scripts) == 2
    assert (outcome.returncode, outcome.stdout) == (0, "")


def test_the_sample_file_of_parameters_can_be_served(tmp_path: Path) -> None:
    file = PROVIDERS.parent / "parameters.json"
    config = f'{CONFIG}[[provider]]\nname = "file"\nfile = "{file}"\npaths = ["UserInterface."]\n'
    with bench(tmp_path, config) as found:
        assert found.tree.problems() == ()
        assert len(found.tree.get_values([f"{IGD}UserInterface."])) == 3
