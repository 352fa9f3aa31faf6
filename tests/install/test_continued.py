"""The whole installer in the simulation: killed, continued as if nothing had been, and then without power.

A process that is killed leaves what it has not synced, and the next one finds it done.  What is said to be
installed then has to be there after a power cut, with no recovery; what has failed is as it was said to be.
"""

import errno
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from spkg.format.commands import Add, End, Move
from spkg.format.paths import RootPath
from spkg.install.status import RootState, root_state
from tests.support.hindrances import READS, Fault
from tests.support.interruptions import ALL, FORMAT, IN_PLACE, MANY, Scenario, begun_of, judge
from tests.support.kit import Draft
from tests.support.naive_installer import PAYLOAD, piece
from tests.support.sampling import PROOF, few, in_turn, least, numbers
from tests.support.simulated_file_system import Simulation
from tests.support.simulated_processes import FAILED, INSTALLED, REFUSED, UNREADABLE, UNSAFE, WholeInstaller

pytestmark = pytest.mark.part("crash")
Record = Callable[[str, object], None]
LONG: Final = pytest.mark.proof
CHANGES: Final = frozenset({"create", "write", "fchmod", "mkdir", "rename", "link", "unlink", "rmdir"})
BEFORE: Final = READS if PROOF else READS | CHANGES
"""What a process is not killed before: in the short suite it is killed where it would have synced next."""


class Bench:
    """One scenario, and what is found in it."""

    def __init__(self, scenario: Scenario, place: Path, patch: pytest.MonkeyPatch) -> None:
        (package := place / "p.spkg").write_bytes(scenario.package)
        self.scenario, self.trees = scenario, scenario.trees
        self.installer = WholeInstaller(package, patch, in_place=scenario.in_place)
        self._start = Simulation()
        self._start.plant(scenario.garden)
        self.found: Counter[str] = Counter()
        self.problems: list[str] = []

    def start(self) -> Simulation:
        return self._start.copy()

    def killed(self, number: int) -> tuple[Simulation, Fault] | None:
        """Return a root whose installer was killed before a primitive; None if there are not so many."""
        root, fault = self.start(), Fault(number, but=READS)
        said = self.installer.alone(root, fault)
        if not fault.killed:
            assert said == INSTALLED
            return None
        return root, fault

    def tree(self, root: Simulation) -> str:
        return judge(root.seen(), self.trees)

    def is_mixed(self, root: Simulation) -> bool:
        return not self.scenario.in_place and self.tree(root) not in {"old", "new"}

    def problem(self, where: str, what: str) -> None:
        self.found["bad"] += 1
        self.problems.append(f"{where}: {what}")

    def judge(self, root: Simulation, said: str, where: str, most: int = 4) -> None:
        """Judge whether what was said is true, now and after a power cut."""
        self.found[said] += 1
        self._true(root, said, where)
        for left in root.after_power_cuts(Random(0), most=most, samples=most // 2, since=root.done):
            self._true(left, said, f"{where}, then a power cut")

    def _true(self, root: Simulation, said: str, where: str) -> None:
        if said == INSTALLED:
            if not self.installer.is_complete(root):
                self.problem(where, f"said to be installed, and {root_state(root)[0].value}")
            if self.tree(root) != "new":
                self.problem(where, f"said to be installed, and {self.tree(root)}")
        elif said in {FAILED, UNREADABLE} and not self.scenario.in_place:
            settled = root.copy()
            if self.tree(root) != "old":
                self.problem(where, f"said to be as before, and {self.tree(root)}")
            if self.installer.recover(settled) != "clean" or self.tree(settled) != "old":
                self.problem(where, f"said to be as before, recovered: {self.tree(settled)}")
        elif said == FAILED and root_state(root)[0] is RootState.UNSAFE:
            self.problem(where, "said to be usable, and unsafe")

    def is_resumable(self, root: Simulation, where: str) -> None:
        """Judge what a power cut has left of an installation in place, and continue it."""
        state, tree = root_state(root)[0], root.seen()
        begun = begun_of(tree, self.trees)
        if begun is None:
            self.problem(where, "a tree that no command leaves")
        elif not (self.installer.is_complete(root) and tree == self.trees[-1]):
            unsafe = begun > self.scenario.unsafe
            if (unsafe and state is not RootState.UNSAFE) or (begun and state is RootState.CLEAN):
                self.problem(where, f"{state.value}, though command[{begun - 1}] was begun")
        self.found[state.value] += 1
        again = self.installer.alone(root)
        if again != INSTALLED or root.seen() != self.trees[-1]:
            self.problem(where, f"continued: {again}, and {self.tree(root)}")

    def is_over(self, root: Simulation, where: str) -> None:
        """Judge a root in which the fault is gone."""
        if not self.scenario.in_place:
            self.is_settled(root, where)
        elif self.installer.recover(root) != "unsafe" or self.installer.alone(root) != REFUSED:
            self.is_resumable(root, where)

    def is_settled(self, root: Simulation, where: str) -> None:
        """Judge what a power cut has left of a transaction."""
        if self.installer.recover(root) != "clean" or self.tree(root) not in {"old", "new"}:
            self.problem(where, f"recovered: {self.tree(root)}")
        self.found[self.tree(root)[:5]] += 1


@pytest.fixture
def bench_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], Bench]:
    return lambda scenario: Bench(scenario, tmp_path, monkeypatch)


PLACES: Final = pytest.mark.parametrize(
    "scenario", [pytest.param(IN_PLACE, id="commands"), pytest.param(FORMAT, id="format", marks=LONG)]
)
WAYS: Final = pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(IN_PLACE, id="in place"),
        pytest.param(FORMAT, id="format in place", marks=LONG),
        pytest.param(ALL, id="all or nothing"),
        pytest.param(MANY, id="many files", marks=LONG),
    ],
)


@WAYS
def test_what_is_installed_after_a_kill_survives_a_power_cut(
    scenario: Scenario, bench_of: Callable[[Scenario], Bench], record_property: Record
) -> None:
    bench = bench_of(scenario)

    for number in numbers(every=12):
        root, kill = bench.start(), Fault(number, but=BEFORE)
        bench.installer.alone(root, kill)
        bench.judge(root, bench.installer.apply(root), f"{kill}, continued")
        if not kill.killed:
            break

    record_property("found", dict(bench.found))
    assert bench.problems == [], "\n".join(bench.problems[:40])
    assert set(bench.found) == {INSTALLED}


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "all or nothing"])
def test_what_another_package_finds_done_survives_a_power_cut(
    tmp_path: Path, bench_of: Callable[[Scenario], Bench], monkeypatch: pytest.MonkeyPatch, *, in_place: bool
) -> None:
    # It adds what the first one may have added, and moves away what that may have moved.
    added = piece("/etc/added", 1, Add)
    moved = Move(source_path=RootPath.of("/m/three"), destination_path=RootPath.of("/m/four"))
    other = Draft(records=(added, moved, End()), payload=PAYLOAD).encode()
    (package := tmp_path / "other.spkg").write_bytes(other)
    bench = bench_of(IN_PLACE)
    second = WholeInstaller(package, monkeypatch, in_place=in_place, unsafe_force=True)

    for number in numbers(every=12):
        root, kill = bench.start(), Fault(number, but=BEFORE)
        bench.installer.alone(root, kill)
        if not kill.killed:
            break
        assert second.alone(root) == INSTALLED
        for left in root.after_power_cuts(Random(0), most=4, samples=2, since=root.done):
            bench.found[INSTALLED] += 1
            if left.seen() != root.seen() or not second.is_complete(left):
                bench.problem(str(kill), "what the second one has found is gone")

    assert bench.problems == [], "\n".join(bench.problems[:40])
    assert bench.found[INSTALLED] >= least(40 if PROOF else 12)


@PLACES
def test_a_power_cut_in_place_leaves_the_truth_and_the_same_package_goes_on(
    scenario: Scenario, bench_of: Callable[[Scenario], Bench], record_property: Record
) -> None:
    bench = bench_of(scenario)
    root = bench.start()

    assert bench.installer.alone(root) == INSTALLED
    lefts = root.after_power_cuts(Random(0), most=8 if PROOF else 3, samples=100 if PROOF else 1)
    for left in in_turn(lefts):
        bench.is_resumable(left, "installed, then a power cut")

    record_property("found", dict(bench.found))
    assert bench.problems == []
    assert bench.found["unsafe"] >= least(30)


@pytest.mark.part("crash", turns=True, few=2)
@WAYS
def test_a_power_cut_after_a_kill_and_a_continuation_leaves_the_truth(
    scenario: Scenario, bench_of: Callable[[Scenario], Bench], record_property: Record
) -> None:
    bench = bench_of(scenario)
    random = Random(scenario.payload)

    for number in numbers(every=60, first=random.randrange(60), share=7):
        killed = bench.killed(number)
        if killed is None:
            break
        root, fault = killed
        since = root.done
        assert bench.installer.alone(root) == INSTALLED
        lefts = root.after_power_cuts(random, most=2, samples=2 if PROOF else 0, since=since)
        for left in lefts:
            where = f"{fault}, continued, then a power cut"
            (bench.is_resumable if scenario.in_place else bench.is_settled)(left, where)

    record_property("found", dict(bench.found))
    assert bench.problems == []


@WAYS
def test_what_is_said_after_two_kills_is_true_also_after_a_power_cut(
    scenario: Scenario, bench_of: Callable[[Scenario], Bench], record_property: Record
) -> None:
    bench = bench_of(scenario)

    for number in numbers(every=12):
        for second in count(step=2 if PROOF else 11):
            root, first, again = bench.start(), Fault(number, but=BEFORE), Fault(second, but=BEFORE)
            said = bench.installer.apply(root, first, again)
            bench.judge(root, said, f"{first}; {again}")
            if not again.killed:
                break
        if not first.killed:
            break

    record_property("found", dict(bench.found))
    assert bench.problems == []
    assert min(bench.found[INSTALLED], bench.found[FAILED]) >= least(1)


STAYING: Final[dict[str, dict[str, Any]]] = {
    "one thing never works": {"same": True, "but": READS},
    "nothing is written": {"but": READS},
    "nothing is synced": {"but": READS | CHANGES},
    "nothing can be read either": {},
}
"""What is wrong with the file system while the recovery runs, and stays wrong."""


@pytest.mark.parametrize("kind", few(STAYING, every=2, first=1, part="crash"))
@WAYS
def test_what_is_said_while_a_fault_stays_over_the_recovery_is_true(
    scenario: Scenario, kind: str, bench_of: Callable[[Scenario], Bench], record_property: Record
) -> None:
    bench = bench_of(scenario)
    random = Random(scenario.payload + kind.encode())

    for number in numbers(every=47, first=random.randrange(47), share=7):
        for second in count(random.randrange(4), step=4 if PROOF else 29):
            root, kill = bench.start(), Fault(number, but=READS)
            staying = Fault(second, errno.EIO, **STAYING[kind])
            said = bench.installer.apply(root, kill, staying, parent=staying)
            where = f"{kill}; {staying}"
            bench.judge(root, said, where, most=1)
            if bench.installer.recover(root, staying) == "clean" and bench.is_mixed(root):
                bench.problem(where, f"recovered while it stays, and {bench.tree(root)}")
            again = bench.installer.alone(root, staying)
            if again == FAILED and bench.is_mixed(root):
                bench.problem(where, f"said to be as before again, and {bench.tree(root)}")
            if again == INSTALLED:
                bench.judge(root, again, f"{where}, again", most=1)
            bench.is_over(root, f"{where}, gone")
            if not staying.hindered:
                break
        if not kill.killed:
            break

    record_property("found", dict(bench.found))
    assert bench.problems == [], "\n".join(bench.problems[:40])
    assert bench.found[UNSAFE] >= least(1)
