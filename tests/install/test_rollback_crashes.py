"""On trial, confirmed, back or counted: cut short, each leaves the root before it or behind it.

Each is an act from one state of a root to the next, in a simulation: killed before any change, hindered by a
failing file system, or without power.  A state is all that counts: the tree, what is set aside, the record of
packages and events, the trial, and whether there is something to go back to.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkg.common.boots import Boot
from spkg.common.findings import Finding
from spkg.errors import FailedError, RefusedError, UnsafeError
from spkg.format.commands import Move, Record
from spkg.format.paths import RootPath
from spkg.install.events import Trigger
from spkg.install.history import RECORD, events, rolled_back_packages
from spkg.install.plan import Plan
from spkg.install.recovery import recover_in
from spkg.install.rollback import RolledBack, boot_in, confirm_in, roll_back_in
from spkg.install.root import Root
from spkg.install.transaction_places import DONE, KEPT_TXN, TRIAL
from spkg.install.tree_path import Parts, shown, split
from spkg.install.trial import Trial
from tests.support.hindrances import KINDS, READS, Fault, Killed, nothing
from tests.support.kit import entry
from tests.support.naive_installer import (
    PAYLOAD,
    File,
    Garden,
    Link,
    Tree,
    command_lists,
    gardens,
    grown,
    interpret,
    paths,
)
from tests.support.sampling import PROOF, amount, in_turn, least, numbers
from tests.support.simulated_file_system import Simulation
from tests.support.simulated_installation import NO_COPIES, SCENARIOS, Scenario, install_plan

pytestmark = pytest.mark.part("crash")
Note = Callable[[str, object], None]
BOOTS: Final = 1
CHOSEN: Final = 0.1
"""How many of the power cuts of any story are judged."""
ON_TRIAL: Final = Trial(
    package=str(entry(version="2")["package"]), version="2", delay=600.0, boots=BOOTS, boot="0", since=1.0
)
ASIDE: Final[Parts] = (b".spkg", b"aside")


class State(NamedTuple):
    """All that counts in a root."""

    tree: Tree
    aside: Tree
    record: bytes | None
    trial: bytes | None
    kept: bool


def state_of(root: Simulation) -> State:
    def read(path: Parts) -> bytes | None:
        return None if root.status(path) is None else root.read(path, 1 << 20)

    return State(
        root.seen(),
        root.seen(ASIDE),
        read(RECORD),
        read(TRIAL),
        root.status((*KEPT_TXN, DONE[-1])) is not None,
    )


def on_trial(root: Root, planned: Plan) -> None:
    install_plan(root, planned, trial=ON_TRIAL)


def back(root: Root) -> None:
    roll_back_in(root, when="later", by=Trigger.COMMAND, reason=None, committing=nothing_done)


def confirmed(root: Root) -> None:
    confirm_in(root, when="later", committing=nothing_done)


def booted(identity: str) -> Callable[[Root], object]:
    return lambda root: boot_in(root, Boot(identity=identity, seconds=5.0), when="later")


def nothing_done() -> None:
    """Nobody sends signals here."""


@dataclass(frozen=True)
class Meanwhile:
    """Something that others do at a path."""

    what: str
    path: Parts

    def do(self, root: Simulation) -> None:
        with suppress(OSError):
            if self.what == "write":
                root.reopen(self.path).rewrite(b"edited in place")
                return
            if self.what in {"remove", "file", "directory", "link"} and root.status(self.path) is not None:
                root.remove_tree(self.path)
            above = self.path if self.what in {"directory", "below"} else self.path[:-1]
            for depth in range(1, len(above) + 1) if self.what != "remove" else ():
                if root.status(above[:depth]) is None:
                    root.mkdir(above[:depth], 0o711)
            match self.what:
                case "file":
                    root.plant(((self.path, File(b"of others", 0o600)),))
                case "below":
                    root.plant((((*self.path, b"others"), File(b"of others below", 0o600)),))
                case "link":
                    root.plant(((self.path, Link(b"nowhere/at/all")),))


MEANWHILE: Final = ("write", "remove", "file", "directory", "below", "link")


@dataclass
class Act:
    """Something that takes a root from one state to the next, by way of others perhaps."""

    name: str
    start: Simulation
    work: Callable[[Root], object]
    states: dict[str, State] = field(default_factory=dict)
    """Those that there may be: the first one before it, the last one behind it."""

    def __str__(self) -> str:
        return self.name

    def begin(self) -> Simulation:
        return self.start.copy()

    @property
    def first(self) -> State:
        return next(iter(self.states.values()))

    @property
    def last(self) -> State:
        return [*self.states.values()][-1]


def acts_of(scenario: Scenario, meanwhile: tuple[Meanwhile, ...]) -> list[Act]:
    """Return the acts of a story: on trial, confirmed, a boot, one too many, and back."""
    start = scenario.start()
    planned = scenario.plan
    new = start.copy()
    on_trial(new, planned)
    new.settle()
    edited = new.copy()
    for one in meanwhile:
        one.do(edited)
    edited.settle()
    counted = edited.copy()
    booted("1")(counted)
    counted.settle()
    spent = counted.copy()
    count = Trial.decode(state_of(counted).trial or b"").counting(Boot(identity="2", seconds=0))
    spent_trial = count.encode()
    acts = [
        Act(
            "on trial",
            start,
            lambda root: on_trial(root, planned),
            {"old": state_of(start), "new": state_of(new)},
        ),
        Act("confirmed", edited, confirmed, {"new": state_of(edited)}),
        Act("booted", edited, booted("1"), {"new": state_of(edited), "counted": state_of(counted)}),
    ]
    confirming = edited.copy()
    confirmed(confirming)
    acts[1].states["confirmed"] = state_of(confirming)
    gone, gone_by_boots = edited.copy(), counted.copy()
    try:
        back(gone)
    except RefusedError:  # a link is in the way, or an overlayfs can't move a directory
        return acts
    booted("2")(gone_by_boots)
    return [
        *acts,
        Act("back", edited, back, {"new": state_of(edited), "back": state_of(gone)}),
        Act(
            "spent",
            spent,
            booted("2"),
            {
                "new": state_of(counted),
                "counted": state_of(counted)._replace(trial=spent_trial),
                "back": state_of(gone_by_boots),
            },
        ),
    ]


HAPPENED: Final = {
    "first": ("write /bin/app", "below /new/deep", "remove /new/empty", "below /new"),
    "replaced": ("write /bin/app", "directory /link", "link /fifo", "file /bin/twin"),
    "chain": ("write /b", "remove /c", "file /e", "directory /a"),
    "swap": ("remove /a", "write /b", "file /x"),
    "out of a tree": ("below /d/new", "file /k", "remove /kept"),
    "kinds": ("below /f", "write /d", "remove /l/m", "file /l/m"),
    "format": ("below /e", "write /d/a", "file /f", "file /g"),
    "versions": ("file /v.001", "remove /w", "link /w", "write /v.003", "file /y.001"),
    "many": ("below /n", "write /n/c", "file /n/m", "remove /d"),
}
"""What others do after each scenario."""


@cache
def story(number: int) -> list[Act]:
    scenario = STORIES[number]
    words = HAPPENED[scenario.name.partition(",")[0]]
    done = tuple(Meanwhile(what, split(path)) for what, path in map(str.split, words))
    return acts_of(scenario, () if scenario.layered else done)


STORIES: Final = [one for one in SCENARIOS if one.room != NO_COPIES]
stories = pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=one.name, marks=() if number % 12 == 1 else pytest.mark.proof)
        for number, one in enumerate(STORIES)
    ],
)


@dataclass
class Tally:
    """What was found after the cuts."""

    found: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def judge(self, act: Act, root: Simulation, where: str, wanted: State | None = None) -> None:
        """Recover, and judge what is there, and whether one can go on."""
        try:
            recover_in(root)
        except (FailedError, UnsafeError) as exc:
            self.problem(f"{act}: {where}: {exc}")
            return
        self.settled(act, root, where, wanted)
        state = state_of(root)
        again = recover_in(root)
        if state_of(root) != state or again.outcome.value != "nothing":
            self.problem(f"{act}: {where}: a second recovery changes something")
        names = {b"installed"} | ({b"trial", b"kept"} if state.trial else set())
        own = set(root.names((b".spkg",))) if root.status((b".spkg",)) is not None else set()
        if own - names - {b"aside"}:
            self.problem(f"{act}: {where}: left over: {sorted(own - names)}")
        if state.trial is not None:
            if b"reserve" not in root.names((b".spkg", b"kept")):
                self.problem(f"{act}: {where}: no reserve")
            for end in (back, confirmed) if PROOF or self.found.total() % 4 == 0 else ():
                self._ends(act, root.copy(), end, where)

    def settled(self, act: Act, root: Simulation, where: str, wanted: State | None) -> None:
        state = state_of(root)
        name = next((name for name, one in act.states.items() if one == state), None)
        if wanted is not None and state != wanted:
            self.problem(f"{act}: {where}: not what was reported")
        elif name is None:
            near = {
                key: [one for one in State._fields if getattr(state, one) != getattr(other, one)]
                for key, other in act.states.items()
            }
            self.problem(f"{act}: {where}: no state of it: {near}")
        else:
            self.found[name] += 1

    def _ends(self, act: Act, root: Simulation, end: Callable[[Root], None], where: str) -> None:
        """Judge whether a trial that goes on can be ended."""
        before = state_of(root)
        try:
            end(root)
        except RefusedError:
            if end is back and "back" not in act.states:
                return  # as it was before
            raise
        after = state_of(root)
        if after.trial is not None or after.kept:
            self.problem(f"{act}: {where}: the trial is not ended by {end.__name__}")
        told = events(root)[-1].event.value, len(rolled_back_packages(root))
        if end is confirmed and (after.tree != before.tree or told != ("confirmed", 0)):
            self.problem(f"{act}: {where}: confirmed, and {told}")
        if end is back and told != ("rolled-back", 1):
            self.problem(f"{act}: {where}: gone back, and {told}")
        if end is back and "back" in act.states and (after.tree, after.aside) != act.states["back"][:2]:
            self.problem(f"{act}: {where}: the way back does not lead there")

    def problem(self, problem: str) -> None:
        self.found["bad"] += 1
        self.problems.append(problem)

    def record(self, record_property: Callable[[str, object], None]) -> None:
        record_property("found", dict(self.found))
        assert self.problems == [], "\n".join(self.problems[:20])


def attempt(tally: Tally, act: Act, root: Simulation, fault: Fault) -> None:
    """Do an act while a fault hinders it, judge what is said, and recover once the fault is gone."""
    may_be: list[State] = []
    root.tap = fault
    try:
        act.work(root)
        may_be = [act.last]
    except (FailedError, OSError):
        # A boot may be counted, and not be durable yet.
        may_be = [one for name, one in act.states.items() if name == "counted" or one != act.last]
    except (UnsafeError, Killed):
        pass
    root.tap = nothing
    said = [] if fault.killed else may_be
    if said and state_of(root)._replace(kept=False) not in [one._replace(kept=False) for one in said]:
        tally.problem(f"{act}: {fault}: not what was reported")
    promised = said[0] if len(said) == 1 else None
    tally.judge(act, root, str(fault), promised)


def killed(act: Act, number: int) -> tuple[Simulation, Fault]:
    root, fault = act.begin(), Fault(number, but=READS)
    root.tap = fault
    with suppress(Killed):
        act.work(root)
    root.tap = nothing
    return root, fault


@stories
def test_a_kill_leaves_what_was_or_what_is_to_be(number: int, record_property: Note) -> None:
    tally = Tally()

    for act in story(number):
        for at in numbers(every=3):
            root, fault = killed(act, at)
            if not fault.killed:
                break
            tally.judge(act, root, str(fault))

    tally.record(record_property)
    assert min(tally.found["old"], tally.found["new"]) >= least(3)


@stories
def test_a_kill_of_the_recovery_leaves_what_was_or_what_is_to_be(number: int, record_property: Note) -> None:
    tally = Tally()

    for act in story(number):
        for at in numbers(every=11):
            first, fault = killed(act, at)
            if not fault.killed:
                break
            for second in numbers(every=13):
                root, other = first.copy(), Fault(second, but=READS)
                root.tap = other
                with suppress(Killed):
                    recover_in(root)
                root.tap = nothing
                if not other.killed:
                    break
                tally.judge(act, root, f"{fault}; {other}")

    tally.record(record_property)


@pytest.mark.parametrize("kind", KINDS)
@stories
def test_a_failing_file_system_leaves_what_is_reported(number: int, kind: str, record_property: Note) -> None:
    tally = Tally()

    for act in story(number):
        for at in numbers(every=9):
            fault = Fault(at, errno.EIO if at % 2 else errno.ENOSPC, **KINDS[kind])
            attempt(tally, act, act.begin(), fault)
            if not fault.hindered:
                break

    tally.record(record_property)


@pytest.mark.part("crash", turns=True, few=3)
@stories
def test_a_power_cut_leaves_what_was_or_what_is_to_be(number: int, record_property: Note) -> None:
    tally = Tally()

    for act in story(number):
        root = act.begin()
        act.work(root)
        for left in root.after_power_cuts(Random(0), most=4, samples=4, since=root.done):
            tally.judge(act, left, "done, and lost by a power cut", act.last)
        lefts = root.after_power_cuts(Random(0), most=8 if PROOF else 1, samples=60 if PROOF else 0)
        for left in in_turn(lefts):
            tally.judge(act, left, "then a power cut")

    tally.record(record_property)


@pytest.mark.part("crash", turns=True, few=2)
@stories
def test_a_second_power_cut_leaves_what_was_or_what_is_to_be(number: int, record_property: Note) -> None:
    tally, random = Tally(), Random(number)

    for act in story(number):
        root = act.begin()
        act.work(root)
        lefts = [
            left
            for left in root.after_power_cuts(random, most=3, samples=2)
            if random.random() <= (0.3 if PROOF else 0.002)
        ]
        for left in in_turn(lefts):
            recover_in(left)
            said = state_of(left)
            for again in left.after_power_cuts(Random(0), most=3, samples=2, since=left.done):
                tally.judge(act, again, "recovered, and lost by a second power cut", said)
            for again in left.after_power_cuts(Random(0), most=2, samples=1):
                tally.judge(act, again, "two power cuts")

    tally.record(record_property)


@stories
def test_a_power_cut_after_a_kill_leaves_what_was_or_what_is_to_be(
    number: int, record_property: Note
) -> None:
    tally = Tally()

    for act in story(number):
        for at in numbers(every=211, first=number, share=2):
            root, fault = killed(act, at)
            if not fault.killed:
                break
            for left in root.after_power_cuts(Random(0), most=2, samples=1):
                tally.judge(act, left, f"{fault}, then a power cut")
            since = root.done
            recover_in(root)
            said = state_of(root)
            for left in root.after_power_cuts(Random(0), most=3, samples=2, since=root.done):
                tally.judge(act, left, f"{fault}, recovered, and lost", said)
            for left in root.after_power_cuts(Random(0), most=2, samples=1, since=since):
                tally.judge(act, left, f"{fault}, recovered, then a power cut")

    tally.record(record_property)


_meanwhile = st.lists(st.builds(Meanwhile, st.sampled_from(MEANWHILE), paths.map(split)), max_size=6).map(
    tuple
)


@settings(max_examples=amount(2000, 3))
@given(
    garden=gardens,
    records=command_lists,
    meanwhile=_meanwhile,
    number=st.integers(0, 120),
    first=st.integers(0, 60),
)
def test_whatever_ends_any_story_leaves_what_was_or_what_is_to_be(
    garden: Garden, records: tuple[Record, ...], meanwhile: tuple[Meanwhile, ...], number: int, first: int
) -> None:
    if interpret(records, PAYLOAD, grown(garden)) is None:
        return
    scenario = Scenario(name="any", garden=garden, records=records)
    tally = Tally()

    for act in acts_of(scenario, meanwhile):
        root, fault = killed(act, number % (5 if act.name == "booted" else 120))
        tally.judge(act, root, str(fault))
        fault = Fault(number, errno.EIO, but=READS)
        attempt(tally, act, act.begin(), fault)
        root = act.begin()
        act.work(root)
        random = Random(first)
        for left in root.after_power_cuts(random, most=1, samples=2):
            if random.random() < CHOSEN:
                tally.judge(act, left, "then a power cut")

    assert tally.problems == []


# What was not kept.


def moved_without_second_names() -> Simulation:
    """Return a root with a package on trial that moved a file where none can have a second name."""
    garden = (((b"a",), File(b"moved", 0o640)),)
    record = Move(source_path=RootPath.of("/a"), destination_path=RootPath.of("/new/b"))
    scenario = Scenario(name="moved", garden=garden, records=(record,))
    root = scenario.start()

    def refused(name: str, path: Parts = ()) -> None:
        if name == "link":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), shown(path))

    root.tap = refused
    on_trial(root, scenario.plan)
    root.tap = nothing
    return root


def going_back(root: Simulation) -> RolledBack:
    return roll_back_in(root, when="later", by=Trigger.COMMAND, reason=None, committing=nothing_done)


def test_without_second_names_a_moved_file_itself_comes_back() -> None:
    root = moved_without_second_names()

    done = going_back(root)

    assert root.seen() == {(b"a",): File(b"moved", 0o640)}
    assert (done.set_aside, done.warnings) == ((), ())


def test_without_second_names_a_moved_file_that_somebody_removed_is_told() -> None:
    root = moved_without_second_names()
    root.unlink(split("/new/b"))

    done = going_back(root)

    assert root.seen() == {}
    problem = "can't come back: it was moved to /new/b, which somebody removed"
    assert done.warnings == (Finding(code="not-restored", message=problem, path="/a"),)


def test_something_kept_that_is_missing_is_told_and_nothing_changes() -> None:
    act = story(0)[3]
    root = act.begin()
    root.remove_tree(split("/.spkg/kept/old/0"))
    before = root.seen()

    with pytest.raises(FailedError) as caught:
        going_back(root)

    assert str(caught.value) == "/.spkg/kept/old/0 is missing, so that /bin/app can't come back"
    assert root.seen() == before
    assert state_of(root).trial is not None
