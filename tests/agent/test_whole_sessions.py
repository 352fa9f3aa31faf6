"""The whole agent against the clauses on sessions, the ACS and connection requests, as an ACS sees it."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from spkg.cwmp.events import Event
from spkg.errors import RefusedError
from tests.support.acs import (
    Answer,
    DigestLogin,
    Post,
    ScriptedAcs,
    inform_response,
    request,
    session,
)
from tests.support.acs_calls import ROOT, arguments, download, set_attributes, set_values, upload
from tests.support.agent_kit import APPLIED, Life, life

DATA: Final = "DeviceConfig.PersistentData"
WAN: Final = f"{ROOT}WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress"
REQUESTS: Final = {'listen = ""': 'listen = "127.0.0.1:7547"\nhost = "192.0.2.1"'}
WITHOUT_URL: Final = 'url = "{url}"'
GATEWAY: Final = '[[provider]]\nname = "gateway"\nfile = "gateway.json"\npaths = ["WANDevice."]\n'
VALUE_CHANGE: Final = ("4 VALUE CHANGE", "")


def without_url(acs: ScriptedAcs, line: str = "") -> dict[str, str]:
    return {f'url = "{acs.url}"\n': line}


def option_43(acs: ScriptedAcs, *more: tuple[int, bytes]) -> str:
    pairs = [(1, acs.url.encode()), *more]
    return b"".join(bytes([code, len(value)]) + value for code, value in pairs).hex()


def write_address(directory: Path, address: str) -> None:
    """Have the gateway say another address."""
    new = directory / "gateway.new"
    new.write_text(json.dumps({WAN: {"type": "string", "value": address}}))
    new.rename(directory / "gateway.json")


def values(post: Post) -> dict[str, str]:
    return dict(zip(post.texts("Name"), post.texts("Value"), strict=True))


def test_nobody_else_changes_parameters_during_a_session_s4(tmp_path: Path) -> None:
    usual, refused = session(), list[str]()

    def plan(post: Post) -> Answer:
        try:
            device.agent.tree.set_locally(DATA, "mine")
        except RefusedError as exc:
            refused.append(str(exc))
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert refused == ["a session with the ACS is on, and keeps the parameters as they are"] * 2
        device.agent.tree.set_locally(DATA, "mine")
        assert device.agent.tree.setting(DATA) == "mine"


def test_a_change_during_a_session_is_told_in_the_next_one_s5_d15(tmp_path: Path) -> None:
    write_address(tmp_path, "192.0.2.1")
    usual = session()

    def plan(post: Post) -> Answer:
        if not post.method:
            write_address(tmp_path, "192.0.2.2")
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs, GATEWAY) as device:
        device.run(seconds=120)

        first, second = device.informs()
        assert (values(first)[WAN], values(second)[WAN]) == ("192.0.2.1", "192.0.2.2")
        assert device.events() == [VALUE_CHANGE]


def test_the_connection_and_its_cookies_end_with_the_session_s18_s19_p3(tmp_path: Path) -> None:
    with ScriptedAcs(session(cookie="session=x1; Discard")) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        acs.wait(lambda one: one.closed == [1])
        device.agent.engine.force()
        device.run(seconds=5)

        assert [post.cookies for post in acs.posts] == [{}, {"session": "x1"}] * 2
        assert [post.connection for post in acs.posts] == [1, 1, 2, 2]


def test_without_any_url_nobody_is_called_and_nothing_fails_d1_d6(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **without_url(acs)) as device:
        device.run(seconds=3600)

        assert acs.posts == []
        device.agent.status.refresh()
        assert (
            device.agent.status.snapshot["reason"]
            == "no ACS is known: set url, or dhcp = true and 'spkg agent discover'"
        )


def test_what_dhcp_says_is_taken_where_it_is_allowed_d2_d4_d12(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs:
        found = option_43(acs, (2, b"ISP-9"), (3, b"\1"), (4, (300).to_bytes(4, "big")), (9, b"skip"))
        with life(tmp_path, acs, **without_url(acs, "dhcp = true\n")) as device:
            device.run(seconds=60)
            assert acs.posts == []

            device.agent.answers.answer("discover", {"option_43": found})
            device.run(seconds=10)

            assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
            assert device.agent.tree.setting("ManagementServer.PeriodicInformInterval") == "300"
            assert device.agent.tree.setting("DeviceInfo.ProvisioningCode") == "ISP-1"  # of the device file
            answer: Any = device.agent.answers.answer("config", {})
            rows = {one["name"]: (one["value"], one["from"]) for one in answer["values"]}
            assert rows["ManagementServer.URL"] == (acs.url, "DHCP")
            assert rows["ManagementServer.PeriodicInformInterval"] == ("300", "DHCP")


def test_a_configured_url_goes_before_that_of_dhcp_d5_d13(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as other, ScriptedAcs(session()) as acs:
        dhcp = {"[connection-requests]": "dhcp = true\n[connection-requests]"}
        with life(tmp_path, acs, **dhcp) as device:
            device.agent.answers.answer("discover", {"option_43": option_43(other)})
            device.run(seconds=1200)

            assert other.posts == []
            assert len(device.informs()) >= 2


def test_dhcp_is_not_believed_unless_it_is_said_d12(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **without_url(acs)) as device:
        with pytest.raises(RefusedError, match="the configuration does not let DHCP name the ACS"):
            device.agent.answers.answer("discover", {"option_43": option_43(acs)})
        device.run(seconds=60)

        assert acs.posts == []


def test_a_url_of_the_acs_outlives_reboots_and_goes_before_all_others_d9(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as other:
        plan = session(set_values(("ManagementServer.URL", other.url)))
        with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
            device.run(seconds=20)
            for _ in range(3):
                device.restart(boot=True)
                device.run(seconds=20)

            assert len(device.informs()) == 1
            assert [[*post.texts("EventCode")] for post in other.informs] == [
                ["0 BOOTSTRAP"],
                *[["1 BOOT"]] * 3,
            ]


def test_after_the_first_contact_the_configuration_is_closed_d11(tmp_path: Path) -> None:
    lock = {"[connection-requests]": "lock-url = true\n[connection-requests]"}
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **lock) as device:
        device.run(seconds=5)

        with pytest.raises(RefusedError):
            device.agent.tree.set_locally("ManagementServer.URL", "http://127.0.0.1:9/")


def _nothing(_device: Life) -> None:
    """It has been switched on."""


def _change_marked(device: Life) -> None:
    device.agent.tree.set_locally(DATA, "changed")


def _change_forced(device: Life) -> None:
    device.agent.tree.set_locally("DeviceInfo.ProvisioningCode", "ISP-2")


CAUSES: Final = {
    "installation": (_nothing, 0, ["0 BOOTSTRAP", "1 BOOT"]),
    "power-up": (lambda device: device.restart(boot=True), 5, ["1 BOOT"]),
    "interval": (_nothing, 601, ["2 PERIODIC"]),
    "schedule": (_nothing, 201, ["3 SCHEDULED", "M ScheduleInform"]),
    "request": (lambda device: device.agent.engine.connection_request(), 5, ["6 CONNECTION REQUEST"]),
    "forced": (_change_forced, 5, ["4 VALUE CHANGE"]),
    "active": (_change_marked, 5, ["4 VALUE CHANGE"]),
    "operator": (lambda device: device.agent.engine.force(), 5, []),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_of_the_text_makes_a_session_d14_e10(cause: str, tmp_path: Path) -> None:
    do, seconds, events = CAUSES[cause]
    schedule = request("ScheduleInform", arguments(DelaySeconds=200, CommandKey=""))
    asked = (set_attributes(DATA, 2), *([schedule] if cause == "schedule" else []))
    with ScriptedAcs(session(*asked)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=100)
        before = 0 if cause == "installation" else len(device.informs())

        do(device)
        device.run(seconds=seconds)

        codes = [[*post.texts("EventCode")] for post in device.informs()[before:]]
        assert events in codes
        assert len(codes) <= 2


def test_a_new_version_is_told_after_its_boot_and_not_before_d15_e6(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("5.3.0.12\n")
    version = {'file = "device.toml"': 'file = "device.toml"\nversion-file = "version"'}
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **version) as device:
        device.run(seconds=5)
        (tmp_path / "version").write_text("5.4.0.1\n")
        device.run(seconds=700)
        assert device.events() == [("2 PERIODIC", "")]

        device.restart(boot=True)
        device.run(seconds=5)

        assert device.events() == [("1 BOOT", ""), VALUE_CHANGE]
        assert values(device.informs()[-1])[f"{ROOT}DeviceInfo.SoftwareVersion"] == "5.4.0.1"
        device.restart(boot=True)
        device.run(seconds=5)
        assert device.events() == [("1 BOOT", "")]


def test_the_url_for_connection_requests_is_one_c2_c3_p20_p34(tmp_path: Path) -> None:
    name = f"{ROOT}ManagementServer.ConnectionRequestURL"
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **REQUESTS) as device:
        device.run(seconds=5)
        device.restart(boot=True)
        device.run(seconds=5)

        told = {values(post)[name] for post in device.informs()}
        assert told == {"http://192.0.2.1:7547/token-1"}


def test_a_new_address_is_told_although_nobody_asked_c8_d15_p33(tmp_path: Path) -> None:
    name = f"{ROOT}ManagementServer.ConnectionRequestURL"
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **REQUESTS) as device:
        device.run(seconds=5)

        device.agent.requests.port = 7548
        device.run(seconds=5)

        assert device.events() == [VALUE_CHANGE]
        assert values(device.informs()[-1])[name] == "http://192.0.2.1:7548/token-1"
        device.run(seconds=100)
        assert len(device.informs()) == 2


def test_a_request_during_a_session_does_not_end_it_and_another_follows_c7(tmp_path: Path) -> None:
    usual, asked = session(request("GetRPCMethods")), list[Post]()

    def plan(post: Post) -> Answer:
        if not post.method and not asked:
            asked.append(post)
            device.world.pass_time(1)
            device.agent.engine.connection_request()
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=10)

        assert acs.methods == ["Inform", "", "GetRPCMethodsResponse", "Inform", ""]
        assert device.events() == [("6 CONNECTION REQUEST", "")]


@pytest.mark.parametrize(("line", "most"), [("pipelining = true", "16"), ("pipelining = false", "1")])
def test_as_many_envelopes_are_read_as_the_inform_has_said_h2_e3(
    line: str, most: str, tmp_path: Path
) -> None:
    two = request("GetRPCMethods", id="a") + request("GetParameterNames", id="b")
    pipelining = {"[connection-requests]": f"{line}\n[connection-requests]"}
    with ScriptedAcs(session(two)) as acs, life(tmp_path, acs, **pipelining) as device:
        device.run(seconds=3)

        assert device.informs()[0].text("MaxEnvelopes") == most
        answered = [(post.method, post.id) for post in acs.posts[2:]]
        assert device.agent.engine.last is not None
        if most == "1":
            assert answered == []
            assert "at most 1" in (device.agent.engine.last.reason or "")
        else:
            assert answered == [("GetRPCMethodsResponse", "a"), ("Fault", "b")]
            assert device.agent.engine.last.reason is None


@pytest.mark.parametrize("most", [0, 1, 8])
def test_never_more_envelopes_in_a_post_than_the_acs_takes_h3_h4(most: int, tmp_path: Path) -> None:
    with ScriptedAcs(session(download("a"), download("b", "http://files.example/q"), most=most)) as acs:
        with life(tmp_path, acs) as device:
            device.run(seconds=5)
            for _ in range(2):
                device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
                device.run(seconds=5)

            assert "TransferComplete" in acs.methods
            assert max(len(post.envelopes) for post in acs.posts) == 1
            assert {post.headers.get("soapaction") for post in acs.posts if post.body} == {'""'}


def test_the_device_logs_in_by_its_own_name_and_password_h10_h11_h12(tmp_path: Path) -> None:
    plan = session(set_values(("ManagementServer.Password", "open sesame")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        acs.login = DigestLogin(username="00D09E-123456789")
        device.agent.engine.force()
        device.run(seconds=5)

        assert device.agent.engine.last is not None
        assert device.agent.engine.last.reason is None
        assert len(acs.login.counts) == 2


def test_a_login_that_is_not_taken_is_told_and_tried_with_patience_h10_p8_p9(tmp_path: Path) -> None:
    with ScriptedAcs(session(), login=DigestLogin()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=60)

        assert acs.posts == []
        assert len(acs.refused) <= 10
        assert any(line.startswith("failure: session:") and "login" in line for line in device.log)


def test_an_upload_is_told_in_the_session_that_reports_it_e11_e12_t11(tmp_path: Path) -> None:
    source = '[[upload]]\ntype = "2 Vendor Log File"\nfile = "log"\n'
    with ScriptedAcs(session(upload("a key"))) as acs, life(tmp_path, acs, source) as device:
        device.run(seconds=5)
        assert device.keeper.names() == ["upload"]

        device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
        device.run(seconds=5)

        assert device.events() == [("7 TRANSFER COMPLETE", ""), ("M Upload", "a key")]
        assert acs.methods[-3:] == ["Inform", "TransferComplete", ""]
        assert acs.posts[-2].text("CommandKey") == "a key"


def test_a_provider_raises_the_end_of_diagnostics_e13_e15(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        device.agent.engine.raise_event(Event("8 DIAGNOSTICS COMPLETE"))
        device.run(seconds=5)

        assert device.events() == [("8 DIAGNOSTICS COMPLETE", "")]


def test_each_request_of_ours_has_an_id_of_its_own_x8_a1(tmp_path: Path) -> None:
    plan = session(download("a"), download("b", "http://files.example/q"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        for _ in range(2):
            device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
            device.run(seconds=5)

        ours = [post for post in acs.posts if post.method in {"Inform", "TransferComplete"}]
        assert len(ours) >= 4
        assert len({post.id for post in ours} - {None}) == len(ours)


def test_a_transfer_begins_when_the_session_is_over_t7(tmp_path: Path) -> None:
    usual, seen = session(download("a"), request("GetQueuedTransfers")), list[list[str]]()

    def plan(post: Post) -> Answer:
        seen.append(device.keeper.names())
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert seen == [[]] * 4
        assert device.keeper.names() == ["apply"]


def test_a_queue_is_listed_while_it_is_worked_off_r16_r18(tmp_path: Path) -> None:
    plan = session(download("a"), download("b", "http://files.example/q"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        acs.plan = session(request("GetQueuedTransfers"))
        device.agent.engine.force()
        device.run(seconds=5)

        keys, states = ([*acs.posts[-1].texts(name)] for name in ("CommandKey", "State"))
        assert list(zip(keys, states, strict=True)) == [("a", "2"), ("b", "1")]


@pytest.mark.parametrize("delay", [0, 1])
def test_an_inform_is_scheduled_for_later_and_never_for_now_r17(delay: int, tmp_path: Path) -> None:
    plan = session(request("ScheduleInform", arguments(DelaySeconds=delay, CommandKey="k")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        if delay:
            assert device.events() == [("M ScheduleInform", "k"), ("3 SCHEDULED", "")][::-1]
        else:
            assert acs.posts[-1].text("FaultCode") == "9003"
            assert len(device.informs()) == 1


def test_a_session_waits_for_no_more_than_its_time_s15(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        assert device.config.acs.timeout == 30
        acs.plan = lambda _post: Answer(body=inform_response(), cut=40)
        device.run(seconds=3)

        assert device.agent.engine.last is not None
        assert device.agent.engine.last.reason is not None
        acs.plan = session()
        device.run(seconds=30)
        assert device.agent.engine.last.reason is None
