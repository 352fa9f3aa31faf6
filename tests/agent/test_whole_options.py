"""The whole agent with Options: what ends with the time or the provider is told to the ACS (C.2)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.acs import ScriptedAcs, session
from tests.support.acs_calls import ROOT, get_values, set_attributes, set_values
from tests.support.agent_kit import DEVICE, life
from tests.support.kit import root
from tests.support.rpc_kit import envelope, get_options, named, set_vouchers
from tests.support.voucher_kit import IPTV, QOS, signed
from vouchers.cpe.desk import open_desk
from vouchers.model import Voucher

GATEWAY: Final = replace(DEVICE, supported_options=("QoS", "IPTV"))
ENABLED: Final = "DeviceInfo.EnabledOptions"
CODE: Final = "DeviceInfo.ProvisioningCode"
SHORT: Final = replace(IPTV, start=datetime(2026, 10, 2, 0, 2, tzinfo=UTC), duration=1)
"""An Option that ends two minutes after the beginning of a test."""


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """What makes a life with Options."""
    (tmp_path / "ca.pem").write_bytes(root().pem)

    def opened(note: Callable[[str], object]) -> Any:
        return open_desk(tmp_path / "options.db", [tmp_path / "ca.pem"], GATEWAY, note)

    return {"device": GATEWAY, "options": opened}


def vouchers(clock: str = "build-date") -> str:
    return f'[vouchers]\nstore = "options.db"\ntrust = ["ca.pem"]\nclock = "{clock}"\n'


def asked(body: str, name: str) -> bytes:
    return envelope(body, named(name))


GRANT: Final = asked(set_vouchers(signed(Voucher(options=(SHORT, QOS)))), "v-1")


def told_values(acs: ScriptedAcs) -> list[str]:
    """Return the value of EnabledOptions in each Inform that had it."""
    found = []
    for post in acs.informs:
        values = dict(zip(post.texts("Name"), post.texts("Value"), strict=True))
        if f"{ROOT}{ENABLED}" in values:
            found.append(values[f"{ROOT}{ENABLED}"])
    return found


def test_vouchers_are_taken_and_both_methods_listed_r19_p5(tmp_path: Path, given: dict[str, Any]) -> None:
    plan = session(GRANT, asked(get_options(), "o-1"), get_values(ENABLED))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=5)

        assert acs.methods[2:] == [
            "SetVouchersResponse",
            "GetOptionsResponse",
            "GetParameterValuesResponse",
        ]
        states = dict(zip(acs.posts[3].texts("OptionName"), acs.posts[3].texts("State"), strict=True))
        enabled = [name for name, state in states.items() if state == "1"]
        assert acs.posts[-1].text("Value") == ",".join(enabled) == "QoS,IPTV"


def test_an_option_that_ends_by_itself_is_told_at_its_moment_o2_d14(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    plan = session(GRANT, set_attributes(ENABLED, 2))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=110)
        assert len(device.informs()) == 1

        device.run(seconds=15)

        assert device.events() == [("4 VALUE CHANGE", "")]
        assert told_values(acs) == ["QoS"]


@pytest.mark.parametrize(("notification", "told"), [(0, []), (1, ["QoS"])])
def test_without_an_active_mark_an_end_makes_no_session_o3(
    notification: int, told: list[str], tmp_path: Path, given: dict[str, Any]
) -> None:
    plan = session(GRANT, set_attributes(ENABLED, notification))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=280)
        assert len(device.informs()) == 1

        device.run(seconds=600)

        assert told_values(acs) == told


def test_another_provider_ends_what_is_not_transferable_for_good_o2(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    plan = session(GRANT, set_values((CODE, "ISP-2")), set_values((CODE, "ISP-1")), get_values(ENABLED))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=5)
        assert acs.posts[-1].text("Value") == "QoS"

        device.restart(boot=True)
        device.run(seconds=5)

        assert device.agent.tree.setting(ENABLED) == "QoS"
        assert device.agent.tree.setting(CODE) == "ISP-1"


def test_a_provider_that_a_subscriber_names_counts_as_well_o2(tmp_path: Path, given: dict[str, Any]) -> None:
    with ScriptedAcs(session(GRANT)) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=5)
        for code in ("ISP-2", "ISP-1"):
            device.agent.tree.set_locally(CODE, code)
            device.run(seconds=1)

        assert device.agent.tree.setting(ENABLED) == "QoS"


def test_ends_are_compared_once_there_is_network_time_o1(tmp_path: Path, given: dict[str, Any]) -> None:
    plan = session(GRANT, set_attributes(ENABLED, 2))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, vouchers("ntp"), **given) as device:
        device.run(seconds=60)
        device.world.synchronized = False
        device.restart(boot=True)
        device.run(seconds=130)
        assert [code for code, _ in device.events()] == ["1 BOOT"]

        wake = device.step()
        assert wake is not None
        assert wake <= device.world.boot + 60
        device.world.synchronized = True
        device.run(seconds=61)

        assert device.events() == [("4 VALUE CHANGE", "")]
        assert told_values(acs) == ["QoS"]


def test_without_network_time_a_voucher_is_not_taken_o1(tmp_path: Path, given: dict[str, Any]) -> None:
    with ScriptedAcs(session(GRANT)) as acs, life(tmp_path, acs, vouchers("ntp"), **given) as device:
        device.world.synchronized = False
        device.run(seconds=5)

        assert acs.posts[-1].method == "Fault"
        assert device.agent.tree.setting(ENABLED) == ""


def test_a_store_that_cannot_be_read_keeps_nobody_from_the_acs(tmp_path: Path, given: dict[str, Any]) -> None:
    (tmp_path / "options.db").write_bytes(b"rubbish" * 1000)
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, vouchers(), **given) as device:
        device.run(seconds=5)

        assert device.agent.engine.last is not None
        assert device.agent.engine.last.reason is None
        assert any(line.startswith("failure: Options: ") for line in device.log)
