"""``spkg cat``: one file of a package, and not one octet of it before it is verified."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spkg.cli.cat import IN_MEMORY
from spkg.common.digests import Digest
from spkg.format.commands import End, StrongDigests
from spkg.verify.one_file import copy_file, find_file
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.commands import PROGRAM, files, process, run
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read
from tests.support.package_files import TRUST, damaged, furnish, genuine
from tests.support.restrictions import at_most


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


MEASURED = (
    sys.executable,
    "-c",
    (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    ),
)
"""Runs a program, and prints how many KiB of memory it took at most."""


def write(draft: Draft) -> None:
    Path("p.spkg").write_bytes(draft.encode())


@pytest.mark.parametrize("name", ["/bin/app", "bin/app"])
@pytest.mark.parametrize("carried", ["/bin/app", "bin/app"])
def test_a_leading_slash_makes_no_difference(name: str, carried: str) -> None:
    write(Draft(records=(file(carried, CONTENTS), End())))

    result = run("cat", "p.spkg", name, *TRUST)

    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, CONTENTS, "")


def test_any_octets_are_printed_as_they_are() -> None:
    octets = bytes(range(256)) * 5000
    assert len(octets) > IN_MEMORY
    write(Draft(records=(file("/f", octets), End()), payload=octets))

    result = subprocess.run([*PROGRAM, "cat", "p.spkg", "/f", *TRUST], capture_output=True, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (0, octets, b"")


def test_an_empty_file_prints_nothing() -> None:
    write(Draft(records=(file("/f", b""), End())))

    assert run("cat", "p.spkg", "/f", *TRUST).stdout_bytes == b""


@pytest.mark.parametrize("source", ["p.spkg", "-"])
def test_of_several_files_of_one_path_the_last_is_printed(source: str) -> None:
    records = (file("/f", b"one"), file("f", b"two", at=3), file("/g", b"three", at=6), End())
    write(Draft(records=records, payload=b"onetwothree"))

    with Path("p.spkg").open("rb") as package:
        result = process("cat", source, "/f", *TRUST, stdin=package)

    assert (result.returncode, result.stdout, result.stderr) == (0, "two", "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("/bin/ap", "did you mean /bin/app?"),
        ("/nothing", "'spkg list' shows the files of a package"),
        ("..", "'spkg list' shows the files of a package"),
        ("", "'spkg list' shows the files of a package"),
        ("//bin/app", "did you mean /bin/app?"),
    ],
)
def test_a_file_that_is_not_in_the_package_is_5(name: str, hint: str) -> None:
    result = run("cat", "p.spkg", name, *TRUST)

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == f"spkg: error: the package has no file {name}\nspkg: hint: {hint}\n"


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize(
    ("octets", "status", "problem"),
    [
        (damaged(-1), 4, "/bin/app: contents do not match the signed SHA-1 digest [TR-069 E.4.3]"),
        (damaged(15), 4, "no trusted signature"),
        (genuine()[:-1], 3, "1 of 21 bytes are missing"),
        (genuine() + b"?", 3, "more data follows"),
    ],
    ids=["contents", "commands", "cut", "more"],
)
@pytest.mark.parametrize("source", ["p.spkg", "-"])
def test_not_one_octet_is_printed_before_it_is_verified(
    octets: bytes, status: int, problem: str, source: str
) -> None:
    Path("p.spkg").write_bytes(octets)

    with Path("p.spkg").open("rb") as package:
        result = process("cat", source, "/bin/app", *TRUST, stdin=package)

    assert (result.returncode, result.stdout) == (status, "")
    assert result.stderr.startswith("spkg: error: ")
    assert status == 4 or problem in result.stderr


def test_where_strong_digests_are_stated_they_are_checked() -> None:
    digests = StrongDigests(digests=(Digest.SHA256.of(b"other"),))
    write(Draft(records=(digests, file("/bin/app", CONTENTS), End())))

    result = run("cat", "p.spkg", "/bin/app", *TRUST)

    assert (result.exit_code, result.stdout) == (4, "")
    assert "contents do not match the signed SHA-256 digest" in result.stderr


def test_another_file_that_is_damaged_does_not_matter() -> None:
    write(Draft(records=(file("/f", b"good"), file("/g", b"bad", at=4), End()), payload=b"good???"))

    assert run("cat", "p.spkg", "/f", *TRUST).stdout_bytes == b"good"
    assert run("cat", "p.spkg", "/g", *TRUST).exit_code == 4


def test_a_package_that_nobody_signed_or_dated_says_so() -> None:
    unsigned = run("cat", "u.spkg", "/bin/app", "--unsafe-allow-unsigned")
    undated = run("cat", "p.spkg", "/bin/app", "--trust", "ca.pem", "--no-clock")

    assert (unsigned.exit_code, unsigned.stdout_bytes) == (0, CONTENTS)
    assert unsigned.stderr == "spkg: warning: the package is not signed: this file may come from anyone\n"
    assert (undated.exit_code, undated.stdout_bytes) == (0, CONTENTS)
    assert "were not checked: there is no clock" in undated.stderr


def test_a_large_file_takes_little_memory_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = os.urandom(1 << 20) * 96
    write(Draft(records=(file("/f", octets), End()), payload=octets))
    Path("waiting").mkdir()
    monkeypatch.setenv("TMPDIR", "waiting")

    with Path("out").open("wb") as out, Path("p.spkg").open("rb") as package:
        result = process("cat", "-", "/f", *TRUST, stdin=package, stdout=out, prefix=MEASURED)

    assert int(result.stderr) << 10 < 64 << 20
    assert Path("out").read_bytes() == octets
    assert files("waiting") == []


def test_where_there_is_no_room_to_wait_the_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = bytes(2 << 20)
    write(Draft(records=(file("/f", octets), End()), payload=octets))
    Path("waiting").mkdir()
    monkeypatch.setenv("TMPDIR", str(Path("waiting").absolute()))

    with at_most(1 << 20):
        result = process("cat", "p.spkg", "/f", *TRUST)

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == f"spkg: error: {Path('waiting').absolute()}: file too large\n"
    assert files("waiting") == []


def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    octets = bytes(1 << 20)
    write(Draft(records=(file("/f", octets), End()), payload=octets))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = process("cat", "p.spkg", "/f", *TRUST, stdout=writing)
    finally:
        os.close(writing)

    assert (result.returncode, result.stderr) == (9, "")


def test_a_file_of_another_package_is_not_copied() -> None:
    other = read(Draft(records=(file("/x", b"x"), End()), payload=b"x").encode())
    with open_package(Path("p.spkg")) as (package, payload), tempfile.TemporaryFile() as output:
        trusted = verify_package(package, policy(), at=AT)
        with pytest.raises(ValueError, match="another package"):
            copy_file(trusted, payload, find_file(other, {b"/x"}), output)
