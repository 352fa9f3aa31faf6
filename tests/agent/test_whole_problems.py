"""The whole agent against servers that are odd: the problems of real devices, by their numbers."""

import gc
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from spkg.agent.errands import Errand
from spkg.errors import SpkgError
from tests.support.acs import Answer, DigestLogin, Post, ScriptedAcs, acs_fault, request, session
from tests.support.acs_calls import ROOT, arguments, download, get_values, set_values, told_keys
from tests.support.acs_problems import (
    PROBLEMS,
    acs_that_kills_a_worker,
    strict_order,
    tied_to_a_connection,
)
from tests.support.agent_kit import APPLIED, DEVICE, Life, life

LOGIN: Final = DigestLogin(username="00D09E-123456789", password="")
INTERVAL: Final = "ManagementServer.PeriodicInformInterval"
CODE: Final = "DeviceInfo.ProvisioningCode"
ENABLE: Final = "ManagementServer.PeriodicInformEnable"
TIME: Final = "ManagementServer.PeriodicInformTime"


def is_over(device: Life) -> bool:
    """Whether the last session has ended cleanly."""
    last = device.agent.engine.last
    return last is not None and last.reason is None


def answer_of(device: Life) -> Post:
    """Return what the device has answered last."""
    return [post for post in device.acs.posts if post.method.endswith(("Response", "Fault"))][-1]


def check_names(device: Life) -> None:
    names = [*answer_of(device).texts("Name")]
    assert ROOT in names
    assert f"{ROOT}{CODE}" in names


def check_missing(device: Life) -> None:
    assert answer_of(device).text("FaultCode") == "9005"


def check_without_a_value(device: Life) -> None:
    assert answer_of(device).text("FaultCode") == "9003"
    assert device.agent.tree.setting(CODE) == "ISP-1"


def check_type(device: Life) -> None:
    assert device.agent.tree.setting(CODE) == "ABCD"


def check_words(device: Life) -> None:
    assert device.agent.tree.setting(ENABLE) == "1"
    assert device.agent.tree.setting(TIME) == "1970-01-01T07:23:52Z"


def check_twice(device: Life) -> None:
    fault = answer_of(device)
    assert [*fault.texts("FaultCode")] == ["9003", "9003"]
    assert fault.text("ParameterName") == f"{ROOT}{CODE}"
    assert device.agent.tree.setting(CODE) == "ISP-1"


def check_told(device: Life) -> None:
    device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
    device.run(seconds=60)
    assert told_keys(device.acs) == ["d1"]
    assert device.agent.state.transfers() == ()
    assert "session: TransferComplete was answered with AutonomousTransferCompleteResponse" in device.log


def check_key(device: Life) -> None:
    device.restart(boot=True)
    device.run(seconds=5)
    assert ("M Reboot", "a  b ") in device.events()


def check_everything(device: Life) -> None:
    answered = answer_of(device)
    assert len([*answered.texts("Name")]) == len([*answered.texts("Value")]) >= 25


def check_none(device: Life) -> None:
    assert answer_of(device).method == "GetParameterValuesResponse"
    assert [*answer_of(device).texts("Name")] == []


def check_nothing_more(device: Life) -> None:
    """The session came to its end: that is all there is to it."""


CHECKS: Final[dict[int, Callable[[Life], None]]] = {
    2: check_nothing_more,
    3: check_nothing_more,
    5: check_nothing_more,
    7: check_nothing_more,
    10: check_names,
    11: check_missing,
    13: check_without_a_value,
    15: check_type,
    16: check_words,
    18: check_twice,
    28: check_told,
    38: check_key,
    40: check_nothing_more,
    44: check_nothing_more,
    45: check_everything,
    49: check_none,
}


@pytest.mark.parametrize("number", CHECKS, ids=lambda number: f"p{number}")
def test_an_odd_server_is_served_all_the_same(number: int, tmp_path: Path) -> None:
    assert {*PROBLEMS} - {*CHECKS} == {9, 46}  # those have tests of their own
    with ScriptedAcs(PROBLEMS[number][1](), login=replace(LOGIN)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        assert is_over(device)

        CHECKS[number](device)

        assert is_over(device)


def test_a_session_answers_its_challenge_on_one_connection_problem_1(tmp_path: Path) -> None:
    plan = tied_to_a_connection(request("GetRPCMethods"), request("GetRPCMethods"))
    with ScriptedAcs(plan, login=replace(LOGIN)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert is_over(device)
        assert acs.connections == 1
        assert len(acs.refused) == 1
        assert len(device.informs()) == 1  # and not a session for each call (problem 6)


def test_completions_go_before_the_first_empty_post_problem_5(tmp_path: Path) -> None:
    with ScriptedAcs(strict_order(download("a"))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
        device.run(seconds=5)

        assert acs.methods[-3:] == ["Inform", "TransferComplete", ""]
        assert is_over(device)


def test_an_inform_that_is_answered_with_nothing_is_repeated_with_patience_problem_46(tmp_path: Path) -> None:
    with ScriptedAcs() as acs, life(tmp_path, acs) as device:
        device.run(seconds=3600)

        assert 5 <= len(acs.posts) <= 12
        assert {post.method for post in acs.posts} == {"Inform"}


def test_a_server_that_sets_another_interval_in_each_session_makes_no_storm_problem_44(
    tmp_path: Path,
) -> None:
    with ScriptedAcs(PROBLEMS[44][1]()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=3600)

        assert 6 <= len(device.informs()) <= 24  # an interval is at least half of what it says
        assert all(device.events(one) == [("2 PERIODIC", "")] for one in range(1, len(device.informs())))


def test_a_server_that_dies_of_what_it_does_not_list_is_never_asked_it_a2(tmp_path: Path) -> None:
    errands = [
        Errand("RequestDownload", {"FileType": "2 Web Content", "FileTypeArg": ()}),
        Errand("Kicked", {"Command": "c", "Referer": "", "Arg": "", "Next": ""}),
    ]
    with ScriptedAcs(acs_that_kills_a_worker()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        for errand in errands:
            device.agent.engine.run_errand(errand)
        device.run(seconds=10)

        assert {"RequestDownload", "Kicked"}.isdisjoint(acs.methods)
        for errand in errands:
            with pytest.raises(SpkgError):
                errand.answer.result(0)


def test_what_is_no_xml_ends_a_session_and_loses_nothing(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        acs.plan = lambda _post: Answer(body=acs_fault(8000).replace(b"soap:Fault", b"soap:Body:Fault"))
        device.run(seconds=3)
        assert not is_over(device)
        assert "something else than envelopes" in device.log[-1]

        acs.plan = session()
        device.run(seconds=30)

        assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]


def test_a_second_between_two_sessions(tmp_path: Path) -> None:
    begun: list[float] = []
    usual = session()

    def plan(post: Post) -> Answer:
        if post.method == "Inform":
            begun.append(device.world.boot)
            device.agent.engine.force()
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        for _ in range(5):
            device.agent.engine.force()
            device.run(seconds=1.5)

        assert len(begun) >= 5
        assert min(after - before for before, after in pairwise(begun)) >= 1


def test_a_password_that_is_read_and_set_again_is_no_change(tmp_path: Path) -> None:
    name = "ManagementServer.Password"
    plan = session(get_values(name), set_values((name, "")), repeats=True)
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=700)

        assert len(device.informs()) == 2
        assert [*next(post for post in acs.posts if "Value" in post.method).texts("Value")] == [""]


def test_values_with_what_xml_has_not_reach_the_server_problem_14(tmp_path: Path) -> None:
    name = "UserInterface.ISPName"
    said = {f"{ROOT}{name}": {"type": "string(64)", "value": "a <b> & \u0002 c"}}
    (tmp_path / "gateway.json").write_text(json.dumps(said))
    gateway = '[[provider]]\nname = "gateway"\nfile = "gateway.json"\npaths = ["UserInterface."]\n'
    with ScriptedAcs(session(get_values(name))) as acs, life(tmp_path, acs, gateway) as device:
        device.run(seconds=5)

        assert [*acs.posts[-1].texts("Value")] == ["a <b> & \ufffd c"]


def test_an_identity_stays_what_it_is_whatever_is_in_it_problem_22_23(tmp_path: Path) -> None:
    odd = replace(DEVICE, product_class="Home Gateway-7 (ü) <&>", oui="00d09e".upper())
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, device=odd) as device:
        device.run(seconds=5)
        device.restart(boot=True)
        device.run(seconds=5)

        told = [
            [post.text(one) for one in ("OUI", "ProductClass", "SerialNumber")] for post in device.informs()
        ]
        assert told == [["00D09E", "Home Gateway-7 (ü) <&>", "123456789"]] * 2


def test_what_the_acs_has_set_outlives_reboots_problem_20_21(tmp_path: Path) -> None:
    plan = session(
        set_values(("DeviceConfig.PersistentData", "abc"), key="key 1"),
        set_values((INTERVAL, "300"), key="key 2", kind="unsignedInt"),
    )
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        for _ in range(2):
            device.restart(boot=True)
            device.run(seconds=5)

        values = dict(
            zip(device.informs()[-1].texts("Name"), device.informs()[-1].texts("Value"), strict=True)
        )
        assert values[f"{ROOT}ManagementServer.ParameterKey"] == "key 2"
        assert device.agent.tree.setting("DeviceConfig.PersistentData") == "abc"
        device.run(seconds=305)
        assert device.events() == [("2 PERIODIC", "")]


def test_a_download_for_a_later_hour_is_carried_out_then_problem_27(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("night", delay=86_400))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.restart(boot=True)
        device.run(seconds=80_000)
        assert device.keeper.names() == []

        device.run(seconds=6_500)

        assert device.keeper.names() == ["apply"]


def test_boot_and_completion_come_in_one_order_problem_29(tmp_path: Path) -> None:
    with ScriptedAcs(session(download("d"))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id)
        device.run(seconds=700)
        assert told_keys(acs) == []
        assert len(device.informs()) == 1

        device.restart(boot=True)
        device.run(seconds=5)

        assert [code for code, _ in device.events()] == ["1 BOOT", "7 TRANSFER COMPLETE", "M Download"]
        assert told_keys(acs) == ["d"]


def test_periodic_informs_go_on_whatever_is_called_problem_42(tmp_path: Path) -> None:
    plan = session(
        request("AddObject", f"<ObjectName>{ROOT}LANDevice.</ObjectName><ParameterKey>x</ParameterKey>"),
        request("GetQueuedTransfers"),
        request("ScheduleInform", arguments(DelaySeconds=5, CommandKey="")),
    )
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=3100)

        periodic = [post for post in device.informs() if "2 PERIODIC" in post.texts("EventCode")]
        assert len(periodic) == 5


def test_a_file_larger_than_its_parameter_is_a_fault_problem_48(tmp_path: Path) -> None:
    plan = session(set_values(("DeviceConfig.PersistentData", "x" * 257)))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert [*acs.posts[-1].texts("FaultCode")] == ["9003", "9007"]
        assert device.agent.tree.setting("DeviceConfig.PersistentData") == ""


def test_many_sessions_leave_nothing_behind_problem_50(tmp_path: Path) -> None:
    plan = session(get_values(CODE), set_values(("DeviceConfig.PersistentData", "a")), repeats=True)
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        seen: list[tuple[int, int]] = []
        for _ in range(3):
            for _ in range(40):
                device.agent.engine.force()
                device.run(seconds=1.5)
            acs.posts.clear()
            device.entries.clear()
            device.keeper.orders.clear()
            gc.collect()
            seen.append((len(gc.get_objects()), len([*Path("/proc/self/fd").iterdir()])))

        (_, files), *_, (_, files_after) = seen
        assert files_after <= files
        assert seen[2][0] - seen[1][0] < 400


@pytest.mark.parametrize("name", ["X Y", "X_00D09E_", "A..B", "X_Name", "1st"])
def test_a_name_that_is_none_is_not_served_p1(name: str, tmp_path: Path) -> None:
    said = {f"{ROOT}UserInterface.{name}": {"type": "string(64)", "value": "a"}}
    (tmp_path / "gateway.json").write_text(json.dumps(said))
    gateway = '[[provider]]\nname = "gateway"\nfile = "gateway.json"\npaths = ["UserInterface."]\n'
    plan = session(get_values("UserInterface."), get_values(CODE))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, gateway) as device:
        device.run(seconds=5)

        assert [post.text("FaultCode") for post in acs.posts[2:]] == ["9002", None]
        assert is_over(device)


@pytest.mark.parametrize(
    ("roles", "noted"),
    [(["software-upgrade"], False), (["web-content"], True), (["vendor", "software-recovery"], False)],
)
def test_a_package_of_another_role_is_noted_and_no_failure_t3(
    roles: list[str], *, noted: bool, tmp_path: Path
) -> None:
    with ScriptedAcs(session(download("d"))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id, {**APPLIED, "roles": roles, "reboot_required": False})
        device.run(seconds=5)

        said = (
            "transfer: Download 'd': expected software-upgrade or software-recovery for "
            "'1 Firmware Upgrade Image', got web-content"
        )
        assert (said in device.log) is noted
        assert [post.text("FaultCode") for post in acs.posts if post.method == "TransferComplete"] == ["0"]
