"""``spkg voucher setup``: Options that a user has set up."""

from pathlib import Path

import pytest

from tests.support.voucher_files import QOS_ON, STORE, TIME, applied, failed, furnish, run, structs, told


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_an_option_is_set_up_and_not() -> None:
    applied("v.xml")

    done = run("setup", "QoS", *STORE)
    during = structs("--name", "QoS")
    shown = run("options", *STORE, *TIME, "--name", "QoS")
    undone = run("setup", "QoS", *STORE, "--undo")

    assert told(done) == (0, "QoS: set up\n", "")
    assert during == [{**QOS_ON, "State": 3}]
    assert shown.stdout.startswith("QoS  enabled  set up  transferable  voucher 4002\n")
    assert told(undone) == (0, "QoS: not set up\n", "")
    assert structs("--name", "QoS") == [QOS_ON]


def test_what_there_was_no_voucher_for_is_not_set_up() -> None:
    applied("v.xml")
    before = Path("o.db").read_bytes()

    result = run("setup", "VPN", *STORE)

    assert told(result) == failed(2, "the Option 'VPN' has never had a voucher")
    assert Path("o.db").read_bytes() == before
