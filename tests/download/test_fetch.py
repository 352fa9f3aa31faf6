"""Fetching: what a run left that broke or was killed is gone on with, and trusted no more than a server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from spkg.common.atomic_output import new_file
from spkg.download import worker
from spkg.download.client import download
from spkg.download.fetch import can_resume_fetch, fetch_package
from spkg.download.stream import open_arrival
from spkg.download.timeouts import Timeouts
from spkg.download.url import Location, Login
from spkg.errors import TransferError, UntrustedError
from spkg.format.commands import End, Version
from spkg.verify.signatures import verify_package
from tests.support.fake_servers import Script, serving
from tests.support.kit import AT, ROOT, Draft, file, policy, root
from tests.support.planted_tree import listing
from tests.support.sampling import few

NOISE: Final = Random(3).randbytes(3 << 20)
ONE, TWO = NOISE[: (5 << 19) + 3], NOISE[5 << 19 :]
GAP: Final = b"nobody signed this"
PACKAGE: Final = Draft(
    records=(
        Version(text="1"),
        file("/one", ONE),
        file("/part of one", ONE[7:99], at=7),
        file("/two", TWO, at=len(ONE) + len(GAP)),
        file("/none", b"", at=9),
        End(),
    ),
    payload=ONE + GAP + TWO,
)
OCTETS: Final = PACKAGE.encode()
FRONT: Final = len(PACKAGE.front)
PART: Final = ".p.spkg.0123abcd.part"
MIB: Final = 1 << 20


class Killed(BaseException):
    """What a signal raises."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0)


def fetch(
    url: str, directory: Path, progress: Callable[[int], object] | None = None, patience: float = 30
) -> None:
    """Fetch a package as the command does."""
    timeouts = Timeouts(initial=patience, activity=patience)
    with (
        download(Location.parse(f"{url}/p"), Login(), time.monotonic, timeouts) as arrival,
        open_arrival(arrival) as (opened, payload),
    ):
        trusted = verify_package(opened, policy(), at=AT)
        with new_file(directory / "p.spkg", leave=lambda reason, _part: can_resume_fetch(reason)) as output:
            fetch_package(trusted, payload, output, progress)


def ending_after(octets: int) -> Callable[[int], None]:
    """Return what ends a fetch when so many octets of the payload are there."""
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        if done >= octets:
            raise Killed

    return progress


EDGES: Final = (1, 8, len(ONE) - 1, len(ONE), len(ONE) + 1, len(ONE) + len(GAP), len(PACKAGE.payload))


@pytest.mark.parametrize("etag", ['"1"', None], ids=["a tag", "no tag"])
@pytest.mark.parametrize("stop", few(EDGES, every=3, part="downloads"))
def test_a_fetch_that_was_ended_anywhere_is_gone_on_with(tmp_path: Path, stop: int, etag: str | None) -> None:
    with serving(script := Script(octets=OCTETS, etag=etag)) as url:
        with suppress(Killed):
            fetch(url, tmp_path, ending_after(stop))
        (left,) = tmp_path.iterdir()
        there = left.stat().st_size
        done: list[int] = []
        fetch(url, tmp_path, done.append)

    assert left.suffix == ".part"
    assert there >= FRONT + stop
    assert listing(tmp_path) == {"p.spkg": OCTETS}
    assert sum(done) == len(PACKAGE.payload)
    wanted = f"bytes={there}-"
    if etag is not None and MIB + FRONT < there < FRONT + len(ONE):
        assert script.ranged == [None, None, wanted]


def test_what_is_there_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(OCTETS[: FRONT + 2 * MIB])
    with serving(script := Script(octets=OCTETS)) as url:
        fetch(url, tmp_path)

    assert script.ranged == [None, f"bytes={FRONT + 2 * MIB}-"]
    assert listing(tmp_path) == {"p.spkg": OCTETS}


@pytest.mark.parametrize("place", [0, MIB, 2 * MIB - 1])
def test_what_is_there_and_was_not_signed_is_asked_for_again(tmp_path: Path, place: int) -> None:
    left = bytearray(OCTETS[: FRONT + 2 * MIB])
    left[FRONT + place] ^= 1
    (tmp_path / PART).write_bytes(left)
    with serving(script := Script(octets=OCTETS)) as url:
        fetch(url, tmp_path)

    assert script.ranged == [None, f"bytes={FRONT + 2 * MIB}-", f"bytes={FRONT}-"]
    assert listing(tmp_path) == {"p.spkg": OCTETS}


@pytest.mark.parametrize("etag", ['"1"', None], ids=["a tag", "no tag"])
def test_so_is_what_is_not_worth_a_request_of_its_own(tmp_path: Path, etag: str | None) -> None:
    (tmp_path / PART).write_bytes(OCTETS[: FRONT + 500].replace(ONE[:500], bytes(500)))
    with serving(script := Script(octets=OCTETS, etag=etag)) as url:
        fetch(url, tmp_path)

    assert script.ranged == [None, f"bytes={FRONT}-" if etag else None]
    assert listing(tmp_path) == {"p.spkg": OCTETS}


def test_what_nobody_signed_is_never_taken_from_what_is_there(tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(OCTETS.replace(GAP, GAP.upper()))
    with serving(Script(octets=OCTETS)) as url:
        fetch(url, tmp_path)

    assert listing(tmp_path) == {"p.spkg": OCTETS}


@pytest.mark.parametrize(
    "left",
    [
        b"",
        OCTETS[: FRONT - 1],
        Draft(records=(Version(text="2"), *PACKAGE.records[1:]), payload=PACKAGE.payload).encode(),
        bytes(len(OCTETS)),
        OCTETS + b"and more",
    ],
    ids=["nothing", "a part of the front matter", "another package", "zeros", "too much"],
)
def test_whatever_is_there_the_package_is_what_the_server_has(tmp_path: Path, left: bytes) -> None:
    (tmp_path / PART).write_bytes(left)
    with serving(Script(octets=OCTETS)) as url:
        fetch(url, tmp_path)

    assert listing(tmp_path) == {"p.spkg": OCTETS}


def test_what_broke_is_left_and_gone_on_with(tmp_path: Path) -> None:
    cut = FRONT + 2 * MIB
    with serving(Script(octets=OCTETS, cuts=[cut] + [cut] * 99999)) as url:
        with pytest.raises(TransferError, match="the Initial Timeout of 2 s has passed"):
            fetch(url, tmp_path, patience=2)
    left = listing(tmp_path)
    with serving(script := Script(octets=OCTETS)) as url:
        fetch(url, tmp_path)

    assert list(left.values()) == [OCTETS[:cut]]
    assert script.ranged == [None, f"bytes={cut}-"]
    assert listing(tmp_path) == {"p.spkg": OCTETS}


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (OCTETS[: FRONT + 9] + b"?" + OCTETS[FRONT + 10 :], UntrustedError),
        (OCTETS + b"!", TransferError),
    ],
    ids=["not what was signed", "another size"],
)
def test_what_will_never_fit_is_not_left(tmp_path: Path, octets: bytes, error: type[Exception]) -> None:
    with serving(Script(octets=octets, length=False)) as url, pytest.raises(error):
        fetch(url, tmp_path)

    assert listing(tmp_path) == {}


def test_a_file_that_becomes_shorter_meanwhile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(OCTETS[: FRONT + 2 * MIB])

    def shorten(_octets: int) -> None:
        os.truncate(tmp_path / PART, FRONT + 9)

    with serving(Script(octets=OCTETS)) as url, pytest.raises(OSError, match="truncated by") as caught:
        fetch(url, tmp_path, shorten)

    assert caught.value.filename == str(tmp_path / "p.spkg")
    assert listing(tmp_path) == {}


# The whole program.


def spkg_fetch(url: str, directory: Path) -> "subprocess.Popen[str]":
    trust = directory / "ca.pem"
    trust.write_bytes(root().pem)
    command = [sys.executable, "-m", "spkg", "fetch", f"{url}/p", "-o", str(directory / "p.spkg")]
    return subprocess.Popen(
        [*command, "--trust", str(trust), "--at", AT.isoformat()],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_was_killed_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    with serving(script := Script(octets=OCTETS, stalls=[FRONT + 2 * MIB])) as url:
        with spkg_fetch(url, tmp_path) as first:
            while not any(one.stat().st_size == FRONT + 2 * MIB for one in tmp_path.glob(".*.part")):
                assert first.poll() is None
                time.sleep(0.01)
            first.send_signal(number)
            _, said = first.communicate()
        (left,) = tmp_path.glob(".*.part")
        with spkg_fetch(url, tmp_path) as second:
            told, problems = second.communicate()

    kept = f"spkg: hint: 2.0 MiB are kept in {left}: the same command resumes there\n"
    terminated = f"{kept}spkg: error: terminated\n"
    assert (first.returncode, said) == ((-9, "") if number == signal.SIGKILL else (143, terminated))
    assert (second.returncode, problems) == (0, "")
    assert told == f"{tmp_path}/p.spkg: 3.0 MiB, 4 files, all as signed by CN=Test Signer\n"
    assert script.ranged == [None, None, f"bytes={FRONT + 2 * MIB}-"]
    assert listing(tmp_path) == {"p.spkg": OCTETS, "ca.pem": root().pem}
