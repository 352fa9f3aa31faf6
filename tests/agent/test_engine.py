"""The agent against a server that keeps the rules, and against some that do not: one life after the other."""

from pathlib import Path

import pytest

from spkg.agent.errands import Errand
from spkg.cwmp.events import Event
from spkg.errors import RefusedError, SpkgError
from tests.support.acs import (
    Answer,
    Plan,
    Post,
    ScriptedAcs,
    acs_fault,
    answers,
    inform_response,
    request,
    response,
    session,
)
from tests.support.acs_calls import ROOT, arguments, download, set_attributes, set_values, told_keys
from tests.support.agent_kit import APPLIED, life

NEXT = [("2 PERIODIC", "")]


def test_a_first_start_says_bootstrap_and_boot_once_e8_e9(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=10)

        assert acs.methods == ["Inform", ""]
        assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
        device.restart()
        device.run(seconds=10)
        assert len(device.informs()) == 1
        device.restart(boot=True)
        device.run(seconds=10)
        assert device.events() == [("1 BOOT", "")]


def test_an_inform_has_what_table_33_asks_for_e5(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run()

        names = [*device.informs()[0].texts("Name")]
        assert {name.removeprefix(ROOT) for name in names} == {
            "DeviceInfo.SpecVersion",
            "DeviceInfo.HardwareVersion",
            "DeviceInfo.SoftwareVersion",
            "DeviceInfo.ProvisioningCode",
            "ManagementServer.ConnectionRequestURL",
            "ManagementServer.ParameterKey",
            "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress",
        }
        assert device.informs()[0].text("CurrentTime") == "2026-11-02T00:00:00Z"


def test_a_quiet_session_writes_nothing(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=10)
        before = device.agent.state.commits, sorted((tmp_path / "state").iterdir())

        device.run(seconds=1800)

        assert len(device.informs()) == 4
        assert device.events() == NEXT
        assert (device.agent.state.commits, sorted((tmp_path / "state").iterdir())) == before


def test_events_are_over_when_their_session_is_and_not_before_e4(tmp_path: Path) -> None:
    broken = [Answer(body=inform_response()), Answer(status=500)]
    with ScriptedAcs(answers(*broken)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=3)
        device.restart()
        acs.plan = session()
        device.run(seconds=30)

        assert device.events(0) == device.events(1) == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
        assert [post.text("RetryCount") for post in device.informs()] == ["0", "0"]


def test_an_event_that_comes_during_a_session_waits_for_the_next_one(tmp_path: Path) -> None:
    usual = session()

    def plan(post: Post) -> Answer:
        if post.method == "" and len(device.informs()) == 1:
            device.agent.engine.raise_event(Event("X 00D09E Radar"))
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=30)

        assert device.events(0) == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
        assert device.events(1) == [("X 00D09E Radar", "")]


def test_failed_informs_are_counted_and_the_wait_grows_e4_p9(tmp_path: Path) -> None:
    with ScriptedAcs(lambda _post: Answer(status=500)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=600)

        counts = [int(post.text("RetryCount") or 0) for post in device.informs()]
        assert counts == [*range(len(counts))]
        assert 5 <= len(counts) <= 7
        assert device.agent.engine.last is not None
        assert "500" in (device.agent.engine.last.reason or "")


def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(tmp_path: Path) -> None:
    busy = Answer(status=503, headers=(("Retry-After", "300"),))
    with ScriptedAcs(answers(busy)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=290)
        assert len(acs.posts) == 1
        acs.plan = session()
        device.run(seconds=60)

        assert len(device.informs()) == 2


def test_an_inform_that_is_to_be_sent_again_has_a_higher_retry_count_e18(tmp_path: Path) -> None:
    plan = answers(acs_fault(8005), acs_fault(8005), inform_response())
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run()

        assert [post.text("RetryCount") for post in device.informs()] == ["0", "1", "2"]
        assert {post.connection for post in acs.posts} == {1}


def test_a_value_that_the_acs_sets_is_kept_and_makes_no_session_d16(tmp_path: Path) -> None:
    plan = session(set_values(("DeviceConfig.PersistentData", "abc")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=60)
        device.restart()

        assert acs.methods == ["Inform", "", "SetParameterValuesResponse"]
        assert device.agent.tree.setting("DeviceConfig.PersistentData") == "abc"
        assert device.agent.tree.setting("ManagementServer.ParameterKey") == "k1"


def test_a_change_that_is_marked_makes_a_session_d14_e6(tmp_path: Path) -> None:
    name = "DeviceConfig.PersistentData"
    with ScriptedAcs(session(set_attributes(name, 2))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=100)

        device.agent.tree.set_locally(name, "changed")
        device.run(seconds=10)

        assert device.events() == [("4 VALUE CHANGE", "")]
        assert "changed" in [*device.informs()[-1].texts("Value")]
        device.run(seconds=100)
        assert len(device.informs()) == 2


def test_changes_are_told_at_most_once_in_their_interval_d18(tmp_path: Path) -> None:
    name = "DeviceConfig.PersistentData"
    with ScriptedAcs(session(set_attributes(name, 2))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=100)
        for number in range(10):
            device.agent.tree.set_locally(name, f"value {number}")
            device.run(seconds=5)
        device.run(seconds=60)

        changes = [post for post in device.informs() if "4 VALUE CHANGE" in post.texts("EventCode")]
        assert len(changes) == 2
        assert "value 9" in [*changes[-1].texts("Value")]


def test_a_connection_request_makes_a_session_c1_c7(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=10)

        device.agent.engine.connection_request()
        device.run(seconds=2)

        assert device.events() == [("6 CONNECTION REQUEST", "")]
        device.run(seconds=60)
        assert len(device.informs()) == 2


def test_a_scheduled_inform_comes_once_and_outlives_a_reboot_r17_e16(tmp_path: Path) -> None:
    plan = session(request("ScheduleInform", arguments(DelaySeconds=100, CommandKey="s1")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=20)
        device.restart(boot=True)
        device.run(seconds=5)
        device.run(seconds=200)

        scheduled = [one for one in range(len(device.informs())) if ("3 SCHEDULED", "") in device.events(one)]
        assert len(scheduled) == 1
        assert ("M ScheduleInform", "s1") in device.events(scheduled[0])


def test_as_many_informs_are_scheduled_as_can_wait(tmp_path: Path) -> None:
    asked = request("ScheduleInform", arguments(DelaySeconds=100, CommandKey="s"))
    with ScriptedAcs(session(*[asked] * 65)) as acs, life(tmp_path, acs) as device:
        device.step()

        assert len(device.agent.state.schedule()) == 64
        refusals = [post.text("FaultString") for post in acs.posts if post.method == "Fault"]
        assert refusals == ["64 Informs are scheduled, and at most 64 can be"]


def test_a_reboot_comes_after_the_session_and_its_key_after_the_boot_r14_s16(tmp_path: Path) -> None:
    plan = session(request("Reboot", arguments(CommandKey="r1")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert device.keeper.names() == ["reboot"]
        assert acs.methods == ["Inform", "", "RebootResponse"]
        device.run(seconds=1000)
        assert len(device.informs()) == 1
        device.restart(boot=True)
        device.run(seconds=5)
        assert device.events() == [("1 BOOT", ""), ("M Reboot", "r1")]
        assert device.keeper.names() == ["reboot"]
        device.restart(boot=True)
        device.run(seconds=5)
        assert device.events() == [("1 BOOT", "")]


def test_a_reboot_waits_for_a_clean_end_of_its_session_s16(tmp_path: Path) -> None:
    plan = answers(inform_response(), request("Reboot", arguments(CommandKey="r1")), Answer(status=500))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=3)
        assert device.keeper.names() == []

        acs.plan = session()
        device.run(seconds=30)

        assert device.keeper.names() == ["reboot"]


def test_a_download_is_applied_after_the_session_and_told_after_the_reboot_t8_t9_t10(tmp_path: Path) -> None:
    with ScriptedAcs(session(download())) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        assert acs.methods == ["Inform", "", "DownloadResponse"]
        assert acs.posts[-1].text("Status") == "1"
        assert device.keeper.names() == ["apply"]

        device.keeper.end(device.world.boot_id)
        device.run(seconds=5)
        assert device.keeper.names() == ["apply", "reboot"]
        assert told_keys(acs) == []

        device.restart(boot=True)
        device.run(seconds=5)
        assert device.events() == [("1 BOOT", ""), ("7 TRANSFER COMPLETE", ""), ("M Download", "d1")]
        assert acs.methods[-3:] == ["Inform", "TransferComplete", ""]
        assert told_keys(acs) == ["d1"]
        assert acs.posts[-2].text("FaultCode") == "0"
        assert device.keeper.names() == ["apply", "reboot", "confirm"]
        device.run(seconds=5)
        assert device.agent.state.transfers() == ()


def test_a_download_that_fails_is_told_with_the_words_of_the_installer_t12_p26(tmp_path: Path) -> None:
    with ScriptedAcs(session(download())) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        report = {
            **APPLIED,
            "exit": 4,
            "status": "untrusted",
            "fault": {"code": 9010, "string": "not trusted"},
        }
        device.keeper.end(device.world.boot_id, report)
        device.run(seconds=5)

        told = next(post for post in acs.posts if post.method == "TransferComplete")
        assert (told.text("FaultCode"), told.text("FaultString")) == ("9010", "not trusted")
        assert device.keeper.names() == ["apply"]


def test_a_delayed_download_waits_t4(tmp_path: Path) -> None:
    with ScriptedAcs(session(download(delay=120))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=60)
        assert device.keeper.names() == []

        device.run(seconds=70)

        assert device.keeper.names() == ["apply"]


def test_a_release_that_was_rolled_back_is_told_so_t15(tmp_path: Path) -> None:
    with ScriptedAcs(session(download())) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id)
        device.run(seconds=5)
        acs.plan = lambda _post: Answer(status=500)
        device.restart(boot=True)
        device.run(seconds=60)
        gone = device.keeper.installed.pop(0)
        device.keeper.rolled_back.append(
            gone | {"by": "delay", "reason": "not confirmed", "time": gone["time"]}
        )
        device.keeper.trial = None
        acs.plan = session()

        device.restart(boot=True)
        device.run(seconds=30)

        told = next(post for post in acs.posts if post.method == "TransferComplete")
        assert told.text("FaultCode") == "9010"
        assert told.text("FaultString") == "installed, but the ACS was out of reach for 600 s: rolled back"


def test_a_completion_that_the_acs_refuses_is_no_reason_for_a_session_but_comes_with_the_next(
    tmp_path: Path,
) -> None:
    refused: list[Post] = []

    def plan(post: Post) -> Answer:
        if post.method == "TransferComplete" and not refused:
            refused.append(post)
            return Answer(body=acs_fault(8002, "not now", post.id))
        return usual(post)

    usual: Plan = session(download())
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.keeper.end(device.world.boot_id, {**APPLIED, "reboot_required": False})
        device.run(seconds=100)
        assert told_keys(acs) == ["d1"]
        device.run(seconds=600)

        assert told_keys(acs) == ["d1", "d1"]
        assert device.events() == [*NEXT, ("7 TRANSFER COMPLETE", ""), ("M Download", "d1")]
        assert device.agent.state.transfers() == ()


def test_a_new_url_is_used_for_every_later_session_and_is_on_trial_d9_t15(tmp_path: Path) -> None:
    back_up = '[back-up]\nparameters = ["ManagementServer.URL"]\n'
    with ScriptedAcs(session()) as other:
        plan = session(set_values(("ManagementServer.URL", other.url)))
        with ScriptedAcs(plan) as acs, life(tmp_path, acs, back_up) as device:
            device.run(seconds=20)

            assert [*other.posts[0].texts("EventCode")] == ["0 BOOTSTRAP"]
            assert device.agent.state.trial() is None


def test_a_new_url_that_leads_nowhere_is_set_back_t15(tmp_path: Path) -> None:
    back_up = '[back-up]\nparameters = ["ManagementServer.URL"]\n'
    plan = session(set_values(("ManagementServer.URL", "http://127.0.0.1:9/nowhere")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs, back_up) as device:
        device.run(seconds=300)
        assert len(device.informs()) == 1

        device.run(seconds=700)

        assert len(device.informs()) >= 2
        assert device.agent.tree.setting("ManagementServer.URL") == acs.url
        assert any("ManagementServer.URL set back" in line for line in device.log)


def test_a_factory_reset_forgets_what_the_acs_has_set_r20(tmp_path: Path) -> None:
    plan = session(set_values(("DeviceConfig.PersistentData", "abc")), request("FactoryReset"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        assert acs.methods[-1] == "FactoryResetResponse"
        assert device.agent.engine.must_begin_anew
        device.restart()
        device.run(seconds=5)
        assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
        assert device.agent.tree.setting("DeviceConfig.PersistentData") == ""


def test_an_unknown_method_is_9000_x11(tmp_path: Path) -> None:
    with ScriptedAcs(session(request("X_00D09E_Strange"))) as acs, life(tmp_path, acs) as device:
        device.run()

        assert acs.posts[-1].text("FaultCode") == "9000"
        assert device.agent.engine.last is not None
        assert device.agent.engine.last.reason is None


def test_request_download_never_reaches_a_server_that_does_not_list_it_a2_a3(tmp_path: Path) -> None:
    errand = Errand("RequestDownload", {"FileType": "2 Web Content", "FileTypeArg": ()})
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        device.agent.engine.run_errand(errand)
        device.run(seconds=10)

        with pytest.raises(RefusedError, match="the ACS has no RequestDownload"):
            errand.answer.result(0)
        assert acs.methods == ["Inform", "", "Inform", "GetRPCMethods", ""]


def test_the_methods_of_the_acs_are_shown_once_it_was_asked_v3(tmp_path: Path) -> None:
    errand = Errand("RequestDownload", {"FileType": "2 Web Content", "FileTypeArg": ()})
    with ScriptedAcs(listing("RequestDownload")) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.agent.status.refresh()
        before = device.agent.status.snapshot["acs_methods"]

        device.agent.engine.run_errand(errand)
        device.run(seconds=10)
        device.agent.status.refresh()

        assert before is None
        assert device.agent.status.snapshot["acs_methods"] == [
            *("GetRPCMethods", "Inform", "RequestDownload", "TransferComplete")
        ]


def listing(*methods: str) -> Plan:
    """Return a server that lists further methods, and answers them."""
    usual = session()

    def plan(post: Post) -> Answer:
        if post.method == "GetRPCMethods":
            names = ("Inform", "GetRPCMethods", "TransferComplete", *methods)
            members = "".join(f"<string>{name}</string>" for name in names)
            body = f'<MethodList soapenc:arrayType="xsd:string[{len(names)}]">{members}</MethodList>'
            return Answer(body=response("GetRPCMethods", body, post.id))
        if post.method == "Kicked":
            return Answer(body=response("Kicked", "<NextURL>http://next/</NextURL>", post.id))
        return usual(post)

    return plan


def test_a_kick_is_reported_and_brings_the_next_url_a4_e14(tmp_path: Path) -> None:
    errand = Errand("Kicked", {"Command": "c", "Referer": "", "Arg": "", "Next": "http://n/"})
    with ScriptedAcs(listing("Kicked")) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)

        device.agent.engine.run_errand(errand)
        device.run(seconds=10)

        assert errand.answer.result(0)["NextURL"] == "http://next/"
        assert device.events() == [("5 KICKED", "")]


def test_kicks_are_limited_a5(tmp_path: Path) -> None:
    with ScriptedAcs(listing("Kicked")) as acs, life(tmp_path, acs) as device:
        given = {"Command": "c", "Referer": "", "Arg": "", "Next": ""}
        for _ in range(60):
            device.agent.engine.run_errand(Errand("Kicked", given))

        with pytest.raises(RefusedError, match="at most 60 kicks in an hour"):
            device.agent.engine.run_errand(Errand("Kicked", given))
        device.world.pass_time(3601)
        device.agent.engine.run_errand(Errand("Kicked", given))


def test_an_event_of_a_provider_outlives_a_power_cut_e13(tmp_path: Path) -> None:
    with ScriptedAcs(lambda _post: Answer(status=500)) as acs, life(tmp_path, acs) as device:
        device.agent.engine.raise_event(Event("X 00D09E Radar"))
        device.run(seconds=3)
        acs.plan = session()
        device.restart()
        device.run(seconds=30)

        assert ("X 00D09E Radar", "") in device.events()


def test_a_provider_that_raises_events_for_ever_does_not_fill_the_state(tmp_path: Path) -> None:
    with ScriptedAcs(lambda _post: Answer(status=500)) as acs, life(tmp_path, acs) as device:
        engine = device.agent.engine
        for number in range(64):
            engine.raise_event(Event(f"X 00D09E Radar{number}"))

        with pytest.raises(RefusedError, match="an event more than the 64 that wait for a session"):
            engine.raise_event(Event("X 00D09E Radar64"))
        engine.raise_event(Event("X 00D09E Radar0"))  # it waits already


def test_connection_requests_need_a_password_that_is_not_empty_c4(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        assert device.agent.credentials() is None

        device.agent.tree.set_locally("ManagementServer.ConnectionRequestPassword", "sesam")
        assert device.agent.credentials() == ("", "sesam")


def test_without_a_clock_the_time_since_boot_is_told_x16(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.world.wall = 0.0
        device.run()

        assert device.informs()[0].text("CurrentTime") == "0001-01-01T00:01:40"


def test_the_log_has_no_password(tmp_path: Path) -> None:
    plan = session(set_values(("ManagementServer.Password", "geheim")))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.agent.journal.traces = True
        device.run(seconds=5)

        assert any(entry["kind"] == "trace" for entry in device.entries)
        assert "geheim" not in str(device.entries)
        assert "geheim" not in (tmp_path / "state" / "log.ndjson").read_text()


def test_a_state_that_cannot_be_read_is_moved_aside_and_the_agent_starts_p24(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "state.db").write_bytes(b"rubbish" * 1000)
        with life(tmp_path, acs) as device:
            device.run(seconds=5)

            assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]
            assert any("was moved to" in line for line in device.log)


def test_the_status_says_why_there_is_no_touch(tmp_path: Path) -> None:
    with ScriptedAcs(lambda _post: Answer(status=404)) as acs, life(tmp_path, acs) as device:
        device.run(seconds=2)
        device.agent.status.refresh()

        status = device.agent.status.snapshot
        assert (status["schema"], status["running"], status["in_touch"]) == (
            "spkg.agent.status/1",
            True,
            False,
        )
        assert "404" in status["reason"]
        assert status["retry_count"] == 1
        assert {one["code"] for one in status["events"]} == {"0 BOOTSTRAP", "1 BOOT"}
        assert status["next_session"] is not None


def test_what_nobody_asks_for_is_refused_at_the_control_socket(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        for name, given in (
            ("nonsense", {}),
            ("set", {"values": 1}),
            ("inform", {"event": "9 NEW"}),
            ("parameters", {"path": 1}),
            ("discover", {"option_43": "01"}),
        ):
            with pytest.raises(SpkgError):
                device.agent.answers.answer(name, given)


def test_what_dhcp_says_counts_last_d2_d4_d5_d12(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, ScriptedAcs(session()) as other:
        url = acs.url.encode()
        option = bytes([1, len(url)]) + url + b"\x02\x05ISP-9" + b"\x03\x011" + b"\x04\x03900"
        given = {"option_43": option.hex()}
        with life(tmp_path, other, **{'url = "': 'dhcp = true\nurl = "'}) as device:
            device.agent.answers.answer("discover", given)
            device.run(seconds=5)
            assert len(other.posts) == 2
            assert acs.posts == []
            assert device.agent.tree.setting("ManagementServer.PeriodicInformInterval") == "900"
        (again := tmp_path / "again").mkdir()
        with life(again, acs, **{f'url = "{acs.url}"': "dhcp = true"}) as device:
            device.run(seconds=5)
            assert acs.posts == []
            device.agent.answers.answer("discover", given)
            device.run(seconds=5)
            assert device.events() == [("0 BOOTSTRAP", ""), ("1 BOOT", "")]


def test_the_answers_of_the_control_socket_have_their_keys(tmp_path: Path) -> None:
    with ScriptedAcs(session(download(delay=3600))) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.agent.status.refresh()
        answers = device.agent.answers

        config = answers.answer("config", {})
        assert isinstance(config, dict)
        assert config["schema"] == "spkg.agent.config/1"
        rows = {one["name"]: (one["value"], one["from"]) for one in config["values"]}
        assert rows["ManagementServer.URL"] == (acs.url, "file")
        assert rows["ManagementServer.Password"] == ("not set", "file")
        assert rows["acs.timeout"] == (30, "file")
        transfers = answers.answer("transfers", {})
        assert isinstance(transfers, dict)
        (one,) = transfers["transfers"]
        assert (one["command_key"], one["direction"], one["state"]) == ("d1", "Download", 1)
        assert one["url"] == "http://files.example/p.spkg"
        assert one["due"] == "2026-11-02T01:00:00Z"
        log = answers.answer("log", {"count": 1})
        assert isinstance(log, dict)
        assert len(log["entries"]) == 1
        answers.answer("trace", {"on": True})
        assert device.agent.journal.traces
        assert device.agent.status.line == f"in touch with {acs.url}"
        assert device.agent.credentials() is None


def test_a_request_that_the_acs_refuses_is_explained_a3(tmp_path: Path) -> None:
    usual = listing("RequestDownload")

    def plan(post: Post) -> Answer:
        if post.method == "RequestDownload":
            return Answer(body=acs_fault(8003, "not that", post.id))
        return usual(post)

    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        given = {"file_type": "2 Web Content", "arguments": {"Version": "1"}}
        errand = device.agent.answers.answer("request-download", given)
        assert isinstance(errand, Errand)
        device.run(seconds=10)

        with pytest.raises(RefusedError, match="the ACS refuses RequestDownload: 8003 not that"):
            errand.answer.result(0)
        (post,) = [one for one in acs.posts if one.method == "RequestDownload"]
        assert [*post.texts("Name")] == ["Version"]


def test_a_request_fails_with_its_session(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        acs.plan = lambda _post: Answer(status=500)
        errand = device.agent.answers.answer("kick", {"command": "c"})
        assert isinstance(errand, Errand)
        device.run(seconds=2)

        with pytest.raises(SpkgError, match="500"):
            errand.answer.result(0)


def test_periodic_informs_can_be_off_d19(tmp_path: Path) -> None:
    plan = session(set_values(("ManagementServer.PeriodicInformEnable", "0"), kind="boolean"))
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=7200)

        assert len(device.informs()) == 1


def test_a_connection_request_outlives_its_session_that_breaks_c7(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        acs.plan = lambda _post: Answer(status=500)
        device.agent.engine.connection_request()
        device.run(seconds=2)
        acs.plan = session()
        device.run(seconds=60)

        assert [("6 CONNECTION REQUEST", "")] == device.events(1) == device.events(2)
        assert len(device.informs()) == 3
