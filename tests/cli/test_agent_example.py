"""The configuration with every key, as an operator writes it: checked, run once, and looked at."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.acs import ScriptedAcs, session
from tests.support.agent_place import DEVICE
from tests.support.commands import process
from tests.support.kit import root
from tests.support.real_servers import client, put_identity, server, web_root
from tests.support.revocation_kit import crl
from tests.support.rpc_kit import envelope, named, set_vouchers
from tests.support.voucher_kit import QOS, signed
from tests.support.web_tls import server_context
from vouchers.model import Voucher

EXAMPLE: Final = """
[acs]
url = "https://acs.example.net/cwmp"
username = "00D09E-123456789"
password-file = "/etc/spkg/acs.password"
ca-bundle = "/etc/spkg/acs-ca.pem"
client-certificate = "/etc/spkg/cpe.pem"
dhcp = false
lock-url = false
timeout = 30
retry-limit = 11
pipelining = false
outstanding = 1
change-interval = 60
before-boot-clock = "refuse"
unsafe-downgrade = false

[inform]
enable = true
interval = 600
time = "2026-01-01T03:00:00Z"

[connection-requests]
listen = "0.0.0.0:7547"
host = "auto"
username = "acs"
password-file = "/etc/spkg/cr.password"
per-minute = 10
from = ["192.0.2.0/24"]

[device]
file = "/etc/spkg/device.toml"
model-name = "Gateway 6"
hardware-version = "B"
description = "…"
version-file = "/etc/gateway-version"
root = "InternetGatewayDevice"

[device.wan]
parameter = "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress"
address = "auto"

[install]
root = "/"
trust = ["/etc/spkg/operator.pem"]
options = ["--crl", "/etc/spkg/operator.crl"]
back-up = "10min"
back-up-boots = 3
web-content = { root = "/www" }

[transfers]
download = true
upload = true
schemes = ["https", "http", "ftp", "tftp"]
max-waiting = 16
[[upload]]
type = "1 Vendor Configuration File"
command = ["/usr/sbin/dump-config"]
max-size = "1MiB"

[vouchers]
store = "/var/lib/spkg/options.db"
trust = ["/etc/spkg/vouchers.pem"]

[commands]
reboot = ["/sbin/reboot"]
factory-reset = ["/sbin/reset-to-factory"]

[back-up]
parameters = ["ManagementServer.URL", "ManagementServer.Username", "ManagementServer.Password"]

[[provider]]
name = "gateway"
socket = "/run/gateway/parameters"
paths = ["LANDevice.", "WANDevice.", "Layer3Forwarding."]

[state]
directory = "/var/lib/spkg/agent"
log-size = "256KiB"
"""


GRANT: Final = envelope(set_vouchers(signed(Voucher(options=(QOS,)))), named("v-1"))


@pytest.fixture
def place() -> Iterator[Path]:
    """A root for all paths of the example, which every user may look into."""
    with TemporaryDirectory(prefix="spkg-test-example-") as made:
        place = Path(made)
        place.chmod(0o755)
        for directory in ("etc/spkg", "sbin", "usr/sbin", "run/gateway", "www", "var/lib"):
            (place / directory).mkdir(parents=True)
        for program in ("sbin/reboot", "sbin/reset-to-factory", "usr/sbin/dump-config"):
            (place / program).write_text("#!/bin/sh\n")
            (place / program).chmod(0o755)
        (place / "etc/gateway-version").write_text("6.4.1\n")
        etc = place / "etc/spkg"
        (etc / "device.toml").write_text(DEVICE)
        for name in ("operator.pem", "vouchers.pem"):
            (etc / name).write_bytes(root().pem)
        (etc / "operator.crl").write_bytes(crl(root()).public_bytes(Encoding.PEM))
        (etc / "acs-ca.pem").write_bytes(web_root().pem)
        put_identity(etc / "cpe.pem", client("gateway"))
        for name in ("acs.password", "cr.password"):
            (etc / name).write_text("geheim\n")
            (etc / name).chmod(0o600)
        yield place


def configure(place: Path, url: str, *, user: str | None) -> None:
    """Write the example, with its paths below a directory."""
    text = EXAMPLE.replace("https://acs.example.net/cwmp", url).replace('root = "/"', f'root = "{place}"')
    for top in ("etc", "var", "run", "www", "sbin", "usr"):
        text = text.replace(f'"/{top}', f'"{place}/{top}')
    (place / "agent.toml").write_text(text + ("" if user is None else f'user = "{user}"\n'))


@pytest.mark.part("kill", turns=True, few=4)
@pytest.mark.parametrize(
    "user",
    [
        None,
        pytest.param("nobody", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root alone can do it")),
    ],
)
def test_the_configuration_with_every_key_works_as_it_stands(user: str | None, place: Path) -> None:
    def agent(*words: str) -> Any:
        return process("agent", *words, "--config", str(place / "agent.toml"))

    with ScriptedAcs(
        session(GRANT), tls=server_context(put_identity(place / "acs.pem", server("127.0.0.1")))
    ) as acs:
        configure(place, acs.url, user=user)
        checked, once, again = agent("check"), agent("once"), agent("once", "--force")
        status = json.loads(agent("status", "--json").stdout)

    assert checked.returncode == 0, checked.stdout
    gone = f"{place}/run/gateway/parameters: no such file or directory"
    assert [line for line in checked.stdout.splitlines() if not line.startswith("ok: ")] == [
        f"warning: provider 'gateway': can't be reached: {gone}"
    ]
    assert (once.returncode, again.returncode) == (0, 0), once.stderr + again.stderr
    assert acs.methods == ["Inform", "", "SetVouchersResponse", "Inform", ""]
    assert "6.4.1" in acs.informs[0].texts("Value")
    assert status["acs_url"] == acs.url
    owner = (place / "var/lib/spkg/options.db").stat().st_uid
    assert owner == (place / "var/lib/spkg/agent").stat().st_uid == (os.geteuid() if user is None else 65534)
    keeper = "var/lib/spkg/agent-keeper" if user is None else "var/lib/spkg-keeper"
    assert (place / keeper).stat().st_uid == os.geteuid()
