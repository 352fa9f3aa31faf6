"""What ends the program at the wrong moment: signals and errors at a system call, the power, a full disk.

Most of it runs in processes of its own, since what is done there is not for the process of the tests:

    python -m tests.support.interruptions serve         runs the program, once for each line of standard input
    python -m tests.support.interruptions cut REQUEST   cuts the power (inside its own mount namespace)
    python -m tests.support.interruptions fill REQUEST  takes the room away (likewise)
"""

import ctypes
import fcntl
import json
import math
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha1
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn

import cli
from spkg.errors import FailedError, SpkgError, UnsafeError
from spkg.format.commands import (
    Add,
    AddVersioned,
    End,
    Extract,
    ExtractVersioned,
    Format,
    Move,
    MoveVersioned,
    PayloadCommand,
    Reboot,
    Record,
    Remove,
    RemoveSubTree,
)
from spkg.format.fields import UNSAFE
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.install import aftermath as ending
from spkg.install import apply as applying
from spkg.install import in_place as inplace
from spkg.install import plan as planning
from spkg.install import supervisor as supervising
from spkg.install import system_calls, transaction, two_ways
from spkg.install.applied import ApplyRequest
from spkg.install.journal import encode_journal
from spkg.install.new_file import NewFile
from spkg.install.own_files import write_whole
from spkg.install.recovery import recover_in
from spkg.install.root import Root
from spkg.install.status import root_state
from spkg.install.transaction_places import JOURNAL, JOURNAL_DRAFT, TXN, is_there
from spkg.verify import signatures as verification
from spkg.verify.payload import open_package
from tests.support.kit import AT, Draft, policy
from tests.support.naive_installer import (
    Directory,
    File,
    Garden,
    Link,
    Special,
    Tree,
    grown,
    interpret,
    plant,
    seen,
)

__all__ = [
    "ALL",
    "FORMAT",
    "IN_PLACE",
    "MANY",
    "SEEDS",
    "Call",
    "Job",
    "Program",
    "Scenario",
    "calls",
    "isolated",
    "judge",
    "judge_in_place",
]

# What is installed.


@dataclass(frozen=True, kw_only=True)
class New:
    """A command that installs a file, whose octets have no place in the payload yet."""

    path: str
    contents: bytes
    kind: type[PayloadCommand] = Extract
    flags: int = 0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A tree, and a package for it."""

    garden: Garden
    records: tuple[Record, ...]
    payload: bytes
    in_place: bool = False

    @property
    def package(self) -> bytes:
        return Draft(records=self.records, payload=self.payload).encode()

    @property
    def trees(self) -> list[Tree]:
        """The tree before each command, and at the end."""
        found = []
        for count in range(len(self.records) + 1):
            tree = interpret(self.records[:count], self.payload, grown(self.garden))
            assert tree is not None
            found.append(tree)
        return found

    @property
    def unsafe(self) -> int:
        """The index of the first command that makes the root unsafe."""
        return next(
            (
                index
                for index, record in enumerate(self.records)
                if isinstance(record, Format) or getattr(record, "flags", 0) & UNSAFE
            ),
            len(self.records),
        )


def scenario(garden: dict[str, File | Directory | Link | Special], *items: New | Record) -> Scenario:
    """Return a scenario; what is installed lies in the payload one behind the other."""
    records: list[Record] = []
    payload = b""
    for item in items:
        if isinstance(item, New):
            kind = VersionedPath if issubclass(item.kind, ExtractVersioned | AddVersioned) else RootPath
            record = item.kind(
                path=kind.of(item.path),
                hash=sha1(item.contents, usedforsecurity=False).digest(),
                file_offset=len(payload),
                file_length=len(item.contents),
                flags=item.flags,
            )
            records.append(record)
            payload += item.contents
        else:
            records.append(item)
    planted = tuple((tuple(part.encode() for part in path.split("/")), node) for path, node in garden.items())
    return Scenario(garden=planted, records=tuple(records), payload=payload)


def move(source: str, path: str, flags: int = 0) -> Move:
    return Move(source_path=RootPath.of(source), destination_path=RootPath.of(path), flags=flags)


def octets(seed: int, length: int = 5000) -> bytes:
    """Return contents of some blocks that no other file has."""
    return bytes((seed + position * 7) % 251 for position in range(length))


HOME: Final[dict[str, File | Directory | Link | Special]] = {
    "bin": Directory(),
    "bin/app": File(octets(1), 0o755),
    "etc": Directory(0o750),
    "etc/motd": File(b"welcome\n", 0o600),
    "etc/old": File(octets(2), 0o640),
    "m": Directory(),
    "m/one": File(b"one"),
    "m/two": File(b"two", 0o600),
    "m/three": File(b"three"),
    "lib": Directory(),
    "lib/v.001": File(octets(3), 0o750),
    "lib/v.abc": File(b"abc"),
    "lib/link": Link(b"v.001"),
    "www": Directory(),
    "www/a": Directory(0o700),
    "www/a/x": File(b"x"),
    "www/index": File(octets(4)),
    "www/pipe": Special(),
    "flat": File(b"flat"),
}

ALL: Final = scenario(
    HOME,
    New(path="/bin/app", contents=octets(11)),
    New(path="/etc/motd", contents=b"changed\n"),
    RemoveSubTree(path=TreePath.of("/www")),
    New(path="/www", contents=octets(12)),  # a file where a tree was
    Remove(path=RootPath.of("/flat")),
    New(path="/flat/in/a/directory", contents=octets(13)),  # and the other way round
    Remove(path=RootPath.of("/m/three")),
    move("/m/two", "/m/three"),
    move("/m/one", "/m/two"),
    move("/etc/old", "/new/place/old"),
    New(path="/lib/v.020", contents=octets(14), kind=ExtractVersioned),
    New(path="/lib/w.001", contents=octets(15), kind=AddVersioned),
    Reboot(),
    End(),
)
"""Files replaced and new, a tree gone, moves in a chain and into new directories, versions, a restart."""
MANY: Final = scenario(
    {**HOME, **{f"d{number}": Directory() for number in range(5)}},
    *(New(path=f"/d{number}/file", contents=octets(20 + number)) for number in range(10)),
    New(path="/bin/app", contents=octets(11)),
    RemoveSubTree(path=TreePath.of("/www")),
    move("/etc/old", "/d9/deep/old"),
    Reboot(),
    End(),
)
"""More files and directories than are synced one by one."""
FEW: Final = scenario(
    HOME,
    New(path="/bin/app", contents=octets(11)),
    New(path="/etc/new", contents=octets(12)),
    End(),
)
"""So few files and directories that each is synced for itself."""
IN_PLACE: Final = replace(
    scenario(
        HOME,
        New(path="/etc/added", contents=octets(11), kind=Add),
        New(path="/new/nested/file", contents=octets(12)),
        New(path="/lib/v.020", contents=octets(13), kind=ExtractVersioned),
        move("/m/three", "/m/four"),
        move("/m/two", "/m/three"),
        Remove(path=RootPath.of("/flat")),
        New(path="/bin/app", contents=octets(14), flags=UNSAFE),
        RemoveSubTree(path=TreePath.of("/www")),
        move("/m/one", "/moved/to/one", flags=UNSAFE),
        MoveVersioned(
            source_path=VersionedPath.of("/lib/v.000"), destination_path=VersionedPath.of("/new/v.000")
        ),
        New(path="/etc/motd", contents=b"changed\n"),
        Reboot(),
        End(),
    ),
    in_place=True,
)
"""Commands that take effect one by one, some of them unsafe."""
FORMAT: Final = replace(
    scenario(
        HOME,
        New(path="/bin/app", contents=octets(11)),
        Format(),
        New(path="/bin/app", contents=octets(12)),
        New(path="/etc/motd", contents=octets(13)),
        End(),
    ),
    in_place=True,
)
SCENARIOS: Final = {"all": ALL, "few": FEW, "many": MANY, "in-place": IN_PLACE, "format": FORMAT}

# Faults that a check has to find: each is put into a process of its own.


_aftermath: Final[Any] = ending
_applying: Final[Any] = applying
_supervising: Final[Any] = supervising
_inplace: Final[Any] = inplace
_transaction: Final[Any] = transaction
_two_ways: Final[Any] = two_ways
_new_file: Final[Any] = NewFile
_root: Final[Any] = Root


def _no_file_sync() -> None:
    """Files are not synced before they are relied on."""
    _new_file.sync = lambda _self: None


def _no_sync_of_all() -> None:
    """Many files are not synced at all."""
    _root.sync_all = lambda _self: None


def _nothing_made_sure_of() -> None:
    """The parent of two killed children says what it sees."""
    _aftermath.ensure_durable = lambda _root: None


def _journal_first() -> None:
    """The journal is in force before all is staged."""
    commit = _transaction.commit

    def early(root: Root, steps: Any, directories: Any, **settings: Any) -> Any:
        write_whole(root, JOURNAL_DRAFT, encode_journal(steps))
        root.rename(JOURNAL_DRAFT, JOURNAL)
        root.sync_directory(TXN)
        return commit(root, steps, directories, **settings)

    _transaction.commit = early


def _checkpoint_late() -> None:
    """The checkpoint is written when the command is done."""
    save, carry_out = _inplace.save_checkpoint, _inplace._Run._carry_out
    waiting: list[tuple[Root, Any]] = []

    def later(root: Root, checkpoint: Any) -> None:
        waiting.append((root, checkpoint))

    def carried_out(run: _inplace._Run, *arguments: Any) -> None:
        carry_out(run, *arguments)
        while waiting:
            save(*waiting.pop())

    _inplace.save_checkpoint = later
    _inplace._Run._carry_out = carried_out


def _state_forgotten() -> None:
    """Each checkpoint states the state before the command."""
    _inplace.state_after = lambda state, _record: state


def _no_way_back() -> None:
    """What can't be finished is told as failed, and not taken back."""

    def back(_root: Root, _steps: Any) -> None:
        raise FailedError("it can't be done")

    _transaction.go_back = back


def _not_discarded() -> None:
    """What was staged for nothing stays."""

    def discard(_root: Root) -> None: ...

    _transaction.discard = discard


def _markers_late() -> None:
    """A marker is made when it is wanted, and takes room then."""

    def mark(root: Root, marker: Any) -> None:
        if not is_there(root, marker):
            root.create(marker).close()
        root.sync_directory(TXN)

    _two_ways._mark = mark


def _copied_back() -> None:
    """The old file is kept by a copy that is put back by writing."""

    def place(root: Root, pairs: Any) -> None:
        for source, path in pairs:
            if is_there(root, source):
                write_whole(root, (*TXN, b"copy"), root.read(source, 1 << 20))
                root.rename((*TXN, b"copy"), path)
                root.unlink(source)

    _two_ways._place = place


def _no_aftermath() -> None:
    """Nobody recovers when the child was killed."""

    def aftermath(*_arguments: Any, **_more: Any) -> NoReturn:
        raise FailedError("the process that changed the root was killed")

    _aftermath.aftermath = aftermath


def _written_over() -> None:
    """In place a file is removed before the new one is there."""
    stage = _inplace._Run._stage

    def staged(run: _inplace._Run, put: Any, *rest: Any) -> Any:
        if run._root.status(put.path) is not None:
            run._root.unlink(put.path)
        return stage(run, put, *rest)

    _inplace._Run._stage = staged


SEEDS: Final[dict[str, Callable[[], None]]] = {
    "no file sync": _no_file_sync,
    "no sync of all": _no_sync_of_all,
    "nothing made sure of": _nothing_made_sure_of,
    "journal first": _journal_first,
    "checkpoint late": _checkpoint_late,
    "state forgotten": _state_forgotten,
    "no way back": _no_way_back,
    "not discarded": _not_discarded,
    "markers late": _markers_late,
    "copied back": _copied_back,
    "no aftermath": _no_aftermath,
    "written over": _written_over,
}

# The program, run by strace where a test wants that.

MUTATING: Final = (
    "openat",
    "write",
    "pwrite64",
    "renameat",
    "renameat2",
    "rename",
    "linkat",
    "unlinkat",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchown",
    "ftruncate",
    "fsync",
    "fdatasync",
    "syncfs",
)
READING: Final = ("openat", "openat2", "newfstatat", "fstat", "read", "getdents64", "fstatfs", "flock")
PATIENCE: Final = 60
"""Seconds after which a program hangs."""
PR_SET_CHILD_SUBREAPER: Final = 36
"""Whoever has lost its parent becomes the child of this process."""
_CALL: Final = re.compile(r"(?:\d+ +)?(\w+)\((.*)")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A system call of the process that changes the root."""

    name: str
    number: int
    """Which of those of its name, from 1."""
    text: str

    def __str__(self) -> str:
        return f"{self.name}[{self.number}] {self.text}"

    def inject(self, what: str, times: int = 1) -> str:
        """Return what strace is told to do at it, and at those after it."""
        return f"{self.name}:{what}:when={self.number}..{self.number + times - 1}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended."""

    status: int
    """Below zero where a signal killed it."""
    stdout: str
    stderr: str
    log: str
    """What strace saw."""

    @property
    def child_killed(self) -> bool:
        return "was ended by signal 9" in self.stderr

    @property
    def injected(self) -> bool:
        return "(INJECTED)" in self.log

    def hit(self, root: Path) -> bool:
        """Whether what was injected concerned a root, and not what the process says of its progress."""
        hits = [line for line in self.log.splitlines() if "(INJECTED)" in line]
        return any(str(root) in line or "/proc/self/fd/" in line for line in hits)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run of the program."""

    args: tuple[str, ...]
    trace: str | None = None
    """The system calls that strace looks at, in the first child."""
    inject: str | None = None
    recovering: str | None = None
    """What strace is told to do to the second child, which recovers."""
    both: bool = False
    """Whether the parent is killed as soon as its child was."""
    seed: str | None = None


class Program:
    """The program, loaded once and run in a new process each time, as often as wanted."""

    def __init__(self, desk: Path) -> None:
        self._desk = desk
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.interruptions", "serve", str(desk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def close(self) -> None:
        """End it."""
        with self._server:
            assert self._server.stdin is not None
            self._server.stdin.close()

    def run(self, job: Job) -> Ended:
        """Run it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(vars(job)) + "\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        texts = [
            (self._desk / name).read_text(errors="replace") if (self._desk / name).exists() else ""
            for name in ("out", "err", "log")
        ]
        return Ended(status=status, stdout=texts[0], stderr=texts[1], log=texts[2])


def calls(log: str, root: Path, names: Sequence[str], *, reading: bool = False) -> list[Call]:
    """Return the calls of a trace that concern a root: those that can change it, or the others."""
    counts = dict.fromkeys(names, 0)
    found: list[Call] = []
    for line in log.splitlines():
        match = _CALL.match(line)
        if match is None or match[1] not in counts:
            continue
        name, text = match.groups()
        counts[name] += 1
        concerned = str(root) in text or ("/proc/self/fd/" in text and name in {"chmod", "fchmodat"})
        if not concerned or (name == "openat" and ("O_CREAT" in text) is reading):
            continue
        found.append(Call(name=name, number=counts[name], text=text.replace(str(root), "")))
    return found


def serve(desk: Path) -> None:
    """Run the program as often as there are lines to be read, each time in a new process."""
    os.chdir(desk)
    for module in ("spkg.cli.apply", "spkg.cli.recover", "spkg.install.supervisor", "spkg.report.apply"):
        import_module(module)  # which commands load when they run
    _supervising.REPORT_EVERY = math.inf  # or where it is slow, each call would have another number
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for line in sys.stdin:
        job = json.loads(line)
        (desk / "log").unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            _run(job)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(ChildProcessError):
            while True:  # strace writes its last lines when the process that it looks at is gone
                os.wait()
        print(status, flush=True)


def _run(job: dict[str, Any]) -> NoReturn:
    status: object = 70
    try:
        for name, descriptor in (("out", 1), ("err", 2)):
            opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, descriptor)
        if job["seed"]:
            SEEDS[job["seed"]]()
        forks = 0

        def forking() -> None:
            nonlocal forks
            forks += 1

        def forked() -> None:
            if forks == 1 and job["trace"]:
                _attach(job["trace"], job["inject"])
            if forks == 2 and job["recovering"]:
                _attach(job["trace"], job["recovering"])

        os.register_at_fork(before=forking, after_in_child=forked)
        if job["both"]:
            os.waitpid = _waiting(os.waitpid)
        cli.main(args=job["args"], prog_name="spkg")
    except SystemExit as exc:
        status = exc.code
    finally:
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 0)


def _waiting(wait: Callable[[int, int], tuple[int, int]]) -> Callable[[int, int], tuple[int, int]]:
    """Return a waitpid that dies as the child did, where that was killed."""

    def waited(child: int, options: int) -> tuple[int, int]:
        found = wait(child, options)
        if os.WIFSIGNALED(found[1]) and os.WTERMSIG(found[1]) == signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return waited


def _attach(trace: str, inject: str | None) -> None:
    """Have strace look at this process, and go on when it does."""
    reading, writing = os.pipe()
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # where only an ancestor may do it otherwise
    injected = () if inject is None else ("-e", f"inject={inject}")
    os.posix_spawnp(
        "strace",
        ("strace", "-y", "-s", "40", "-o", "log", "-e", f"trace={trace}", *injected, "-p", str(os.getpid())),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 2)],
        setsigmask=[],
    )
    os.close(writing)
    if not select.select([reading], [], [], PATIENCE)[0]:
        os._exit(71)


# What is right afterwards.


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    """Return all that lies in a root, the installer's own too."""
    return sorted(
        (str(path.relative_to(root)), (found := path.lstat()).st_mode, found.st_size, found.st_ino)
        for path in root.rglob("*")
    )


def judge(found: Tree, trees: Sequence[Tree]) -> str:
    """Return whether a tree is the old one, the new one, or where it differs from both."""
    if found == trees[0]:
        return "old"
    if found == trees[-1]:
        return "new"
    return "MIXED: " + ", ".join(
        (b"/" + b"/".join(path)).decode() + ("" if path in found else " missing")
        for path in sorted({*trees[0], *trees[-1], *found})
        if found.get(path) not in {trees[0].get(path), trees[-1].get(path)}
        or (found.get(path) == trees[0].get(path)) is not (found == trees[0])
    )


def judge_in_place(found: Tree, trees: Sequence[Tree]) -> int | None:
    """Return the last command that may have begun to leave a tree; None where none can have left it."""
    for index, (before, after) in enumerate(pairwise(trees)):
        if all(found.get(path) in {before.get(path), after.get(path)} for path in {*before, *after, *found}):
            return index
    return None


def isolated() -> str | None:
    """Return why loop devices and mounts can't be had here; None where they can."""
    if os.geteuid() != 0:
        return "NOT JUDGED: the power can't be cut: mounts want root"
    made = subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt && losetup -f"],
        capture_output=True,
        check=False,
    )
    return None if made.returncode == 0 else f"NOT JUDGED: no mounts or loop devices: {made.stderr.decode()}"


# Inside a mount namespace of its own: nothing mounted here outlives the process.

SHUTDOWN: Final = 0x8004587D
"""The ioctl by which a file system stops as if the power were cut."""
DROPPED: Final = 2
"""Nothing more is written; 1 would still write the file system's own journal."""
FILE_SYSTEMS: Final = {
    "ext4": (16, ("mkfs.ext4", "-q", "-F", "-J", "size=4"), "loop,noauto_da_alloc"),
    "xfs": (300, ("mkfs.xfs", "-q", "-f"), "loop"),
    "btrfs": (128, ("mkfs.btrfs", "-q", "-f"), "loop,commit=300"),
}
"""The size in MiB, how it is made, and mounted: ext4 without the help it gives to those who don't sync."""
OVERLAY: Final = "overlayfs"
"""An overlayfs of two layers on ext4: what is planted lies in the lower one."""


MOST: Final = 300
"""More than any installation here does, or takes."""


class Primitives:
    """Counts what changes a file system, in this process, and does something before one of them.

    Args:
        at: The number of that one, from 1.
        act: What is done then.
        only: The names of those that count; all where there are none.
    """

    def __init__(self, at: int, act: Callable[[], object], only: frozenset[str] = frozenset()) -> None:
        self.seen: list[str] = []
        self._at = at
        self._act = act
        self._only = only
        for name in (
            "rename",
            "link",
            "unlink",
            "rmdir",
            "mkdir",
            "write",
            "fsync",
            "chmod",
            "fchmod",
            "fchown",
        ):
            setattr(os, name, self._counted(name, getattr(os, name)))
        opening = self._counted("open", os.open)
        plain = os.open

        def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            found: int = (opening if flags & os.O_CREAT else plain)(path, flags, *rest, **more)
            return found

        os.open = opened
        libc: Any = system_calls._libc
        libc.syncfs = self._counted("syncfs", libc.syncfs)
        libc.renameat2 = self._counted("exchange", libc.renameat2)

    def _counted(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        if self._only and name not in self._only:
            return work

        def counted(*arguments: Any, **more: Any) -> Any:
            self.seen.append(name)
            if len(self.seen) == self._at:
                self._act()
            return work(*arguments, **more)

        return counted


def _apply(scenario: Scenario, package: Path, root: Path) -> str:
    """Apply a package in this process; return what became of it."""
    with open_package(package) as (opened, payload), Root(root) as there:
        trusted = verification.verify_package(opened, policy(), at=AT)
        try:
            applying.apply(trusted, payload, there, ApplyRequest(device=None, in_place=scenario.in_place))
        except UnsafeError as exc:
            return f"unsafe: {exc}"
        except FailedError as exc:
            return f"failed: {exc}"
        except SpkgError as exc:
            return f"{exc.STATUS}: {exc}"
    return "installed"


def _in_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own; return how that ended."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _examined(scenario: Scenario, package: Path, root: Path) -> dict[str, Any]:
    """Recover, and return all that there is to judge."""
    trees = scenario.trees
    with Root(root) as there:
        state = root_state(there)[0].value
        complete = seen(root) == trees[-1]
        begun = begun_of(seen(root), trees) if scenario.in_place else None
        try:
            outcome = recover_in(there).outcome.value
        except SpkgError as exc:
            outcome = f"{exc.STATUS}: {exc}"
        tree = judge(seen(root), trees) if not scenario.in_place else ""
        after = root_state(there)[0].value
        try:
            again = recover_in(there).outcome.value
        except SpkgError as exc:
            again = f"{exc.STATUS}: {exc}"
    if scenario.in_place:
        after = _apply(scenario, package, root)
        tree = judge(seen(root), trees)
    return {
        "state": state,
        "begun": begun,
        "complete": complete,
        "outcome": outcome,
        "tree": tree,
        "after": after,
        "again": again,
    }


def begun_of(found: Tree, trees: Sequence[Tree]) -> int | None:
    """Return how many commands have certainly begun; None where the tree is one that none can leave."""
    index = judge_in_place(found, trees)
    return None if index is None else index + (found != trees[index])


def _mount(kind: str, image: Path, place: Path) -> Path:
    """Mount an image, and return where its own file system is: an overlayfs is mounted over that."""
    if kind != OVERLAY:
        subprocess.run(["mount", "-o", FILE_SYSTEMS[kind][2], image, place], check=True)
        return place
    (below := place.with_name("below")).mkdir(exist_ok=True)
    _mount("ext4", image, below)
    lay_over(below, place)
    return below


def lay_over(below: Path, place: Path, *options: str) -> None:
    """Mount an overlayfs whose layers are directories of another file system."""
    for name in ("lower", "upper", "work"):
        (below / name).mkdir(exist_ok=True)
    layers = (f"lowerdir={below}/lower", f"upperdir={below}/upper", f"workdir={below}/work", *options)
    subprocess.run(["mount", "-t", "overlay", "-o", ",".join(layers), "none", place], check=True)


def _unmount(place: Path) -> None:
    subprocess.run(["umount", place], check=True)
    if os.path.ismount(below := place.with_name("below")):
        subprocess.run(["umount", below], check=True)


def cut(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut the power before primitives of an installation, each time anew, and give what is found then."""
    if request["seed"]:
        SEEDS[request["seed"]]()
    scenario, desk, kind = SCENARIOS[request["scenario"]], Path(request["desk"]), request["kind"]
    place, fresh, image, package = desk / "mount", desk / "fresh", desk / "image", desk / "package"
    place.mkdir()
    package.write_bytes(scenario.package)
    size, make, _ = FILE_SYSTEMS["ext4" if kind == OVERLAY else kind]
    with fresh.open("wb") as file:
        file.truncate(size << 20)
    subprocess.run([*make, fresh], check=True)
    planted = _mount(kind, fresh, place)
    root = place / "root"
    planted = planted / "lower" / "root" if kind == OVERLAY else root
    planted.mkdir()
    plant(scenario.garden, planted)
    _unmount(place)
    at = request["first"]
    while True:
        subprocess.run(["cp", "--sparse=always", fresh, image], check=True)
        told = desk / "told"
        top = os.open(_mount(kind, image, place), os.O_RDONLY)

        def stop(
            top: int = top,
        ) -> None:
            fcntl.ioctl(top, SHUTDOWN, request.get("how", DROPPED).to_bytes(4, sys.byteorder))
            os.kill(os.getpid(), signal.SIGKILL)

        def work(at: int = at, told: Path = told, stop: Callable[[], None] = stop) -> None:
            primitives = Primitives(at, stop)
            result = _apply(scenario, package, root)
            told.write_text(f"{len(primitives.seen)} {result}")
            stop()  # also behind the last one: what was told as installed has to be there

        assert _in_child(work) == -signal.SIGKILL
        os.close(top)
        _unmount(place)
        _mount(kind, image, place)
        done = told.exists()
        yield {"at": at, "told": told.read_text() if done else None, **_examined(scenario, package, root)}
        _unmount(place)
        if done:
            return
        at += request["step"]


@contextmanager
def _small(place: Path, kind: str, options: str) -> Iterator[Path]:
    """Give a root on a small file system."""
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
    else:
        image = place.with_name("image")
        with image.open("wb") as file:
            file.truncate(1 << 20)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024", *options.split(), image], check=True
        )
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        (place / "root").mkdir()
        yield place / "root"
    finally:
        _unmount(place)


def _fill(place: Path, *, octets: int, names: int, page: int) -> None:
    """Take all the room of a file system but so many octets and names."""
    (ballast := place / "ballast").mkdir()
    made: list[Path] = []
    with suppress(OSError):
        for number in range(100000):
            (one := ballast / str(number)).touch(exist_ok=False)
            made.append(one)
    for one in made[:names]:
        one.unlink()
    file = os.open(ballast / "full" if names else made[-1], os.O_WRONLY | os.O_CREAT)
    size = 0
    try:
        for length in (page, 1):
            with suppress(OSError):
                while True:
                    size += os.write(file, bytes(length))
        os.ftruncate(file, max(0, size - octets))
    finally:
        os.close(file)


def fill(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Leave an installation less room than it was told, from none up; or kill it, and leave recovery none."""
    if request["seed"]:
        SEEDS[request["seed"]]()
    scenario, desk = SCENARIOS[request["scenario"]], Path(request["desk"])
    package = desk / "package"
    (place := desk / "mount").mkdir()
    package.write_bytes(scenario.package)
    kind, page = request["kind"], 4096 if request["kind"] == "tmpfs" else 1024
    options = "size=1m,nr_inodes=400" if kind == "tmpfs" else "-N 200"
    plenty = 1 << 30
    left = request["first"]
    while True:
        with _small(place, kind, options) as root:
            plant(scenario.garden, root)
            told = desk / "told"
            told.unlink(missing_ok=True)

            def work(left: int = left, root: Path = root, told: Path = told) -> None:
                what = request["what"]
                if what == "killed":
                    Primitives(left, lambda: os.kill(os.getpid(), signal.SIGKILL))
                else:
                    planned = _applying._plan

                    def plan_and_fill(*arguments: Any) -> planning.Plan:
                        plan: planning.Plan = planned(*arguments)
                        octets, names = (left * page, 1000) if what == "octets" else (plenty, left)
                        _fill(place, octets=octets, names=names, page=page)
                        return plan

                    _applying._plan = plan_and_fill
                told.write_text(_apply(scenario, package, root))

            status = _in_child(work)
            if left > MOST:
                raise RuntimeError(f"no end in sight: {told.read_text()}")
            result = told.read_text() if told.exists() else f"status {status}"
            if request["what"] == "killed":
                _fill(place, octets=0, names=0, page=page)
            tree = judge(seen(root), scenario.trees)
            yield {
                "left": left,
                "told": result,
                "at once": tree,
                **_examined(replace(scenario, in_place=False), package, root),
            }
            if result == "installed" or (request["what"] == "killed" and status != -signal.SIGKILL):
                return
        left += request["step"]


def main() -> None:
    """Do what the command line says; what is found is a JSON object a line."""
    what, request = sys.argv[1:]
    if what == "serve":
        serve(Path(request))
        return
    for found in {"cut": cut, "fill": fill}[what](json.loads(request)):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
