"""Whatever ends an installation, and wherever: afterwards the tree is the old one or the new one.

The program is run as processes.  strace kills the one that changes the root, or lets a system call of it
fail; file systems on loop devices lose their power, and small ones their room.
"""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.support import kit
from tests.support.interruptions import (
    ALL,
    FORMAT,
    IN_PLACE,
    MANY,
    MUTATING,
    READING,
    SCENARIOS,
    Call,
    Ended,
    Job,
    Program,
    Scenario,
    begun_of,
    calls,
    isolated,
    judge,
    snapshot,
)
from tests.support.naive_installer import plant, seen
from tests.support.sampling import PROOF, least, sample, stride

KILL: Final = "signal=KILL"
EIO: Final = "error=EIO"
ENOSPC: Final = "error=ENOSPC"
SHARED: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there
TREES: Final = {0: "new", 6: "old", 9: "old"}
"""The tree that goes with an exit status; 9 is a root that can't be looked at, nor be begun with."""
MODULE: Final = (sys.executable, "-m", "tests.support.interruptions")
Record = Callable[[str, object], None]
pytestmark = pytest.mark.part("kill")


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """Give a directory where syncing costs nothing, with two packages' signer."""
    where = SHARED if os.access(SHARED, os.W_OK) else None
    with TemporaryDirectory(dir=where) as name:
        (path := Path(name)).joinpath("ca.pem").write_bytes(kit.root().pem)
        path.joinpath("other.spkg").write_bytes(kit.Draft().encode())
        yield path


@pytest.fixture(scope="module")
def program(desk: Path) -> Iterator[Program]:
    if (
        shutil.which("strace")
        and subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode
    ):
        pytest.skip("NOT JUDGED: no process can be traced here")
    running = Program(desk)
    yield running
    running.close()


class Bench:
    """One scenario, applied again and again to a fresh tree."""

    def __init__(self, desk: Path, program: Program, scenario: Scenario) -> None:
        self.scenario = scenario
        self.trees = scenario.trees
        self.root = desk / "root"
        self._program = program
        (desk / "p.spkg").write_bytes(scenario.package)
        self.digest = sha256(kit.read(scenario.package).signed).hexdigest()

    def apply(self, package: str = "p.spkg", **settings: Any) -> Ended:
        place = ("--in-place",) if self.scenario.in_place else ()
        args = ("apply", package, "--root", str(self.root), "--trust", "ca.pem", "--at", kit.AT.isoformat())
        return self._program.run(Job(args=(*args, *place, "--json"), **settings))

    def recover(self) -> Ended:
        return self._program.run(Job(args=("recover", "--root", str(self.root), "--json")))

    def status(self) -> dict[str, Any]:
        ended = self._program.run(Job(args=("status", "--root", str(self.root), "--json")))
        assert ended.status == 0, ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def fresh(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        plant(self.scenario.garden, self.root)

    def calls(self, names: Sequence[str] = MUTATING, seed: str | None = None) -> list[Call]:
        """Return where an installation that nothing stops can be stopped."""
        self.fresh()
        ended = self.apply(trace=",".join(names), seed=seed)
        assert ended.status == 0, ended.stderr
        assert judge(seen(self.root), self.trees) == "new"
        return calls(ended.log, self.root, names, reading=names is READING)

    def tree(self) -> str:
        return judge(seen(self.root), self.trees)


def some(points: Sequence[Call], count: int, share: int = 1) -> list[Call]:
    """Return all of this run in the proof, or that share; otherwise so many, and one of each name."""
    if PROOF:
        return list(sample(points[::share], every=1))
    step = max(1, len(points) // count)
    lasts = {point.name: point for point in points}
    return sorted({*points[step // 2 :: step], *lasts.values()}, key=points.index)


def settle(bench: Bench) -> tuple[str, list[str]]:
    """Recover twice; return which tree is there then, and what is not as it has to be."""
    before, there = bench.status()["state"], bench.tree()
    first = bench.recover()
    tree = bench.tree()
    outcome = json.loads(first.stdout).get("outcome") if first.stdout else None
    after = bench.status()
    whole = snapshot(bench.root)
    second = bench.recover()
    newest = [one["package"] for one in after["installed"]]
    wrong = [
        (first.status != 0, f"recover ended with {first.status}: {first.stderr}"),
        (tree not in {"old", "new"}, tree),
        (after["state"] != "clean", f"{after['state']} after the recovery"),
        (
            newest != [bench.digest] * (tree == "new"),
            f"the record has {len(newest)} packages, the tree is {tree}",
        ),
        (before == "clean" and there != tree, f"recovering changed a clean tree: {there} to {tree}"),
        (before == "clean" and outcome != "nothing", f"{outcome} where nothing was left"),
        (tree == "old" and outcome == "done", "told as done, and it is not"),
        (tree == "new" and outcome == "undone", "told as undone, and it is done"),
        (
            second.status != 0 or json.loads(second.stdout)["outcome"] != "nothing",
            f"the second recovery ended with {second.status}: {second.stdout}{second.stderr}",
        ),
        (snapshot(bench.root) != whole, "the second recovery changed something"),
    ]
    return tree, [what for is_wrong, what in wrong if is_wrong]


def unnamed(ended: Ended, what: str) -> list[str]:
    """Return what the message and the document lack, if an error of the system ended an installation."""
    cause = {EIO: os.strerror(errno.EIO), ENOSPC: os.strerror(errno.ENOSPC)}.get(what)
    if cause is None or ended.status == 0:
        return []
    wanted = cause[0].lower() + cause[1:]
    message = ended.document["message"]
    problems = [
        (wanted not in message, f"{wanted} is not in {message!r}"),
        (not re.search(r"(^|[ /])[^ ]*/[^ ]*: ", message), f"no path in {message!r}"),
        (message not in ended.stderr, f"{message!r} is not in {ended.stderr!r}"),
    ]
    return [problem for is_wrong, problem in problems if is_wrong]


def told(bench: Bench, ended: Ended, times: int) -> list[str]:
    """Return what is wrong with the status that an installation ended with."""
    tree, state = bench.tree(), bench.status()["state"]
    # What is over, and could not be cleared away, waits for the next recovery; no journal is left of it.
    over = state == "clean" or not (bench.root / ".spkg/txn/journal").exists()
    if times > 1 and ended.status == 7 and state == "pending":
        return []  # neither way could be gone, and that is said
    wanted = TREES.get(ended.status)
    if wanted is None or "Traceback" in ended.stderr:
        return [f"exit status {ended.status}: {ended.stderr}"]
    wrong = [
        (tree != wanted, f"the tree is {tree}"),
        (not over, f"the root is {state}"),
        (ended.document["exit"] != ended.status, f"the document says {ended.document}"),
    ]
    return [f"exit status {ended.status}, and {what}: {ended.stderr}" for is_wrong, what in wrong if is_wrong]


def sweep(
    bench: Bench,
    points: Sequence[Call],
    what: str,
    *,
    both: bool = False,
    seed: str | None = None,
    times: int = 1,
) -> tuple[Counter[str], list[str]]:
    """Stop an installation at each of the points; count the trees, and collect what is wrong."""
    found: Counter[str] = Counter()
    problems: list[str] = []
    for point in points:
        bench.fresh()
        ended = bench.apply(trace=point.name, inject=point.inject(what, times), both=both, seed=seed)
        wrong: list[str] = []
        if both:
            assert ended.status == -9, f"{point}: {ended}"
        else:
            assert ended.child_killed if what == KILL else ended.hit(bench.root), f"{point}: {ended}"
            wrong = [*told(bench, ended, times), *unnamed(ended, what)]
            found[f"exit {ended.status}"] += 1
        tree, unsettled = settle(bench)
        if tree != TREES.get(ended.status, tree):
            unsettled.append(f"{tree} after the recovery, though the exit status was {ended.status}")
        found[tree[:5]] += 1
        problems += [f"{point}: {problem}" for problem in [*wrong, *unsettled]]
    return found, problems


def complain(problems: Sequence[str]) -> str:
    return "\n" + "\n".join([f"{len(problems)} problems", *problems[:40]])


# Killed, or let down by the system.

LONG: Final = pytest.mark.proof
FEW_FILES: Final = pytest.param(ALL, id="few files")
BOTH: Final = pytest.mark.parametrize(
    "scenario", [FEW_FILES, pytest.param(MANY, id="many files", marks=LONG)]
)


@pytest.mark.judge("strace")
@BOTH
def test_a_killed_child_leaves_the_old_tree_or_the_new_one_and_says_which(
    scenario: Scenario, desk: Path, program: Program, record_property: Record
) -> None:
    bench = Bench(desk, program, scenario)
    points = some(bench.calls(), 1)

    found, problems = sweep(bench, points, KILL)

    record_property("cuts", dict(found))
    assert problems == [], complain(problems)
    assert found["old"] + found["new"] == len(points)
    assert min(found["old"], found["new"], found["exit 0"], found["exit 6"]) >= least(1)


@pytest.mark.judge("strace")
@BOTH
def test_where_both_processes_are_killed_recovery_leaves_the_old_tree_or_the_new_one(
    scenario: Scenario, desk: Path, program: Program, record_property: Record
) -> None:
    bench = Bench(desk, program, scenario)
    points = some(bench.calls(), 1)

    found, problems = sweep(bench, points, KILL, both=True)

    record_property("cuts", dict(found))
    assert problems == [], complain(problems)
    assert found["old"] + found["new"] == len(points)
    assert min(found["old"], found["new"]) >= least(1)


@pytest.mark.judge("strace")
@pytest.mark.parametrize("error", [pytest.param(EIO, marks=LONG), ENOSPC])
@BOTH
def test_an_error_of_the_system_leaves_the_old_tree_or_the_new_one_and_says_which(
    error: str, scenario: Scenario, desk: Path, program: Program, record_property: Record
) -> None:
    bench = Bench(desk, program, scenario)
    points = some(bench.calls(), 1, 1 if error == EIO else 2)

    found, problems = sweep(bench, points, error)

    record_property("errors", dict(found))
    assert problems == [], complain(problems)
    assert found["old"] + found["new"] == len(points)


@pytest.mark.judge("strace")
@BOTH
def test_an_error_that_stays_for_a_while_is_taken_back_or_told(
    scenario: Scenario, desk: Path, program: Program, record_property: Record
) -> None:
    # The way forward is tried twice, so that the way back begins after two errors.
    bench = Bench(desk, program, scenario)
    points = [point for point in bench.calls() if point.name in {"renameat", "fsync", "syncfs", "unlinkat"}]

    found, problems = sweep(bench, some(points, 2), EIO, times=2)

    record_property("errors", dict(found))
    assert problems == [], complain(problems)
    assert found["exit 6"] >= least(1)


@pytest.mark.judge("strace")
def test_what_can_not_be_read_leaves_the_old_tree_or_the_new_one_and_says_which(
    desk: Path, program: Program, record_property: Record
) -> None:
    bench = Bench(desk, program, ALL)
    points = some(bench.calls(READING), 1, 3)

    found, problems = sweep(bench, points, EIO)

    record_property("errors", dict(found))
    assert problems == [], complain(problems)
    assert found["old"] + found["new"] == len(points)


@pytest.mark.judge("strace")
def test_what_was_done_is_not_told_as_discarded(desk: Path, program: Program) -> None:
    bench = Bench(desk, program, ALL)
    killed_at(bench, "unlinkat", '"over"', both=True)
    assert bench.tree() == "new"

    recovered = bench.recover()

    assert json.loads(recovered.stdout)["outcome"] != "discarded"


@pytest.mark.judge("strace")
def test_the_program_as_it_is_started_is_cut_and_recovers(
    desk: Path, program: Program, record_property: Record
) -> None:
    # No help of ours inside: strace counts in each child, so the one that recovers is cut as well.
    bench = Bench(desk, program, ALL)
    names = ("renameat", "rename", "unlinkat", "linkat", "mkdirat", "fchmod", "fsync")
    points = [point for point in bench.calls() if point.name in names]
    spkg = (sys.executable, str(kit.ROOT / "cli.py"))
    found: Counter[str] = Counter()
    problems: list[str] = []
    for point in sample(points[::5], every=1) if PROOF else points[len(points) // 2 :: len(points)]:
        bench.fresh()
        trace = (
            "strace",
            "-f",
            "-o",
            "log",
            "-e",
            f"trace={point.name}",
            "-e",
            f"inject={point.inject(KILL)}",
        )
        apply = (
            "apply",
            "p.spkg",
            "--root",
            "root",
            "--trust",
            "ca.pem",
            "--at",
            kit.AT.isoformat(),
            "--json",
        )
        ended = subprocess.run(
            [*trace, *spkg, *apply], cwd=desk, capture_output=True, text=True, check=False, timeout=60
        )
        log = (desk / "log").read_text()
        assert "ended by signal 9" in ended.stderr, f"{point}: {ended}"
        killed = log.count("killed by SIGKILL")
        tree = bench.tree()
        if tree != TREES.get(ended.returncode, tree):
            problems.append(
                f"{point}: exit status {ended.returncode}, and the tree is {tree}; {killed} killed"
            )
        elif ended.returncode not in {0, 6, 7}:
            problems.append(f"{point}: exit status {ended.returncode}: {ended.stderr}")
        found[f"{killed} killed, exit {ended.returncode}"] += 1
        tree, wrong = settle(bench)
        found[tree[:5]] += 1
        problems += [f"{point}: {problem}" for problem in wrong]

    record_property("cuts", dict(found))
    assert problems == [], complain(problems)


# In place.


def examine_in_place(bench: Bench, ended: Ended | None) -> list[str]:
    """Return what is wrong with a root where an installation in place was stopped; then go on with it."""
    problems: list[str] = []
    found, state = seen(bench.root), bench.status()
    begun = begun_of(found, bench.trees)
    if begun is None:
        problems.append(f"a tree that no command leaves: {differences(bench, found)}")
    unsafe = bench.scenario.unsafe
    complete = state["state"] == "clean" and found == bench.trees[-1] and state["installed"]
    if begun is not None and begun > unsafe and state["state"] != "unsafe" and not complete:
        problems.append(f"{state['state']}, though command[{begun - 1}] was begun")
    if ended is not None:
        wanted = {"clean": {0, 6, 9}, "unsafe": {7}, "partial": {6}, "pending": {6}}[state["state"]]
        if ended.status not in wanted or (state["state"] == "clean" and ended.status == 0) is not bool(
            complete
        ):
            problems.append(f"exit status {ended.status}, and the root is {state['state']}: {ended.stderr}")
    if state["in_place"] is not None and not state["in_place"]["failed"]:
        other = bench.apply("other.spkg")
        if other.status != 5:
            problems.append(f"another package: exit status {other.status}: {other.stderr}")
        if seen(bench.root) != found:
            problems.append("a refused package changed something")
    recovered = bench.recover()
    if recovered.status != (7 if state["state"] == "unsafe" else 0):
        problems.append(f"recover ended with {recovered.status}: {recovered.stderr}")
    again = bench.apply()
    failed = state["in_place"] is not None and state["in_place"]["failed"]
    if state["state"] == "unsafe" and failed:
        # What failed there waits for a recovery, and not for the same failure.
        if again.status != 5:
            problems.append(f"after a failure where it is unsafe: exit status {again.status}")
        return problems
    if again.status != 0:
        problems.append(f"again: exit status {again.status}: {again.stderr}")
    if seen(bench.root) != bench.trees[-1]:
        problems.append(f"again: not the tree that it leaves: {differences(bench, seen(bench.root))}")
    after = bench.status()
    if after["state"] != "clean" or [one["package"] for one in after["installed"]] != [bench.digest]:
        problems.append(f"again: {after['state']}, and {len(after['installed'])} in the record")
    return problems


def differences(bench: Bench, found: dict[tuple[bytes, ...], Any]) -> str:
    last = bench.trees[-1]
    return "; ".join(
        f"{b'/'.join(path).decode()} is {str(found.get(path))[-40:]}, not {str(last.get(path))[-40:]}"
        for path in sorted({*found, *last})
        if found.get(path) != last.get(path)
    )[:500]


def sweep_in_place(
    bench: Bench, points: Sequence[Call], what: str, *, both: bool = False, seed: str | None = None
) -> tuple[Counter[str], list[str]]:
    found: Counter[str] = Counter()
    problems: list[str] = []
    for point in points:
        bench.fresh()
        ended = bench.apply(trace=point.name, inject=point.inject(what), both=both, seed=seed)
        if both:
            assert ended.status == -9, f"{point}: {ended}"
        else:
            assert ended.child_killed if what == KILL else ended.hit(bench.root), f"{point}: {ended}"
        if ended.status not in {-9, 0, 6, 7, 9}:
            problems.append(f"{point}: exit status {ended.status}: {ended.stderr}")
        found[f"{ended.status}, {bench.status()['state']}"] += 1
        wrong = [] if both else unnamed(ended, what)
        wrong += examine_in_place(bench, None if both else ended)
        problems += [f"{point}: {problem}" for problem in wrong]
    return found, problems


PLACES: Final = pytest.mark.parametrize(
    "scenario", [pytest.param(IN_PLACE, id="commands"), pytest.param(FORMAT, id="format", marks=LONG)]
)


@pytest.mark.part("kill", turns=True, few=2)
@pytest.mark.judge("strace")
@pytest.mark.parametrize(
    "both", [pytest.param(False, id="the child", marks=LONG), pytest.param(True, id="both")]
)
@PLACES
def test_killed_in_place_the_state_is_never_milder_than_the_truth_and_it_goes_on(
    scenario: Scenario, desk: Path, program: Program, record_property: Record, *, both: bool
) -> None:
    bench = Bench(desk, program, scenario)
    points = some(bench.calls(), 1, 1 if both else 2)

    found, problems = sweep_in_place(bench, points, KILL, both=both)

    record_property("cuts", dict(found))
    assert problems == [], complain(problems)
    assert sum(found.values()) == len(points)


@pytest.mark.judge("strace")
@pytest.mark.parametrize("error", [pytest.param(EIO, marks=LONG), ENOSPC])
@PLACES
def test_an_error_in_place_is_told_as_what_the_root_is_then(
    scenario: Scenario, error: str, desk: Path, program: Program, record_property: Record
) -> None:
    bench = Bench(desk, program, scenario)
    points = some(bench.calls(), 1, 2 if error == EIO else 3)

    found, problems = sweep_in_place(bench, points, error)

    record_property("errors", dict(found))
    assert problems == [], complain(problems)
    assert sum(found.values()) == len(points)


def killed_at(bench: Bench, name: str, text: str, **settings: Any) -> Ended:
    """Kill an installation at the first call whose arguments have a text in them."""
    point = next(point for point in bench.calls() if point.name == name and text in point.text)
    bench.fresh()
    ended = bench.apply(trace=name, inject=point.inject(KILL), **settings)
    assert ended.status == -9 or ended.child_killed
    return ended


@pytest.mark.judge("strace")
def test_a_directory_made_in_place_has_its_mode_also_after_a_crash(desk: Path, program: Program) -> None:
    # Once a bug: killed between mkdirat and chmod the directory is there with 0700, for good.
    bench = Bench(desk, program, IN_PLACE)
    points = [point for point in bench.calls() if point.name in {"chmod", "fchmod", "fchmodat"}]
    found = set()

    for point in points:
        bench.fresh()
        bench.apply(trace=point.name, inject=point.inject(KILL), both=True)
        assert bench.apply().status == 0
        found |= {(bench.root / path).stat().st_mode & 0o777 for path in ("new", "new/nested", "moved/to")}

    assert points
    assert found == {0o755}


@pytest.mark.judge("strace")
def test_a_version_replaced_in_place_keeps_its_mode_also_after_a_crash(desk: Path, program: Program) -> None:
    # Once a bug: the old versions, whose mode and owner it takes, went before the new one was placed.
    bench = Bench(desk, program, IN_PLACE)
    killed_at(bench, "renameat", '"v.020"', both=True)

    again = bench.apply()

    assert again.status == 0
    assert (bench.root / "new/v.000").stat().st_mode & 0o777 == 0o750


@pytest.mark.judge("strace")
def test_a_package_is_in_the_record_once_also_after_a_crash(desk: Path, program: Program) -> None:
    # Once a bug: killed between the record and the removal of the checkpoint, it is written down twice.
    bench = Bench(desk, program, IN_PLACE)
    killed_at(bench, "unlinkat", '"checkpoint"', both=True)

    again = bench.apply()

    assert again.status == 0
    assert [one["package"] for one in bench.status()["installed"]] == [bench.digest]


@pytest.mark.judge("strace")
def test_where_the_recovering_child_is_killed_too_the_tree_is_not_told_to_be_as_before(
    desk: Path, program: Program
) -> None:
    # Once a bug: the second child is killed half-way, and 6 says that the root is as it was.
    bench = Bench(desk, program, ALL)
    points = [point for point in bench.calls() if point.name == "renameat"]
    bench.fresh()

    ended = bench.apply(trace="renameat", inject=points[8].inject(KILL), recovering=points[4].inject(KILL))

    assert ended.stderr.count("signal 9") == 2
    assert bench.status()["state"] == "pending"
    assert ended.status == 7


# Without power, and without room.


def elsewhere(what: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Do something inside a mount namespace of its own; what is mounted there goes with it."""
    ended = subprocess.run(
        ["unshare", "-m", "--propagation", "private", *MODULE, what, json.dumps(request)],
        cwd=kit.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def apart() -> None:
    """Leave out what wants mounts where there can be none, and say so: nobody can install them."""
    reason = isolated()
    if reason is not None:
        pytest.skip(reason)


def wrong_after_a_cut(found: dict[str, Any], scenario: Scenario) -> list[str]:
    """Return what is not as it has to be after the power was cut."""
    if scenario.in_place:
        begun = found["begun"]
        wrong = [
            (begun is None, "a tree that no command leaves"),
            (
                begun is not None
                and begun > scenario.unsafe
                and found["state"] != "unsafe"
                and not (found["state"] == "clean" and found["complete"]),
                f"{found['state']}, though command[{(begun or 0) - 1}] was begun",
            ),
            (found["after"] != "installed", f"again: {found['after']}"),
            (found["tree"] != "new", f"again: not the tree that it leaves: {found['tree']}"),
        ]
    else:
        wrong = [
            (found["tree"] not in {"old", "new"}, found["tree"]),
            (found["after"] != "clean", f"{found['after']} after the recovery"),
            (found["outcome"] not in {"nothing", "discarded", "done"}, f"recovery: {found['outcome']}"),
            (found["tree"] == "old" and found["outcome"] == "done", "told as done, and it is not"),
            (found["again"] != "nothing", f"the second recovery: {found['again']}"),
            ((found["told"] or "").endswith("installed") and found["tree"] != "new", "installed, and gone"),
        ]
    return [f"before primitive {found['at']}: {what}" for is_wrong, what in wrong if is_wrong]


CUTS: Final = [
    pytest.param(("all", "ext4", 2, 1), id="all-ext4"),
    pytest.param(("all", "xfs", 2, 2), id="all-xfs", marks=LONG),
    pytest.param(("few", "ext4", 2, 1), id="few-ext4"),
    pytest.param(("few", "xfs", 2, 1), id="few-xfs", marks=LONG),
    pytest.param(("many", "ext4", 2, 2), id="many-ext4", marks=LONG),
    pytest.param(("many", "xfs", 2, 3), id="many-xfs", marks=LONG),
    pytest.param(("all", "ext4", 1, 2), id="all-ext4-with-its-journal", marks=LONG),
    pytest.param(("in-place", "ext4", 2, 1), id="in-place-ext4"),
    pytest.param(("in-place", "xfs", 2, 3), id="in-place-xfs", marks=LONG),
    pytest.param(("format", "ext4", 2, 2), id="format-ext4", marks=LONG),
    pytest.param(("all", "overlayfs", 2, 1), id="all-overlayfs"),
    pytest.param(("many", "overlayfs", 2, 3), id="many-overlayfs", marks=LONG),
    pytest.param(("in-place", "overlayfs", 2, 2), id="in-place-overlayfs", marks=LONG),
    pytest.param(("format", "overlayfs", 2, 2), id="format-overlayfs", marks=LONG),
]
"""What, where, how the power is cut, and which share of the primitives has its turn in the proof."""


@pytest.mark.part("power")
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("one", CUTS)
@pytest.mark.judge("unshare", "mount", "losetup", "mkfs.ext4", "mkfs.xfs")
def test_a_power_cut_leaves_the_old_tree_or_the_new_one(
    one: tuple[str, str, int, int], tmp_path: Path, record_property: Record
) -> None:
    name, kind, how, share = one
    request = {"scenario": name, "desk": str(tmp_path), "kind": kind, "how": how, "seed": None}
    first, step = stride(43, 1 + len(name), share=share, begin=1)

    found = elsewhere("cut", {**request, "first": first, "step": step})

    problems = [problem for one in found for problem in wrong_after_a_cut(one, SCENARIOS[name])]
    record_property("cuts", dict(Counter(one["tree"][:5] for one in found)))
    assert problems == [], complain(problems)
    assert (found[-1]["told"] or "").endswith("installed")


FILLS: Final = [
    pytest.param("all", "tmpfs", "octets"),
    pytest.param("all", "tmpfs", "names", marks=LONG),
    pytest.param("many", "tmpfs", "octets", marks=LONG),
    pytest.param("many", "tmpfs", "names"),
    pytest.param("all", "ext4", "octets", marks=LONG),
    pytest.param("all", "ext4", "names", marks=LONG),
    pytest.param("all", "tmpfs", "killed", marks=LONG),
    pytest.param("all", "ext4", "killed"),
    pytest.param("many", "ext4", "killed", marks=LONG),
]


@pytest.mark.part("power")
@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(("name", "kind", "what"), FILLS)
@pytest.mark.judge("unshare", "mount", "losetup", "mkfs.ext4")
def test_without_room_there_is_the_old_tree_or_the_new_one(
    name: str, kind: str, what: str, tmp_path: Path, record_property: Record
) -> None:
    request = {"scenario": name, "desk": str(tmp_path), "kind": kind, "what": what, "seed": None}
    begin = int(what == "killed")
    first, step = stride(43, begin, share=4, begin=begin) if begin else stride(29)

    found = elsewhere("fill", {**request, "first": first, "step": step})

    problems = [problem for one in found for problem in wrong_without_room(one, what)]
    record_property("room", dict(Counter(f"{one['told'][:6]}, {one['tree'][:5]}" for one in found)))
    assert problems == [], complain(problems)
    assert found[-1]["told"] == "installed"


def wrong_without_room(found: dict[str, Any], what: str) -> list[str]:
    wanted = {"instal": "new", "failed": "old"}.get(found["told"][:6])
    wrong = [
        (wanted is None and what != "killed", found["told"]),
        (wanted is not None and found["at once"] != wanted, f"{found['told']}: {found['at once']}"),
        (wanted is not None and found["tree"] != wanted, f"{found['told']}, then {found['tree']}"),
        (found["tree"] not in {"old", "new"}, found["tree"]),
        (found["after"] != "clean", f"{found['after']} after the recovery: {found['outcome']}"),
        (found["again"] != "nothing", f"the second recovery: {found['again']}"),
    ]
    return [f"with {found['left']}: {problem}" for is_wrong, problem in wrong if is_wrong]


# Faults that these checks have to find.

FAULTS: Final = [
    ("journal first", KILL, True, ("linkat", "mkdirat")),
    ("no aftermath", KILL, False, ("renameat",)),
    ("not discarded", EIO, False, ("fsync",)),
    ("no way back", EIO, False, ("renameat",)),
]
"""Which fault, what of, how it is provoked, and at what calls it shows at the latest."""


@pytest.mark.part("kill", turns=True)
@pytest.mark.proof
@pytest.mark.judge("strace")
@pytest.mark.parametrize(
    ("seed", "what", "both", "names"), FAULTS, ids=[one[0].replace(" ", "-") for one in FAULTS]
)
def test_a_fault_is_found(
    seed: str, what: str, names: tuple[str, ...], desk: Path, program: Program, *, both: bool
) -> None:
    bench = Bench(desk, program, ALL)
    points = [point for point in bench.calls(seed=seed) if point.name in names]
    if names == ("fsync",):
        points = [point for point in points if "/.spkg/txn>" in point.text]

    _, problems = sweep(bench, points, what, both=both, seed=seed, times=2)

    assert problems


@pytest.mark.part("kill", turns=True)
@pytest.mark.proof
@pytest.mark.judge("strace")
@pytest.mark.parametrize("seed", ["checkpoint late", "state forgotten", "written over"])
def test_a_fault_in_place_is_found(seed: str, desk: Path, program: Program) -> None:
    bench = Bench(desk, program, IN_PLACE)

    _, problems = sweep_in_place(bench, bench.calls(seed=seed), KILL, both=True, seed=seed)

    assert any("milder" in one or "though command" in one or "no command leaves" in one for one in problems)


@pytest.mark.part("power", turns=True)
@pytest.mark.parametrize(
    ("seed", "name", "kind", "first"),
    [
        ("no file sync", "few", "ext4", 20),
        ("no file sync", "few", "xfs", 20),
        ("no sync of all", "many", "ext4", 60),
    ],
)
@pytest.mark.proof
@pytest.mark.usefixtures("apart")
@pytest.mark.judge("unshare", "mount", "losetup", "mkfs.ext4", "mkfs.xfs")
def test_a_fault_is_found_by_the_power_cut(
    seed: str, name: str, kind: str, first: int, tmp_path: Path
) -> None:
    request = {
        "scenario": name,
        "desk": str(tmp_path),
        "kind": kind,
        "seed": seed,
        "first": first,
        "step": 11,
    }

    found = elsewhere("cut", request)

    assert [problem for one in found for problem in wrong_after_a_cut(one, SCENARIOS[name])]


@pytest.mark.part("power", turns=True)
@pytest.mark.proof
@pytest.mark.parametrize("seed", ["markers late", "copied back"])
@pytest.mark.usefixtures("apart")
@pytest.mark.judge("unshare", "mount", "losetup", "mkfs.ext4")
def test_a_fault_is_found_where_there_is_no_room(seed: str, tmp_path: Path) -> None:
    request = {"scenario": "all", "desk": str(tmp_path), "kind": "tmpfs", "what": "killed", "seed": seed}

    found = elsewhere("fill", {**request, "first": 50, "step": 5})

    assert [problem for one in found for problem in wrong_without_room(one, "killed")]
