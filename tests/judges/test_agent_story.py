"""The whole story with other people's programs: PHP's SOAP as the ACS, behind Apache's digest.

Inform, a value, a voucher, a download, the reboot, TransferComplete; then a release that cuts the device off,
and comes back.
"""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from tests.judges.programs import missing, must, require
from tests.support.commands import process
from tests.support.namespaces import bind, isolated
from tests.support.web_acs import PASSWORD, PhpAcs, apache_digest, php_acs

ROOT: Final = "InternetGatewayDevice."
DEVICE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "0123456789"
software-version = "1.0"
provisioning-code = "ISP-1"
[options]
supported = ["IPTV"]
"""
CONFIG: Final = """
[acs]
url = "{url}"
password-file = "acs.password"
[connection-requests]
listen = ""
[device]
file = "device.toml"
version-file = "root/version"
[install]
root = "root"
trust = ["keys/ca.pem"]
back-up = {back_up}
back-up-boots = 3
[vouchers]
store = "options.db"
trust = ["keys/ca.pem"]
[commands]
reboot = ["sh", "-c", "echo reboot >> reboots"]
[state]
directory = "state"
"""
OPTIONS: Final = """
[[option]]
ident = "IPTV"
description = "Television"
mode = "EnableWithoutExpiration"
"""
pytestmark = [pytest.mark.judge("php", "apache2"), pytest.mark.part("judges")]


@pytest.fixture
def acs(tmp_path: Path) -> Iterator[PhpAcs]:
    require("php")
    if "soap" not in must("php", "-m", cwd=tmp_path).text.split():
        missing("the extension soap of PHP is not installed")
    (desk := tmp_path / "php").mkdir()
    with php_acs(desk) as running:
        yield running


def spkg(*words: str, status: int = 0) -> str:
    """Run the program, which is to end with a status, and return what it prints."""
    done = process(*words)
    assert done.returncode == status, done.stderr
    return done.stdout


def release(version: str) -> str:
    """Build a package with a release, and return its name."""
    Path("files").mkdir(exist_ok=True)
    Path("files/version").write_text(f"{version}\n")
    Path("manifest.toml").write_text(
        f'[package]\nversion = "{version}"\n[[step]]\nextract = "/version"\nfrom = "files/version"\n'
        "[[step]]\nreboot = true\n"
    )
    name = f"{version}.spkg"
    spkg("build", "manifest.toml", "-o", name, "--key", "keys/signer.key", "--cert", "keys/signer.pem")
    return name


def download(url: str, key: str) -> tuple[str, list[tuple[str, Any]]]:
    return (
        "Download",
        [
            ("CommandKey", key),
            ("FileType", "1 Firmware Upgrade Image"),
            ("URL", url),
            ("Username", ""),
            ("Password", ""),
            ("FileSize", 0),
            ("TargetFileName", ""),
            ("DelaySeconds", 0),
            ("SuccessURL", ""),
            ("FailureURL", ""),
        ],
    )


def set_value(name: str, value: str) -> tuple[str, list[tuple[str, Any]]]:
    members = [{"Name": f"{ROOT}{name}", "Value": {"type": "string", "value": value}}]
    return (
        "SetParameterValues",
        [("ParameterList", {"struct": "ParameterValueStruct", "members": members}), ("ParameterKey", "pk")],
    )


def boots(number: int) -> None:
    """Be in another boot."""
    file = Path(f"boot-{number}").absolute()
    file.write_text(f"00000000-0000-0000-0000-{number:012}\n")
    bind(file, Path("/proc/sys/kernel/random/boot_id"))


def events(said: list[tuple[str, Any]]) -> list[list[str]]:
    """Return the EventCodes of each Inform, as PHP read them."""
    return [[one["EventCode"] for one in arguments[1]] for method, arguments in said if method == "Inform"]


def test_a_device_is_managed_upgraded_and_comes_back(tmp_path: Path, acs: PhpAcs) -> None:
    (work := tmp_path / "apache").mkdir()
    tmp_path.chmod(0o755)
    (place := tmp_path / "device").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(place)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with apache_digest(work, acs.port) as apache:
            isolated(_story, place, acs, apache.url, f"http://127.0.0.1:{server.server_port}")
            assert {status for status, *_ in apache.logins} <= {200, 204, 401}
            assert apache.logins[0][0] == 401
    finally:
        server.shutdown()
        server.server_close()


def _story(place: Path, acs: PhpAcs, url: str, files: str) -> None:
    os.chdir(place)
    spkg("keygen", "keys")
    Path("root").mkdir()
    Path("root/version").write_text("1.0\n")
    Path("device.toml").write_text(DEVICE)
    Path("options.toml").write_text(OPTIONS)
    Path("acs.password").write_text(PASSWORD)
    Path("acs.password").chmod(0o600)
    Path("agent.toml").write_text(CONFIG.format(url=url, back_up='"10min"'))
    first, second = release("2.0"), release("3.0")
    spkg(
        *("voucher", "issue", "--device", "device.toml", "--options", "options.toml", "--serial", "1"),
        *("--key", "keys/voucher.key", "--cert", "keys/voucher.pem", "-o", "voucher.xml"),
    )
    once = ("agent", "once", "--config", "agent.toml")

    # The first installation: a value, a voucher and a download; applied, and the reboot asked for.
    boots(1)
    voucher = b64encode(Path("voucher.xml").read_bytes()).decode()
    acs.plan(
        set_value("DeviceConfig.PersistentData", "kept"),
        ("SetVouchers", [("VoucherList", [voucher])]),
        ("GetOptions", [("OptionName", "")]),
        download(f"{files}/{first}", "up-1"),
        ("GetQueuedTransfers", []),
    )
    spkg(*once)
    assert events(acs.said) == [["0 BOOTSTRAP", "1 BOOT"]]
    said = dict(acs.said)
    assert said["SetParameterValuesResponse"] == "0"
    assert said["GetOptionsResponse"][0]["OptionName"] == "IPTV"
    assert said["GetOptionsResponse"][0]["State"] == "1"
    assert said["DownloadResponse"]["Status"] == "1"
    assert said["GetQueuedTransfersResponse"] == [{"CommandKey": "up-1", "State": "1"}]
    assert Path("root/version").read_text() == "2.0\n"
    assert Path("reboots").read_text() == "reboot\n"
    assert "TransferComplete" not in said

    # After the reboot: told, answered, confirmed.
    boots(2)
    acs.plan()
    assert json.loads(spkg("status", "--root", "root", "--json"))["trial"] is not None
    spkg(*once)
    assert events(acs.said)[-1] == ["1 BOOT", "4 VALUE CHANGE", "7 TRANSFER COMPLETE", "M Download"]
    (key, fault, begun, complete) = dict(acs.said)["TransferComplete"]
    assert (key, fault["FaultCode"], fault["FaultString"]) == ("up-1", "0", "")
    assert begun <= complete
    assert json.loads(spkg("status", "--root", "root", "--json"))["trial"] is None
    assert Path("reboots").read_text() == "reboot\n"

    # A release that cuts the device off: the guard brings the old one back, and the ACS hears of it.
    Path("agent.toml").write_text(CONFIG.format(url=url, back_up=2))
    acs.plan(download(f"{files}/{second}", "up-2"))
    spkg(*once, "--force")
    assert Path("root/version").read_text() == "3.0\n"
    boots(3)
    acs.plan()
    # In this boot nobody starts the agent: there is no network.
    spkg("guard", "--root", "root", "--reboot", "true")
    assert Path("root/version").read_text() == "2.0\n"
    boots(4)
    spkg(*once)
    assert events(acs.said)[-1] == ["1 BOOT", "7 TRANSFER COMPLETE", "M Download"]
    (key, fault, *_) = [found for method, found in acs.said if method == "TransferComplete"][-1]
    assert (key, fault["FaultCode"]) == ("up-2", "9010")
    assert fault["FaultString"] == "installed, but the ACS was out of reach for 2 s: rolled back"

    # The Option is on, and what was set is kept.
    shown = json.loads(
        spkg("voucher", "options", "--store", "options.db", "--device", "device.toml", "--json")
    )
    assert [one["State"] for one in shown["options"]] == [1]
    spkg(*once)
    status = json.loads(spkg("agent", "status", "--config", "agent.toml", "--json"))
    assert (status["events"], status["transfers"]) == ([], [])
