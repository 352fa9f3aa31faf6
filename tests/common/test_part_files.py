"""What a run leaves that was killed: the next one finds it, and nothing else."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spkg.common.atomic_output import new_directory, new_file, new_files, write_all
from spkg.common.part_files import part_directory
from tests.support.denied_calls import LOCK_CALLS, without_calls
from tests.support.kit import ROOT
from tests.support.namespaces import not_judged
from tests.support.planted_tree import listing
from tests.support.restrictions import without_privileges

NAME = ".out.0123abcd.part"


def make_file(path: Path) -> None:
    with new_file(path, force=True) as file:
        write_all(file, b"ours")


def make_files(path: Path) -> None:
    new_files(path.parent, [(path.name, b"ours", 0o600)], force=True)


def make_directory(path: Path) -> None:
    with new_directory(path) as new:
        (new / "a").write_bytes(b"ours")


MAKERS = {"a file": make_file, "files": make_files, "a directory": make_directory}


def go_on(path: Path) -> bytes:
    """Go on with what there is of a file; return what that is."""
    with new_file(path, force=True, leave=lambda _error, _part: True) as file:
        found = file.read()
        file.truncate(0)
    return found


def kill_while(making: str, path: Path) -> list[str]:
    """Kill a program with SIGKILL that makes an output; return what it left beside or in it."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from spkg.common.atomic_output import new_directory, new_file\n"
        "path = Path(sys.argv[2])\n"
        "if sys.argv[1] == 'a directory':\n"
        "    with new_directory(path) as new:\n"
        "        (new / 'half').write_bytes(b'half')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "with new_file(path, force=True, mode=0o400) as file:\n"
        "    file.write(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, making, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    return sorted(one.name for one in (path if path.is_dir() else path.parent).iterdir())


@pytest.mark.parametrize("making", MAKERS)
def test_what_a_killed_run_left_goes_with_the_next_one(tmp_path: Path, making: str) -> None:
    left = [kill_while(making, tmp_path / "out") for _ in range(2)]

    MAKERS[making](tmp_path / "out")

    assert [len(names) for names in left] == [1, 1]  # each goes with the run after it
    assert left[0] != left[1]
    assert list(listing(tmp_path)) == ["out"]


def test_a_run_that_is_not_root_finds_also_what_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    with without_privileges():
        Path(NAME).touch(mode=0o400)
        make_file(Path("out"))

    assert listing(tmp_path) == {"out": b"ours"}


def test_an_empty_directory_with_what_a_killed_run_left_is_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    left = kill_while("a directory", tmp_path / "out")

    make_directory(tmp_path / "out")

    assert len(left) == 1
    assert listing(tmp_path / "out") == {"a": b"ours"}


@pytest.mark.parametrize(
    "name",
    [
        ".other.0123abcd.part",
        ".out.0123abc.part",
        ".out.0123ABCD.part",
        "out.0123abcd.part",
        ".out.part",
        ".out.0123abcd",
    ],
)
def test_what_is_called_otherwise_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"theirs")

    make_file(tmp_path / "out")

    assert listing(tmp_path) == {name: b"theirs", "out": b"ours"}


@pytest.mark.parametrize("work", [make_file, go_on])
@pytest.mark.parametrize("kind", ["link to a file", "link to a directory", "pipe", "socket"])
def test_what_is_no_file_is_neither_followed_nor_opened(
    tmp_path: Path, work: Callable[[Path], object], kind: str
) -> None:
    (tmp_path / "victim").write_bytes(b"theirs")
    (tmp_path / "d").mkdir()
    match kind:
        case "pipe":
            os.mkfifo(tmp_path / NAME)  # whoever opens it waits for a writer
        case "socket":
            os.mknod(tmp_path / NAME, stat.S_IFSOCK | 0o600)
        case _:
            (tmp_path / NAME).symlink_to("victim" if kind == "link to a file" else "d")

    work(tmp_path / "out")

    assert os.path.lexists(tmp_path / NAME)
    assert (tmp_path / "victim").read_bytes() == b"theirs"
    assert (tmp_path / "d").is_dir()


@pytest.mark.parametrize("work", [make_file, go_on])
def test_what_belongs_to_somebody_else_stays_as_it_is(tmp_path: Path, work: Callable[[Path], object]) -> None:
    if os.geteuid() != 0:
        not_judged("only root can give files away")
    (tmp_path / NAME).write_bytes(b"theirs")
    os.chown(tmp_path / NAME, 65534, 65534)

    found = work(tmp_path / "out")

    assert (tmp_path / NAME).read_bytes() == b"theirs"
    assert not found


def test_a_file_with_a_second_name_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"theirs")
    (tmp_path / NAME).hardlink_to(tmp_path / "victim")

    found = go_on(tmp_path / "out")

    assert found == b""
    assert listing(tmp_path) == {"victim": b"theirs", "out": b""}


@pytest.mark.parametrize("work", [make_file, go_on])
def test_what_another_run_is_writing_stays(tmp_path: Path, work: Callable[[Path], object]) -> None:
    with new_file(tmp_path / "out", force=True) as outer:
        write_all(outer, b"outer")

        found = work(tmp_path / "out")

        assert not found
        assert len(listing(tmp_path)) == 2
    assert listing(tmp_path) == {"out": b"outer"}


def test_a_directory_that_another_run_fills_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out") as inside:
        with pytest.raises(Exception, match="is not empty"):
            make_directory(tmp_path / "out")
        (inside / "a").write_bytes(b"first")
    with new_directory(tmp_path / "other") as outer:
        make_directory(tmp_path / "other")
        assert outer.is_dir()
        (outer / "b").touch()
        (tmp_path / "other/a").unlink()  # so that this one can be put in its place

    assert listing(tmp_path / "out") == {"a": b"first"}
    assert listing(tmp_path / "other") == {"b": b""}


def test_many_runs_that_make_one_output_all_make_it(tmp_path: Path) -> None:
    def often(_number: int) -> None:
        for _ in range(40):
            make_file(tmp_path / "out")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(often, range(6)))

    assert listing(tmp_path) == {"out": b"ours"}


def test_of_several_files_the_longest_is_gone_on_with(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f".out.{number * 7 % 9:08x}.part").write_bytes(b"x" * number)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "more").touch()

    found = go_on(tmp_path / "out")

    assert found == b"x" * 8
    assert listing(tmp_path) == {"out": b""}


@pytest.mark.parametrize("stays", [True, False])
def test_what_is_unfinished_is_left_for_the_next_run_only_if_that_is_wanted(
    tmp_path: Path, *, stays: bool
) -> None:
    told: list[tuple[BaseException, bytes]] = []

    def leave(error: BaseException, part: Path) -> bool:
        told.append((error, part.read_bytes()))
        return stays

    problem = KeyError(1)

    def fail() -> None:
        with new_file(tmp_path / "out", leave=leave) as file:
            write_all(file, b"half")
            raise problem

    with pytest.raises(KeyError):
        fail()

    assert told == [(problem, b"half")]
    assert list(listing(tmp_path).values()) == ([b"half"] if stays else [])
    assert go_on(tmp_path / "out") == (b"half" if stays else b"")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_outputs_are_made_and_nothing_is_looked_for(
    tmp_path: Path, number: int
) -> None:
    (tmp_path / NAME).write_bytes(b"half")

    raised = without_calls(LOCK_CALLS, number, lambda: make_file(tmp_path / "out"))

    assert raised is None
    assert listing(tmp_path) == {NAME: b"half", "out": b"ours"}


def test_a_directory_that_another_run_took_for_a_dead_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, taken = os.open, list[Path]()

    def overtaken(path: Any, *rest: Any, **more: Any) -> int:
        if not taken and str(path).endswith(".part"):
            taken.append(Path(path))
            Path(path).rmdir()
        return plain(path, *rest, **more)

    monkeypatch.setattr(os, "open", overtaken)
    with part_directory(tmp_path / "out", inside=False) as made:
        assert made.is_dir()
        assert [made] != taken
