"""All or nothing: whatever cuts an installation short, recovery leaves the old tree or the new one.

Three kinds of cuts: the process is killed before any change it makes to a real directory; the file system
fails; the power fails, in a simulation that loses whatever was not made durable.
"""

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spkg.errors import NO_ROOM, FailedError, RefusedError, UnsafeError
from spkg.format.commands import (
    Record,
)
from spkg.install import transaction, two_ways
from spkg.install.leftovers import leftovers
from spkg.install.root import Root
from spkg.install.transaction import RecoveryOutcome
from spkg.install.transaction_places import JOURNAL, PLACING, TXN, spare_of
from spkg.install.tree_path import Parts, shown, split
from tests.support.hindrances import KINDS, READS, SYNCS, Fault, Killed, nothing
from tests.support.naive_installer import (
    PAYLOAD,
    Garden,
    command_lists,
    gardens,
    grown,
    interpret,
    plant,
    seen,
)
from tests.support.sampling import PROOF, amount, few, in_turn, least, numbers, sample
from tests.support.simulated_file_system import SimulatedFile, Simulation
from tests.support.simulated_installation import (
    EMPTY,
    NO_COPIES,
    SCENARIOS,
    Scenario,
    State,
    install_plan,
    restore,
    state_of,
)

pytestmark = pytest.mark.part("crash")
EVERY_DAY: Final = {"first", "format", "chain, without copies", "format, layered", "many, vfat"}
"""Which scenarios make test tries: a few of each kind of root."""
scenarios = pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, marks=() if scenario.name in EVERY_DAY else pytest.mark.proof)
        for scenario in SCENARIOS
    ],
    ids=str,
)
"""Each of them in the proof, those of every day elsewhere."""


@dataclass
class Tally:
    """What was found after the cuts."""

    found: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, scenario: Scenario, where: str, state: State, wanted: State | None = None) -> None:
        """Judge a state: old or new, or the one that is wanted."""
        if wanted is not None and state != wanted:
            self.problem(f"{scenario}: {where}: not what was reported")
        elif state == scenario.new:
            self.found["new"] += 1
        elif state == scenario.old:
            self.found["old"] += 1
        else:
            self.problem(f"{scenario}: {where}: a mixed tree")

    def problem(self, problem: str) -> None:
        self.found["bad"] += 1
        self.problems.append(problem)


# Kills, in a real directory.


class Tapped:
    """The module ``os``, with a tap on whatever changes a file system."""

    CHANGES: Final = frozenset(
        {"open", "write", "mkdir", "rename", "link", "unlink", "rmdir", "fchmod", "fsync"}
    )

    def __init__(self) -> None:
        self.tap: Callable[[str], None] = nothing

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in self.CHANGES:
            return found

        def tapped(*arguments: Any, **named: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return found(*arguments, **named)
            self.tap(name)
            # Nobody takes the power from us here, so that there is nothing to wait for.
            return None if name == "fsync" else found(*arguments, **named)

        return tapped


@pytest.fixture
def tapped(monkeypatch: pytest.MonkeyPatch) -> Tapped:
    os_with_tap = Tapped()
    for module in ("root", "new_file", "tree_removal", "heritage"):
        monkeypatch.setattr(f"spkg.install.{module}.os", os_with_tap)
    return os_with_tap


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory in memory, where there is one: thousands of trees are made in it."""
    memory = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class Site:
    """Places for the real roots of a scenario."""

    def __init__(self, scenario: Scenario, ground: Path, tapped: Tapped) -> None:
        self.scenario = scenario
        self._ground = ground
        self._numbers = count()
        self._tapped = tapped
        path, counter = self.start(), Fault(1 << 20, but=SYNCS)
        with Root(path) as root:
            self.old = self.state(root)
        self.hindered(path, counter, scenario.carry_out)
        with Root(path) as root:
            self.new = self.state(root)
        self.changes = counter.count
        """How many times an installation can be killed."""

    def start(self) -> Path:
        path = self._ground / str(next(self._numbers))
        path.mkdir()
        path.chmod(0o755)
        plant(self.scenario.garden, path)
        if self.scenario.again:
            with Root(path) as root:
                install_plan(root, EMPTY.plan, "1")
        return path

    def state(self, root: Root) -> State:
        record = root.path / ".spkg" / "installed"
        return seen(root.path), record.read_bytes() if record.exists() else None

    def hindered(self, path: Path, fault: Fault, work: Callable[[Root], object]) -> bool:
        """Do something while a fault kills it; tell whether it did."""
        with Root(path) as root:
            self._tapped.tap = fault
            try:
                work(root)
            except BaseException:
                if not fault.killed:
                    raise
            finally:
                self._tapped.tap = nothing
        return fault.killed

    def judge(self, tally: Tally, path: Path, where: str) -> None:
        """Recover twice, and judge what is there."""
        with Root(path) as root:
            restore(root)
            state = self.state(root)
            again = restore(root).outcome
            left = [one.name for one in (path / ".spkg").iterdir() if one.name != "installed"]
            if again is not RecoveryOutcome.NOTHING or left or self.state(root) != state:
                tally.problem(f"{where}: the second recovery changed something")
            elif state not in (self.old, self.new):
                tally.problem(f"{where}: a mixed tree")
            else:
                tally.found["new" if state == self.new else "old"] += 1
        rmtree(path)


@scenarios
def test_a_kill_before_any_change_leaves_the_old_tree_or_the_new(
    scenario: Scenario, ground: Path, tapped: Tapped, record_property: Callable[[str, object], None]
) -> None:
    site, tally = Site(scenario, ground, tapped), Tally()

    for number in sample(range(site.changes), every=2):
        path = site.start()
        assert site.hindered(path, Fault(number, but=SYNCS), scenario.carry_out)
        site.judge(tally, path, f"kill {number}")

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(3)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have threads for the smallest files, too."""
    for name in ("contents.PARALLEL_FROM", "parallel.PARALLEL_FROM", "parallel.SMALL_RANGE"):
        monkeypatch.setattr(f"spkg.verify.{name}", 0)


@pytest.mark.usefixtures("threads")
@scenarios
def test_a_kill_while_threads_write_leaves_the_old_tree_or_the_new(
    scenario: Scenario, ground: Path, tapped: Tapped, record_property: Callable[[str, object], None]
) -> None:
    site, tally = Site(scenario, ground, tapped), Tally()
    threads = threading.active_count()

    for number in sample(range(site.changes), every=3):
        path = site.start()
        assert site.hindered(path, Fault(number, but=SYNCS), scenario.carry_out_in_threads)
        site.judge(tally, path, f"kill {number}")
        assert threading.active_count() <= threads

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(3)


@scenarios
def test_a_kill_of_the_recovery_leaves_the_old_tree_or_the_new(
    scenario: Scenario, ground: Path, tapped: Tapped, record_property: Callable[[str, object], None]
) -> None:
    site, tally = Site(scenario, ground, tapped), Tally()
    random = Random(scenario.name)

    for number in sample(range(site.changes), every=11):
        for second in count(0 if PROOF else random.randrange(5), step=1 if PROOF else 5):
            path = site.start()
            assert site.hindered(path, Fault(number, but=SYNCS), scenario.carry_out)
            if not site.hindered(path, Fault(second, but=SYNCS), restore):
                break
            site.judge(tally, path, f"kill {number}, then {second}")

    record_property("found", dict(tally.found))
    assert tally.problems == []


# Failures of the file system, in the simulation.


@dataclass(frozen=True)
class Both:
    """Two faults at once."""

    first: Fault
    second: Fault

    @property
    def killed(self) -> bool:
        return self.second.killed

    def __call__(self, name: str, path: Parts = ()) -> None:
        self.first(name, path)
        # Only what comes once there is no way forward.
        if len(self.first.hindered) == transaction.ATTEMPTS:
            self.second(name, path)

    def __str__(self) -> str:
        return f"{self.first}; {self.second}"


def attempt(
    tally: Tally, scenario: Scenario, root: Simulation, fault: Fault | Both, *, stays: bool = False
) -> None:
    """Install while a fault hinders it, judge what is said of it, and recover once the fault is gone.

    Args:
        tally: What is found.
        scenario: What is installed.
        root: Where.
        fault: What hinders it.
        stays: Whether it also hinders a recovery, and another one, before it is gone.
    """
    promised: State | None = None
    root.tap = fault
    try:
        scenario.carry_out(root)
        promised = scenario.new
    except (FailedError, OSError):
        promised = scenario.old
    except UnsafeError:
        pass
    except Killed:
        pass
    root.tap = nothing
    if fault.killed:
        promised = None
    elif promised is not None and state_of(root) != promised:
        tally.problem(f"{scenario}: {fault}: not what was reported")
    for _ in range(2 * stays):
        recover_while_it_stays(tally, scenario, root, fault, promised)
    settle(tally, scenario, root, str(fault), promised)


def recover_while_it_stays(
    tally: Tally, scenario: Scenario, root: Simulation, fault: Fault | Both, promised: State | None
) -> None:
    """Recover while a fault hinders that too: what is said of it is true, and what was promised stays."""
    root.tap = fault
    over = False
    try:
        restore(root)
        over = True
    except FailedError:
        over = True  # the tree is not half-changed
    except (OSError, UnsafeError):
        pass
    root.tap = nothing
    states = {"old": scenario.old, "new": scenario.new} if promised is None else {"what was said": promised}
    if (over or promised is not None) and state_of(root) not in states.values():
        tally.problem(f"{scenario}: {fault}: recovered while it stays, expected {' or '.join(states)}")


def install_until(scenario: Scenario, root: Simulation, fault: Fault) -> None:
    """Install until a fault kills it."""
    root.tap = fault
    try:
        scenario.carry_out(root)
    except BaseException:
        if not fault.killed:
            raise
    root.tap = nothing


def settle(
    tally: Tally, scenario: Scenario, root: Simulation, where: str, wanted: State | None = None
) -> None:
    """Recover in a simulation, and judge what is there."""
    try:
        restore(root)
    except (FailedError, UnsafeError) as exc:
        tally.problem(f"{scenario}: {where}: {exc}")
        return
    if root.status(TXN) is not None:
        tally.problem(f"{scenario}: {where}: the transaction is still there")
    tally.add(scenario, where, state_of(root), wanted)


@pytest.mark.parametrize("kind", KINDS)
@scenarios
def test_a_failing_file_system_leaves_what_is_reported(
    scenario: Scenario, kind: str, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()

    for number in numbers(every=3):
        fault = Fault(number, errno.EIO if number % 2 else errno.ENOSPC, **KINDS[kind])
        attempt(tally, scenario, scenario.start(), fault)
        if not fault.hindered:
            break

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "once" not in KINDS[kind]])
@scenarios
def test_a_fault_that_stays_over_the_recovery_leaves_what_is_reported(
    scenario: Scenario, kind: str, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()

    for number in numbers(every=2):
        fault = Fault(number, errno.EIO if number % 2 else errno.ENOSPC, **KINDS[kind])
        attempt(tally, scenario, scenario.start(), fault, stays=True)
        if not fault.hindered:
            break

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(2)


@pytest.mark.parametrize("kind", ["killed", *KINDS])
@scenarios
def test_a_second_fault_on_the_way_back_leaves_what_is_reported(
    scenario: Scenario, kind: str, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    stuck: dict[str, Any] = {"same": True, "but": READS | SYNCS}

    for number in numbers(every=7):
        alone = Fault(number, errno.EIO, **stuck)
        attempt(Tally(), scenario, scenario.start(), alone)
        if not alone.hindered:
            break
        if len(alone.hindered) < transaction.ATTEMPTS:
            continue  # before the journal was there: given up at once
        for second in count(step=1 if PROOF else 3):
            error = None if kind == "killed" else errno.EIO
            other = Fault(second, error, **KINDS.get(kind, {"but": READS}))
            attempt(tally, scenario, scenario.start(), Both(Fault(number, errno.EIO, **stuck), other))
            if not other.hindered:
                break

    record_property("found", dict(tally.found))
    assert tally.problems == []
    # What an overlayfs had no room to keep can't come back: recovery then completes the changes.
    assert tally.found["new" if scenario.room == NO_COPIES else "old"] >= least(1)


@scenarios
def test_a_full_file_system_is_told_as_such(scenario: Scenario) -> None:
    told: Counter[str] = Counter()

    for number in count():
        root, fault = scenario.start(), Fault(number, errno.ENOSPC, once=True, but=READS)
        root.tap = fault
        try:
            scenario.carry_out(root)
        except FailedError as exc:
            told[exc.reason] += 1
        except OSError as exc:
            assert exc.errno == errno.ENOSPC  # noqa: PT017 - most faults end elsewhere
        if not fault.hindered:
            break

    assert set(told) == {NO_ROOM}


@scenarios
def test_a_failing_recovery_never_calls_a_mixed_tree_usable(scenario: Scenario) -> None:
    tally = Tally()

    for number in numbers(every=11):
        killed, fault = scenario.start(), Fault(number, but=READS)
        install_until(scenario, killed, fault)
        if not fault.killed:
            break
        for second in count():
            root, other = killed.copy(), Fault(second, errno.EIO)
            root.tap = other
            try:
                restore(root)
            except FailedError:
                root.tap = nothing
                tally.add(scenario, f"{fault}; {other}", state_of(root))
            except (OSError, UnsafeError):
                pass
            root.tap = nothing
            settle(tally, scenario, root, f"{fault}; {other}")
            if not other.hindered:
                break

    assert tally.problems == []


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.layered], ids=str)
def test_an_overlayfs_copies_nothing_after_the_commit(scenario: Scenario) -> None:
    root = scenario.start()
    copied: list[tuple[Parts, bool]] = []

    def tap(name: str, path: Parts = ()) -> None:
        if name == "copy up":
            root.tap = nothing
            copied.append((path, root.status(JOURNAL) is not None))
            root.tap = tap

    root.tap = tap
    scenario.carry_out(root)

    assert state_of(root) == scenario.new
    assert copied
    if scenario.room != NO_COPIES:
        assert [path for path, late in copied if late] == []


@pytest.mark.parametrize("scenario", [one for one in SCENARIOS if one.room == NO_COPIES], ids=str)
def test_what_was_not_kept_is_said_where_the_changes_can_not_be_completed(scenario: Scenario) -> None:
    root = scenario.start()

    def tap(name: str, path: Parts = ()) -> None:
        if name in READS | SYNCS:
            return
        root.tap = nothing
        journal = root.status(JOURNAL)
        root.tap = tap
        if journal is not None:
            raise OSError(errno.EIO, "input/output error", shown(path))

    root.tap = tap
    with pytest.raises(UnsafeError) as caught:
        scenario.carry_out(root)
    root.tap = nothing

    assert caught.value.problem.startswith("the changes can't be completed: ")
    assert caught.value.problem.endswith(": input/output error; " + transaction.NOT_KEPT)
    assert caught.value.hint == "run 'spkg recover' to try again"
    assert restore(root).outcome is RecoveryOutcome.DONE
    assert state_of(root) == scenario.new


# Power cuts, in the simulation.


def cut_power(
    tally: Tally, scenario: Scenario, root: Simulation, where: str, *, most: int, samples: int, since: int = 0
) -> None:
    """Judge all that a power cut may leave of what was done in a simulation."""
    for left in root.after_power_cuts(Random(0), most=most, samples=samples, since=since):
        settle(tally, scenario, left, f"{where}, then a power cut")


def stays(tally: Tally, scenario: Scenario, root: Simulation, where: str) -> None:
    """Judge whether what is there is there after a power cut."""
    state = state_of(root)
    for left in root.after_power_cuts(Random(0), most=4, samples=4, since=root.done):
        settle(tally, scenario, left, f"{where}, is lost by a power cut", state)


@scenarios
def test_a_power_cut_leaves_the_old_tree_or_the_new(
    scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    tally, root = Tally(), scenario.start()

    scenario.carry_out(root)
    lefts = root.after_power_cuts(Random(0), most=10 if PROOF else 6, samples=500 if PROOF else 20)
    for left in in_turn(lefts):
        settle(tally, scenario, left, "installed, then a power cut")

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(21)


@pytest.mark.usefixtures("threads")
@scenarios
def test_a_power_cut_after_threads_wrote_leaves_the_old_tree_or_the_new(
    scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    tally, root = Tally(), scenario.start()

    scenario.carry_out_in_threads(root)
    stays(tally, scenario, root, "installed")
    cut_power(tally, scenario, root, "installed", most=6 if PROOF else 3, samples=100 if PROOF else 10)

    record_property("found", dict(tally.found))
    assert tally.problems == []
    assert min(tally.found["old"], tally.found["new"]) >= least(3)


@scenarios
def test_what_was_installed_survives_a_power_cut(scenario: Scenario) -> None:
    tally, root = Tally(), scenario.start()

    scenario.carry_out(root)
    stays(tally, scenario, root, "installed")

    assert tally.problems == []
    assert set(tally.found) == {"new"}


@scenarios
def test_a_second_power_cut_leaves_the_old_tree_or_the_new(
    scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    tally, root = Tally(), scenario.start()
    random = Random(scenario.name)
    scenario.carry_out(root)

    lefts = [
        left
        for left in root.after_power_cuts(random, most=4, samples=4)
        if random.random() <= (0.4 if PROOF else 0.05)
    ]
    for left in in_turn(lefts):
        restore(left)
        stays(tally, scenario, left, "recovered")
        cut_power(tally, scenario, left, "recovered", most=4 if PROOF else 2, samples=4 if PROOF else 1)

    record_property("found", dict(tally.found))
    assert tally.problems == []


@scenarios
def test_a_power_cut_in_the_recovery_of_a_kill_leaves_the_old_tree_or_the_new(
    scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    random = Random(scenario.name)

    for number in numbers(every=9, first=random.randrange(4)):
        root, fault = scenario.start(), Fault(number, but=READS)
        install_until(scenario, root, fault)
        if not fault.killed:
            break
        since = root.done
        restore(root)
        stays(tally, scenario, root, str(fault))
        cut_power(
            tally, scenario, root, str(fault), most=4 if PROOF else 2, samples=4 if PROOF else 1, since=since
        )

    record_property("found", dict(tally.found))
    assert tally.problems == []


@pytest.mark.parametrize("kind", KINDS)
@scenarios
def test_a_power_cut_after_a_failure_leaves_the_old_tree_or_the_new(
    scenario: Scenario, kind: str, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    random = Random(scenario.name + kind)

    for number in numbers(every=60, first=random.randrange(60), share=5):
        root, fault = scenario.start(), Fault(number, errno.EIO, **KINDS[kind])
        attempt(tally, scenario, root, fault)
        cut_power(tally, scenario, root, str(fault), most=3 if PROOF else 2, samples=2 if PROOF else 0)
        if not fault.hindered:
            break

    record_property("found", dict(tally.found))
    assert tally.problems == []


@settings(max_examples=amount(600, 10))
@given(garden=gardens, records=command_lists, again=st.booleans(), number=st.integers(0, 120))
def test_a_power_cut_in_any_installation_leaves_the_old_tree_or_the_new(
    garden: Garden, records: tuple[Record, ...], number: int, *, again: bool
) -> None:
    scenario = Scenario(name="any", garden=garden, records=records, again=again)
    try:
        scenario.plan  # noqa: B018 - what the model refuses is refused, as test_naive_installer.py shows
    except RefusedError:
        assume(condition=False)
    tally, root, killed = Tally(), scenario.start(), scenario.start()

    scenario.carry_out(root)
    stays(tally, scenario, root, "installed")
    cut_power(tally, scenario, root, "installed", most=3, samples=4)
    killed.tap = fault = Fault(number, but=READS)
    attempt(tally, scenario, killed, fault)
    cut_power(tally, scenario, killed, str(fault), most=2, samples=2)

    assert scenario.new[0] == interpret(records, PAYLOAD, grown(garden))
    assert tally.problems == []


# The checks above can fail: faults that each of them has to find.


def no_sync_of_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedFile, "sync", lambda _self: None)


def no_sync_of_directories(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Simulation, "sync_directory", lambda _self, _path: None)


def no_sync_of_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Simulation, "sync_all", lambda _self: None)


def a_journal_before_what_is_staged_is_durable(patch: pytest.MonkeyPatch) -> None:
    syncing = Simulation.sync_directory

    def sync_late(self: Simulation, path: Parts) -> None:
        if self.status(JOURNAL) is not None:
            syncing(self, path)

    patch.setattr(Simulation, "sync_directory", sync_late)


def no_sync_between_phases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(two_ways, "_sync", lambda _root, _pairs: None)


def placing_before_leaving(patch: pytest.MonkeyPatch) -> None:
    shifting, done = two_ways._shift, two_ways._done
    late: list[Sequence[tuple[Parts, Parts]]] = []

    def done_late(root: Root) -> None:
        while late:
            shifting(root, late.pop(0))
        done(root)

    patch.setattr(two_ways, "_shift", lambda _root, pairs: late.append(pairs))
    patch.setattr(two_ways, "_done", done_late)


def no_mark_of_placing(patch: pytest.MonkeyPatch) -> None:
    marking = two_ways._mark

    def mark(root: Root, marker: Parts) -> None:
        if marker != PLACING:
            marking(root, marker)

    patch.setattr(two_ways, "_mark", mark)


def no_sync_of_marks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(two_ways, "_mark", lambda root, marker: root.rename(spare_of(marker), marker))


def collecting_before_the_journal_is_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(two_ways, "_done", lambda _root: None)
    patch.setattr(transaction, "collect", lambda root: root.remove_tree(TXN))


SEEDED: Final = (
    no_sync_of_files,
    no_sync_of_directories,
    no_sync_of_all,
    a_journal_before_what_is_staged_is_durable,
    no_sync_between_phases,
    placing_before_leaving,
    no_mark_of_placing,
    no_sync_of_marks,
    collecting_before_the_journal_is_done,
)


@pytest.mark.parametrize("seed", few(SEEDED, every=4, part="crash"), ids=lambda seed: seed.__name__)
def test_a_power_cut_finds(
    seed: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(scenario.old != scenario.new for scenario in SCENARIOS)  # made before the fault is
    seed(monkeypatch)

    assert any(list(problems_of_power_cuts(scenario)) for scenario in reversed(SCENARIOS))


def problems_of_power_cuts(scenario: Scenario) -> list[str]:
    tally, root = Tally(), scenario.start()
    with suppress(FailedError, UnsafeError):
        scenario.carry_out(root)
    cut_power(tally, scenario, root, "installed", most=4, samples=4)
    return tally.problems


# What ended it is named, and what can't be removed afterwards stops nothing.

NEW: Final = split("/new")


def hinder(
    root: Simulation,
    *hindered: tuple[str, Parts],
    when: Callable[[Root], bool],
    error: BaseException | None = None,
) -> None:
    """Let operations fail as on a broken disk, or in another way, from when something is so."""

    def tap(name: str, path: Parts = ()) -> None:
        if (name, path) not in hindered:
            return
        root.tap = lambda *_: None
        begun = when(root)
        root.tap = tap
        if begun:
            raise error or OSError(errno.EIO, os.strerror(errno.EIO), shown(path))

    root.tap = tap


def journalled(root: Root) -> bool:
    return root.status(JOURNAL) is not None


def test_what_undid_an_installation_is_named() -> None:
    root = SCENARIOS[0].start()
    hinder(root, ("rename", NEW), when=journalled)

    with pytest.raises(FailedError) as caught:
        SCENARIOS[0].carry_out(root)

    wanted = "the changes could not be completed and were undone: /new: input/output error"
    assert str(caught.value) == wanted


def test_what_undid_an_interrupted_installation_is_named() -> None:
    root = SCENARIOS[0].start()
    hinder(root, ("rename", NEW), when=journalled, error=Killed())
    with pytest.raises(Killed):
        SCENARIOS[0].carry_out(root)
    hinder(root, ("rename", NEW), when=journalled)

    settled = restore(root)

    assert (settled.outcome, settled.cause) == (RecoveryOutcome.UNDONE, "/new: input/output error")


def test_why_an_installation_was_given_up_is_not_hidden_by_what_could_not_be_cleared_away() -> None:
    root = SCENARIOS[0].start()
    hinder(root, ("fsync", TXN), ("unlink", JOURNAL), when=journalled)

    with pytest.raises(UnsafeError) as caught:
        SCENARIOS[0].carry_out(root)

    assert str(caught.value) == (
        "it is unknown whether the changes will be made: "
        "/.spkg/txn: input/output error; then /.spkg/txn/journal: input/output error"
    )


def test_what_was_set_aside_is_cleared_away_by_whoever_comes_next() -> None:
    formatted = SCENARIOS[6]
    root = formatted.start()
    plan = formatted.plan
    root.fix(split("/e/b"))

    install_plan(root, plan)
    install_plan(root, EMPTY.plan, "3")

    assert leftovers(root) == (split("/.spkg/over/old/2/b"),)
    assert root.names(split("/.spkg")) == [b"installed", b"over"]
