"""On trial, confirmed, counted and back, by the commands: killed at each system call, or one of them fails.

Recovery makes of whatever is left the root before the act or behind it, and from there one can go on.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import pytest

from tests.support import kit
from tests.support.interruptions import ALL, MUTATING, Ended, Job, Program, calls
from tests.support.naive_installer import Tree, plant, seen
from tests.support.sampling import sample

SHARED: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there
ATTEMPTS: Final = 3
"""How often a system call is tried to be hit: where it is quick, less is written of the progress."""
FAULTS: Final = ("signal=KILL", "error=EIO", "error=ENOSPC")
ACTS: Final = {
    "on trial": ("apply", "p.spkg", "--trust", "ca.pem", "--back-up", "600", "--back-up-boots", "0"),
    "confirmed": ("confirm",),
    "back": ("rollback",),
    "spent": ("recover", "--boot"),
}
pytestmark = [pytest.mark.part("kill"), pytest.mark.proof, pytest.mark.judge("strace", "cp")]


class State(NamedTuple):
    """All that counts in a root."""

    tree: Tree
    state: str
    installed: tuple[str, ...]
    rolled_back: tuple[str, ...]
    happened: tuple[str, ...]


class Bench:
    """One act, carried out again and again from the same beginning."""

    def __init__(self, desk: Path, program: Program, act: str) -> None:
        self.root, self._start = desk / "root", desk / "start"
        self._program, self._act = program, ACTS[act]
        for place in (self.root, self._start):
            shutil.rmtree(place, ignore_errors=True)
        self.root.mkdir()
        plant(ALL.garden, self.root)
        if act != "on trial":
            assert self._run(ACTS["on trial"]).status == 0
            (trial := self.root / ".spkg/trial").write_text(
                json.dumps(json.loads(trial.read_text()) | {"boot": "another boot"})
            )
        subprocess.run(["cp", "-a", self.root, self._start], check=True)
        self.before = self.look()
        assert self.act().status == 0
        self.after = self.look()

    def fresh(self) -> None:
        shutil.rmtree(self.root)
        subprocess.run(["cp", "-a", self._start, self.root], check=True)  # second names stay second names

    def act(self, trace: str | None = None, inject: str | None = None) -> Ended:
        return self._run(self._act, trace, inject)

    def recover(self) -> Ended:
        return self._run(("recover",))

    def look(self) -> State:
        status = json.loads(self._run(("status", "--json")).stdout)
        events = json.loads(self._run(("log", "--json")).stdout)["events"]
        return State(
            seen(self.root),
            status["state"],
            tuple(one["package"] for one in status["installed"]),
            tuple(one["package"] for one in status["rolled_back"]),
            tuple(one["event"] for one in events),
        )

    def _run(self, args: tuple[str, ...], trace: str | None = None, inject: str | None = None) -> Ended:
        then = ("--at", kit.AT.isoformat()) if args[0] == "apply" else ()
        return self._program.run(
            Job(args=(*args, *then, "--root", str(self.root)), trace=trace, inject=inject)
        )


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    where = SHARED if os.access(SHARED, os.W_OK) else None
    with TemporaryDirectory(dir=where) as name:
        (path := Path(name)).joinpath("ca.pem").write_bytes(kit.root().pem)
        path.joinpath("p.spkg").write_bytes(ALL.package)
        yield path


@pytest.fixture(scope="module")
def program(desk: Path) -> Iterator[Program]:
    running = Program(desk)
    yield running
    running.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", ACTS)
def test_whatever_ends_it_the_root_is_as_before_or_behind_it(
    desk: Path, program: Program, act: str, fault: str
) -> None:
    bench = Bench(desk, program, act)
    bench.fresh()
    points = calls(bench.act(trace=",".join(MUTATING)).log, bench.root, MUTATING)
    problems: list[str] = []
    missed = 0

    for point in sample(points, every=1):
        for _ in range(ATTEMPTS):
            bench.fresh()
            ended = bench.act(trace=",".join(MUTATING), inject=point.inject(fault))
            if hit := ended.injected or "killed by SIGKILL" in ended.log:
                break
        recovered = bench.recover()
        found = bench.look()
        missed += not hit
        if ended.status == 1 or recovered.status != 0:
            problems.append(f"{point}: {ended.status} {ended.stderr}; {recovered.status} {recovered.stderr}")
        if found not in (bench.before, bench.after):
            problems.append(f"{point}: {found}")
        elif ended.status == 0 and found != bench.after:
            problems.append(f"{point}: told as done, and it is not")
        elif found == bench.before and (again := bench.act()).status != 0:
            problems.append(f"{point}: not possible any more: {again.stderr}")
        elif bench.look() != bench.after:
            problems.append(f"{point}: it can't be done a second time")

    assert points
    assert problems == []
    assert missed == 0
