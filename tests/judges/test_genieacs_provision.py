"""The provision for GenieACS: what it declares, carried out against the agent, has a voucher take effect.

The sandbox is ours, after GenieACS's interface for provisions; its real one needs MongoDB.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs import ScriptedAcs, session
from tests.support.acs_calls import download
from tests.support.kit import ROOT
from tests.support.voucher_gateway import FaultTold, fetch_told, gateway
from tests.support.voucher_kit import QOS, signed
from vouchers.model import Voucher

SANDBOX: Final = Path(__file__).with_name("genieacs") / "sandbox.js"
PROVISION: Final = ROOT / "samples" / "genieacs" / "voucher.js"
DEVICE: Final = {"DeviceID.OUI": "00D09E", "DeviceID.SerialNumber": "123456789"}
ISSUED: Final = "2026-11-30T12:00:00Z"
WHERE: Final = "Downloads.[FileType:X 00D09E Voucher]"


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    given = {"script": PROVISION.read_text(), "args": args, "device": DEVICE}
    return subprocess.run(
        ["node", SANDBOX], input=json.dumps(given), capture_output=True, text=True, check=False
    )


def declared(*args: str) -> dict[str, Any]:
    ended = run(*args)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout)["declared"])


@pytest.mark.judge("node")
def test_the_provision_declares_one_download_for_a_time_of_issue() -> None:
    assert declared(ISSUED) == {
        WHERE: {"path": 1},
        f"{WHERE}.FileName": {"value": "voucher-00D09E-123456789.xml"},
        f"{WHERE}.Download": {"value": 1796040000000},
    }
    assert declared(ISSUED, "other.xml")[f"{WHERE}.FileName"] == {"value": "other.xml"}


@pytest.mark.judge("node")
def test_without_a_time_the_provision_says_what_it_expects() -> None:
    ended = run("soon")

    assert ended.returncode != 0
    assert "voucher: expected the time of issue as the first argument, got soon" in ended.stderr


@pytest.mark.judge("node")
def test_what_the_provision_declares_has_a_voucher_take_effect(tmp_path: Path) -> None:
    found = declared(ISSUED)
    kind = WHERE.partition("[FileType:")[2].rstrip("]")
    file = found[f"{WHERE}.FileName"]["value"]
    call = download("task-1", f"http://files.example:7567/{file}", kind=kind)

    with ScriptedAcs(session(call)) as acs, gateway(tmp_path, acs) as device:
        told = fetch_told(device, signed(Voucher(options=(QOS,))))

        assert told == FaultTold(key="task-1", code="0", text="")
        assert device.keeper.orders_of("fetch")[0]["url"] == f"http://files.example:7567/{file}"
        assert device.enabled() == "QoS"
