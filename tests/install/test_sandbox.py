"""Hostile trees and packages, end to end: whatever stands in a root, nothing outside of it is touched."""

import ctypes
import io
import os
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from spkg.device import Device, LinkPolicy
from spkg.errors import FailedError, RefusedError, SpkgError, UnsafeError
from spkg.format.commands import (
    Add,
    FileModes,
    Format,
    Move,
    MoveVersioned,
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
)
from spkg.format.package import Package
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.install import journal, transaction
from spkg.install.all_or_nothing import install
from spkg.install.beneath import Resolver
from spkg.install.own_directory import working_in
from spkg.install.plan import plan_installation
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.root_tree import RootTree
from spkg.install.transaction import RecoveryOutcome
from spkg.install.tree_path import Parts
from spkg.verify.payload import Payload
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, CONTENTS, Draft, entry, file, policy
from tests.support.namespaces import bind, in_memory, isolated, mount_memory, not_judged
from tests.support.restrictions import umask
from tests.support.root_kit import METHODS, SECRET, Watch, deep, make_special, snapshot
from tests.support.sampling import PROOF, SLICE

SECONDS: Final = 20.0 / SLICE.of if PROOF else 0.6
"""How long each of the races is run."""
"""What the record says of every package here."""
FOLLOWING: Final = Device(links=LinkPolicy.FOLLOW_IN_ROOT)


@dataclass(frozen=True)
class Link:
    """A symbolic link of a tree."""

    target: str


@dataclass(frozen=True)
class Special:
    """A FIFO or a socket."""

    kind: str


Thing = bytes | Link | Special | None
"""What stands at a path: a file, a link, a special file, or a directory."""


@dataclass(frozen=True)
class Sandbox:
    """A root, and beside it what must stay as it is."""

    root: Path
    outside: Path
    resolver: Resolver

    def plant(self, things: Mapping[str, Thing]) -> None:
        for path, thing in things.items():
            place = self.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            match thing:
                case bytes():
                    place.write_bytes(thing)
                case Link(target=target):
                    place.symlink_to(target.format(outside=self.outside, root=self.root))
                case Special(kind=kind):
                    make_special(kind, place)
                case None:
                    place.mkdir()

    def tree(self) -> dict[str, Thing]:
        """Return what stands in the root, the installer's own directory left out."""
        found: dict[str, Thing] = {}
        for place in sorted(self.root.rglob("*")):
            path = place.relative_to(self.root)
            if path.parts[0] == ".spkg":
                continue
            mode = place.lstat().st_mode
            if stat.S_ISREG(mode):
                found[str(path)] = place.read_bytes()
            elif stat.S_ISLNK(mode):
                found[str(path)] = Link(str(place.readlink()))
            elif stat.S_ISDIR(mode):
                found[str(path)] = None
            else:
                found[str(path)] = Special("fifo" if stat.S_ISFIFO(mode) else "socket")
        return found

    def apply(self, *records: Record, device: Device | None = None) -> None:
        with Root(self.root, self.resolver) as root, working_in(root):
            settle_root(root)
            apply(root, package(*records), device)


def package(*records: Record) -> bytes:
    return Draft(records=records, signers=()).encode()


def apply(root: Root, octets: bytes, device: Device | None = None) -> None:
    stream = io.BytesIO(octets)
    found = Package.read(stream)
    trusted = verify_package(found, policy(unsafe_allow_unsigned=True), at=AT)
    payload = Payload(stream, offset=found.payload_offset, length=found.header.payload_length)
    install(plan_installation(trusted, device, RootTree(root)), payload, root, entry())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Give a directory, in memory where that is possible."""
    with in_memory(tmp_path) as made:
        yield made


@pytest.fixture(params=Resolver, ids=lambda one: str(one.value))
def sandbox(request: pytest.FixtureRequest, place: Path) -> Iterator[Sandbox]:
    """Make a root, and check at the end that nothing outside has changed."""
    (place / "root").mkdir()
    (place / "outside/sub").mkdir(parents=True)
    (place / "outside/file").write_bytes(SECRET)
    (place / "outside/app.001").write_bytes(SECRET)
    (place / "outside/sub/file").write_bytes(SECRET)
    before = snapshot(place / "outside")

    yield Sandbox(place / "root", place / "outside", request.param)

    assert snapshot(place / "outside") == before


VERBS: Final[dict[str, Callable[[str], Record]]] = {
    "extract": lambda place: file(f"{place}/file"),
    "extract what is new": lambda place: file(f"{place}/new/file"),
    "add": lambda place: file(f"{place}/other", kind=Add),
    "remove": lambda place: Remove(path=RootPath.of(f"{place}/file")),
    "remove versioned": lambda place: RemoveVersioned(path=VersionedPath.of(f"{place}/app.777")),
    "remove sub-tree": lambda place: RemoveSubTree(path=TreePath.of(f"{place}/sub/")),
    "move from": lambda place: Move(
        source_path=RootPath.of(f"{place}/file"), destination_path=RootPath.of("taken")
    ),
    "move to": lambda place: Move(
        source_path=RootPath.of("own"), destination_path=RootPath.of(f"{place}/file")
    ),
    "move versioned": lambda place: MoveVersioned(
        source_path=VersionedPath.of(f"{place}/app.777"), destination_path=VersionedPath.of("taken.001")
    ),
}
"""Each file verb, on a path below a place."""
TARGETS: Final = {
    "outside": "{outside}",
    "outside, relative": "../outside",
    "the root of all": "/",
    "a process's directory": "/proc/self/cwd",
    "dangling outside": "{outside}/nothing",
    "inside": "dir",
    "itself": "link",
}


# Links among the parents.


@pytest.mark.parametrize("kind", TARGETS)
def test_a_link_among_the_parents_is_a_refusal(sandbox: Sandbox, kind: str) -> None:
    link = Link(TARGETS[kind])
    sandbox.plant({"dir/file": b"inner", "own": b"own", "link": link, "dir/link": link})
    before = sandbox.tree()

    for place, where in (("link", "link"), ("dir/link", "dir/link"), ("link/sub", "link")):
        for make in VERBS.values():
            with pytest.raises(RefusedError, match=f"leads through /{where}, a symbolic link") as caught:
                sandbox.apply(make(place))
            assert caught.value.reason == "refused"

    assert sandbox.tree() == before


def inside(path: Path) -> str:
    """Return a path of this machine as one of a root."""
    return str(path).removeprefix("/")


def test_an_absolute_link_is_followed_in_the_root(sandbox: Sandbox) -> None:
    sandbox.plant({"link": Link("{outside}"), "dir": None})
    lands = inside(sandbox.outside)

    sandbox.apply(file("link/file"), file("link/sub/deep/file"), device=FOLLOWING)

    tree = sandbox.tree()
    assert (tree[f"{lands}/file"], tree[f"{lands}/sub/deep/file"]) == (CONTENTS, CONTENTS)
    assert tree["link"] == Link(str(sandbox.outside))


@pytest.mark.parametrize(
    ("target", "lands"),
    [
        ("dir", "dir/file"),
        ("/dir", "dir/file"),
        ("../../../dir", "dir/file"),
        ("/../../dir/sub/..", "dir/file"),
        (".", "file"),
        ("..", "file"),
        ("/", "file"),
        ("dir/up/dir", "dir/file"),
        ("dir/root/dir", "dir/file"),
        ("nothing/at/all", "nothing/at/all/file"),
        ("../outside", "outside/file"),
        ("/proc/self/root/dir", "proc/self/root/dir/file"),
    ],
)
def test_a_followed_link_never_leaves_the_root(sandbox: Sandbox, target: str, lands: str) -> None:
    sandbox.plant({"dir/sub": None, "dir/up": Link(".."), "dir/root": Link("/"), "link": Link(target)})
    before = sandbox.tree()

    sandbox.apply(file("link/file"), device=FOLLOWING)

    made = [str(parent) for parent in Path(lands).parents][:-1]
    assert sandbox.tree() == before | {path: None for path in made if path not in before} | {lands: CONTENTS}


@pytest.mark.parametrize("target", ["{outside}", "../outside", "../../../../../../../../..{outside}", "/"])
def test_no_verb_follows_a_link_to_the_outside(sandbox: Sandbox, target: str) -> None:
    """The fixture looks whether anything outside was changed."""
    sandbox.plant({"own": b"own", "link": Link(target), "dir/file": b"inner"})

    for make in VERBS.values():
        sandbox.apply(make("link"), device=FOLLOWING)

    assert SECRET not in sandbox.tree().values()


@pytest.mark.parametrize(
    ("things", "problem"),
    [
        ({"link": Link("link")}, "/link/file leads through more than 40 symbolic links"),
        (
            {"link": Link("other"), "other": Link("dir/../link"), "dir": None},
            "/link/file leads through more than 40 symbolic links",
        ),
        (
            {"link": Link("l0")} | {f"l{number}": Link(f"l{number + 1}") for number in range(45)},
            "/link/file leads through more than 40 symbolic links",
        ),
        ({"link": Link(".spkg")}, "/.spkg is the installer's own directory"),
        ({"link": Link("dir/../.spkg/txn"), "dir": None}, "/.spkg is the installer's own directory"),
        ({"link": Link("own")}, "/link/file leads through /own, a file"),
        ({"link": Link("own/..")}, "/link/file leads through /own, a file"),
        ({"link": Link("fifo"), "fifo": Special("fifo")}, "/link/file leads through /fifo, a special file"),
    ],
)
def test_a_link_that_leads_nowhere_good_is_a_refusal(
    sandbox: Sandbox, things: dict[str, Thing], problem: str
) -> None:
    sandbox.plant({"own": b"own"} | things)
    before = sandbox.tree()

    with pytest.raises(RefusedError) as caught:
        sandbox.apply(file("link/file"), device=FOLLOWING)

    assert caught.value.problem == problem
    assert sandbox.tree() == before


# Links at the end, hard links, files and special files in the way.


@pytest.mark.parametrize("device", [None, FOLLOWING], ids=["refused", "followed"])
@pytest.mark.parametrize("target", ["{outside}/file", "../outside/new", "/dev/null"])
def test_a_link_at_the_end_is_replaced_removed_and_moved_and_there_for_an_add(
    sandbox: Sandbox, target: str, device: Device | None
) -> None:
    link = Link(target.format(outside=sandbox.outside))
    sandbox.plant({"a": link, "b": link, "c": link, "d": link})

    sandbox.apply(
        file("a"),
        file("b", kind=Add),
        Remove(path=RootPath.of("c")),
        Move(source_path=RootPath.of("d"), destination_path=RootPath.of("e")),
        device=device,
    )

    assert sandbox.tree() == {"a": CONTENTS, "b": link, "e": link}


def test_links_go_with_the_tree_that_they_are_in_and_what_they_lead_to_stays(sandbox: Sandbox) -> None:
    things: dict[str, Thing] = {
        f"{place}/{number}": Link(target)
        for place in ("gone", "gone/sub", "kept")
        for number, target in enumerate(TARGETS.values())
    }
    sandbox.plant(things | {"top": Link("{outside}")})

    sandbox.apply(RemoveSubTree(path=TreePath.of("gone")), RemoveSubTree(path=TreePath.of("top/")))
    assert sorted(sandbox.tree()) == ["kept", *(f"kept/{number}" for number in range(len(TARGETS)))]

    sandbox.apply(Format())
    assert sandbox.tree() == {}


def test_the_other_name_of_a_file_keeps_its_contents(sandbox: Sandbox, place: Path) -> None:
    (place / "shared").write_bytes(SECRET)
    (place / "shared").chmod(0o640)
    for name in ("a", "b", "c", "d", "tree/e"):
        sandbox.plant({name: b""})
        (sandbox.root / name).unlink()
        (sandbox.root / name).hardlink_to(place / "shared")

    sandbox.apply(
        FileModes(modes=(0o777, 0o777)),
        file("a"),
        file("b", kind=Add),
        Remove(path=RootPath.of("c")),
        Move(source_path=RootPath.of("d"), destination_path=RootPath.of("b")),
        RemoveSubTree(path=TreePath.of("tree")),
    )

    status = (place / "shared").stat()
    assert sandbox.tree() == {"a": CONTENTS, "b": SECRET}
    assert (place / "shared").read_bytes() == SECRET
    assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (0o640, 2)


@pytest.mark.parametrize("parent", ["own", "own/sub", "dir/file"])
def test_a_parent_that_is_a_file_is_a_refusal(sandbox: Sandbox, parent: str) -> None:
    sandbox.plant({"own": b"own", "dir/file": b"inner"})
    before = sandbox.tree()

    for record in (make(parent) for make in VERBS.values()):
        with pytest.raises(RefusedError, match=r"leads through /(own|dir/file), a file"):
            sandbox.apply(record)

    assert sandbox.tree() == before


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_a_special_file_is_removed_and_moved_and_never_opened(sandbox: Sandbox, kind: str) -> None:
    special = Special(kind)
    sandbox.plant({"a": special, "b": special, "c": special, "d": special, "tree/e": special, "f": special})
    with Watch(sandbox.root / "a") as first, Watch(sandbox.root / "b") as second:
        sandbox.apply(
            Remove(path=RootPath.of("a")),
            file("a"),
            file("b", kind=Add),
            Remove(path=RootPath.of("c")),
            Move(source_path=RootPath.of("d"), destination_path=RootPath.of("e")),
            RemoveSubTree(path=TreePath.of("tree")),
            RemoveSubTree(path=TreePath.of("f")),
        )

        assert not first.saw_it()
        assert not second.saw_it()
    assert sandbox.tree() == {"a": CONTENTS, "b": special, "e": special}


def test_no_privilege_is_kept_by_what_replaces_a_file(sandbox: Sandbox) -> None:
    sandbox.plant({"app": b"old"})
    (sandbox.root / "app").chmod(0o6755)

    sandbox.apply(file("app"))

    assert stat.S_IMODE((sandbox.root / "app").stat().st_mode) == 0o755


def test_modes_do_not_hang_on_the_umask(sandbox: Sandbox) -> None:
    with umask(0o077):
        sandbox.apply(file("new/sub/app"), file("app"))

    modes = [stat.S_IMODE((sandbox.root / path).stat().st_mode) for path in ("new", "new/sub", "new/sub/app")]
    assert modes == [0o755, 0o755, 0o644]
    assert stat.S_IMODE((sandbox.root / ".spkg").stat().st_mode) == 0o700


def test_names_in_the_root_need_not_be_text(sandbox: Sandbox) -> None:
    odd = os.fsdecode(b"\xff\xfe\n")
    sandbox.plant({odd: b"", f"tree/{odd}": b"", "kept": b""})

    sandbox.apply(RemoveSubTree(path=TreePath.of("tree")))
    assert sandbox.tree() == {odd: b"", "kept": b""}

    sandbox.apply(Format(), file("new"))
    assert sandbox.tree() == {"new": CONTENTS}


def test_a_package_may_be_for_many_directories(sandbox: Sandbox) -> None:
    paths = [f"d{number}/file" for number in range(40)]
    sandbox.plant(dict.fromkeys(paths, b"old"))

    sandbox.apply(*(file(path) for path in paths))

    assert [sandbox.tree()[path] for path in paths] == [CONTENTS] * 40


# The installer's own directory.


@pytest.mark.parametrize(
    "thing",
    [Link("{outside}"), Link("dir"), Link("nothing"), b"a file", Special("fifo"), Special("socket")],
    ids=repr,
)
def test_nothing_else_may_stand_where_the_installer_keeps_its_files(sandbox: Sandbox, thing: Thing) -> None:
    sandbox.plant({"dir": None, ".spkg": thing})
    before = snapshot(sandbox.root)

    with pytest.raises(RefusedError) as caught:
        sandbox.apply(file("app"))

    assert str(caught.value) == "/.spkg must be a directory: the installer keeps its own files there"
    assert snapshot(sandbox.root) == before


@pytest.mark.parametrize(("owner", "mode"), [(1234, 0o700), (1234, 0o777), (0, 0o777), (0, 0o770)])
def test_the_installer_s_own_directory_is_nobody_else_s(sandbox: Sandbox, owner: int, mode: int) -> None:
    if os.geteuid() != 0:
        not_judged("only root gives directories away")
    sandbox.plant({".spkg": None})
    (sandbox.root / ".spkg").chmod(mode)
    os.chown(sandbox.root / ".spkg", owner, owner)

    with pytest.raises(RefusedError):
        sandbox.apply(file("app"))


@pytest.mark.parametrize(
    "thing",
    [
        Link("{outside}/file"),
        None,
        Special("fifo"),
        b"[",
        b"\xff",
        b"5",
        b"[]",
        b'{"installed": 5}',
        b"{}",
        b'{"installed": "abc"}',
        b'{"installed": [1]}',
        b'{"installed": {"a": 1}}',
        b"[" * 100_000,
    ],
    ids=lambda thing: repr(thing)[:40],
)
def test_a_record_that_is_none_is_set_aside(sandbox: Sandbox, thing: Thing) -> None:
    sandbox.plant({"app": b"old", ".spkg/installed": thing})

    sandbox.apply(file("app"))

    own = sandbox.root / ".spkg"
    assert sandbox.tree() == {"app": CONTENTS}
    assert stat.S_ISREG((own / "installed").lstat().st_mode)
    assert os.path.lexists(own / "installed.damaged")


@pytest.mark.parametrize(
    "things",
    [
        {".spkg/txn": Link("{outside}")},
        {".spkg/txn": b"a file"},
        {".spkg/txn": Special("fifo")},
        {".spkg/txn/journal": Link("{outside}/file")},
        {".spkg/txn/journal": None},
        {".spkg/txn/journal": Special("fifo")},
        {".spkg/txn/journal": b"nothing of ours"},
        {".spkg/txn/old": Link("{outside}"), ".spkg/txn/new/0": Link("{outside}/file")},
    ],
    ids=repr,
)
def test_a_transaction_that_is_none_does_no_harm(sandbox: Sandbox, things: dict[str, Thing]) -> None:
    sandbox.plant({"app": b"old"} | things)

    try:
        sandbox.apply(file("app"))
    except (FailedError, UnsafeError):
        assert sandbox.tree() == {"app": b"old"}
    else:
        assert sandbox.tree() == {"app": CONTENTS}


def test_a_crash_while_a_deep_tree_goes_is_recovered_from(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        deep(sandbox.root / name, 150)
    (sandbox.root / ".spkg/txn/old").mkdir(parents=True)
    for name in "abc":
        (sandbox.root / name).rename(sandbox.root / ".spkg/txn/old" / name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", crashing(os.rename, after=2))
        with pytest.raises(Crash):
            sandbox.apply()

    sandbox.apply(file("app"))
    assert sandbox.tree() == {"app": CONTENTS}
    assert [path.name for path in (sandbox.root / ".spkg").iterdir()] == ["installed"]


class Crash(BaseException):
    """The process is gone."""


def crashing(real: Callable[..., None], after: int) -> Callable[..., None]:
    calls = 0

    def rename(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        real(*args, **kwargs)
        if calls == after:
            raise Crash

    return rename


def test_a_journal_that_is_too_long_is_not_committed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.plant({f"{number:0200}": b"" for number in range(20)})
    before = sandbox.tree()
    with monkeypatch.context() as patch:
        for module in (journal, transaction):
            patch.setattr(module, "MAX_JOURNAL", 4000)

        with pytest.raises(SpkgError):
            sandbox.apply(Format(), file("app"))

        assert sandbox.tree() == before
        with Root(sandbox.root) as root:
            assert settle_root(root).outcome is RecoveryOutcome.NOTHING


def test_what_fails_while_the_root_is_locked_keeps_its_own_words(sandbox: Sandbox) -> None:
    sandbox.plant({"own": b""})

    with Root(sandbox.root) as root, pytest.raises(NotADirectoryError) as caught, working_in(root):
        root.status((b"own", b"x"))

    assert caught.value.filename == "/own/x"


def test_one_installation_at_a_time(sandbox: Sandbox) -> None:
    with Root(sandbox.root) as root, working_in(root), pytest.raises(RefusedError) as caught:
        sandbox.apply(file("app"))

    assert str(caught.value) == "another installation is running in this root"
    assert caught.value.hint == "try again when it has finished"
    assert sandbox.tree() == {}


# Mounts.


def install_beside_mounts(place: Path) -> None:
    for resolver in Resolver:
        (place / resolver.value / "root").mkdir(parents=True)
        (place / resolver.value / "outside").mkdir()
        sandbox = Sandbox(place / resolver.value / "root", place / resolver.value / "outside", resolver)
        sandbox.plant({"dir/memory": None, "dir/bound": None, "dir/one": b"", "dir/file": b"", "own": b"own"})
        mount_memory(sandbox.root / "dir/memory")
        bind(sandbox.outside, sandbox.root / "dir/bound")
        (sandbox.outside / "file").write_bytes(SECRET)
        bind(sandbox.outside / "file", sandbox.root / "dir/one")
        (sandbox.root / "dir/memory/file").write_bytes(SECRET)
        before = snapshot(sandbox.root)

        for point in ("dir/memory", "dir/bound"):
            for make in VERBS.values():
                with pytest.raises(RefusedError, match=f"leads into /{point}, a mount point"):
                    sandbox.apply(make(point))
            with pytest.raises(RefusedError, match="is a mount point, or has one below it"):
                sandbox.apply(RemoveSubTree(path=TreePath.of(point)))
        for record in (
            file("dir/one"),
            Remove(path=RootPath.of("dir/one")),
            RemoveSubTree(path=TreePath.of("dir")),
            RemoveSubTree(path=TreePath.of("/")),
            Format(),
        ):
            with pytest.raises(RefusedError, match="is a mount point, or has one below it"):
                sandbox.apply(record)

        after = {path: what for path, what in snapshot(sandbox.root).items() if "/.spkg" not in path}
        assert {path: what for path, what in before.items() if path != str(sandbox.root)} == {
            path: what for path, what in after.items() if path != str(sandbox.root)
        }
        sandbox.apply(file("dir/file"), file("dir/new/file"))
        assert (sandbox.root / "dir/file").read_bytes() == CONTENTS
        assert (sandbox.outside / "file").read_bytes() == SECRET


def test_mounts_in_the_root_are_neither_entered_nor_removed(tmp_path: Path) -> None:
    isolated(install_beside_mounts, tmp_path)


def test_mounts_below_a_root_are_known_and_its_own_is_not_among_them() -> None:
    with Root(Path("/")) as root, Root(Path("/proc")) as mounted:
        points = RootTree(root).mounts

        assert (b"proc",) in points
        assert () not in points
        assert all(point[:1] != (b"proc",) for point in RootTree(mounted).mounts)


# A race: somebody swaps a directory of the root for a link to the outside, all the time.

ATTACKER: Final = """
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
pairs = [tuple(map(os.fsencode, pair.split(":"))) for pair in sys.argv[1:]]
swaps = 0
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    for _ in range(50):
        for one, other in pairs:
            swaps += libc.renameat2(-100, one, -100, other, 2) == 0
print(swaps, flush=True)
"""
"""Exchanges pairs of names (RENAME_EXCHANGE) until its input ends, and tells how often."""


@dataclass
class Attack:
    """What the attacker did, once it is over."""

    swaps: int = 0


@contextmanager
def attack(*pairs: tuple[Path, Path]) -> Iterator[Attack]:
    done = Attack()
    arguments = [f"{one}:{other}" for one, other in pairs]
    with subprocess.Popen(
        [sys.executable, "-c", ATTACKER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as attacker:
        assert attacker.stdin is not None
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "ready\n"
        try:
            yield done
        finally:
            attacker.stdin.close()
            done.swaps = int(attacker.stdout.readline())


def arena(sandbox: Sandbox) -> list[tuple[Path, Path]]:
    """Make a tree and what it is swapped with; outside the same names can be found."""
    here = {
        "d/file": b"inner",
        "d/sub/file": b"inner",
        "d/app.001": b"inner",
        "top/mid/file": b"inner",
        "top/mid/sub/file": b"inner",
        "own": b"own",
        "top/name": b"inner",
    }
    sandbox.plant(here | {"link": Link("{outside}"), "top/link": Link("../../outside")})
    sandbox.plant({"top/file": Link("{outside}/file")})
    return [
        (sandbox.root / "d", sandbox.root / "link"),
        (sandbox.root / "top/mid", sandbox.root / "top/link"),
        (sandbox.root / "top/name", sandbox.root / "top/file"),
    ]


def method_rounds(sandbox: Sandbox) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give operations of a root, over and over; each round with a root that has resolved nothing yet."""
    for number in range(sys.maxsize):
        with Root(sandbox.root, sandbox.resolver) as root:
            for parent in ((b"d",), (b"top", b"mid")):
                for name in (b"file", b"sub", b"fresh"):
                    for method, work in METHODS.items():
                        if method != "remove_tree" or number % 50 == 49:
                            yield method, partial(work, root, (*parent, name))
                yield "write", partial(write, root, (*parent, b"written"))
            yield "read", partial(root.read, (b"top", b"name"), 100)
            yield "rename to", partial(root.rename, (b"own",), (b"top", b"name"))
            yield "write", partial(make_anew, root)


def make_anew(root: Root) -> None:
    """Put back what other operations took away."""
    root.create((b"own",)).close()
    for name in (b"file", b"app.001"):
        with suppress(FileExistsError):
            root.create((b"d", name)).close()


def write(root: Root, path: Parts) -> None:
    made = root.create(path)
    try:
        made.write(CONTENTS)
        made.set_mode(0o777, None)
    finally:
        made.close()
    root.unlink(path)


def install_rounds(sandbox: Sandbox) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give installations, over and over; their links are refused and followed by turns."""
    packages = {
        "extract": package(file("d/file"), file("d/sub/new/file"), file("top/mid/file"), file("top/name")),
        "remove": package(
            Remove(path=RootPath.of("d/file")), RemoveSubTree(path=TreePath.of("top/mid/sub")), file("own")
        ),
        "move": package(
            Move(source_path=RootPath.of("own"), destination_path=RootPath.of("d/file")),
            MoveVersioned(
                source_path=VersionedPath.of("d/app.001"),
                destination_path=VersionedPath.of("top/mid/app.002"),
            ),
        ),
        "add": package(file("d/app.001", kind=Add), file("top/mid/sub/file", kind=Add)),
    }
    for number in range(sys.maxsize):
        for name, octets in packages.items():
            yield name, partial(race_install, sandbox, octets, (None, FOLLOWING)[number % 2])


def race_install(sandbox: Sandbox, octets: bytes, device: Device | None) -> None:
    with Root(sandbox.root, sandbox.resolver) as root, working_in(root):
        settle_root(root)
        apply(root, octets, device)


@pytest.mark.part("fuzz")
@pytest.mark.parametrize("rounds", [method_rounds, install_rounds], ids=["methods", "installations"])
def test_no_swap_leads_to_the_outside(
    sandbox: Sandbox,
    rounds: Callable[[Sandbox], Iterator[tuple[str, Callable[[], object]]]],
    record_property: Callable[[str, object], None],
) -> None:
    """What was read is looked at here; that nothing outside has changed the fixture sees, by its times."""
    results: Counter[str] = Counter()
    pairs = arena(sandbox)
    with attack(*pairs) as done:
        end = time.monotonic() + SECONDS
        for name, work in rounds(sandbox):
            try:
                found = work()
            except (OSError, SpkgError) as exc:
                results[f"{name}: {type(exc).__name__}"] += 1
            else:
                assert found != SECRET
                results[f"{name}: done"] += 1
            if time.monotonic() > end:
                break

    record_property("operations", results.total())
    record_property("swaps", done.swaps)
    record_property("results", dict(sorted(results.items())))
    assert done.swaps > 100
    assert sum(count for name, count in results.items() if name.endswith("done")) > 0
    # Nothing stays broken: without the attacker what was begun is recovered, and the next one is done.
    for one, other in pairs:
        if one.is_symlink():
            exchange(one, other)
    sandbox.apply(file("own"))
    assert (sandbox.root / "own").read_bytes() == CONTENTS


def exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


def test_the_race_is_lost_by_who_resolves_first_and_opens_then(place: Path) -> None:
    """The same attack against a comparison of strings: the check above can fail."""
    (place / "root/d").mkdir(parents=True)
    (place / "outside").mkdir()
    (place / "root/link").symlink_to(place / "outside")
    path = place / "root/d/file"
    tries = escapes = 0

    with attack((place / "root/d", place / "root/link")):
        end = time.monotonic() + 20
        while escapes < 3 and time.monotonic() < end:
            tries += 1
            with suppress(OSError):  # realpath() minds that a link is none any more
                if os.path.realpath(path).startswith(f"{place}/root/"):
                    path.write_bytes(CONTENTS)
            if (place / "outside/file").exists():
                (place / "outside/file").unlink()
                escapes += 1

    assert escapes == 3, f"{escapes} escapes in {tries} tries"
