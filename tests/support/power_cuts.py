"""Processes killed before they sync, continued, and then a power cut, on real file systems.

    python -m tests.support.power_cuts REQUEST      inside a mount namespace of its own

A cut needs nothing of the file system: what its device has been given by then is copied, and mounted.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from spkg.errors import FailedError, SpkgError, UnsafeError
from spkg.install.applied import ApplyRequest, digest_of
from spkg.install.history import installed_packages
from spkg.install.root import Root
from spkg.install.supervisor import apply_package
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.interruptions import (
    FILE_SYSTEMS,
    MOST,
    SCENARIOS,
    SEEDS,
    Primitives,
    Scenario,
    _apply,
    _examined,
    _in_child,
    _mount,
    _unmount,
)
from tests.support.kit import AT, policy
from tests.support.naive_installer import plant

SYNCS: Final = frozenset({"fsync", "syncfs"})
LEFT: Final = (".spkg/over/old/fixed", ".spkg/part", ".spkg/made/fixed")
"""What is left over, immutable, of something earlier."""
OCTETS: Final = b"left over"
COPIES: Final = 20
"""How often an image is copied at most."""
WRITES: Final = slice(4, 9)
"""Where the numbers of a device say how much was written to it, and what is on its way."""
SECONDS: Final = {"continued": (), "parent": (), "twice": (1, 2, 3)}
"""For each way on after a kill: before which of its syncs the process that recovers is killed, too."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where an image is made, mounted, used and copied."""

    path: Path
    kind: str
    scenario: Scenario
    fixed: bool
    """Whether immutable files are left over in the root."""

    @property
    def place(self) -> Path:
        return self.path / "mount"

    @property
    def package(self) -> Path:
        return self.path / "package"

    @property
    def root(self) -> Path:
        return self.place / "root"

    def furnish(self) -> None:
        """Make an image with the tree in it."""
        size, make, _ = FILE_SYSTEMS[self.kind]
        self.place.mkdir()
        self.package.write_bytes(self.scenario.package)
        with (self.path / "fresh").open("wb") as file:
            file.truncate(size << 20)
        subprocess.run([*make, self.path / "fresh"], check=True, stdout=subprocess.DEVNULL)
        self.mount("fresh")
        self.root.mkdir()
        plant(self.scenario.garden, self.root)
        for name in LEFT if self.fixed else ():
            (left := self.root / name).parent.mkdir(parents=True, exist_ok=True)
            left.write_bytes(OCTETS)
            (self.root / ".spkg").chmod(0o700)
            subprocess.run(["chattr", "+i", left], check=True)
        self.unmount()

    def copy(self, name: str, to: str) -> None:
        subprocess.run(["cp", "--sparse=always", self.path / name, self.path / to], check=True)

    def mount(self, name: str) -> None:
        _mount(self.kind, self.path / name, self.place)

    def unmount(self) -> None:
        _unmount(self.place)

    def cut(self) -> None:
        """Take the power away from the image that is mounted, and mount what is left of it."""
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", self.place], capture_output=True, text=True, check=True
        )
        written = Path(f"/sys/block/{Path(found.stdout.strip()).name}/stat")
        for _ in range(COPIES):  # what is copied while it is written to was never on a disk
            before = written.read_text().split()[WRITES]
            self.copy("image", "left")
            if written.read_text().split()[WRITES] == before:
                break
        else:
            raise RuntimeError("the file system never stops writing by itself")
        self.unmount()
        self.mount("left")


def supervised(desk: Desk, *kills: int) -> str:
    """Apply a package with a parent, whose children are killed before so many syncs; return what it says."""
    children = [*kills]

    def forked() -> None:
        if children:
            Primitives(children[0], _die, SYNCS)

    os.register_at_fork(after_in_child=forked, after_in_parent=lambda: children.pop(0) if children else None)
    request = ApplyRequest(device=None, when="then", in_place=desk.scenario.in_place)
    with open_package(desk.package) as (opened, payload):
        trusted = verify_package(opened, policy(), at=AT)
        try:
            apply_package(trusted, payload, desk.root, request, clock=monotonic)
        except UnsafeError as exc:
            return f"unsafe: {exc}"
        except FailedError as exc:
            return f"failed: {exc}"
        except SpkgError as exc:
            return f"{exc.STATUS}: {exc}"
    return "installed"


def continued(desk: Desk, at: int) -> Callable[[], str]:
    """Kill an installation before one of its syncs, and return what goes on."""

    def killed() -> None:
        Primitives(at, _die, SYNCS)
        _apply(desk.scenario, desk.package, desk.root)

    _in_child(killed)
    return lambda: _apply(desk.scenario, desk.package, desk.root)


def sweep(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kill before a sync, go on, and cut the power, each time anew; give what is found then."""
    if request["seed"]:
        SEEDS[request["seed"]]()
    desk = Desk(
        path=Path(request["desk"]),
        kind=request["kind"],
        scenario=SCENARIOS[request["scenario"]],
        fixed=request["fixed"],
    )
    desk.furnish()
    syncs = _syncs(desk)
    for at in range(request["first"], request.get("last", syncs) + 1, request["step"]):
        for second in SECONDS[request["way"]] or (MOST,):
            desk.copy("fresh", "image")
            desk.mount("image")
            if request["way"] == "continued":
                work = continued(desk, at)
            else:

                def work(at: int = at, second: int = second) -> str:
                    return supervised(desk, at, second)

            told = _told(desk, work)
            desk.cut()
            yield {"at": f"{at}, {second}", "told": told, **_left(desk)}
            desk.unmount()


def _told(desk: Desk, work: Callable[[], str]) -> str:
    """Do something in a process of its own, and return what that says."""
    told = desk.path / "told"
    assert _in_child(lambda: told.write_text(work())) == 0
    return told.read_text()


def _syncs(desk: Desk) -> int:
    """Return how often an installation that nobody kills syncs."""
    desk.copy("fresh", "image")
    desk.mount("image")

    def counted() -> str:
        primitives = Primitives(0, _die, SYNCS)
        assert _apply(desk.scenario, desk.package, desk.root) == "installed"
        return str(len(primitives.seen))

    syncs = int(_told(desk, counted))
    desk.unmount()
    return syncs


def _left(desk: Desk) -> dict[str, Any]:
    """Return what there is to judge after a power cut, before anything recovers and behind that."""
    with open_package(desk.package) as (opened, _), Root(desk.root) as root:
        digest = digest_of(verify_package(opened, policy(), at=AT))
        recorded = [one.package for one in installed_packages(root)[:1]] == [digest]
    found = _examined(desk.scenario, desk.package, desk.root)
    own = [path for path in (desk.root / ".spkg").rglob("*") if path.is_file()]
    fixed = sum(path.read_bytes() == OCTETS for path in own)
    return {"recorded": recorded, "fixed": fixed == len(LEFT) * desk.fixed, **found}


def main() -> None:
    """Do what is asked; what is found is a JSON object a line."""
    for found in sweep(json.loads(sys.argv[1])):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
