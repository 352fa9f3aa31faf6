"""What people see of the whole agent: status, settings, parameters, the log (the guides of vendors)."""

from pathlib import Path
from typing import Any, Final

import pytest

from spkg.errors import FormatError
from tests.agent.tree_kit import Scripted
from tests.support.acs import Answer, ScriptedAcs, session
from tests.support.acs_calls import ROOT, download, set_values
from tests.support.agent_kit import FakeKeeper, Life, life

INTERVAL: Final = "ManagementServer.PeriodicInformInterval"


def ask(device: Life, question: str, **given: Any) -> Any:
    device.agent.status.refresh()
    return device.agent.answers.answer(question, given)


def test_the_status_says_whether_there_is_touch_and_why_not_v1(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        assert ask(device, "status")["reason"] == "no session yet"
        device.run(seconds=5)
        status = ask(device, "status")
        assert (status["in_touch"], status["reason"], status["retry_count"]) == (True, None, 0)
        assert status["last_session"]["events"] == ["0 BOOTSTRAP", "1 BOOT"]
        assert status["next_session"] == "2026-11-02T00:05:00Z"

        acs.plan = lambda _post: Answer(status=403)
        device.agent.engine.force()
        device.run(seconds=3)

        status = ask(device, "status")
        assert (status["in_touch"], status["retry_count"]) == (False, 1)
        assert "403" in status["reason"]


def test_the_settings_in_force_say_where_they_come_from_v2_v7(tmp_path: Path) -> None:
    plan = session(
        set_values((INTERVAL, "300"), kind="unsignedInt"),
        set_values(("ManagementServer.Password", "geheim")),
    )
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        found = {one["name"]: (one["value"], one["from"]) for one in ask(device, "config")["values"]}

        assert found["ManagementServer.URL"] == (acs.url, "file")
        assert found[INTERVAL] == ("300", "ACS")
        assert found["ManagementServer.Username"] == ("00D09E-123456789", "default")
        assert found["ManagementServer.Password"] == ("set", "ACS")
        assert found["ManagementServer.ConnectionRequestPassword"] == ("not set", "file")
        assert found["acs.timeout"] == (30, "file")
        assert "geheim" not in str(found)


def test_who_has_set_a_value_last_is_told(tmp_path: Path) -> None:
    name = f"{ROOT}ManagementServer.PeriodicInformEnable"
    plan = session(set_values(("ManagementServer.PeriodicInformEnable", "1"), kind="boolean"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:

        def origin() -> str:
            values = ask(device, "config")["values"]
            return str(next(one["from"] for one in values if name.endswith(one["name"])))

        ask(device, "set", values={name: "0"})
        before = origin()
        device.run(seconds=5)

        assert (before, origin()) == ("subscriber", "ACS")


def test_a_value_that_does_not_fit_is_refused_with_the_name_of_its_parameter(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        with pytest.raises(FormatError) as caught:
            ask(device, "set", values={INTERVAL: "soon"})

        assert str(caught.value) == f"{ROOT}{INTERVAL}: expected an integer, got 'soon'"


def test_parameters_are_shown_as_the_acs_has_them_v3(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        shown = ask(device, "parameters", path=f"{ROOT}DeviceInfo.ProvisioningCode")["parameters"]

        assert ask(device, "parameters", path="DeviceInfo.ProvisioningCode")["parameters"] == shown
        assert shown == [
            {
                "name": f"{ROOT}DeviceInfo.ProvisioningCode",
                "type": "string",
                "value": "ISP-1",
                "writable": True,
                "notification": 0,
                "access": ["Subscriber"],
            }
        ]


def test_the_log_has_each_session_and_what_was_done_in_it_v4(tmp_path: Path) -> None:
    plan = session(set_values((INTERVAL, "300"), kind="unsignedInt"), download("d"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        lines = [f"{one['kind']}: {one['text']}" for one in ask(device, "log")["entries"]]
        assert lines[:4] == [
            "session: begins: 0 BOOTSTRAP, 1 BOOT",
            "call: SetParameterValues",
            "call: Download",
            "session: over after 4 posts",
        ]
        assert ask(device, "transfers")["transfers"][0]["command_key"] == "d"


def test_an_operator_has_a_session_begin_whatever_the_wait_v5(tmp_path: Path) -> None:
    with ScriptedAcs(lambda _post: Answer(status=503, headers=(("Retry-After", "3600"),))) as acs:
        with life(tmp_path, acs) as device:
            device.run(seconds=60)
            assert len(acs.posts) == 1

            ask(device, "inform")
            device.run(seconds=3)

            assert len(acs.posts) == 2


def test_a_trace_does_not_show_what_a_provider_calls_secret(tmp_path: Path) -> None:
    pin = f"{ROOT}LANDevice.Pin"
    gateway = Scripted(
        lambda request: (
            {"parameters": [{"path": pin, "type": "string", "writable": True, "secret": True}]}
            if request["op"] == "describe"
            else {"status": 0}
        )
    )
    more = '[[provider]]\nname = "gateway"\ncommand = ["none"]\npaths = ["LANDevice."]\n'
    keeper: Any = FakeKeeper()
    keeper.start_provider = lambda _name: gateway.start()
    with ScriptedAcs(session(set_values(("LANDevice.Pin", "8642")))) as acs:
        device = Life(tmp_path, acs, more, keeper=keeper)
        device.agent.journal.traces = True
        device.start()
        device.run(seconds=5)
        device.agent.close()

        assert gateway.asked[-2]["values"] == {pin: "8642"}
        assert acs.methods[-1] == "SetParameterValuesResponse"
        assert any("SetParameterValues" in line for line in device.log)
        assert not [line for line in device.log if "8642" in line]
