"""Roots on a real overlayfs: what the commands say is done, all or nothing, wherever an entry lies.

What is planted lies in the lower layer; a first package makes whiteouts, opaque and merged directories of it.
"""

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spkg.errors import RefusedError, SpkgError
from spkg.format.commands import Record
from spkg.install import apply as applying
from spkg.install.applied import ApplyRequest
from spkg.install.recovery import recover_in
from spkg.install.root import Root
from spkg.install.status import RootState, root_state
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.interruptions import ALL, FORMAT, IN_PLACE, Primitives, Scenario, judge, judge_in_place
from tests.support.kit import AT, Draft, policy
from tests.support.naive_installer import (
    PAYLOAD,
    Garden,
    Tree,
    command_lists,
    gardens,
    grown,
    interpret,
    plant,
    seen,
)
from tests.support.namespaces import isolated, mount_layers, mount_memory, unmount
from tests.support.sampling import PROOF, amount

OPTIONS: Final = {
    "plain": (),
    "redirected": ("redirect_dir=on",),
    "metacopy": ("redirect_dir=on", "metacopy=on"),
    "indexed": ("index=on",),
    "user": ("userxattr",),
}
"""How an overlayfs is mounted: all of these change what can be renamed or linked, and what that copies."""


class Ground:
    """An overlayfs in memory, made anew for each tree.

    Args:
        place: A directory for its layers.
        options: How it is mounted.
        shared: Whether both layers are on one file system, and the root is the whole overlayfs.
    """

    def __init__(self, place: Path, options: tuple[str, ...], *, shared: bool = False) -> None:
        self._below = place / "below"
        self._lower = place / "lower"
        self._top = place / "top"
        self._options = options
        self._shared = shared
        self.root = self._top if shared else self._top / "root"
        for directory in (self._below, self._lower, self._top):
            directory.mkdir()

    def grow(self, garden: Garden) -> None:
        """Plant a tree in the lower layer, and mount it."""
        mount_memory(self._lower)
        mount_memory(self._below)
        if self._shared:
            (self._below / "lower").mkdir()
            plant(garden, self._below / "lower")
        else:
            (self._lower / "root").mkdir(mode=0o755)
            plant(garden, self._lower / "root")
            (self._below / "lower").symlink_to(self._lower)
        mount_layers(self._below, self._top, *self._options)

    def clear(self) -> None:
        """Take it away."""
        for place in (self._top, self._below, self._lower):
            unmount(place)


def install(
    records: tuple[Record, ...], payload: bytes, root: Path, *, in_place: bool = False, again: bool = False
) -> str:
    """Install a package, and return what became of it."""
    package = Path("package")
    package.write_bytes(Draft(records=records, payload=payload).encode())
    with open_package(package) as (opened, found), Root(root) as there:
        trusted = verify_package(opened, policy(), at=AT)
        try:
            applying.apply(trusted, found, there, ApplyRequest(device=None, in_place=in_place, again=again))
        except RefusedError:
            return "refused"
        except SpkgError as exc:
            return f"{exc.STATUS}: {exc}"
    return "installed"


def _any(place: Path, option: str, shared: bool) -> None:  # noqa: FBT001 - sent to another process
    os.chdir(place)
    ground = Ground(place, OPTIONS[option], shared=shared)

    @settings(max_examples=amount(300, 3), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        garden=gardens, first=command_lists, second=command_lists, third=command_lists, in_place=st.booleans()
    )
    def tried(
        garden: Garden,
        first: tuple[Record, ...],
        second: tuple[Record, ...],
        third: tuple[Record, ...],
        *,
        in_place: bool,
    ) -> None:
        ground.grow(garden)
        try:
            tree: Tree | None = grown(garden)
            for records, way in ((first, False), (second, in_place), (third, not in_place)):
                assert tree is not None
                after = interpret(records, PAYLOAD, tree)
                told = install(records, PAYLOAD, ground.root, in_place=way, again=True)
                assert told == ("refused" if after is None else "installed")
                tree = tree if after is None else after
                assert seen(ground.root) == tree
                assert {path.name for path in (ground.root / ".spkg").iterdir()} <= {"installed"}
        finally:
            ground.clear()

    tried()


@pytest.mark.part("fuzz", few=2)
@pytest.mark.parametrize(
    "option",
    [pytest.param(one, marks=() if one in {"plain", "redirected"} else pytest.mark.proof) for one in OPTIONS],
)
@pytest.mark.parametrize("shared", [False, True], ids=["two-file-systems", "one-file-system"])
def test_any_package_does_on_an_overlayfs_what_its_commands_say(
    option: str, tmp_path: Path, *, shared: bool
) -> None:
    isolated(_any, tmp_path, option, shared)


SCENARIOS: Final = {
    "all": ALL,
    "in-place": IN_PLACE,
    "format": FORMAT,
    "whole": replace(FORMAT, in_place=False),
}


def forked(prepare: Callable[[], object], scenario: Scenario, ground: Ground) -> int:
    """Install in a process of its own, and return how that ended; what it said is in a file."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            prepare()
            told = install(scenario.records, scenario.payload, ground.root, in_place=scenario.in_place)
            Path("told").write_text(told)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed(place: Path, name: str, option: str) -> None:
    """Kill an installation before each change, recover, and judge; in place, the same package goes on."""
    os.chdir(place)
    ground, scenario = Ground(place, OPTIONS[option]), SCENARIOS[name]
    trees, found = scenario.trees, Counter[str]()
    for at in count(1, 1 if PROOF else 13):
        ground.grow(scenario.garden)

        def prepare(at: int = at) -> None:
            Primitives(at, lambda: os.kill(os.getpid(), signal.SIGKILL))

        status = forked(prepare, scenario, ground)
        assert status in {0, -signal.SIGKILL}
        if scenario.in_place:
            assert judge_in_place(seen(ground.root), trees) is not None, f"killed at {at}"
            assert install(scenario.records, scenario.payload, ground.root, in_place=True) == "installed"
        with Root(ground.root) as root:
            recover_in(root)
            assert root_state(root)[0] is RootState.CLEAN
        found[judge(seen(ground.root), trees)] += 1
        ground.clear()
        if status == 0:
            break
    assert found.keys() == ({"new"} if scenario.in_place else {"old", "new"}), found


def _failing(place: Path, name: str) -> None:
    """Let each change after the commit fail for good: what can't be completed is undone."""
    os.chdir(place)
    ground, scenario = Ground(place, ()), SCENARIOS[name]
    trees, found = scenario.trees, Counter[str]()
    for at in count(1, 1 if PROOF else 5):
        ground.grow(scenario.garden)

        def prepare(at: int = at) -> None:
            Broken(at)

        assert forked(prepare, scenario, ground) == 0
        told = Path("told").read_text()
        found[told.partition(":")[0]] += 1
        tree = judge(seen(ground.root), trees)
        assert (told.partition(":")[0], tree) in {("installed", "new"), ("failed", "old")}, (
            f"{at}: {told}: {tree}"
        )
        with Root(ground.root) as root:
            recover_in(root)
            assert root_state(root)[0] is RootState.CLEAN
        assert judge(seen(ground.root), trees) == tree
        ground.clear()
        if not Path("broken").exists():
            break
        Path("broken").unlink()
    assert min(found["failed"], found["installed"]) > 0, found


class Broken:
    """Lets one way of changing names fail for good, from its n-th use on a path that it fails on again."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._broken: tuple[object, ...] | None = None
        for name in ("rename", "unlink", "rmdir"):
            setattr(os, name, self._breaking(getattr(os, name)))

    def _breaking(self, work: Callable[..., None]) -> Callable[..., None]:
        def broken(*names: object, **more: int) -> None:
            places = [str(Path(f"/proc/self/fd/{one}").readlink()) for one in more.values()]
            arguments = (*names, *places)
            outside = any(".spkg" not in place for place in places)
            if self._broken is None and outside and Path("top/root/.spkg/txn/journal").exists():
                self._left -= 1
                if self._left == 0:
                    self._broken = arguments
                    Path("broken").touch()
            if self._broken == arguments:
                raise OSError(errno.EIO, "input/output error")
            work(*names, **more)

        return broken


@pytest.mark.part("kill")
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("all", "plain"),
        ("in-place", "plain"),
        *(
            pytest.param(name, option, marks=pytest.mark.proof)
            for name, option in (
                ("all", "redirected"),
                ("all", "metacopy"),
                ("all", "indexed"),
                ("in-place", "metacopy"),
                ("format", "plain"),
                ("whole", "plain"),
            )
        ),
    ],
)
def test_a_kill_leaves_the_old_tree_or_the_new_on_an_overlayfs(
    name: str, option: str, tmp_path: Path
) -> None:
    isolated(_killed, tmp_path, name, option)


@pytest.mark.part("kill")
@pytest.mark.parametrize("name", ["all", "whole"])
def test_what_can_not_be_completed_on_an_overlayfs_is_undone(name: str, tmp_path: Path) -> None:
    isolated(_failing, tmp_path, name)
