"""The keeper: what it does, what it refuses, and what goes on without it."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.keeper_client import KeeperClient
from spkg.agent.keeper_settings import InstallTarget
from spkg.agent.transfer_process import MAX_OUTPUT, TransferProcess
from spkg.download import worker as downloader
from spkg.errors import HostError
from tests.support.commands import PATIENCE
from tests.support.fake_servers import Script, serving
from tests.support.installation import OLD, furnish_root, tree
from tests.support.keeper_kit import keeper_config, keeping, over, start_keeper
from tests.support.package_files import TRUST
from tests.support.served_package import FRONT, NEW, OCTETS

DOWNLOAD: dict[str, Any] = {
    "token": "t1",
    "username": "",
    "password": "",
    "size": 0,
    "command_key": "key 1",
    "file_type": "1 Firmware Upgrade Image",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with what trusts a package, and a root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 0.01)
    furnish_root()
    return tmp_path


@pytest.fixture
def script() -> Script:
    return Script(octets=OCTETS)


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with serving(script) as place:
        yield f"{place}/p.spkg"


def wait_until_in(place: str, process: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while place not in Path(f"/proc/{process}/cmdline").read_text().replace("\0", " "):
        assert time.monotonic() < deadline, f"no process has {place}"
        time.sleep(0.02)


def transfer_pid() -> int:
    """Return the process of the transfer, once it is noted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        noted = json.loads(Path("keeper/transfer").read_text())
        if noted["group"]:
            return int(noted["group"])
        assert time.monotonic() < deadline, "no transfer was begun"
        time.sleep(0.02)


def test_a_package_is_applied_and_its_record_has_the_command_key(url: str) -> None:
    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        news = over(keeper)
        record = keeper.record("1 Firmware Upgrade Image")

    assert (news.token, news.status) == ("t1", 0)
    assert news.result is not None
    assert (news.result["status"], news.result["reboot_required"]) == ("installed", True)
    assert tree() == NEW
    assert [one["command_key"] for one in record["installed"]] == ["key 1"]
    assert (record["rolled_back"], record["trial"]) == ([], None)
