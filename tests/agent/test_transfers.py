"""The queue of transfers: order, delay, results, and what an interruption at any step leaves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.agent.transfer_outcome import completion
from spkg.cwmp.events import Event
from spkg.cwmp.faults import MethodFaultError
from spkg.cwmp.values import FaultStruct, QueuedTransfer, SinceBoot
from spkg.errors import HostError
from tests.support.simulated_device import DOWNLOAD, UPLOAD, Agent, KilledError, SimulatedDevice
from tests.support.state_kit import on_disk

ACCEPTED = {"Status": 1, "StartTime": None, "CompleteTime": None}
BROKEN = {"exit": 4, "status": "untrusted", "reason": "untrusted"}


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice(wants_reboot=False)


def fault_of(agent: Agent) -> FaultStruct:
    (done,) = agent.queue.to_tell()
    found = completion(done)["FaultStruct"]
    assert isinstance(found, FaultStruct)
    return found


def keys(agent: Agent) -> list[str]:
    return [str(one.arguments["CommandKey"]) for one in agent.queue.to_tell()]


def tell(agent: Agent) -> list[str]:
    """Call TransferComplete for all that is complete, and return the CommandKeys."""
    told = keys(agent)
    for one in agent.queue.to_tell():
        agent.queue.told(one)
    return told


def test_a_download_is_on_disk_before_it_is_answered_and_forgotten_once_told_t8_t9(
    tmp_path: Path, device: SimulatedDevice
) -> None:
    agent = Agent(tmp_path / "state", device)

    answer = agent.queue.download(DOWNLOAD)
    with on_disk(tmp_path / "state") as found:
        kept = found.transfers()
    before = agent.queue.queued(), agent.queue.events()
    agent.settle()
    done, events = agent.queue.to_tell(), agent.queue.events()
    agent.queue.told(done[0])

    assert answer == ACCEPTED
    assert [dict(one.arguments) for one in kept] == [DOWNLOAD]
    assert before == ((QueuedTransfer("key 1", 1),), ())
    assert events == (Event("7 TRANSFER COMPLETE"), Event("M Download", "key 1"))
    assert completion(done[0]) == {
        "CommandKey": "key 1",
        "FaultStruct": FaultStruct(0, ""),
        "StartTime": datetime(2026, 11, 29, 12, 1, 4, tzinfo=UTC),
        "CompleteTime": datetime(2026, 11, 29, 12, 1, 4, tzinfo=UTC),
    }
    assert agent.queue.queued() == ()
    assert device.calls[-1] == "confirm"


def test_the_states_of_get_queued_transfers_r18(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.download(DOWNLOAD)
    agent.queue.upload(UPLOAD)
    states = [[one.state for one in agent.queue.queued()]]
    agent.queue.work()
    states.append([one.state for one in agent.queue.queued()])
    device.transfer()
    agent.queue.work()
    states.append([one.state for one in agent.queue.queued()])

    assert states == [[1, 1], [2, 1], [3, 1]]
    assert [one.command_key for one in agent.queue.queued()] == ["key 1", "key 2"]


def test_a_seventeenth_transfer_is_refused_with_a_code_of_its_method_t12(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    for number in range(16):
        agent.queue.download({**DOWNLOAD, "CommandKey": str(number)})

    with pytest.raises(MethodFaultError) as caught:
        agent.queue.download(DOWNLOAD)

    assert (caught.value.code, caught.value.text) == (9002, "16 transfers wait, and at most 16 can")
    assert len(agent.queue.queued()) == 16


def test_what_is_refused_is_not_queued(device: SimulatedDevice) -> None:
    agent = Agent(None, device, upload=False)
    with pytest.raises(MethodFaultError):
        agent.queue.download({**DOWNLOAD, "URL": "x"})
    with pytest.raises(MethodFaultError):
        agent.queue.upload(UPLOAD)

    assert (agent.queue.queued(), agent.state.commits) == ((), 0)


# Delay and order.


def test_a_delayed_download_waits_whatever_happens_to_the_clock_t4(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.download({**DOWNLOAD, "DelaySeconds": 60})

    device.wall = 5_000_000.0  # forth
    at_once = agent.queue.work()
    device.seconds += 59
    early = agent.queue.work()
    device.wall, device.seconds = 3.0, device.seconds + 1  # back
    remaining = [one.remaining(device.now(), device.boot_id) for one in agent.queue.due_times()]

    assert (at_once, early, remaining) == (False, False, [0.0])
    assert agent.queue.work() is True
    assert agent.queue.due_times() == ()


def test_a_delay_goes_on_over_a_reboot(tmp_path: Path, device: SimulatedDevice) -> None:
    Agent(tmp_path / "state", device).queue.download({**DOWNLOAD, "DelaySeconds": 60})
    device.boot()
    assert device.wall is not None
    device.wall += 59
    agent = Agent(tmp_path / "state", device)
    early = agent.queue.work()
    device.wall += 1

    assert (early, agent.queue.work()) == (False, True)


def test_transfers_begin_in_the_order_in_which_they_are_due(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    for key, delay in (("late", 5), ("first", 0), ("second", 0)):
        agent.queue.download(
            {**DOWNLOAD, "CommandKey": key, "DelaySeconds": delay, "URL": f"http://127.0.0.1/{key}"}
        )
    device.seconds += 2
    agent.settle()
    device.seconds += 3
    agent.settle()

    assert [one["command_key"] for one in device.installed] == ["first", "second", "late"]


def test_one_file_asked_for_twice_is_transferred_once_and_each_key_told(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.download(DOWNLOAD)
    agent.queue.download({**DOWNLOAD, "CommandKey": "key 2"})
    agent.queue.download({**DOWNLOAD, "CommandKey": "other", "URL": "http://127.0.0.1/other"})
    agent.queue.download({**DOWNLOAD, "CommandKey": "later", "DelaySeconds": 60})
    agent.queue.work()
    device.transfer()
    agent.queue.work()

    assert keys(agent) == ["key 1", "key 2"]
    assert agent.queue.events() == (
        Event("7 TRANSFER COMPLETE"),
        Event("M Download", "key 1"),
        Event("M Download", "key 2"),
    )
    assert device.calls.count("apply") == 1
    assert tell(agent) == ["key 1", "key 2"]


def test_a_file_with_another_login_is_another_transfer(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.download({**DOWNLOAD, "Password": "wrong"})
    agent.queue.download({**DOWNLOAD, "CommandKey": "key 2", "Password": "right"})
    agent.queue.work()
    device.fails_with = {"exit": 8, "fault": {"code": 9012, "string": "login failed"}}
    device.transfer()
    agent.queue.work()

    assert keys(agent) == ["key 1"]


@pytest.mark.parametrize("key", ["", " ", "a b  c", "7c1e", "\t", "ü €", "x" * 32])
def test_a_command_key_is_data_p38(key: str, tmp_path: Path) -> None:
    device = SimulatedDevice()
    agent = Agent(tmp_path / "state", device)
    agent.queue.download({**DOWNLOAD, "CommandKey": key})
    agent.settle()
    device.boot()
    agent = Agent(tmp_path / "state", device)

    assert agent.queue.events()[1:] == (Event("M Download", key),)
    assert completion(agent.queue.to_tell()[0])["CommandKey"] == key


# How a transfer ends.


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        ({"exit": 3, "fault": {"code": 9010, "string": "malformed"}}, FaultStruct(9010, "malformed")),
        ({"exit": 5, "fault": {"code": 9001, "string": "too new"}}, FaultStruct(9001, "too new")),
        ({"exit": 8, "fault": {"code": 9012, "string": "login failed"}}, FaultStruct(9012, "login failed")),
        ({"exit": 2, "fault": {"code": 9013, "string": "x"}}, FaultStruct(9002, "x")),
        ({"exit": 1, "fault": {"code": 9002, "string": "y" * 300}}, FaultStruct(9002, "y" * 256)),
        ({"exit": 6, "fault": "odd", "message": "words"}, FaultStruct(9002, "words")),
        ({"exit": 6}, FaultStruct(9002, "failed")),
        (
            {"exit": 5, "reason": "rolled-back", "fault": {"code": 9001, "string": "was rolled back"}},
            FaultStruct(9001, "was rolled back"),
        ),
    ],
)
def test_a_failure_has_a_code_of_table_38_and_the_installers_words_t9_t12_p26(
    report: dict[str, Any], fault: FaultStruct, device: SimulatedDevice
) -> None:
    agent = Agent(None, device)
    device.fails_with = report
    agent.queue.download(DOWNLOAD)
    agent.settle()

    assert fault_of(agent) == fault
    assert tell(agent) == ["key 1"]
    assert "confirm" not in device.calls


def test_an_upload_that_fails_is_9011(device: SimulatedDevice) -> None:
    device.broken.add("upload")
    agent = Agent(None, device)
    agent.queue.upload(UPLOAD)
    agent.settle()

    assert fault_of(agent) == FaultStruct(9002, "upload can't be done")
    assert agent.queue.events()[1:] == (Event("M Upload", "key 2"),)


def test_an_upload_is_told_and_confirms_nothing_t11(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.upload(UPLOAD)
    agent.settle()

    assert (fault_of(agent), tell(agent), device.uploads) == (FaultStruct(0, ""), ["key 2"], 1)
    assert "confirm" not in device.calls


def test_times_of_a_device_without_a_clock_are_those_since_boot(device: SimulatedDevice) -> None:
    agent = Agent(None, device)
    agent.queue.download(DOWNLOAD)
    device.fails_with = {"exit": 6}
    agent.settle()
    done = agent.queue.to_tell()[0]
    assert done.result is not None
    undated = replace(done, result={**done.result, "start": "0000-00-01T02:03:04", "complete": "odd"})

    assert completion(undated)["StartTime"] == SinceBoot(93784)
    assert completion(undated)["CompleteTime"] is None


def test_the_same_package_again_is_success_without_a_reboot(tmp_path: Path) -> None:
    device = SimulatedDevice(back_up=600)
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.settle()
    device.boot()
    (tmp_path / "state").unlink()  # so that nobody knows what is on trial
    agent = Agent(tmp_path / "state", device)
    agent.queue.download({**DOWNLOAD, "CommandKey": "again"})
    agent.settle()

    assert (agent.queue.reboot_due, device.commanded) == (False, [1])
    assert fault_of(agent) == FaultStruct(0, "")
    assert tell(agent) == ["again"]
    assert device.trial is None


def test_a_package_that_wants_a_reboot_gets_one_and_is_told_after_it_t10_p29_p41(tmp_path: Path) -> None:
    device = SimulatedDevice()
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.settle()

    assert (device.commanded, agent.restarts.rebooting, agent.queue.events()) == ([1], True, ())
    assert (agent.restarts.work(), agent.queue.work()) == (False, False)  # it waits to be ended
    agent = Agent(tmp_path / "state", device)  # in the same boot the command runs again
    agent.settle()
    assert device.commanded == [1, 1]
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()
    assert agent.queue.events() == (Event("7 TRANSFER COMPLETE"), Event("M Download", "key 1"))
    assert tell(agent) == ["key 1"]
    assert device.commanded == [1, 1]


def test_the_next_download_waits_until_the_one_on_trial_is_confirmed_t15(device: SimulatedDevice) -> None:
    device.back_up = 600
    agent = Agent(None, device)
    agent.queue.download(DOWNLOAD)
    agent.queue.download({**DOWNLOAD, "CommandKey": "next", "URL": "http://127.0.0.1/next"})
    agent.queue.upload(UPLOAD)
    agent.settle()
    waiting = [one.command_key for one in agent.queue.queued() if one.state == 1]
    told = tell(agent)
    agent.settle()

    assert (waiting, told) == (["next"], ["key 1", "key 2"])
    assert [one["command_key"] for one in device.installed] == ["key 1", "next"]


def test_a_trial_that_can_not_be_confirmed_is_told_again(device: SimulatedDevice) -> None:
    device.back_up = 600
    agent = Agent(None, device)
    agent.queue.download(DOWNLOAD)
    agent.settle()
    device.broken.add("confirm")
    with pytest.raises(HostError, match="confirm can't be done"):
        tell(agent)
    device.broken.clear()

    assert tell(agent) == ["key 1"]
    assert device.trial is None


@pytest.mark.parametrize(
    ("by", "reason", "text"),
    [
        ("delay", "not confirmed", "installed, but the ACS was out of reach for 600 s: rolled back"),
        (
            "boots",
            "not confirmed within 3 boots",
            "installed, then rolled back: not confirmed within 3 boots",
        ),
        ("command", None, "installed, then rolled back: by command"),
    ],
)
def test_what_was_rolled_back_before_it_could_be_told_is_a_failure_t15(
    by: str, reason: str | None, text: str, tmp_path: Path
) -> None:
    device = SimulatedDevice(back_up=600)
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.settle()
    device.boot()
    Agent(tmp_path / "state", device)  # it never gets in touch
    device.roll_back(by, reason)
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert fault_of(agent) == FaultStruct(9010, text)
    assert tell(agent) == ["key 1"]
    assert device.commanded == [1]
    assert "confirm" not in device.calls


def test_what_is_installed_is_no_failure_because_another_package_was_rolled_back(tmp_path: Path) -> None:
    device = SimulatedDevice()
    device.rolled_back = [{"package": "another", "time": "", "by": "delay", "reason": None}]
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.settle()
    device.boot()
    agent = Agent(tmp_path / "state", device)

    assert fault_of(agent) == FaultStruct(0, "")


def test_what_was_rolled_back_before_the_agent_knew_of_it_is_a_failure(tmp_path: Path) -> None:
    device = SimulatedDevice(back_up=600)
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.queue.work()
    device.transfer(reported=False)
    device.boot()  # the power is cut, and the new release does not come up
    device.roll_back()
    device.boot()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert fault_of(agent) == FaultStruct(9010, "the package was rolled back")
    assert len(device.installed) == 0


# Interruptions.


@pytest.mark.parametrize("key", ["key 1", ""])
@pytest.mark.parametrize("same_boot", [True, False])
def test_a_transfer_whose_end_nobody_saw_is_found_in_the_record(
    *, same_boot: bool, key: str, tmp_path: Path
) -> None:
    device = SimulatedDevice()
    device.installed.append(
        {"package": "older", "time": "t", "version": None, "command_key": key, "boot_id": "boot-0"}
    )
    agent = Agent(tmp_path / "state", device)
    agent.queue.download({**DOWNLOAD, "CommandKey": key})
    agent.queue.work()
    device.transfer(reported=False)
    device.process = None if same_boot else device.process
    if not same_boot:
        device.boot()

    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert device.calls.count("apply") == 1
    assert len(device.commanded) == same_boot  # another boot was the reboot
    if same_boot:
        device.boot()
        agent = Agent(tmp_path / "state", device)
    assert (fault_of(agent), tell(agent)) == (FaultStruct(0, ""), [key])


def test_an_older_package_with_the_same_key_is_not_taken_for_this_one(tmp_path: Path) -> None:
    device = SimulatedDevice(wants_reboot=False)
    agent = Agent(tmp_path / "state", device)
    agent.queue.download(DOWNLOAD)
    agent.settle()
    tell(agent)
    agent.queue.download({**DOWNLOAD, "URL": "http://127.0.0.1/second"})
    agent.queue.work()
    device.kill_transfer()
    agent = Agent(tmp_path / "state", device)
    agent.settle()

    assert [one["package"] for one in device.installed] == [
        "package of http://127.0.0.1/p.spkg",
        "package of http://127.0.0.1/second",
    ]
    assert tell(agent) == ["key 1"]


@pytest.mark.parametrize(("order", "code"), [(DOWNLOAD, 9010), (UPLOAD, 9011)])
def test_a_transfer_that_is_killed_each_time_ends_after_eight_attempts_p27(
    order: dict[str, Any], code: int, device: SimulatedDevice
) -> None:
    agent = Agent(None, device)
    (agent.queue.download if order is DOWNLOAD else agent.queue.upload)(order)
    for _ in range(8):
        assert agent.queue.work()
        device.kill_transfer()
        assert agent.queue.work()

    assert fault_of(agent) == FaultStruct(code, "interrupted 8 times; the last time its process was killed")
    assert len(agent.notes) == 8


def test_the_transfer_of_an_agent_whose_state_was_lost_is_waited_for(device: SimulatedDevice) -> None:
    lost = Agent(None, device)
    lost.queue.download(DOWNLOAD)
    lost.queue.work()
    agent = Agent(None, device)
    agent.queue.download({**DOWNLOAD, "CommandKey": "new"})
    busy = agent.queue.work()
    device.transfer()
    agent.settle()

    assert (busy, fault_of(agent)) == (False, FaultStruct(0, ""))


def test_a_report_with_the_number_of_a_lost_state_is_not_taken_for_this_transfers(
    device: SimulatedDevice,
) -> None:
    lost = Agent(None, device)
    lost.queue.download(DOWNLOAD)
    lost.settle()
    agent = Agent(None, device)  # its first transfer has the number 1, too
    agent.queue.download({**DOWNLOAD, "URL": "http://127.0.0.1/other"})
    device.step = killer(4)
    with pytest.raises(KilledError):
        agent.queue.work()
    device.step = lambda _name: None
    agent.queue.at_start()

    assert [one.state for one in agent.queue.queued()] == [1]


def killer(at: int) -> Callable[[str], object]:
    """Return what kills at a step, counted from 1."""
    count = 0

    def step(_name: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise KilledError

    return step


class Story:
    """Download, reboot, TransferComplete, with one interruption; the ACS goes on asking what it asked."""

    def __init__(self, path: Path, device: SimulatedDevice) -> None:
        self.path = path
        self.device = device
        self.answered: set[str] = set()
        self.told: list[str] = []
        self.done = False
        self.steps = 0
        self.kill_at = 0
        self.power = False
        self.late = False

    def step(self, _name: str = "") -> None:
        """Be killed here, if it is time."""
        self.steps += 1
        if self.steps == self.kill_at:
            raise KilledError

    def run(self) -> None:
        """Run until all is told, the power being cut or the agent killed on the way."""
        self.device.step = self.step
        for _ in range(12):
            try:
                self._agent()
            except KilledError:
                self._after_kill()
            if self.device.commanded and self.device.commanded[-1] == self.device.boots:
                self.device.boot()
            if self.done:
                assert self.answered == set(self.told) == {"key 1"}
                return
        raise AssertionError(f"told: {self.told}")

    def _after_kill(self) -> None:
        if self.late:
            self.device.transfer(reported=not self.power)
        if self.power:
            self.device.boot()

    def _agent(self) -> None:
        agent = Agent(self.path, self.device)
        self._watch(agent)
        try:
            if not self.answered:
                agent.queue.download(DOWNLOAD)
                self.step()
                self.answered.add("key 1")
            agent.settle()
            for done in agent.queue.to_tell():
                self.step()
                self.told.append(str(done.arguments["CommandKey"]))
                self.step()
                agent.queue.told(done)
                assert self.device.trial is None, "forgotten before it was confirmed"
            self.done = agent.queue.queued() == ()
        finally:
            agent.state.close()

    def _watch(self, agent: Agent) -> None:
        """Be able to be killed before and after each commit."""
        commit = agent.state._commit

        def watched(contents: Any) -> None:
            self.step()
            commit(contents)
            self.step()

        agent.state._commit = watched  # type: ignore[method-assign]


def steps_of(tmp_path: Path) -> int:
    story = Story(tmp_path / "state", SimulatedDevice(back_up=600))
    story.run()
    return story.steps


@pytest.mark.parametrize("power", [False, True], ids=["agent", "power"])
@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_killed_at_each_step_no_key_is_lost_and_a_package_gets_one_reboot(
    *, power: bool, late: bool, tmp_path: Path
) -> None:
    total = steps_of(tmp_path)

    assert total >= 25
    for kill_at in range(1, total + 1):
        device = SimulatedDevice(back_up=600)
        story = Story(tmp_path / f"{kill_at}", device)
        story.kill_at, story.power, story.late = kill_at, power, late
        story.run()

        assert story.steps >= kill_at
        assert len(device.installed) == 1, kill_at
        assert device.trial is None, kill_at
        assert len(set(device.commanded)) <= 1, (kill_at, device.commanded)
        assert device.boots > int(device.installed[0]["boot_id"].removeprefix("boot-")), kill_at


@given(
    kills=st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.booleans()), max_size=4),
    asked=st.integers(1, 3),
)
def test_however_often_it_is_killed_each_key_is_told(
    kills: list[tuple[int, bool, bool]], asked: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    device = SimulatedDevice(back_up=600)
    path = tmp_path_factory.mktemp("story") / "state"
    wanted = [f"key {number}" for number in range(asked)]
    answered: list[str] = []
    told: set[str] = set()
    plan = iter(kills)
    cut, late = False, False
    for _ in range(40):
        at, cut, late = next(plan, (10_000, False, False))
        device.step = killer(at)
        try:
            agent = Agent(path, device)
            for key in wanted[len(answered) :]:
                agent.queue.download({**DOWNLOAD, "CommandKey": key, "URL": f"http://127.0.0.1/{key[-1]}"})
                answered.append(key)
            agent.settle()
            for done in agent.queue.to_tell():
                told.add(str(done.arguments["CommandKey"]))
                agent.queue.told(done)
            left = agent.queue.queued()
        except KilledError:
            left = (QueuedTransfer("", 1),)
            if late:
                device.transfer(reported=not cut)
            if cut:
                device.boot()
        if device.commanded and device.commanded[-1] == device.boots:
            device.boot()
        if not left:
            break

    assert told == {*wanted}
    assert [one["command_key"] for one in device.installed] == wanted
    assert len({*device.commanded}) <= asked
