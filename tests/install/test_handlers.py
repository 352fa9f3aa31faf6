"""Handlers of the device: which files they get, when, and what comes of it if they fail."""

import os
import signal
import subprocess
from dataclasses import replace
from hashlib import sha1, sha256
from mmap import mmap
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from spkg.common.documents import Document
from spkg.device import Device, FileHandler
from spkg.errors import NO_ROOM, RefusedError
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
    Record,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
)
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.install.all_or_nothing import StagedImage
from spkg.install.effects import HandleFile, MakeDirectory, MoveEntry, PutFile
from spkg.install.hooks import image_document
from spkg.install.plan import Plan, plan_installation
from spkg.install.root import Root
from spkg.install.root_tree import Room
from spkg.install.transaction_places import JOURNAL
from spkg.install.tree_path import Parts, shown
from spkg.verify.signatures import verify_package
from tests.support.commands import PATIENCE, PROGRAM, run
from tests.support.hooks_kit import LONG, NOTES, is_gone, noted, on_device, write_device
from tests.support.installation import APPLY, OLD, events, furnish_root, started, tree, wait_for
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.memory_tree import SPACIOUS
from tests.support.memory_tree import tree as memory

IMAGE: Final = bytes(range(256)) * 1024
PAYLOAD: Final = CONTENTS + IMAGE
APP: Final = file("/bin/app")
GONE: Final = Remove(path=RootPath.of("/old"))
DEVICE: Final = Device(handlers=(FileHandler(pattern="/images/*", command=("/sbin/write",)),))
PACKAGE: Final = Draft(
    records=(file("/images/boot.img", IMAGE, at=len(CONTENTS)), APP, GONE, End()), payload=PAYLOAD
)
TAKES: Final = 'cat > "$1/image"; env > "$1/variables"; find root -not -path "*/.spkg*" > "$1/root"'


def image(path: str = "/images/boot.img", kind: type[PayloadCommand] = Extract) -> PayloadCommand:
    return file(path, IMAGE, at=len(CONTENTS), kind=kind)


def versioned(path: VersionedPath, kind: type[PayloadCommand] = ExtractVersioned) -> PayloadCommand:
    digest = sha1(IMAGE, usedforsecurity=False).digest()
    return kind(path=path, hash=digest, file_offset=len(CONTENTS), file_length=len(IMAGE), flags=0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a package, what trusts it, and a root."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(PACKAGE.encode())
    return tmp_path


def write_package(*records: Record, payload: bytes = PAYLOAD) -> bytes:
    octets = Draft(records=records, payload=payload).encode()
    Path("p.spkg").write_bytes(octets)
    return octets


def apply(*args: str) -> tuple[int, dict[str, Any], str]:
    """Install; return the exit status, the result, and the standard error."""
    done = run("apply", "p.spkg", *on_device(*APPLY), "--json", *args)
    return done.exit_code, events(done.stdout)[-1], done.stderr


# What they get, and when.


def test_a_handler_gets_the_file_before_anything_changes_and_the_tree_never() -> None:
    write_device(handlers=TAKES, before='ls "$1" > "$1/first"', after='ls "$1" > "$1/last"')

    status, result, told = apply()

    assert (status, told) == (0, "")
    assert (Path(NOTES) / "image").read_bytes() == IMAGE
    variables = dict(line.split("=", 1) for line in noted("variables").splitlines())
    assert {name: value for name, value in variables.items() if name.startswith("SPKG_")} == {
        "SPKG_ROOT": str(Path("root").absolute()),
        "SPKG_PACKAGE": sha256(PACKAGE.signed).hexdigest(),
        "SPKG_VERSION": "",
        "SPKG_STATUS": "planned",
        "SPKG_PATH": "/images/boot.img",
        "SPKG_SIZE": str(len(IMAGE)),
        "SPKG_SHA1": sha1(IMAGE, usedforsecurity=False).hexdigest(),
        "SPKG_SHA256": sha256(IMAGE).hexdigest(),
    }
    assert noted("root").split() == ["root", "root/old"]
    assert noted("first").split() == ["first"]
    assert "image" in noted("last").split()
    assert tree() == {"root/bin/app": CONTENTS}
    assert {"action": "handle", "path": "/images/boot.img"} in result["changes"]
    assert [(one["hook"], one["status"]) for one in result["hooks"]] == [
        ("before", 0),
        ("handler", 0),
        ("after", 0),
    ]
    assert not Path("root/.spkg/txn").exists()


def test_a_dry_run_shows_what_is_for_a_handler_and_runs_none() -> None:
    write_device(handlers=TAKES)

    done = run("apply", "p.spkg", *on_device(*APPLY), "--dry-run")

    assert done.stdout == (
        "  + /bin/\n  + /bin/app\n  - /old\n  | /images/boot.img\nroot: dry run, 4 changes\n"
    )
    assert noted("image") is None


def test_handlers_get_their_files_in_the_order_of_the_commands() -> None:
    write_device(handlers='echo "$SPKG_PATH $(wc -c)" >> "$1/order"')
    write_package(image("/images/b"), file("/images/c"), image("/images/a"), End())

    assert apply()[0] == 0
    size = len(IMAGE)
    assert noted("order") == f"/images/b {size}\n/images/c {len(CONTENTS)}\n/images/a {size}\n"


def test_a_file_can_go_to_the_tree_and_to_a_handler() -> None:
    write_device(handlers=TAKES)
    write_package(image("/etc/copy"), image(), End())

    assert apply()[0] == 0
    assert (Path(NOTES) / "image").read_bytes() == IMAGE
    assert tree() == {**OLD, "root/etc/copy": IMAGE}


def test_a_stream_is_given_to_handlers_once_it_is_whole() -> None:
    write_device(handlers=TAKES)
    assert streamed(Path("p.spkg").read_bytes()) == 0

    assert (Path(NOTES) / "image").read_bytes() == IMAGE
    assert tree() == {"root/bin/app": CONTENTS}


@pytest.mark.parametrize("source", ["file", "-"])
def test_no_handler_gets_a_file_of_a_package_that_is_damaged_anywhere(source: str) -> None:
    write_device(handlers=TAKES)
    last = file("/last", b"last", at=len(PAYLOAD))
    octets = bytearray(write_package(image(), last, End(), payload=PAYLOAD + b"last"))
    octets[-1] ^= 1
    Path("p.spkg").write_bytes(octets)

    status = apply()[0] if source == "file" else streamed(bytes(octets))

    assert status == 4
    assert noted("image") is None
    assert tree() == OLD


def streamed(octets: bytes) -> int:
    """Install from standard input, and return the exit status."""
    command = [*PROGRAM, "apply", "-", *on_device(*APPLY)]
    done = subprocess.run(command, input=octets, capture_output=True, check=False, timeout=PATIENCE)
    return done.returncode


# What fails.


@pytest.mark.parametrize(
    ("script", "limit", "end"),
    [
        ("cat > /dev/null; echo 'bad sector' >&2; exit 3", "60", "ended with status 3: bad sector"),
        (f"sleep {LONG}", "0.2", "took longer than 0.2 s and was ended"),
        ("kill -KILL $$", "60", "was ended by signal 9 (SIGKILL)"),
    ],
)
def test_a_handler_that_fails_leaves_the_tree_as_before(script: str, limit: str, end: str) -> None:
    write_device(limit, handlers=script, failed='echo "$SPKG_STATUS" > "$1/failed"')

    status, result, _ = apply()

    assert (status, result["status"]) == (6, "failed")
    assert result["message"] == f"/images/boot.img: the handler failed: /bin/sh {end}"
    assert result["hint"] == (
        "what handlers have written stays as it is; they get their files again when the package comes again"
    )
    assert noted("failed") == "failed\n"
    assert tree() == OLD
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")
    assert not Path("root/.spkg/txn").exists()


def test_the_second_handler_is_not_asked_if_the_first_one_fails() -> None:
    write_device(handlers='echo "$SPKG_PATH" >> "$1/order"; exit 1')
    write_package(image("/images/a"), image("/images/b"), End())

    assert apply()[0] == 6
    assert noted("order") == "/images/a\n"


def test_a_staged_file_that_can_not_be_read_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_root: object, _path: object) -> NoReturn:
        raise OSError(5, "Input/output error", "/.spkg/txn/new/handled.0")

    write_device(handlers=TAKES)
    monkeypatch.setattr("spkg.install.root.Root.open_own", broken)

    status, result, _ = apply()

    assert (status, result["message"]) == (
        6,
        "/images/boot.img: its contents can't be read: /.spkg/txn/new/handled.0: input/output error",
    )
    assert tree() == OLD


def test_in_place_there_are_no_handlers() -> None:
    problem = "/images/boot.img is for a handler, which gets files only all or nothing"
    write_device(handlers=TAKES)

    for args in (("--in-place",), ("--in-place", "--dry-run")):
        status, result, _ = apply(*args)

        assert (status, result["message"]) == (
            5,
            f"offset 0x0018: command[0]: {problem} [TR-069 E.4.3]",
        )
        assert result["hint"] == "leave out --in-place, or take the handler out of the device file"
    assert tree() == OLD


def test_on_trial_a_warning_says_what_going_back_does_not_undo() -> None:
    write_device(handlers=TAKES)

    for args in (("--back-up", "1h", "--dry-run"), ("--back-up", "1h")):
        status, result, _ = apply(*args)

        assert status == 0
        assert [(one["code"], one["path"], one["message"]) for one in result["warnings"]] == [
            ("handler-not-undone", "/images/boot.img", "a roll-back does not undo what its handler writes")
        ]
    assert run("rollback", "--root", "root").exit_code == 0
    assert tree() == OLD
    assert (Path(NOTES) / "image").read_bytes() == IMAGE


# Kills.


@pytest.mark.parametrize("victim", ["child", "parent"])
def test_a_kill_while_a_handler_runs_leaves_the_tree_as_before_and_the_next_one_runs_it_again(
    victim: str,
) -> None:
    write_device(handlers='echo $$ > "$1/pid.$$"; [ -e "$1/go" ] || sleep 1; echo "$SPKG_PATH" >> "$1/ran"')
    with started("apply", "p.spkg", *on_device(*APPLY)) as running:
        wait_for(f"{NOTES}/pid.*")
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        (child,) = [one for one in children if b"cli.py" in Path(f"/proc/{one}/cmdline").read_bytes()]
        os.kill(int(child) if victim == "child" else running.pid, signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
    assert is_gone(int(child))
    assert running.returncode == (6 if victim == "child" else -signal.SIGKILL)
    assert tree() == OLD
    Path(f"{NOTES}/go").touch()

    assert apply()[0] == 0

    assert tree() == {"root/bin/app": CONTENTS}
    assert "/images/boot.img\n" in noted("ran")


@pytest.mark.parametrize("point", range(4))
def test_a_kill_at_each_point_around_the_handlers_leaves_one_tree_or_the_other(point: int) -> None:
    write_device(handlers='echo "$SPKG_PATH" >> "$1/ran"')
    done = mmap(-1, 1)  # a child is confined to the root, and can leave no other trace

    def kill() -> None:
        if done[0] == 0:
            done[0] = 1
            os.kill(os.getpid(), signal.SIGKILL)

    def asking(image: StagedImage) -> Document:
        kill()
        return image_document(image)

    unlink, rename = Root.unlink, Root.rename

    def unlinking(root: Root, path: Parts) -> None:
        if path[-1].startswith(b"handled."):
            kill()
        unlink(root, path)

    def renaming(root: Root, source: Parts, destination: Parts) -> None:
        if destination == JOURNAL and point == 2:
            kill()
        rename(root, source, destination)
        if destination == JOURNAL:
            kill()

    with pytest.MonkeyPatch.context() as patch:
        if point == 0:  # before the handler
            patch.setattr("spkg.install.supervisor.image_document", asking)
        elif point == 1:  # after it
            patch.setattr(Root, "unlink", unlinking)
        else:  # before and after the commit
            patch.setattr(Root, "rename", renaming)
        status, result, _ = apply()

    new = {"root/bin/app": CONTENTS}
    assert (status, tree()) == ((0, new) if point == 3 else (6, OLD))
    assert len(noted("ran") or "") == (0 if point == 0 else len("/images/boot.img\n"))
    assert [one["hook"] for one in result["hooks"]] == ["handler"] * (point > 0)
    assert apply()[0] == 0
    assert tree() == new


# What the commands of one package mean for each other.


def planned(*records: Record, device: Device = DEVICE, room: Room = SPACIOUS) -> Plan:
    package = read(Draft(records=(*records, End()), payload=PAYLOAD, signers=()).encode())
    trusted = verify_package(package, policy(unsafe_allow_unsigned=True), at=AT)
    return plan_installation(trusted, device, memory("images/old_img", space=room))


def handled(*records: Record) -> list[str]:
    """Return the paths that handlers get, in order."""
    return [shown(one.path) for one in planned(*records).handled]


A, B, C = (RootPath.of(f"/images/{name}") for name in "abc")
V1, V2 = (VersionedPath.of(f"/images/img.{number}") for number in ("001", "002"))


@pytest.mark.parametrize(
    ("records", "paths"),
    [
        ([image("/images/a"), image("/images/b")], ["/images/a", "/images/b"]),
        ([image("/images/a"), image("/images/b"), image("/images/a")], ["/images/b", "/images/a"]),
        ([image("/images/a", Add)], ["/images/a"]),
        ([image("/images/old_img", Add)], ["/images/old_img"]),  # whatever is there in the tree
        ([image("/images/a"), image("/images/b"), image("/images/a", Add)], ["/images/a", "/images/b"]),
        ([image("/images/a"), Remove(path=A)], []),
        ([image("/images/a"), Remove(path=B)], ["/images/a"]),
        ([Remove(path=A), image("/images/a")], ["/images/a"]),
        ([image("/images/a"), RemoveSubTree(path=TreePath.of("/images"))], []),
        ([image("/images/a"), Remove(path=RootPath.of("/image"))], ["/images/a"]),
        ([image("/images/a"), RemoveSubTree(path=TreePath.of("/"))], []),
        ([image("/images/a"), Format(), image("/images/b")], ["/images/b"]),
        ([versioned(V1), versioned(V2)], ["/images/img.002"]),
        ([versioned(V1), versioned(V2, AddVersioned)], ["/images/img.001"]),
        ([versioned(V1), image("/images/b"), RemoveVersioned(path=V2)], ["/images/b"]),
        ([versioned(V1), image("/images/dot.less")], ["/images/img.001", "/images/dot.less"]),
    ],
)
def test_commands_of_a_package_mean_the_same_for_handlers(records: list[Record], paths: list[str]) -> None:
    assert handled(*records) == paths


def test_what_is_for_a_handler_is_neither_put_nor_makes_a_directory() -> None:
    made = planned(image("/images/deep/er/a"), image("/images/old_img"), APP)

    assert {type(one) for one in made.effects} == {MakeDirectory, PutFile}
    assert {shown(one.path) for one in made.effects} == {"/bin", "/bin/app"}
    assert made.handled == (
        HandleFile(path=(b"images", b"deep", b"er", b"a"), file=0),
        HandleFile(path=(b"images", b"old_img"), file=1),
    )


def test_a_removed_path_of_a_handler_is_removed_from_the_tree_too() -> None:
    made = planned(image("/images/old_img"), Remove(path=RootPath.of("/images/old_img")))

    assert (made.handled, [shown(one.path) for one in made.effects]) == ((), ["/images/old_img"])


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (
            [image("/images/a"), Move(source_path=A, destination_path=RootPath.of("/a"))],
            "/images/a is for a handler, and can't be moved",
        ),
        (
            [versioned(V1), MoveVersioned(source_path=V2, destination_path=VersionedPath.of("/a.001"))],
            "/images/img.001 is for a handler, and can't be moved",
        ),
        (
            [APP, Move(source_path=RootPath.of("/bin/app"), destination_path=A)],
            "/images/a is for a handler, and no file of the package can be moved there",
        ),
    ],
)
def test_no_file_of_a_package_moves_from_or_to_a_handler(records: list[Record], problem: str) -> None:
    with pytest.raises(RefusedError) as caught:
        planned(*records)

    assert (caught.value.problem, caught.value.field) == (problem, "command[1]")
    assert caught.value.hint == (
        "a package extracts a file for a handler to the path at which the handler takes it"
    )


def test_what_is_in_the_tree_can_be_moved_to_such_a_path() -> None:
    move = Move(source_path=RootPath.of("/images/old_img"), destination_path=A)

    assert [type(one) for one in planned(move).effects] == [MoveEntry]


def test_room_is_counted_for_what_is_staged_for_handlers() -> None:
    with pytest.raises(RefusedError) as caught:
        planned(image(), room=replace(SPACIOUS, free=len(IMAGE)))
    assert caught.value.reason == NO_ROOM
    planned(APP, room=replace(SPACIOUS, free=len(IMAGE)))


def test_what_handlers_get_counts_as_extracted() -> None:
    with pytest.raises(RefusedError, match=f"the files have {len(IMAGE)} bytes, the device accepts 100"):
        planned(image(), device=replace(DEVICE, max_extracted=100))
