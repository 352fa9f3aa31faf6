"""How an agent says that it is, from its parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from spkg.agent.assembly import _take_event
from spkg.agent.status import StatusDesk, shown_url, unsafe_settings
from spkg.agent.tree.provider import ProviderNotice
from spkg.errors import HostError
from tests.support.acs import ScriptedAcs, request, session
from tests.support.acs_calls import set_values
from tests.support.agent_kit import Life, life


def broken() -> Any:
    raise HostError("nobody answers")


def desk(device: Life, **sources: Any) -> StatusDesk:
    """Return a status desk some of whose sources are others."""
    found = device.agent.status
    found._sources = replace(found._sources, **sources)
    found.refresh()
    return found


def test_what_cannot_be_asked_is_left_out(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run()

        found = desk(device, trial=broken, options=broken).snapshot

        assert (found["trial"], found["options"]) == (None, [])


def test_a_talker_with_rights_is_unsafe(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        unsafe = desk(device, is_root=True, confined=False).snapshot["unsafe"]

        assert [one.partition(":")[0] for one in unsafe[-2:]] == [
            "the process that talks to the ACS runs as root",
            "the kernel has no Landlock",
        ]


def test_a_package_on_trial_is_shown(tmp_path: Path) -> None:
    trial = {"package": "ab", "until": None, "boots_left": 2}
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        assert desk(device, trial=lambda: trial).snapshot["trial"] == trial


def test_without_an_acs_that_is_the_reason(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs, **{f'url = "{acs.url}"': ""}) as device:
        device.run()
        device.agent.status.refresh()

        assert device.agent.status.snapshot["reason"].startswith("no ACS is known")
        assert device.agent.status.line.startswith("not in touch: no ACS is known")
        rows = {one["name"]: one["from"] for one in device.agent.status.settings()}
        assert rows["ManagementServer.URL"] == "default"
        assert rows["ManagementServer.Username"] == "default"


def test_a_device_that_reboots_says_so_and_a_value_of_the_acs_is_its(tmp_path: Path) -> None:
    plan = session(
        set_values(("DeviceConfig.PersistentData", "x")), request("Reboot", "<CommandKey>k</CommandKey>")
    )
    with ScriptedAcs(plan) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        device.agent.status.refresh()

        assert device.agent.status.snapshot["reason"] == "the device is about to reboot"
        rows = {one["name"]: (one["value"], one["from"]) for one in device.agent.status.settings()}
        assert rows["DeviceConfig.PersistentData"] == ("x", "ACS")


def test_without_a_clock_there_is_no_time_of_the_next_session(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.world.wall = 0.0
        device.run()
        device.agent.status.refresh()

        assert device.agent.status.snapshot["next_session"] is None


def test_unsafe_settings_are_named(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        config = replace(
            device.config,
            acs=replace(device.config.acs, dhcp=True, unsafe_downgrade=True),
            install=replace(device.config.install, options=("--unsafe-basic", "--crl=x")),
        )

        found = [*unsafe_settings(config, "https://acs/")]

        assert len(found) == 3
        assert found[-1] == "install: --unsafe-basic"
        assert shown_url("http://a/b?secret=1") == "http://a/b"


def test_what_a_provider_says_is_an_event_or_a_change(tmp_path: Path) -> None:
    with ScriptedAcs(session()) as acs, life(tmp_path, acs) as device:
        device.run(seconds=5)
        engine, journal = device.agent.engine, device.agent.journal

        _take_event(engine, journal, ProviderNotice(provider="p", event="9 NEW"))
        _take_event(engine, journal, ProviderNotice(provider="p", event="X 00D09E Radar"))
        device.run(seconds=5)

        assert ("X 00D09E Radar", "") in device.events()
        assert any(line.startswith("failure: provider p: ") for line in device.log)
