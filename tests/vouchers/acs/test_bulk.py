"""Issuing to many: several processes, restarts at any moment, what it costs, and what others say of it."""

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest

from tests.benchmarks.run import measure
from tests.support.acs_files import (
    ISSUE,
    MANY,
    NO_REJECTED,
    OF_THREE,
    ONE,
    PATIENCE,
    SINGLE,
    assert_issued,
    device,
    entries,
    furnish,
    new_ledger,
    prepare,
    states,
    write_list,
    xml,
)
from tests.support.commands import PROGRAM, run
from tests.support.issuing import process, run_killed, wait
from tests.support.kit import AT
from tests.support.planted_tree import listing
from tests.support.postgres import new_database, postgres
from tests.support.sampling import amount, chance, few
from vouchers.acs.bulk import DEVICES_AT_ONCE
from vouchers.acs.ledger_entry import SerialState


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def of_session(leader: int) -> list[int]:
    """Return the processes of a session that run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] not in {"Z", "X"}:
            found.append(int(entry.name))
    return found


def wait_for_work(begun: subprocess.Popen[str]) -> None:
    """Wait until both processes are there that sign."""
    wait(lambda: len(of_session(begun.pid)) == 3 or begun.poll() is not None)


PARALLEL: Final = (*MANY[:-1], "2", "--out-dir", "out")


def written() -> int:
    """Return how many octets there are of an output on its way."""
    try:
        return Path("out.part/vouchers.ndjson").stat().st_size
    except FileNotFoundError:  # not there yet, or complete, and renamed
        return 0


def test_two_processes_write_what_one_writes() -> None:
    write_list([*range(2 * DEVICES_AT_ONCE + 50), 0])
    new_ledger("other.db")

    alone = run(*MANY, "--ledger", "other.db", "--out-dir", "alone")
    together = process(*PARALLEL)
    said = together.communicate(timeout=PATIENCE)

    assert (together.returncode, said[0]) == (alone.exit_code, alone.stdout.replace("alone", "out"))
    assert said[1] == alone.stderr.replace("alone", "out")
    assert listing(Path("out")) == listing(Path("alone"))
    assert states() == states("other.db")
    assert_issued(2 * DEVICES_AT_ONCE + 50)


LONG: Final = 1200
"""So many devices that there is time to do something meanwhile."""


def test_a_process_that_signs_and_is_killed_is_told_and_its_batch_goes_on() -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    (children := of_session(begun.pid)).remove(begun.pid)
    os.kill(children[0], signal.SIGKILL)
    said = begun.communicate(timeout=PATIENCE)

    assert len(children) == 2
    assert (begun.returncode, said[0]) == (6, "")
    assert said[1] == (
        "spkg: error: a signing process was killed\nspkg: hint: run the same batch again to complete it\n"
    )
    assert of_session(begun.pid) == []
    assert {*listing(Path("out.part"))} == {".unfinished", "rejected.csv", "vouchers.ndjson"}
    assert not Path("out").exists()
    assert {one.state for one in entries()} == {SerialState.RESERVED}
    before = {one.serial: one.serial_number for one in entries()}
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    assert_issued(LONG)
    assert {one.serial: one.serial_number for one in entries()}.items() >= before.items()


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("whole", few([False, True], every=2, part="vouchers"))
def test_an_interrupt_leaves_nobody_behind(
    number: signal.Signals, status: int, word: str, *, whole: bool
) -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    if whole:  # as a terminal does it
        os.killpg(begun.pid, number)
    else:
        begun.send_signal(number)
    said = begun.communicate(timeout=PATIENCE)

    assert (begun.returncode, said) == (status, ("", f"spkg: error: {word}\n"))
    assert of_session(begun.pid) == []
    assert {*listing(Path("out.part"))} == {".unfinished", "rejected.csv", "vouchers.ndjson"}
    assert not Path("out").exists()


def test_a_run_that_is_killed_leaves_no_process_that_signs() -> None:
    write_list(range(LONG))
    begun = process(*PARALLEL)
    wait_for_work(begun)

    begun.kill()

    begun.communicate(timeout=PATIENCE)
    wait(lambda: not of_session(begun.pid))


KILLS: Final = amount(25, 1)
KILLED: Final = amount(4000, 400)


@pytest.mark.part("vouchers")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)])
def test_a_run_killed_at_random_is_completed_by_the_same_batch(kind: str) -> None:
    dice = chance(kind)
    url = "ledger.db" if kind == "sqlite" else postgres().url(new_database())
    args = [url if one == "ledger.db" else one for one in PARALLEL]
    write_list(range(KILLED))
    known: dict[int, tuple[str, str]] = {}
    new_ledger(url)

    for _ in range(KILLS):
        shutil.rmtree("out", ignore_errors=True)  # where it came to its end in time
        begun = process(*args)
        if dice.random() < 0.8:
            wait(lambda begun=begun: written() or begun.poll() is not None)  # type: ignore[misc]
        time.sleep(dice.random() * 0.5)
        if begun.poll() is None:  # or its number is anybody's
            os.killpg(begun.pid, signal.SIGKILL)
        begun.communicate(timeout=PATIENCE)
        wait(lambda begun=begun: not of_session(begun.pid))  # type: ignore[misc]
        now = {one.serial: (one.serial_number, one.option) for one in entries(url)}
        assert now.items() >= known.items()
        known = now
    shutil.rmtree("out", ignore_errors=True)
    last = process(*args)
    last.communicate(timeout=PATIENCE)

    assert last.returncode == 0
    assert_issued(KILLED, url=url)
    assert {one.serial: (one.serial_number, one.option) for one in entries(url)}.items() >= known.items()


# Killed just before something happens to a file.


MOMENTS: Final = (
    ("os.mkdir", "out.part"),
    ("open", "out.part/.unfinished"),
    ("open", "out.part/rejected.csv"),
    ("open", "out.part/1.xml"),
    ("open", "out.part/3.xml"),
    ("open", "out.part/5.xml"),
    ("os.rename", "out.part"),
    ("open", "."),
    ("os.remove", "out/.unfinished"),
)
"""What is about to happen to a file when a run is killed."""


@pytest.mark.part("vouchers", turns=True, few=3)
@pytest.mark.parametrize(("event", "name"), MOMENTS)
def test_a_run_killed_at_any_moment_is_completed_by_the_same_batch(event: str, name: str) -> None:
    args = (*MANY, "--format", "xml", "--out-dir", "out")
    run_killed(event, name, *args)
    before = states()
    assert Path("out").exists() == (name in {".", "out/.unfinished"})
    assert {state for *_, state in before} <= {"issued" if name == "out/.unfinished" else "reserved"}

    result = run(*args)

    assert result.exit_code == 0
    assert listing(Path("out")) == {
        **{f"{number}.xml": xml([number, number + 1], device(number // 2)) for number in (1, 3, 5)},
        "rejected.csv": NO_REJECTED,
        "index.csv": OF_THREE,
    }
    after = states()
    assert {state for *_, state in after} == {"issued"}
    assert [one[:3] for one in after][: len(before)] == [one[:3] for one in before]
    assert len(after) == 6


def test_a_directory_that_is_confirmed_or_not_ours_is_never_taken_back() -> None:
    args = (*MANY, "--format", "xml", "--out-dir", "out")
    assert run(*args).exit_code == 0
    Path("link").symlink_to("out")
    before = listing(Path("out"))

    again = run(*args)
    Path("out/.unfinished").touch()
    linked = run(*args[:-1], "link")
    Path("out.part").mkdir()
    Path("out.part/diary").touch()
    both = run(*args)

    for result in (again, linked, both):
        assert result.exit_code == 2
        assert "already exists" in result.stderr
    assert listing(Path("out")) == {**before, ".unfinished": b""}


def test_a_single_voucher_killed_before_it_is_there_is_completed_by_the_same_batch() -> None:
    for _ in range(2):
        run_killed("os.link", "v.xml", *SINGLE, "--batch", "may", "-o", "v.xml")
        assert not Path("v.xml").exists()
        assert {state for *_, state in states()} == {"reserved"}

    result = run(*SINGLE, "--batch", "may", "-o", "v.xml")

    assert result.exit_code == 0
    assert Path("v.xml").read_bytes() == xml([1, 2])
    assert states() == [(1, "123456789", "IPTV", "issued"), (2, "123456789", "QoS", "issued")]


# What it costs.


def test_a_disk_that_is_full_leaves_what_can_go_on() -> None:
    write_list(range(2 * DEVICES_AT_ONCE))
    begun = process(*MANY, "--out-dir", "out", preexec_fn=_little_room)

    said = begun.communicate(timeout=PATIENCE)

    assert (begun.returncode, said[0]) == (9, "")
    assert said[1] == "spkg: error: out.part/vouchers.ndjson: file too large\n"
    assert not Path("out").exists()
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    assert_issued(2 * DEVICES_AT_ONCE)


def _little_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


def peak(count: int, name: str) -> int:
    """Return the most memory that a run needs for so many devices, in octets."""
    write_list(range(count), f"{name}.csv")
    new_ledger(f"{name}.db")
    args = ["--devices", f"{name}.csv", "--ledger", f"{name}.db", "--batch", "may", "--jobs", "1"]
    # Not as a child of this process, whose own memory would count.
    used = measure([*PROGRAM, *ISSUE, *args, "--out-dir", name])
    assert (used.status, used.stdout, used.stderr) == (0, f"{name}: {count} vouchers, batch may\n", "")
    return int(used.resident * (1 << 20))


@pytest.mark.part("vouchers", turns=True)
@pytest.mark.proof
def test_memory_is_flat_however_many_devices() -> None:
    prepare("p256")
    Path("options.toml").write_text(ONE)
    few, many = 10_000, 30_000

    assert peak(many, "many") - peak(few, "few") < 8 << 20


@pytest.mark.part("large")
@pytest.mark.proof
def test_a_million_devices_take_little_more_memory_than_a_thousand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare("p256")
    Path("options.toml").write_text(ONE)
    counts = sorted({1000, 10_000, amount(1_000_000, 1000)})

    most = {}
    for count in counts:
        most[count] = peak(count, f"of{count}")
        shutil.rmtree(f"of{count}")
        with capsys.disabled():
            print(f"\n{count} devices: {most[count] / (1 << 20):.1f} MiB", end="")

    assert most[counts[-1]] - most[1000] < 28 << 20


# What others say of it.


@pytest.mark.part("judges")
@pytest.mark.judge("xmlsec1")
def test_vouchers_of_many_are_genuine_to_xmlsec1() -> None:
    count = 300
    write_list(range(count))
    prepare("signer")
    assert run(*MANY, "--format", "xml", "--out-dir", "out").exit_code == 0

    judged = {number: judge(Path(f"out/{2 * number + 1}.xml")) for number in sample(count)}
    (forged := Path("out/forged.xml")).write_bytes(
        Path("out/1.xml").read_bytes().replace(b"000000", b"000001")
    )

    assert {number: one.returncode for number, one in judged.items()} == dict.fromkeys(judged, 0)
    assert judge(forged).returncode != 0


def sample(count: int) -> list[int]:
    """Return some numbers below *count*, the first and the last among them."""
    return [0, count - 1, *chance("xmlsec1").sample(range(count), amount(60, 6))]


def judge(file: Path) -> subprocess.CompletedProcess[str]:
    """Ask xmlsec1 whether a voucher holds, with a chain to the root."""
    # Without the first of these it believes any key that KeyValue has.
    trust = ("--enabled-key-data", "x509", "--trusted-pem", "ca.pem")
    when = ("--verification-gmt-time", f"{AT:%Y-%m-%d %H:%M:%S}")
    name = ("--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Object")
    command = ["xmlsec1", "--verify", *trust, *when, *name, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
