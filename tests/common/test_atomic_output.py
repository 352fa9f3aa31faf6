"""Outputs: whole or not at all, and nothing of others overwritten, now or while one is being made."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from spkg.common.atomic_output import new_directory, new_file, new_files, new_pair, refuse_existing, write_all
from spkg.errors import UsageError
from tests.support.denied_calls import LINK_CALLS, without_calls
from tests.support.kit import ROOT
from tests.support.planted_tree import listing
from tests.support.restrictions import umask, without_privileges

EXISTS_HINT: Final = "overwrite it with --force"


class Broken(BaseException):
    """What an interrupt is: nothing that anybody catches on the way."""


def nothing() -> None:
    """Do what happens most of the time."""


def make_file(path: Path, *, force: bool = False, meanwhile: Callable[[], object] = nothing) -> None:
    """Make a file, and something else while it is made."""
    with new_file(path, force=force) as file:
        write_all(file, b"ours")
        meanwhile()


def make_directory(path: Path, *, meanwhile: Callable[[], object] = nothing) -> None:
    """Make a directory with a file in it, and something else while it is made."""
    with new_directory(path) as new:
        (new / "a").write_bytes(b"ours")
        (new / "d").mkdir()
        meanwhile()


def failure(problem: type[BaseException]) -> Callable[[], None]:
    """Return what fails with *problem*."""

    def fail() -> None:
        raise problem

    return fail


def needless() -> None:
    """Fail the test: no work is done for an output that is refused."""
    pytest.fail("work was done for an output that is refused")


# A file


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_file(tmp_path / "out") as file:
        write_all(file, b"first ")
        assert not (tmp_path / "out").exists()
        write_all(file, b"second")

    assert listing(tmp_path) == {"out": b"first second"}
    assert (tmp_path / "out").stat().st_nlink == 1


def test_a_file_can_be_read_back_while_it_is_written(tmp_path: Path) -> None:
    with new_file(tmp_path / "out") as file:
        write_all(file, b"abcdef")
        file.seek(2)
        assert file.read(2) == b"cd"
        file.seek(1)
        file.truncate()
        write_all(file, b"z")

    assert listing(tmp_path) == {"out": b"az"}


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_has_the_mode_of_any_new_file_unless_one_is_asked_for(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make_file(tmp_path / "out")
        with new_file(tmp_path / "secret", mode=0o600) as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        with new_file(tmp_path / "shared", mode=0o666):
            pass

    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in listing(tmp_path)}
    assert modes == {"out": 0o666 & ~mask, "secret": 0o600, "shared": 0o666}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("problem", [ValueError, OSError, KeyboardInterrupt, Broken])
def test_a_file_does_not_appear_when_its_making_fails(
    tmp_path: Path, problem: type[BaseException], *, force: bool
) -> None:
    with pytest.raises(problem):
        make_file(tmp_path / "out", force=force, meanwhile=failure(problem))

    assert listing(tmp_path) == {}


def test_a_file_stays_as_it_is_when_making_its_successor_fails(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")

    with pytest.raises(Broken):
        make_file(tmp_path / "out", force=True, meanwhile=failure(Broken))

    assert listing(tmp_path) == {"out": b"old"}


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")

    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert caught.value.hint == EXISTS_HINT
    assert listing(tmp_path) == {"out": b"old"}


def test_a_file_that_exists_is_replaced_on_demand(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "other").hardlink_to(tmp_path / "out")

    make_file(tmp_path / "out", force=True)

    assert listing(tmp_path) == {"out": b"ours", "other": b"old"}


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_is_never_overwritten_by_a_file(tmp_path: Path, *, force: bool) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", force=force, meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out is a directory"
    assert caught.value.hint is None
    assert listing(tmp_path) == {"out": None}


@pytest.mark.parametrize("target", ["file", "directory", "nowhere"])
def test_a_link_is_in_the_way_wherever_it_leads(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "directory").mkdir()
    (tmp_path / "out").symlink_to(target)

    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("target", ["file", "directory", "nowhere"])
def test_a_link_is_replaced_on_demand_and_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "directory").mkdir()
    (tmp_path / "out").symlink_to(target)

    make_file(tmp_path / "out", force=True)

    assert not (tmp_path / "out").is_symlink()
    assert listing(tmp_path) == {"out": b"ours", "file": b"old", "directory": None}


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_regular_file_is_never_overwritten(tmp_path: Path, *, force: bool) -> None:
    os.mkfifo(tmp_path / "out")

    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", force=force, meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out is not a regular file"
    assert stat.S_ISFIFO((tmp_path / "out").lstat().st_mode)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("target", ["fifo", "/dev/null", "/proc/self/fd/1"])
def test_a_link_that_stands_for_a_device_or_a_descriptor_is_never_replaced(
    tmp_path: Path, target: str, *, force: bool
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "out").symlink_to(target)

    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", force=force, meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out is not a regular file"
    assert (tmp_path / "out").is_symlink()


def test_what_is_not_there_is_not_refused(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "out", force=False)

    assert listing(tmp_path) == {}


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", meanwhile=lambda: (tmp_path / "out").write_bytes(b"theirs"))

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert caught.value.hint == EXISTS_HINT
    assert listing(tmp_path) == {"out": b"theirs"}


def test_a_link_that_appears_meanwhile_is_not_followed(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_file(tmp_path / "out", meanwhile=lambda: (tmp_path / "out").symlink_to("nowhere"))

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert listing(tmp_path) == {"out": None}


def test_a_file_that_appears_meanwhile_is_replaced_on_demand(tmp_path: Path) -> None:
    make_file(tmp_path / "out", force=True, meanwhile=lambda: (tmp_path / "out").write_bytes(b"theirs"))

    assert listing(tmp_path) == {"out": b"ours"}


@pytest.mark.parametrize(("force", "problem"), [(False, UsageError), (True, IsADirectoryError)])
def test_a_directory_that_appears_meanwhile_stays(
    tmp_path: Path, problem: type[Exception], *, force: bool
) -> None:
    with pytest.raises(problem):
        make_file(tmp_path / "out", force=force, meanwhile=(tmp_path / "out").mkdir)

    assert listing(tmp_path) == {"out": None}


def test_two_that_make_the_same_file_do_not_meet(tmp_path: Path) -> None:
    with new_file(tmp_path / "out", force=True) as outer:
        write_all(outer, b"outer")
        make_file(tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"ours"

    assert listing(tmp_path) == {"out": b"outer"}


def test_a_file_in_a_directory_that_is_not_there_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        make_file(tmp_path / "nowhere/out", meanwhile=needless)

    assert caught.value.filename == f"{tmp_path}/nowhere/out"
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "€" * 85, "𐀀" * 63, "caf\udce9" * 63])
def test_every_name_that_the_file_system_takes_is_taken(tmp_path: Path, name: str) -> None:
    make_file(tmp_path / name)

    assert listing(tmp_path) == {name: b"ours"}


def test_a_write_that_takes_a_part_is_gone_on_with() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)  # so that it takes what the pipe has room for, and no more
    octets = bytes(range(256)) * 1000
    received = bytearray()

    def drain() -> None:
        with FileIO(read) as source:
            while some := source.read(1000):
                received.extend(some)

    reader = Thread(target=drain)
    with FileIO(write, "w") as file:
        first = file.write(octets)
        reader.start()
        write_all(file, octets[first:])
    reader.join()

    assert 0 < first < len(octets)
    assert bytes(received) == octets


def test_a_disk_that_is_full_leaves_nothing_and_is_told_by_the_name_of_the_output(tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from spkg.common.atomic_output import new_file, write_all\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with new_file(Path(sys.argv[1])) as file:\n"
        "    write_all(file, bytes(2000))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stderr.endswith(f"OSError: [Errno 27] File too large: '{tmp_path}/out'\n")
    assert listing(tmp_path) == {}


# Several files


def test_two_files_appear_together_when_both_are_whole(tmp_path: Path) -> None:
    with new_pair(tmp_path / "a", tmp_path / "b") as (file, other):
        write_all(other, b"beside")
        write_all(file, b"whole")
        assert not (tmp_path / "b").exists()

    assert (tmp_path / "a").read_bytes() == b"whole"
    assert (tmp_path / "b").read_bytes() == b"beside"


def test_the_larger_of_two_files_is_durable_before_the_other_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, (tmp_path / "b").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with new_pair(tmp_path / "a", tmp_path / "b") as (file, _):
        write_all(file, b"x" * 5000)

    assert synced[0] == (5000, False)


@pytest.mark.parametrize("taken", ["a", "b"])
def test_of_two_files_neither_appears_where_one_is_there_already(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"there")

    with pytest.raises(UsageError), new_pair(tmp_path / "a", tmp_path / "b") as (file, _):
        write_all(file, b"whole")

    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"there"


@pytest.mark.parametrize("taken", ["a", "b"])
def test_of_two_files_neither_appears_where_one_appears_meanwhile(tmp_path: Path, taken: str) -> None:
    with pytest.raises(UsageError), new_pair(tmp_path / "a", tmp_path / "b"):
        (tmp_path / taken).write_bytes(b"there")

    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"there"


@pytest.mark.parametrize("before", [b"before", None])
def test_of_two_files_the_first_to_appear_goes_again_when_the_other_fails(
    tmp_path: Path, before: bytes | None
) -> None:
    if before is not None:
        (tmp_path / "b").write_bytes(before)

    with pytest.raises(IsADirectoryError), new_pair(tmp_path / "a", tmp_path / "b", force=True):
        (tmp_path / "a").mkdir()

    assert (tmp_path / "b").exists() == (before is not None)
    assert before is None or (tmp_path / "b").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"a", "b"}


def test_two_files_replace_others_on_demand(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"before")

    with new_pair(tmp_path / "a", tmp_path / "b", force=True) as (file, other):
        write_all(other, b"beside")
        write_all(file, b"whole")

    assert [(tmp_path / name).read_bytes() for name in ("a", "b")] == [b"whole", b"beside"]


def test_of_two_files_neither_appears_when_making_one_fails(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"before")

    with pytest.raises(ZeroDivisionError), new_pair(tmp_path / "a", tmp_path / "b", force=True):
        raise ZeroDivisionError

    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_bytes() == b"before"


def test_several_files_appear_in_a_directory_that_is_made_for_them(tmp_path: Path) -> None:
    with umask(0o022):
        new_files(tmp_path / "d/e", [("a", b"1", None), ("b", b"2", 0o600)])

    assert listing(tmp_path / "d/e") == {"a": b"1", "b": b"2"}
    assert stat.S_IMODE((tmp_path / "d/e/a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "d/e/b").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_of_several_files_none_appears_where_one_is_there_already(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"old")

    with pytest.raises(UsageError) as caught:
        new_files(tmp_path, [("a", b"1", None), ("b", b"2", None), ("c", b"3", None)])

    assert str(caught.value) == f"{tmp_path}/{name} already exists"
    assert listing(tmp_path) == {name: b"old"}


def test_several_files_replace_others_on_demand(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")

    new_files(tmp_path, [("a", b"1", None), ("b", b"2", None)], force=True)

    assert listing(tmp_path) == {"a": b"1", "b": b"2"}


def test_a_directory_that_was_made_for_files_goes_with_them(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        new_files(tmp_path / "d", [("a", b"1", None), ("x" * 256, b"2", None)])

    assert listing(tmp_path) == {}


# File systems without hard links


def without_links(work: Callable[[], None]) -> BaseException | None:
    """Run *work* where no hard link can be made, as on FAT; return what it raised."""
    return without_calls(LINK_CALLS, errno.EPERM, work)


def test_there_are_no_hard_links_where_these_tests_say_so(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")

    raised = without_links(lambda: (tmp_path / "two").hardlink_to(tmp_path / "one"))

    assert isinstance(raised, PermissionError)
    (tmp_path / "two").hardlink_to(tmp_path / "one")


def test_a_file_appears_where_there_are_no_hard_links(tmp_path: Path) -> None:
    assert without_links(lambda: make_file(tmp_path / "out")) is None

    assert listing(tmp_path) == {"out": b"ours"}


def test_a_file_that_appears_meanwhile_stays_where_there_are_no_hard_links(tmp_path: Path) -> None:
    raised = without_links(
        lambda: make_file(tmp_path / "out", meanwhile=lambda: (tmp_path / "out").write_bytes(b"theirs"))
    )

    assert isinstance(raised, UsageError)
    assert str(raised) == f"{tmp_path}/out already exists"
    assert listing(tmp_path) == {"out": b"theirs"}


# A directory


def test_a_directory_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_directory(tmp_path / "out") as new:
        (new / "a").write_bytes(b"ours")
        (new / "d").mkdir()
        assert not (tmp_path / "out").exists()

    assert listing(tmp_path) == {"out": None}
    assert listing(tmp_path / "out") == {"a": b"ours", "d": None}


@pytest.mark.parametrize("name", ["empty", "link"])
def test_a_directory_that_is_empty_is_filled(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("empty")

    make_directory(tmp_path / name)

    assert listing(tmp_path / "empty") == {"a": b"ours", "d": None}
    assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700
    assert (tmp_path / "link").is_symlink()


def test_the_directory_one_is_in_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    make_directory(Path())

    assert listing(tmp_path) == {"a": b"ours", "d": None}


@pytest.mark.parametrize("problem", [ValueError, OSError, KeyboardInterrupt, Broken])
def test_a_directory_does_not_appear_when_its_making_fails(
    tmp_path: Path, problem: type[BaseException]
) -> None:
    with pytest.raises(problem):
        make_directory(tmp_path / "out", meanwhile=failure(problem))

    assert listing(tmp_path) == {}


@pytest.mark.parametrize("problem", [ValueError, OSError, KeyboardInterrupt, Broken])
def test_a_directory_stays_empty_when_filling_it_fails(tmp_path: Path, problem: type[BaseException]) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(problem):
        make_directory(tmp_path / "out", meanwhile=failure(problem))

    assert listing(tmp_path) == {"out": None}
    assert listing(tmp_path / "out") == {}


@pytest.mark.parametrize("made", [False, True])
def test_an_error_names_the_place_where_a_file_would_have_been(tmp_path: Path, *, made: bool) -> None:
    if made:
        (tmp_path / "out").mkdir()

    with pytest.raises(OSError, match="File name too long") as caught, new_directory(tmp_path / "out") as new:
        (new / ("x" * 256)).write_bytes(b"")

    assert caught.value.filename == f"{tmp_path}/out/{'x' * 256}"


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, new_directory(tmp_path / "out"):
        (tmp_path / "nowhere").read_bytes()

    assert caught.value.filename == f"{tmp_path}/nowhere"
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("name", ["a", ".hidden"])
def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"old")

    with pytest.raises(UsageError) as caught:
        make_directory(tmp_path / "out", meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out is not empty"
    assert listing(tmp_path / "out") == {name: b"old"}


@pytest.mark.parametrize("kind", ["file", "link to a file", "link to nothing", "pipe"])
def test_what_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    match kind:
        case "file":
            (tmp_path / "out").write_bytes(b"old")
        case "pipe":
            os.mkfifo(tmp_path / "out")
        case "link to nothing":
            (tmp_path / "out").symlink_to("nowhere")
        case _:
            (tmp_path / "old").write_bytes(b"old")
            (tmp_path / "out").symlink_to("old")
    before = listing(tmp_path)

    with pytest.raises(UsageError) as caught:
        make_directory(tmp_path / "out", meanwhile=needless)

    assert str(caught.value) == f"{tmp_path}/out exists and is not a directory"
    assert listing(tmp_path) == before


def test_a_directory_in_one_that_is_not_there_can_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        make_directory(tmp_path / "nowhere/out", meanwhile=needless)

    assert caught.value.filename == f"{tmp_path}/nowhere/out"
    assert listing(tmp_path) == {}


def test_a_place_that_may_be_filled_but_not_listed_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o711)
    place = Path("drop")
    place.mkdir()
    place.chmod(0o333)

    with without_privileges():
        make_file(place / "file")
        make_directory(place / "directory")

    assert (place / "file").stat().st_size == len(b"ours")
    assert sorted(listing(place / "directory")) == ["a", "d"]


def test_an_empty_directory_that_appears_meanwhile_is_taken(tmp_path: Path) -> None:
    make_directory(tmp_path / "out", meanwhile=(tmp_path / "out").mkdir)

    assert listing(tmp_path) == {"out": None}
    assert listing(tmp_path / "out") == {"a": b"ours", "d": None}


def test_a_full_directory_that_appears_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    def theirs() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a").write_bytes(b"theirs")

    with pytest.raises(UsageError) as caught:
        make_directory(tmp_path / "out", meanwhile=theirs)

    assert str(caught.value) == f"{tmp_path}/out is not empty"
    assert listing(tmp_path) == {"out": None}
    assert listing(tmp_path / "out") == {"a": b"theirs"}


def test_a_file_that_appears_in_place_of_a_directory_stays(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_directory(tmp_path / "out", meanwhile=lambda: (tmp_path / "out").write_bytes(b"theirs"))

    assert str(caught.value) == f"{tmp_path}/out exists and is not a directory"
    assert listing(tmp_path) == {"out": b"theirs"}


def test_a_file_that_appears_in_the_empty_directory_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(UsageError) as caught:
        make_directory(tmp_path / "out", meanwhile=lambda: (tmp_path / "out/a").write_bytes(b"theirs"))

    assert str(caught.value) == f"{tmp_path}/out is no longer empty"
    assert listing(tmp_path / "out") == {"a": b"theirs"}


def test_a_directory_that_appears_in_the_empty_one_leaves_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    names = [f"f{number}" for number in range(9)]
    taken = []

    def fill() -> None:
        (new,) = (tmp_path / "out").iterdir()
        for name in names:
            (new / name).write_bytes(b"ours")
        last = list(new.iterdir())[-1]
        (tmp_path / "out" / last.name).mkdir()
        taken.append(last.name)

    with pytest.raises((UsageError, OSError)):
        make_directory(tmp_path / "out", meanwhile=fill)

    assert list(listing(tmp_path / "out")) == taken


def test_an_entry_that_can_not_be_moved_leaves_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)  # what lies above is nobody's business

    def fill() -> None:
        (new,) = Path("out").iterdir()
        for number in range(9):
            (new / f"f{number}").write_bytes(b"ours")
            (new / f"d{number}").mkdir()
        last = [entry for entry in new.iterdir() if entry.is_dir()][-1]
        last.chmod(0o555)  # to be moved a directory wants to be written: its ".." changes

    with without_privileges():
        Path("out").mkdir()
        with pytest.raises(PermissionError):
            make_directory(Path("out"), meanwhile=fill)

    assert listing(tmp_path) == {"out": None}
    assert listing(tmp_path / "out") == {}


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "€" * 85])
def test_every_name_of_a_directory_that_the_file_system_takes_is_taken(tmp_path: Path, name: str) -> None:
    make_directory(tmp_path / name)

    assert listing(tmp_path / name) == {"a": b"ours", "d": None}
