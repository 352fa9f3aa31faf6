"""The whole story, killed in between: Inform, SetParameterValues, Download, reboot, TransferComplete.

The agent ends before and after each commit of its state, each order to the keeper, and each post to the ACS.
It starts again: at once, after a boot, or after a power cut that took the report of the installer, too.  The
ACS asks again for what it was not answered, and nothing else.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from spkg.agent.assembly import Agent
from spkg.agent.client import AcsConnection
from spkg.agent.keeper_client import TransferNews
from spkg.agent.state import AgentState
from spkg.cwmp.events import Event
from tests.support.acs import ScriptedAcs, request
from tests.support.acs_calls import arguments, download
from tests.support.agent_kit import APPLIED, FakeKeeper, Life
from tests.support.interruptions import _attach
from tests.support.namespaces import not_judged
from tests.support.sampling import amount, chance, sample
from tests.support.story_acs import CHANGE, NEW_VALUES, OLD_VALUES, STORY_VALUES, StoryServer
from tests.support.traced_kills import CALLS, in_child, points, some

T = TypeVar("T")
RADAR: Final = "X 00D09E Radar"
ASKED: Final = {
    "SetParameterValues": CHANGE,
    "ScheduleInform": request("ScheduleInform", arguments(DelaySeconds=90, CommandKey="s1")),
    "Download": download("d1"),
}
MOST_TURNS: Final = 400
LONG: Final = 300
"""Seconds after a boot in which all that waits is done."""


class Restart(Enum):
    """How the agent comes back."""

    PROCESS = "its process alone ended"
    BOOT = "the device has booted"
    POWER = "the device has booted, and the report of the installer is lost"


class KilledError(BaseException):
    """Here the process is killed."""


@dataclass
class Fate:
    """Where the agent is killed: after so many steps, counted anew from each kill on."""

    kills: list[int]
    steps: list[str] = field(default_factory=list)
    """What was done, before and after."""
    since: int = 0
    dead: bool = False

    def step(self, what: str, work: Callable[[], T]) -> T:
        """Do something, unless the process ends before, or just after."""
        self._point(f"before {what}")
        found = work()
        self._point(f"after {what}")
        return found

    def _point(self, what: str) -> None:
        if self.dead:
            raise KilledError  # a process that was killed does nothing more
        self.steps.append(what)
        self.since += 1
        if self.kills and self.since == self.kills[0]:
            self.kills.pop(0)
            self.since, self.dead = 0, True
            raise KilledError


@dataclass
class FatefulKeeper(FakeKeeper):
    """A keeper that may be asked for the last time, and that notes when a package was confirmed too early."""

    fate: Fate = field(default_factory=lambda: Fate([]))
    server: StoryServer = field(default_factory=lambda: StoryServer(ASKED))
    early: bool = False

    def start_apply(self, **given: Any) -> None:
        self.fate.step("apply", lambda: super(FatefulKeeper, self).start_apply(**given))

    def transfer_result(self) -> TransferNews:
        return self.fate.step("result", super().transfer_result)

    def record(self, file_type: str) -> Any:
        return self.fate.step("record", lambda: super(FatefulKeeper, self).record(file_type))

    def confirm(self, file_type: str) -> None:
        self.early = self.early or not self.server.told
        self.fate.step("confirm", lambda: super(FatefulKeeper, self).confirm(file_type))

    def reboot(self) -> None:
        self.fate.step("reboot", super().reboot)


class FatefulLife(Life):
    """A device whose agent may be killed at any step, also while it starts; it starts again until it runs."""

    def __init__(
        self, place: Path, acs: ScriptedAcs, server: StoryServer, fate: Fate, restart: Restart
    ) -> None:
        self.server, self.fate, self.how = server, fate, restart
        self.kills = 0
        self.reboots = 0
        """How often the device has booted for the sake of the package."""
        self.booted = 0
        """How many Informs there were when it booted last."""
        super().__init__(place, acs, keeper=FatefulKeeper(fate=fate, server=server))

    def _begin(self, **given: Any) -> Agent:
        while True:
            try:
                agent = super()._begin(**given)
                try:
                    agent.engine.start()
                except KilledError:
                    agent.close()
                    raise
            except KilledError:
                self.killed()
            else:
                break
        assert agent.state.set_aside is None
        values = tuple(agent.tree.setting(name) for name in STORY_VALUES)
        assert values in {OLD_VALUES, NEW_VALUES}
        assert values == NEW_VALUES or "SetParameterValues" not in self.server.answered
        return agent

    def killed(self) -> None:
        """Let what a kill takes away be gone."""
        self.kills += 1
        self.fate.dead = False
        if self.how is not Restart.PROCESS:
            self.boot()

    def boot(self) -> None:
        """Let the device boot; a transfer that runs ends with it."""
        keeper, boot = self.keeper, self.world.boot_id
        self.reboots += any(one["boot_id"] == boot for one in keeper.installed)
        lost = keeper.news.is_running or self.how is Restart.POWER
        result = None if lost else keeper.news.result
        keeper.news = TransferNews(token=keeper.news.token, is_running=False, result=result)
        keeper.orders = [one for one in keeper.orders if one[0] != "reboot"]
        self.world.reboot()
        self.booted = len(self.server.informed)

    def begin_again(self) -> None:
        """Start the next process."""
        self.agent.close()
        self.agent = self._begin()

    def live(self) -> None:
        """Live until there is nothing left to do."""
        raised = False
        for _ in range(MOST_TURNS):
            try:
                if not raised:
                    self.agent.engine.raise_event(Event(RADAR))
                    raised = True
                self.run(seconds=20)
            except KilledError:
                self.killed()
                self.begin_again()
                continue
            if self.keeper.news.is_running:
                again = {"already_installed": True, "reboot_required": False}  # not installed twice
                self.keeper.end(self.world.boot_id, {**APPLIED, **(again if self.keeper.installed else {})})
            elif "reboot" in self.keeper.names():
                self.boot()
                self.begin_again()
            elif self.world.boot > LONG and not self.agent.state.transfers():
                return
        raise AssertionError(f"it never comes to its end: {self.log[-20:]}")


@contextmanager
def fateful(fate: Fate) -> Iterator[None]:
    """Have the agents of this process end where it is their fate."""
    commit, post, begin = AgentState._commit, AcsConnection.post, AgentState.__init__
    opened: list[AgentState] = []

    def begun(self: AgentState, *given: Any, **more: Any) -> None:
        while opened:
            opened.pop().close()  # that of an agent that was killed; a kill would have closed it
        begin(self, *given, **more)
        opened.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentState, "__init__", begun)
        patch.setattr(AgentState, "_commit", lambda self, new: fate.step("commit", lambda: commit(self, new)))
        patch.setattr(AcsConnection, "post", lambda self, said: fate.step("post", lambda: post(self, said)))
        yield


def tell(
    place: Path,
    kills: Sequence[int],
    restart: Restart,
    before: Callable[[ScriptedAcs], object] = lambda _acs: None,
) -> FatefulLife:
    """Live through the story, and check what has to be so whatever happened, also *before*."""
    server, fate = StoryServer(ASKED), Fate([*kills])
    with ScriptedAcs(server.plan) as acs:
        before(acs)
        return _told(place, acs, server, fate, restart)


def _told(place: Path, acs: ScriptedAcs, server: StoryServer, fate: Fate, restart: Restart) -> FatefulLife:
    with fateful(fate):
        device = FatefulLife(place, acs, server, fate, restart)
        try:
            device.live()
        finally:
            device.agent.close()
        keeper, state, events = device.keeper, device.agent.state, [*chain(*server.informed)]
        assert isinstance(keeper, FatefulKeeper)
        assert server.answered == {*ASKED}
        # The CommandKey is told, in a session that says so, then the package is confirmed, then it is over.
        assert {*server.told} == {"d1"}
        assert server.strange == []
        assert not keeper.early
        assert (len(keeper.installed), keeper.trial, device.reboots) == (1, None, 1)
        # No event is lost.
        assert {("0 BOOTSTRAP", ""), (RADAR, ""), ("M ScheduleInform", "s1")} <= {*events}
        assert ("1 BOOT", "") in [*chain(*server.informed[device.booted :])]
        assert tuple(device.agent.tree.setting(name) for name in STORY_VALUES) == NEW_VALUES
        assert (state.events(), state.transfers(), state.schedule(), state.intent()) == ((), (), (), None)
    return device


restarts = pytest.mark.parametrize("restart", Restart, ids=lambda one: one.name.lower())


def whole(place: Path) -> Sequence[str]:
    """Return the steps of the story that nobody disturbs."""
    device = tell(place, (), Restart.PROCESS)
    assert device.server.told == ["d1"]
    return device.fate.steps


def fresh(place: Path, number: int) -> Path:
    """Return a directory with the files of a device."""
    (found := place / str(number)).mkdir()
    (found / "device.toml").write_text("")
    (found / "ca.pem").write_text("")
    return found


@pytest.mark.part("kill")
@restarts
def test_the_story_killed_at_each_step_comes_to_its_end(tmp_path: Path, restart: Restart) -> None:
    steps = whole(fresh(tmp_path, 0))
    assert {one.partition(" ")[2] for one in steps} == {
        "apply",
        "commit",
        "confirm",
        "post",
        "reboot",
        "record",
        "result",
    }

    for number in sample(range(1, len(steps) + 1), every=6 if restart is Restart.PROCESS else 27):
        try:
            device = tell(fresh(tmp_path, number), [number], restart)
        except AssertionError as exc:
            raise AssertionError(f"killed {number - 1}: {steps[number - 1]}: {exc}") from exc
        assert device.kills == 1


@pytest.mark.part("kill")
@restarts
def test_the_story_killed_again_and_again_comes_to_its_end(tmp_path: Path, restart: Restart) -> None:
    most = len(whole(fresh(tmp_path, 0)))
    draw = chance(f"kills of the story, {restart.name}")

    for number in range(1, amount(300, 2) + 1):
        kills = [draw.randint(1, most // 2) for _ in range(draw.randint(2, 5))]
        try:
            tell(fresh(tmp_path, number), kills, restart)
        except AssertionError as exc:
            raise AssertionError(f"killed after {kills}: {exc}") from exc


def traced(place: Path, acs: ScriptedAcs, inject: str | None) -> int:
    """Run an agent under strace until its download has begun, and return how it ended."""

    def work() -> None:
        os.chdir(place)
        _attach(",".join(CALLS), inject)
        device = Life(place, acs)
        device.start()
        device.run(seconds=5)

    return in_child(work)


def _noted(ends: list[int], work: Callable[[ScriptedAcs], int], acs: ScriptedAcs) -> None:
    ends.append(work(acs))


@pytest.mark.part("kill")
@pytest.mark.judge("strace")
def test_the_story_killed_at_each_system_call_comes_to_its_end(tmp_path: Path) -> None:
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        not_judged("no process can be traced here")
    place, ends = fresh(tmp_path, 0), list[int]()
    tell(place, (), Restart.PROCESS, lambda acs: ends.append(traced(place, acs, None)))
    every = points(place / "log", place / "state")
    assert {one.name for one in every} >= {"openat", "pwrite64", "fdatasync", "sendto"}

    for number, point in enumerate(some(every, 23), 1):
        place = fresh(tmp_path, number)
        killed = partial(_noted, ends, partial(traced, place, inject=point.inject("signal=KILL")))
        try:
            tell(place, (), Restart.PROCESS, killed)
        except AssertionError as exc:
            raise AssertionError(f"killed at {point}: {exc}") from exc
    assert ends[0] == 0
    assert {*ends[1:]} <= {0, -signal.SIGKILL}
    assert ends.count(0) <= 2, "one of the last calls may not come in another run"
    print(f"{len(ends) - 1} kills at {len(every)} system calls")
