"""The store of Options when its process is killed, or its disk fails: what was, or what was to be.

strace kills a process at any call that changes the store, or lets the call fail.  Afterwards the store is the
old one or the new one, and the same vouchers apply to it.
"""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from spkg.device import Device
from spkg.errors import NO_ROOM, SpkgError
from tests.support.interruptions import Call, _attach, calls
from tests.support.kit import AT, ROOT
from tests.support.namespaces import in_memory, not_judged
from tests.support.sampling import PROOF, least, sample
from tests.support.voucher_kit import DEVICE, IPTV, policy, signed
from vouchers.cpe.grant import Grant, grant
from vouchers.cpe.option_life import Life
from vouchers.cpe.store import OptionStore
from vouchers.model import Mode, Option, Voucher
from vouchers.months import Units
from vouchers.signature.shape import read_voucher
from vouchers.signature.verify import Verifier

KILL: Final = "signal=KILL"
MUTATING: Final = ("openat", "write", "pwrite64", "ftruncate", "rename", "unlink", "fsync", "fdatasync")
CPE: Final = Device(oui="00D09E", product_class="Gateway", serial_number="123456789")
LATER: Final = AT + timedelta(days=40)
MONTH: Final = Option(
    serial="1",
    device=DEVICE,
    ident="VPN",
    description="",
    mode=Mode.WITH_EXPIRATION,
    duration=1,
    units=Units.MONTHS,
    transferable=True,
)
QOS: Final = Option(serial="2", device=DEVICE, ident="QoS", description="", mode=Mode.WITHOUT_EXPIRATION)
State = tuple[list[Life], list[Any], list[Any]]
"""The Options, the serials that are remembered, and what is known of the surroundings."""


@cache
def vouchers() -> tuple[list[Grant], list[Grant]]:
    """Return the vouchers that a store has seen, and those that it gets: one changes two Options."""
    verifier = Verifier(policy())

    def granted(*options: Option) -> Grant:
        return grant(verifier.verify(read_voucher(signed(Voucher(options=options))), AT), CPE, AT)

    before = [granted(MONTH, QOS)]
    off = replace(QOS, serial="3", mode=Mode.DISABLE)
    more = [replace(QOS, serial=f"more {number}", ident=f"Option {number}") for number in range(40)]
    return before, [granted(off, IPTV), granted(*more)]


def _create(path: Path) -> None:
    with OptionStore(path, create=True) as store:
        store.apply(vouchers()[1], AT)


def _apply(path: Path) -> None:
    with OptionStore(path) as store:
        store.apply(vouchers()[1], AT)


def _observe(path: Path) -> None:
    with OptionStore(path) as store:
        store.observe("ISP-2", LATER)


def _set_up(path: Path) -> None:
    with OptionStore(path) as store:
        store.set_up("QoS", done=True)


JOBS: Final[dict[str, Callable[[Path], None]]] = {
    "create": _create,
    "apply": _apply,
    "observe": _observe,
    "set up": _set_up,
}
jobs = pytest.mark.parametrize("job", JOBS)


def serve(desk: Path) -> None:
    """Do jobs as often as there are lines to be read, each in a new process that strace looks at."""
    os.chdir(desk)
    vouchers()
    for line in sys.stdin:
        job, inject = json.loads(line)
        for name in ("log", "out"):
            Path(name).unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            _do(job, desk / "place" / "o.db", inject)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _do(job: str, path: Path, inject: str | None) -> NoReturn:
    status = 70
    try:
        _attach(",".join(MUTATING), inject)
        try:
            JOBS[job](path)
            told: dict[str, Any] = {}
        except SpkgError as exc:
            told = {"kind": type(exc).__name__, "told": str(exc), "reason": exc.reason}
        Path("out").write_text(json.dumps(told))
        status = 0
    finally:
        os._exit(status)


class Bench:
    """A store, changed again and again."""

    def __init__(self, desk: Path, server: "subprocess.Popen[str]", job: str) -> None:
        self._desk, self._server, self._job = desk, server, job
        self.place = desk / "place"
        self.path = self.place / "o.db"
        self.fresh()
        self.old = self.state()
        JOBS[job](self.path)
        self.new = self.state()

    def fresh(self) -> None:
        """Make the store as it is before."""
        self.place.mkdir(exist_ok=True)
        for file in self.place.iterdir():
            file.unlink()
        if self._job != "create":
            with OptionStore(self.path, create=True) as store:
                store.observe("ISP-1", AT)
                store.apply(vouchers()[0], AT)

    def state(self) -> State | None:
        """Return all that the store holds, having been opened; None where it is not there."""
        if not self.path.exists():
            return None
        with OptionStore(self.path, create=self._job == "create") as store:
            lives = store.lives()
        database = sqlite3.connect(self.path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = (
            lives,
            database.execute("SELECT * FROM seen ORDER BY signer, serial").fetchall(),
            database.execute("SELECT * FROM fact ORDER BY name").fetchall(),
        )
        database.close()
        return found

    def run(self, inject: str | None = None) -> int:
        """Do the job in a process of its own; return how that ended."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([self._job, inject]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def points(self) -> list[Call]:
        """Return the calls that change the store."""
        self.fresh()
        assert self.run() == 0
        assert self.state() == self.new
        return calls((self._desk / "log").read_text(), self.place, MUTATING)

    def told(self) -> dict[str, Any]:
        """Return what the process told at its end; nothing where all is done."""
        found: dict[str, Any] = json.loads((self._desk / "out").read_text())
        return found

    def judge(self, point: Call) -> tuple[str, str | None]:
        """Return whether the store is old or new, and what is wrong with that."""
        state = self.state()
        olds = [
            self.old,
            *([([], [], [])] if self._job == "create" else []),
        ]  # it is made before it is filled
        found = "new" if state == self.new else "old" if state in olds else "MIXED"
        problem = f"{point}: {found}" if found == "MIXED" else None
        JOBS[self._job](self.path)
        if self.state() != self.new:
            problem = f"{point}: {found}, and not the new one when it is done again"
        if [one.name for one in self.place.iterdir()] != ["o.db"]:
            problem = f"{point}: {sorted(one.name for one in self.place.iterdir())}"
        return found, problem


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a directory where syncing costs nothing."""
    with in_memory(tmp_path_factory.mktemp("crashes")) as place:
        yield place


@pytest.fixture(scope="module")
def server(desk: Path) -> Iterator["subprocess.Popen[str]"]:
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        not_judged("no process can be traced here")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.vouchers.cpe.test_store_crashes", str(desk)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


def some(points: Sequence[Call]) -> Sequence[Call]:
    """Return all points of this run in the proof, elsewhere one of each kind, and every fourth."""
    if PROOF:
        return sample(points, every=1)
    first = {point.name: point for point in reversed(points)}
    last = {point.name: point for point in points}
    wanted = [*first.values(), *last.values(), *points[::4]]
    return [point for point in points if point in wanted]


@pytest.mark.part("kill", few=3)
@pytest.mark.judge("strace")
@jobs
def test_a_store_whose_process_is_killed_is_the_old_one_or_the_new_one(
    desk: Path, server: "subprocess.Popen[str]", job: str
) -> None:
    bench = Bench(desk, server, job)
    points = some(bench.points())

    found: Counter[str] = Counter()
    problems = []
    for point in points:
        bench.fresh()
        status = bench.run(point.inject(KILL))
        assert status == -signal.SIGKILL
        state, problem = bench.judge(point)
        found[state] += 1
        problems += [problem] if problem else []

    assert problems == []
    assert found["old"] + found["new"] == len(points)
    assert min(found["old"], found["new"]) >= least(1)


@pytest.mark.part("kill", few=5)
@pytest.mark.judge("strace")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=errno.errorcode.get)
@jobs
def test_a_store_whose_disk_fails_is_the_old_one_unless_it_is_told_to_be_done(
    desk: Path, server: "subprocess.Popen[str]", job: str, error: int
) -> None:
    bench = Bench(desk, server, job)
    points = some(bench.points())

    found: Counter[str] = Counter()
    problems = []
    for point in points:
        bench.fresh()
        status = bench.run(point.inject(f"error={errno.errorcode[error]}"))
        assert status == 0
        told = bench.told()
        state, problem = bench.judge(point)
        found["failed" if told else "done"] += 1
        problems += [problem] if problem else []
        if told and (told["kind"], told["told"].partition(": ")[0]) != ("HostError", str(bench.path)):
            problems.append(f"{point}: {told}")
        if not told and state != "new":
            problems.append(f"{point}: done, but {state}")
        if error == errno.ENOSPC and point.name == "pwrite64" and told.get("reason") != NO_ROOM:
            problems.append(f"{point}: {told}")

    assert problems == []
    assert found["failed"] >= least(1)


@pytest.mark.judge("strace")
@jobs
def test_what_is_told_to_be_done_is_on_the_disk(
    desk: Path, server: "subprocess.Popen[str]", job: str
) -> None:
    points = Bench(desk, server, job).points()

    what = [(point.name, point.text.partition("<")[2].partition(">")[0]) for point in points]
    written = [index for index, one in enumerate(what) if one == ("pwrite64", "/o.db")]

    # The journal is there for good before the store is written, and gone for good before anybody is told.
    assert what[written[0] - 1] == ("fdatasync", "/o.db-journal")
    assert [name for name, _ in what[written[-1] + 1 :]] == ["fdatasync", "unlink", "fdatasync"]
    assert what[written[-1] + 1] == ("fdatasync", "/o.db")
    assert what[-1] == ("fdatasync", "")


@pytest.mark.judge("strace")
def test_what_is_told_to_be_done_already_is_on_the_disk(desk: Path, server: "subprocess.Popen[str]") -> None:
    # The first process was killed where the removal of its journal was not durable yet.
    bench = Bench(desk, server, "apply")
    last = next(point for point in reversed(bench.points()) if point.name == "fdatasync")
    bench.fresh()
    assert bench.run(last.inject(KILL)) == -signal.SIGKILL

    assert bench.run() == 0

    again = calls((desk / "log").read_text(), bench.place, MUTATING)
    assert bench.told() == {}
    assert [(point.name, point.text.partition("<")[2].partition(">")[0]) for point in again] == [
        ("fsync", "")  # the directory
    ]


@pytest.mark.judge("strace")
def test_what_may_not_be_on_the_disk_is_not_told_to_be_done_already(
    desk: Path, server: "subprocess.Popen[str]"
) -> None:
    bench = Bench(desk, server, "apply")
    bench.fresh()
    assert bench.run() == 0

    assert bench.run("fsync:error=EIO") == 0

    told = bench.told()
    assert (told["kind"], told["told"]) == ("HostError", f"{bench.path}: input/output error")


def test_a_store_in_memory_has_nothing_to_be_on_the_disk() -> None:
    with OptionStore(None, create=True) as store:
        first = store.apply(vouchers()[0], AT)
        again = store.apply(vouchers()[0], AT)

    assert [new for _, new in first] == [True, True]
    assert again == [(life, False) for life, _ in first]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
