"""Installations in a simulation: trees, packages for them, and what is left of both."""

import io
from dataclasses import dataclass, replace
from functools import cached_property
from tempfile import TemporaryFile
from typing import Final

from spkg.format.commands import (
    Add,
    ExtractVersioned,
    Format,
    Move,
    MoveVersioned,
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
)
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.install.all_or_nothing import install
from spkg.install.history import RECORD
from spkg.install.own_directory import working_in
from spkg.install.plan import Plan, plan_installation
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.root_tree import RootTree
from spkg.install.transaction import Settled
from spkg.install.trial import Trial
from spkg.verify.payload import Payload
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, entry, policy, read
from tests.support.naive_installer import (
    PAYLOAD,
    Directory,
    File,
    Garden,
    Link,
    Node,
    Special,
    Tree,
    Twin,
    piece,
)
from tests.support.simulated_file_system import Simulation

__all__ = [
    "EMPTY",
    "NO_COPIES",
    "SCENARIOS",
    "Scenario",
    "State",
    "at",
    "install_plan",
    "restore",
    "state_of",
]

State = tuple[Tree, bytes | None]
"""A tree, and what the installer remembers of it."""


def at(**what: Node | Twin) -> Garden:
    """Return a garden; in the names ``__`` is a slash and ``_`` a dot."""
    return tuple(
        (tuple(part.replace("_", ".").encode() for part in name.split("__")), node)
        for name, node in what.items()
    )


def move(source: str, destination: str) -> Move:
    return Move(source_path=RootPath.of(source), destination_path=RootPath.of(destination))


def remove(path: str) -> Remove:
    return Remove(path=RootPath.of(path))


def remove_tree(path: str) -> RemoveSubTree:
    return RemoveSubTree(path=TreePath.of(path))


def move_versions(source: str, destination: str) -> MoveVersioned:
    return MoveVersioned(source_path=VersionedPath.of(source), destination_path=VersionedPath.of(destination))


OLD: Final = File(b"old", 0o640)
OTHER: Final = File(b"the other one", 0o755)
DIRECTORY: Final = Directory(0o750)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A tree, and a package for it."""

    name: str
    garden: Garden
    records: tuple[Record, ...]
    again: bool = True
    """Whether another package was installed before."""
    layered: bool = False
    """Whether the tree lies in the lower layer of an overlayfs, in the simulation."""
    room: int = 1 << 20
    """How many blocks and inodes are free then."""
    fat: bool = False
    """Whether it is on a vfat, in the simulation."""

    def __str__(self) -> str:
        return self.name

    @cached_property
    def plan(self) -> Plan:
        package = read(Draft(records=self.records, payload=PAYLOAD).encode())
        start = self.start()
        start.room = 1 << 20  # to be planned there is room
        return plan_installation(verify_package(package, policy(), at=AT), None, RootTree(start))

    @cached_property
    def _start(self) -> Simulation:
        root = Simulation(fat=self.fat)
        root.plant(self.garden)
        if self.again:
            install_plan(root, EMPTY.plan, "1")
        if self.layered:
            root = root.layer()
            root.room = self.room
        return root

    def start(self) -> Simulation:
        """Return the root before the installation."""
        return self._start.copy()

    @cached_property
    def old(self) -> State:
        return state_of(self._start)

    @cached_property
    def new(self) -> State:
        root = self.start()
        self.carry_out(root)
        return state_of(root)

    def carry_out(self, root: Root) -> None:
        install_plan(root, self.plan)

    def carry_out_in_threads(self, root: Root) -> None:
        """Do the same from a regular file, with a thread for each file of the payload."""
        with TemporaryFile() as file:
            file.write(PAYLOAD)
            file.seek(0)
            payload = Payload(file, offset=0, length=len(PAYLOAD), descriptor=file.fileno())
            install_plan(root, self.plan, payload=payload, jobs=3)


def install_plan(
    root: Root,
    planned: Plan,
    version: str = "2",
    *,
    payload: Payload | None = None,
    trial: Trial | None = None,
    jobs: int = 1,
) -> None:
    """Install, as the command line does, but that the plan is there already."""
    with working_in(root):
        settle_root(root)
        if payload is None:
            payload = Payload(io.BytesIO(PAYLOAD), offset=0, length=len(PAYLOAD))
        install(planned, payload, root, entry(version=version), trial=trial, jobs=jobs)


def restore(root: Root) -> Settled:
    """Recover, as the command line does."""
    with working_in(root):
        return settle_root(root)


def state_of(root: Simulation) -> State:
    record = None if root.status(RECORD) is None else root.read(RECORD, 1 << 20)
    return root.seen(), record


EMPTY: Final = Scenario(name="empty", garden=(), records=(), again=False)
PLAIN: Final = (
    Scenario(
        name="first",
        garden=at(bin=DIRECTORY, bin__app=OLD),
        records=(piece("/bin/app", 1), piece("/new/deep/file", 0), piece("/new/empty", 2)),
        again=False,
    ),
    Scenario(
        name="replaced",
        garden=at(
            bin=DIRECTORY, bin__app=OLD, bin__twin=Twin((b"bin", b"app")), link=Link(b"bin"), fifo=Special()
        ),
        records=(
            piece("/bin/app", 1),
            piece("/link", 0),
            remove("/fifo"),
            piece("/fifo", 3),
            remove("/bin/twin"),
        ),
    ),
    Scenario(
        name="chain",
        garden=at(a=OLD, b=OTHER, c=Link(b"a"), d=Special()),
        records=(move("/c", "/e"), move("/b", "/c"), move("/a", "/b"), piece("/a", 0), remove("/d")),
    ),
    Scenario(
        name="swap",
        garden=at(a=OLD, b=OTHER, x=OLD, y=Twin((b"x",))),
        records=(move("/a", "/t"), move("/b", "/a"), move("/t", "/b"), move("/x", "/y")),
    ),
    Scenario(
        name="out of a tree",
        garden=at(d=DIRECTORY, d__a=OLD, d__b=OTHER, d__e=DIRECTORY, d__e__f=OLD, k=OLD),
        records=(
            move("/d/a", "/kept"),
            move("/d/e/f", "/k"),
            remove_tree("/d"),
            move("/kept", "/d/a"),
            piece("/d/new/b", 1),
        ),
    ),
    Scenario(
        name="kinds",
        garden=at(d=DIRECTORY, d__a=OLD, d__b=OTHER, f=OLD, l=Link(b"f")),
        records=(
            move("/d/b", "/t"),
            remove_tree("/d"),
            move("/t", "/d"),
            remove("/f"),
            piece("/f/g", 1),
            remove("/l"),
            piece("/l/m/n", 0),
        ),
    ),
    Scenario(
        name="format",
        garden=at(d=DIRECTORY, d__a=OLD, e=DIRECTORY, e__b=OTHER, f=OLD, g=Special()),
        records=(Format(), piece("/d/a", 1), piece("/f", 0)),
    ),
    Scenario(
        name="versions",
        garden=at(
            v_001=OLD,
            v_002=OTHER,
            w=DIRECTORY,
            w__x_010=OLD,
            w__x_002=OTHER,
            w__x_abc=OLD,
            y_001=OLD,
            z_001=OLD,
        ),
        records=(
            piece("/v.003", 1, ExtractVersioned),
            move_versions("/w/x.001", "/w/x.002"),
            RemoveVersioned(path=VersionedPath.of("/y.777")),
            piece("/z.001", 0, Add),
        ),
    ),
    Scenario(
        name="many",
        garden=at(d=DIRECTORY, d__a=OLD, d__b=OTHER, c=OLD),
        records=(*(piece(f"/d/{name}", 1) for name in "abcdefgh"), piece("/n/m/f", 0), move("/c", "/n/c")),
    ),
)
NO_COPIES: Final = 1
"""So little room that an overlayfs can't keep what is replaced and removed."""
SCENARIOS: Final = (
    *PLAIN,
    *(
        replace(scenario, name=f"{scenario.name}, {name}", layered=True, room=room)
        for scenario in PLAIN
        for name, room in (("layered", 1 << 20), ("without copies", NO_COPIES))
        if scenario.name in {"replaced", "chain", "out of a tree", "kinds", "format", "many"}
    ),
    *(
        replace(scenario, name=f"{scenario.name}, vfat", fat=True)
        for scenario in PLAIN
        if scenario.name in {"first", "out of a tree", "versions", "many"}
    ),
)
