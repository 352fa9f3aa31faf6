"""On trial, confirmed, counted and back, on real file systems: killed, or without power, before any change.

Whatever is left, recovery makes of it the root before the act or behind it, and from there one can go on.
"""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from spkg.common.boots import Boot
from spkg.install.applied import ApplyRequest
from spkg.install.apply import apply
from spkg.install.events import Trigger
from spkg.install.history import events
from spkg.install.recovery import recover_in
from spkg.install.rollback import boot_in, confirm_in, roll_back_in
from spkg.install.root import Root
from spkg.install.trial import BackUp, Trial, load_trial
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.interruptions import (
    ALL,
    DROPPED,
    FILE_SYSTEMS,
    OVERLAY,
    SHUTDOWN,
    Primitives,
    lay_over,
)
from tests.support.kit import AT, policy
from tests.support.naive_installer import Tree, plant, seen
from tests.support.namespaces import isolated, unmount
from tests.support.sampling import stride

pytestmark = [
    pytest.mark.part("power"),
    pytest.mark.judge("mount", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"),
]
KINDS: Final = ("memory", "ext4", "xfs", "btrfs", OVERLAY)
ALWAYS: Final = {("memory", "back"), ("ext4", "on trial")}
COPIED: Final = "btrfs"
"""It can't be told to stop: what its device has been given by then is copied."""
COPIES: Final = 20
STEP: Final = {"memory": 41, "ext4": 41}


class State(NamedTuple):
    """All that counts in a root."""

    tree: Tree
    aside: Tree
    trial: Trial | None
    happened: tuple[str, ...]


def state_of(root: Path) -> State:
    aside = root / ".spkg/aside"
    with Root(root) as there:
        happened = tuple(one.event.value for one in events(there))
        return State(seen(root), seen(aside) if aside.exists() else {}, load_trial(there), happened)


def on_trial(root: Path) -> None:
    request = ApplyRequest(
        device=None, when="then", boot=Boot(identity="0", seconds=1), back_up=BackUp(delay=60, boots=0)
    )
    with open_package(root.parents[1] / "package") as (opened, payload), Root(root) as there:
        apply(verify_package(opened, policy(), at=AT), payload, there, request)


def others(root: Path) -> None:
    """Let others do something of each kind."""
    (root / "bin/app").write_bytes(b"edited")
    (root / "flat/in/others").mkdir()
    (root / "m/two").unlink()
    (root / "m/one").write_bytes(b"made where one was moved from")
    (root / "new/place/old").write_bytes(b"moved, and edited")


def nobody() -> None:
    """No signals are sent here."""


def confirmed(root: Path) -> None:
    with Root(root) as there:
        confirm_in(there, when="later", committing=nobody)


def back(root: Path) -> None:
    with Root(root) as there:
        roll_back_in(there, when="later", by=Trigger.COMMAND, reason=None, committing=nobody)


def spent(root: Path) -> None:
    with Root(root) as there:
        recover_in(there)
        boot_in(there, Boot(identity="1", seconds=1), when="later")


ACTS: Final[dict[str, Callable[[Path], None]]] = {
    "on trial": on_trial,
    "confirmed": confirmed,
    "back": back,
    "spent": spent,
}


class Ground:
    """Where an image is mounted, cut off and mounted again; in memory, only processes are killed."""

    def __init__(self, desk: Path, kind: str) -> None:
        self._desk, self._kind = desk, kind
        self._place, self._below = desk / "place", desk / "below"
        for place in (self._place, self._below):
            place.mkdir()
        self._disk = "ext4" if kind == OVERLAY else kind
        self.root = self._place / "root"

    @contextmanager
    def mounted(self, *, planted: bool = False) -> Iterator[int]:
        """Mount it, and give a descriptor by which the power is cut."""
        base = self._below if self._kind == OVERLAY else self._place
        subprocess.run(["mount", "-o", FILE_SYSTEMS[self._disk][2], self._desk / "image", base], check=True)
        if planted:
            place = base / "lower/root" if self._kind == OVERLAY else base / "root"
            place.mkdir(parents=True)
            place.chmod(0o755)
            plant(ALL.garden, place)
        if self._kind == OVERLAY:
            lay_over(self._below, self._place)
        top = os.open(base, os.O_RDONLY)
        try:
            yield top
        finally:
            os.close(top)
            if self._kind == OVERLAY:
                unmount(self._place)
            unmount(base)

    def begin(self) -> None:
        size, make, _ = FILE_SYSTEMS[self._disk]
        with (self._desk / "image").open("wb") as file:
            file.truncate(size << 20)
        subprocess.run([*make, self._desk / "image"], check=True, stdout=subprocess.DEVNULL)

    def keep(self, name: str) -> None:
        subprocess.run(["cp", "--sparse=always", self._desk / "image", self._desk / name], check=True)

    def keep_what_is_written(self) -> None:
        """Copy what the device has been given by now, once nothing more is on its way."""
        for _ in range(COPIES):
            self.keep("left")
            same = ("cmp", "-s", self._desk / "image", self._desk / "left")
            if subprocess.run(same, check=False).returncode == 0:
                return
        raise RuntimeError("the file system never stops writing by itself")

    def take(self, name: str) -> None:
        subprocess.run(["cp", "--sparse=always", self._desk / name, self._desk / "image"], check=True)


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 70
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def judged(ground: Ground, states: list[State], where: str) -> str:
    """Recover, and return which state there is; go on from there."""
    with Root(ground.root) as there:
        recover_in(there)
    state = state_of(ground.root)
    with Root(ground.root) as there:
        assert recover_in(there).outcome.value == "nothing", where
    assert state in states, f"{where}: {state}"
    assert state_of(ground.root) == state, where
    if state.trial is None:
        left = {path.name for path in (ground.root / ".spkg").glob("*")} - {"installed", "aside"}
        assert not left, f"{where}: {left}"
    else:
        back(ground.root)
        assert state_of(ground.root).happened == (*state.happened, "rolled-back"), where
        assert state_of(ground.root).trial is None, where
    return str(states.index(state))


def _swept(desk: Path, kind: str, act: str, first: int, step: int) -> None:
    cuts = kind != "memory"
    (desk / "package").write_bytes(ALL.package)
    ground = Ground(desk, kind if cuts else "ext4")
    work = ACTS[act]
    ground.begin()
    with ground.mounted(planted=True):
        old = state_of(ground.root)
        if act != "on trial":
            on_trial(ground.root)
            others(ground.root)
            old = state_of(ground.root)
    ground.keep("fresh")
    states = [old]
    with ground.mounted():
        if act == "spent":
            with Root(ground.root) as there:
                trial = load_trial(there)
            assert trial is not None
            states.append(old._replace(trial=trial.counting(Boot(identity="1", seconds=1))))
        work(ground.root)
        states.append(state_of(ground.root))
    found: Counter[str] = Counter()
    at, done = first, False
    while not done:
        ground.take("fresh")
        with ground.mounted() as top:
            (desk / "told").unlink(missing_ok=True)

            def stop(top: int = top) -> None:
                if cuts and kind != COPIED:
                    ioctl(top, SHUTDOWN, DROPPED.to_bytes(4, sys.byteorder))
                os.kill(os.getpid(), signal.SIGKILL)

            def hindered(at: int = at, stop: Callable[[], None] = stop) -> None:
                Primitives(at, stop)
                work(ground.root)
                (desk / "told").touch()
                stop()

            assert in_child(hindered) == -signal.SIGKILL
            done = (desk / "told").exists()
            if kind == COPIED:
                ground.keep_what_is_written()
            if not cuts:
                found[judged(ground, states[-1:] if done else states, f"kill {at}")] += 1
        if kind == COPIED:
            ground.take("left")
        if cuts:
            with ground.mounted():
                found[judged(ground, states[-1:] if done else states, f"cut {at}")] += 1
        at += step
    (desk / "found").write_text(repr(dict(found)))


CASES: Final = [
    pytest.param(*one, marks=() if one in ALWAYS else pytest.mark.proof) for one in product(KINDS, ACTS)
]


@pytest.mark.part("power", turns=True, few=2)
@pytest.mark.parametrize(("kind", "act"), CASES)
def test_whatever_ends_it_there_is_the_root_before_it_or_behind_it(
    tmp_path: Path, kind: str, act: str, record_property: Callable[[str, object], None]
) -> None:
    isolated(_swept, tmp_path, kind, act, *stride(STEP.get(kind, 17), 3, begin=1))

    found = tmp_path / "found"
    record_property("found", found.read_text() if found.exists() else "not judged")
