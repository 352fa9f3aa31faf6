"""Reboot and FactoryReset: carried out after the session, once, and told afterwards (A.3.2.9, A.4.1.6)."""

from pathlib import Path

import pytest

from spkg.agent.keeper_client import KeeperGoneError
from spkg.agent.state import FACT_RESET
from spkg.cwmp.events import Event
from spkg.cwmp.faults import MethodFaultError
from tests.support.simulated_device import DOWNLOAD, Agent, SimulatedDevice
from tests.support.state_kit import on_disk


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice()


def test_a_reboot_is_on_disk_before_it_is_answered_r14(tmp_path: Path, device: SimulatedDevice) -> None:
    agent = Agent(tmp_path / "state", device)
    assert agent.restarts.reboot({"CommandKey": "why"}) == {}

    with on_disk(tmp_path / "state") as found:
        assert found.fact("reboot-due") == "boot-1"
    assert (agent.restarts.is_due, device.commanded) == (True, [])


def test_a_reboot_comes_once_and_its_keys_are_told_in_the_next_boot_r14_e12_e16(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    for key in ("a  b ", "", "a  b "):
        agent.restarts.reboot({"CommandKey": key})
    agent.settle()
    before = agent.state.events()
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert (before, device.commanded) == ((), [1])
    assert agent.state.events() == (Event("M Reboot", "a  b "), Event("M Reboot", ""))
    assert agent.restarts.is_due is False


def test_an_acs_that_asks_for_ever_does_not_fill_the_state(tmp_path: Path, device: SimulatedDevice) -> None:
    agent = Agent(tmp_path / "state", device)
    for number in range(64):
        agent.restarts.reboot({"CommandKey": str(number)})

    with pytest.raises(MethodFaultError) as caught:
        agent.restarts.reboot({"CommandKey": "64"})

    assert (caught.value.code, caught.value.text) == (
        9002,
        "the device is about to reboot, and at most 64 CommandKeys are kept",
    )
    assert agent.restarts.reboot({"CommandKey": "63"}) == {}  # it is kept already


def test_a_start_in_the_same_boot_runs_the_command_again(tmp_path: Path, device: SimulatedDevice) -> None:
    Agent(tmp_path / "state", device).restarts.reboot({"CommandKey": ""})

    for _ in range(2):
        agent = Agent(tmp_path / "state", device)
        agent.settle()

        assert agent.restarts.rebooting is True
    assert device.commanded == [1, 1]


def test_a_running_transfer_is_stopped_before_a_reboot_and_goes_on_after_it(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.queue.work()
    agent.restarts.reboot({"CommandKey": ""})
    waiting = agent.restarts.work()
    agent.settle()

    assert (waiting, device.calls.count("stop"), device.commanded) == (False, 1, [1])
    assert (device.installed, [one.state for one in agent.queue.queued()]) == ([], [1])
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()
    assert len(device.installed) == 1


def test_a_commit_is_awaited_before_a_reboot_and_needs_no_second_one(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.queue.work()
    device.transfer()  # it was past the point of no return
    agent.restarts.reboot({"CommandKey": "key 9"})
    agent.settle()
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert (len(device.installed), device.commanded) == (1, [1])
    assert agent.state.events() == (Event("M Reboot", "key 9"),)
    assert agent.queue.events()[1:] == (Event("M Download", "key 1"),)


def test_a_reboot_that_does_not_come_lets_the_agent_go_on_and_is_tried_again(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    agent.restarts.reboot({"CommandKey": ""})
    agent.settle()
    device.failed.append(("reboot", 4))
    device.failed.append(("provider x", 1))
    at_once = agent.restarts.work()
    rebooting = agent.restarts.rebooting
    again_at = agent.restarts.again_at
    device.seconds += 60
    agent.settle()

    assert (again_at, agent.restarts.again_at) == (160.0, None)

    assert (at_once, rebooting, device.commanded) == (False, False, [1, 1])
    assert agent.notes == [
        "the device reboots",
        "the command that reboots ended with status 4; it is tried again in 60 s",
        "the device reboots",
    ]


def test_a_command_that_can_not_be_started_keeps_nobody_from_the_acs(device: SimulatedDevice) -> None:
    device.broken.add("reboot")
    agent = Agent(None, device)
    agent.restarts.reboot({"CommandKey": ""})
    agent.queue.download(DOWNLOAD)
    done = agent.restarts.work()

    assert (done, agent.restarts.rebooting, agent.restarts.work()) == (True, False, False)
    assert agent.queue.work() is True


def test_a_factory_reset_forgets_all_then_resets_the_device_r16_r20(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    agent.queue.download({**DOWNLOAD, "DelaySeconds": 60})
    with agent.state.change() as change:
        change.set_value("Name", "value")
    answer = agent.restarts.factory_reset({})
    agent.settle()

    assert (answer, device.resets, agent.restarts.was_reset) == ({}, 1, True)
    assert (agent.queue.queued(), dict(agent.state.values()), agent.restarts.is_due) == ((), {}, False)
    assert "providers reset, 1 values" in agent.notes  # first: a power cut in between has it done again


@pytest.mark.parametrize("boots", [0, 1])
def test_a_factory_reset_outlives_a_power_cut_until_its_command_was_started(
    boots: int, tmp_path: Path, device: SimulatedDevice
) -> None:
    Agent(tmp_path / "state", device).restarts.factory_reset({})
    for _ in range(boots):
        device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert device.resets == 1


def test_a_command_that_resets_by_rebooting_is_not_started_again_in_the_next_boot(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)
    agent.restarts.factory_reset({})

    def gone(name: str) -> None:
        if name == "reset":
            raise KeeperGoneError("gone")

    device.step = gone
    with pytest.raises(KeeperGoneError):
        agent.restarts.work()
    device.step = lambda _name: None
    same_boot = Agent(tmp_path / "state", device).restarts.is_due
    device.boot()
    agent = Agent(tmp_path / "state", device)

    assert (same_boot, agent.restarts.is_due, agent.state.fact(FACT_RESET)) == (True, False, None)


def test_a_reset_whose_command_fails_forgets_only_once(device: SimulatedDevice) -> None:
    device.broken.add("reset")
    agent = Agent(None, device)
    agent.restarts.factory_reset({})
    agent.restarts.work()
    with agent.state.change() as change:
        change.set_value("Name", "since")
    device.seconds += 60
    device.broken.clear()
    agent.restarts.work()

    assert (device.resets, dict(agent.state.values())) == (1, {"Name": "since"})


@pytest.mark.parametrize("order", ["reboot", "apply", "record", "confirm"])
def test_a_keeper_that_is_gone_is_no_failure_of_what_was_asked_for(
    order: str, tmp_path: Path, device: SimulatedDevice
) -> None:
    def gone(name: str) -> None:
        if name == order:
            raise KeeperGoneError("gone")

    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    device.step = gone
    with pytest.raises(KeeperGoneError):  # noqa: PT012 - wherever it is gone
        agent.settle()
        device.boot()
        agent = Agent(tmp_path / "state", device)
        agent.queue.told(agent.queue.to_tell()[0])
    device.step = lambda _name: None
    agent = Agent(tmp_path / "state", device)
    agent.settle()
    device.boot()
    agent = Agent(tmp_path / "state", device)

    assert len(device.installed) == 1
    assert [one.arguments["CommandKey"] for one in agent.queue.to_tell()] == ["key 1"]
