"""A directory for the agent's commands: a device, a root, what is trusted, and passwords."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.kit import root

DEVICE: Final = """
[device]
manufacturer = "2Wire"
oui = "00D09E"
product-class = "Gateway"
serial-number = "123456789"
software-version = "5.3"
"""
CONFIG: Final = """
[acs]
url = "{url}"
password-file = "acs.password"
[connection-requests]
listen = "127.0.0.1:0"
host = "127.0.0.1"
username = "acs"
password-file = "request.password"
[device]
file = "device.toml"
[install]
root = "root"
trust = ["ca.pem"]
[commands]
reboot = ["touch", "rebooted"]
[state]
directory = "state"
"""
LONGEST: Final = 30.0
"""How long anything may take, in seconds."""
SECRETS: Final = ("geheim", "sesam")


def furnish_agent() -> None:
    """Put all of it into this directory."""
    Path("device.toml").write_text(DEVICE)
    Path("ca.pem").write_bytes(root().pem)
    Path("root").mkdir()
    for name, secret in zip(("acs.password", "request.password"), SECRETS, strict=True):
        Path(name).write_text(f"{secret}\n")
        Path(name).chmod(0o600)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, but not for ever."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
