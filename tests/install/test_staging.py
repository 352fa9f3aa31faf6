"""Files of a package in a regular file, hashed and written by several threads."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest

from spkg.errors import FailedError, FormatError
from spkg.format.commands import End, PayloadCommand
from spkg.format.package import Header, encode_commands
from spkg.install.applied import ApplyRequest
from spkg.install.apply import apply
from spkg.install.root import Root
from spkg.verify.contents import DamagedPayloadError
from spkg.verify.parallel import SMALL_RANGE
from spkg.verify.payload import CHUNK, open_package
from spkg.verify.signatures import verify_package
from tests.support.commands import PATIENCE, files
from tests.support.installation import APPLY, furnish_root, started, wait_for
from tests.support.kit import AT, Draft, file, policy
from tests.support.restrictions import at_most

SIZES: Final = (CHUNK + 1, 3 * SMALL_RANGE, 0, 2 * SMALL_RANGE + 7, 1, SMALL_RANGE, 5 * CHUNK)
"""Of the files, in the order of their commands: none outweighs all others."""
ONE: Final = (17, 9 * SMALL_RANGE + 1, 5)
"""The same, but that one does."""
EVEN: Final = (3 * SMALL_RANGE, 3 * SMALL_RANGE)
"""The same, but that the last is one of two."""
sizes = pytest.mark.parametrize("lengths", [SIZES, ONE, EVEN], ids=["many", "one", "even"])
jobs = pytest.mark.parametrize("jobs", [1, 2, 8])


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Have each installation end the threads that it began, before it returns."""
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


def contents(lengths: tuple[int, ...]) -> list[bytes]:
    return [Random(length).randbytes(length) for length in lengths]


def make(tmp_path: Path, lengths: tuple[int, ...], *damaged: int) -> None:
    """Write a package of files of these lengths, the last file twice; some are damaged."""
    pieces, records, at = contents(lengths), list[PayloadCommand](), 0
    for number, octets in enumerate(pieces):
        records.append(file(f"/d/{number}", octets, at=at))
        at += len(octets)
    records.append(file("/twin", pieces[-1], at=at - len(pieces[-1])))
    for number in damaged:
        pieces[number] = pieces[number][:-1] + bytes([pieces[number][-1] ^ 1])
    (tmp_path / "p").write_bytes(Draft(records=(*records, End()), payload=b"".join(pieces)).encode())


def install(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "root").mkdir()
    with open_package(tmp_path / "p") as (opened, payload), Root(tmp_path / "root") as root:
        trusted = verify_package(opened, policy(), at=AT)
        apply(trusted, payload, root, ApplyRequest(device=None, jobs=jobs))


def found(tmp_path: Path) -> dict[str, bytes]:
    paths = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    return {str(path.relative_to(tmp_path / "root")): path.read_bytes() for path in paths}


@pytest.mark.part("fuzz", turns=True, few=4)
@jobs
@sizes
def test_several_jobs_install_what_one_installs(tmp_path: Path, lengths: tuple[int, ...], jobs: int) -> None:
    make(tmp_path, lengths)

    install(tmp_path, jobs)

    wanted = {f"d/{number}": octets for number, octets in enumerate(contents(lengths))}
    there = found(tmp_path)
    del there[".spkg/installed"]
    assert there == wanted | {"twin": contents(lengths)[-1]}


@jobs
@sizes
def test_damaged_files_are_named_in_the_order_of_their_commands(
    tmp_path: Path, lengths: tuple[int, ...], jobs: int
) -> None:
    make(tmp_path, lengths, 0, len(lengths) - 1)

    with pytest.raises(DamagedPayloadError) as refused:
        install(tmp_path, jobs)

    names = ["/d/0", f"/d/{len(lengths) - 1}", "/twin"]
    told = "; ".join(f"{name}: contents do not match the signed SHA-1 digest" for name in names)
    assert str(refused.value) == f"{told} [TR-069 E.4.3]"
    assert found(tmp_path) == {}
    assert not (tmp_path / "root/.spkg/txn").exists()


@pytest.mark.part("fuzz", turns=True, few=4)
@jobs
@pytest.mark.parametrize(("lengths", "first"), [(SIZES, 1), (ONE, 1), (EVEN, 0)])
def test_of_several_files_that_can_not_be_written_the_first_one_is_named(
    tmp_path: Path, lengths: tuple[int, ...], first: int, jobs: int
) -> None:
    make(tmp_path, lengths)

    with at_most(2 * SMALL_RANGE), pytest.raises(FailedError) as failed:
        install(tmp_path, jobs)

    # Numbers count the effects in the order of the paths, of which the first is the directory.
    assert str(failed.value) == f"/.spkg/txn/new/{first + 1}: file too large"
    assert found(tmp_path) == {}
    assert not (tmp_path / "root/.spkg/txn").exists()


@pytest.mark.part("fuzz", turns=True, few=4)
@jobs
@sizes
def test_a_package_that_is_cut_off_meanwhile_installs_nothing(
    tmp_path: Path, lengths: tuple[int, ...], jobs: int
) -> None:
    make(tmp_path, lengths)
    (tmp_path / "root").mkdir()

    with open_package(tmp_path / "p") as (opened, payload), Root(tmp_path / "root") as root:
        trusted = verify_package(opened, policy(), at=AT)
        os.truncate(tmp_path / "p", payload.offset + sum(lengths) - 6)
        with pytest.raises(FormatError, match=r"6 of \d+ bytes are missing"):
            apply(trusted, payload, root, ApplyRequest(device=None, jobs=jobs))

    assert found(tmp_path) == {}


def test_a_system_without_threads_installs_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    for number, lengths in enumerate((ONE, EVEN)):
        (desk := tmp_path / str(number)).mkdir()
        make(desk, lengths)
        install(desk, 2)
        assert found(desk)["twin"] == contents(lengths)[-1]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root and a package of two files, which takes no room and a while to install."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    half = 1 << 28
    records = tuple(replace(file(f"/{at}"), file_offset=at * half, file_length=half) for at in (0, 1))
    commands = encode_commands((*records, End()))
    header = Header(command_list_length=len(commands), payload_length=2 * half).encode()
    front = Draft(records=(*records, End()), header=header).front
    Path("p.spkg").write_bytes(front)
    os.truncate("p.spkg", len(front) + 2 * half)


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii"))


@pytest.mark.usefixtures("desk")
def test_a_signal_ends_threads_that_write() -> None:
    with started("apply", "p.spkg", *APPLY, "--jobs", "2") as running:
        wait_for("root/.spkg/txn/new/1")
        running.send_signal(signal.SIGTERM)
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout, stderr) == (143, b"", b"spkg: error: terminated\n")
    assert files("root") == [".spkg", "old"]


@pytest.mark.usefixtures("desk")
def test_a_kill_while_threads_write_is_recovered_from() -> None:
    with started("apply", "p.spkg", *APPLY, "--jobs", "2") as running:
        wait_for("root/.spkg/txn/new/1")
        os.kill(child_of(running.pid), signal.SIGKILL)
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout) == (6, b"")
    assert b"was ended by signal 9" in stderr
    assert files("root") == [".spkg", "old"]
