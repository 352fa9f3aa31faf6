"""Sizes at the edge of what the format holds: beyond 2 GiB, beyond 4 GiB, and the longest command list."""

import json
import os
import subprocess
from collections.abc import Iterator
from itertools import islice, product
from mmap import PROT_READ, mmap
from pathlib import Path
from string import ascii_lowercase, digits
from tempfile import TemporaryDirectory
from typing import IO, Final

import pytest
from click.testing import CliRunner, Result

from cli import main
from spkg.format.package import HEADER_SIZE, MAX_COMMAND_LIST, MAX_PAYLOAD, Header
from tests.benchmarks.run import MEMORY, SPKG, Usage, large_directory, measure
from tests.support import kit
from tests.support.fake_servers import Script, serving

GIB: Final = 1 << 30
SIGNER: Final = ("--key", str(kit.KEYS / "signer.key"), "--cert", "signer.pem")
FILES: Final = 1020
"""How many files the longest command list has here, each command of 64 octets."""
DESCRIPTION: Final = "d" * (MAX_COMMAND_LIST - 64 * FILES - 16)
"""What fills the rest of it, beside its own head and that of End."""


@pytest.fixture
def desk() -> Iterator[Path]:
    """Give a directory on a disk, with those who sign; nothing of it stays."""
    with TemporaryDirectory(dir=large_directory()) as name:
        path = Path(name)
        (path / "root.pem").write_bytes(kit.root().pem)
        (path / "signer.pem").write_bytes(kit.signer().pem)
        yield path


def spkg(desk: Path, *arguments: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Usage:
    """Run spkg as a process of its own, at the desk."""
    return measure([*SPKG, *arguments], cwd=desk, stdin=stdin)


def verify(desk: Path, package: str, *more: str, stdin: int | IO[bytes] = subprocess.DEVNULL) -> Usage:
    trusted = ("--trust", "root.pem", "--at", kit.AT.isoformat())
    return spkg(desk, "verify", package, *trusted, *more, stdin=stdin)


def verify_through_a_pipe(desk: Path, package: str) -> Usage:
    with subprocess.Popen(["cat", package], cwd=desk, stdout=subprocess.PIPE) as cat:
        return verify(desk, "-", stdin=cat.stdout or subprocess.DEVNULL)


def sparse(path: Path, size: int, end: bytes) -> None:
    """Make a file of NULs that takes no room on the disk but for its last octets."""
    with path.open("wb") as file:
        file.seek(size - len(end))
        file.write(end)


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        (octet,) = file.read(1)
        file.seek(position)
        file.write(bytes((octet ^ 1,)))


def names(desk: Path) -> list[str]:
    return sorted(entry.name for entry in desk.iterdir())


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_a_payload_longer_than_any_header_can_state_is_refused_without_reading_it(desk: Path) -> None:
    commands = len(kit.Draft().signed) - HEADER_SIZE
    header = Header(command_list_length=commands, payload_length=MAX_PAYLOAD)
    front = kit.Draft(header=header.encode()).front
    (desk / "long.spkg").write_bytes(front)
    os.truncate(desk / "long.spkg", len(front) + 5 * GIB)

    usage = verify(desk, "long.spkg")

    assert usage.status == 3
    assert usage.stderr == (
        f"spkg: error: offset 0x{len(front) + MAX_PAYLOAD:04x}: payload: more data follows after the "
        "4294967295 bytes that the header states [TR-069 E.3]\n"
    )
    assert usage.cpu < 2
    assert usage.resident < MEMORY


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_a_source_longer_than_any_payload_is_refused_and_leaves_nothing(desk: Path) -> None:
    (desk / "manifest.toml").write_text(
        '[[step]]\nextract = "/small"\nfrom = "signer.pem"\n[[step]]\nextract = "/large"\nfrom = "large"\n',
        encoding="utf-8",
    )
    sparse(desk / "large", 5 * GIB, b"end")
    before = names(desk)

    usage = spkg(desk, "build", "manifest.toml", "-o", "large.spkg", "--unsigned")

    assert usage.status == 3
    assert usage.stderr == (
        "spkg: error: manifest.toml:6: step[1].from: large: "
        "the payload would exceed the limit of 4294967295 bytes [TR-069 E.3]\n"
    )
    assert names(desk) == before
    assert usage.resident < MEMORY


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_a_payload_of_more_than_2_gib_is_built_and_verified_to_its_last_octet(desk: Path) -> None:
    for number, size in enumerate((GIB, GIB, GIB // 2)):
        sparse(desk / f"part{number}", size, f"the end of part {number}".encode())
    (desk / "manifest.toml").write_text(
        "".join(f'[[step]]\nextract = "/part{number}"\nfrom = "part{number}"\n' for number in range(3)),
        encoding="utf-8",
    )
    verdict = "files: 3 of 3 match the signed digests, 2.5 GiB\ntrusted\n"

    built = spkg(desk, "build", "manifest.toml", "-o", "large.spkg", *SIGNER)
    package = desk / "large.spkg"
    size = package.stat().st_size
    genuine = [
        verify(desk, package.name, "--jobs", "1"),
        verify(desk, package.name, "--jobs", "2"),
        verify_through_a_pipe(desk, package.name),
    ]
    flip(package, 2 * GIB)
    flipped = [verify(desk, package.name, "--jobs", "2"), verify_through_a_pipe(desk, package.name)]
    flip(package, 2 * GIB)
    flip(package, size - 1)
    flipped_at_the_end = verify(desk, package.name, "--jobs", "1")

    assert built.status == 0
    assert 2.5 * GIB < size < 2.5 * GIB + 4096
    assert [(usage.status, usage.stdout.endswith(verdict)) for usage in genuine] == [(0, True)] * 3
    # The first octet beyond 2 GiB still belongs to the second file: the front matter is before it.
    assert [(usage.status, usage.stderr) for usage in flipped] == [(4, damaged("/part1"))] * 2
    assert (flipped_at_the_end.status, flipped_at_the_end.stderr) == (4, damaged("/part2"))
    assert max(usage.resident for usage in [built, *genuine, *flipped, flipped_at_the_end]) < MEMORY


def damaged(path: str) -> str:
    return f"spkg: error: {path}: contents do not match the signed SHA-1 digest [TR-069 E.4.3]\n"


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_a_download_of_1_gib_is_installed_in_flat_memory_also_where_it_broke(desk: Path) -> None:
    sparse(desk / "part", GIB, b"the end")
    (desk / "manifest.toml").write_text('[[step]]\nextract = "/part"\nfrom = "part"\n', encoding="utf-8")
    built = spkg(desk, "build", "manifest.toml", "-o", "large.spkg", *SIGNER)
    for name in ("all", "in place"):
        (desk / name).mkdir()
    trusted = ("--trust", "root.pem", "--at", kit.AT.isoformat())
    in_place = ("--in-place", "--unsafe-streaming")

    with (desk / "large.spkg").open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as octets:
        script = Script(octets=octets, cuts=[GIB // 2, len(octets), GIB // 3])
        with serving(script) as url:
            whole = spkg(desk, "apply", f"{url}/large.spkg", "--root", "all", *trusted)
            step = spkg(desk, "apply", f"{url}/large.spkg", "--root", "in place", *trusted, *in_place)

    assert (built.status, whole.status, step.status) == (0, 0, 0)
    assert script.ranged == [None, f"bytes={GIB // 2}-", None, f"bytes={GIB // 3}-"]
    for name in ("all", "in place"):
        assert (desk / name / "part").stat().st_size == GIB
        with (desk / name / "part").open("rb") as file:
            file.seek(-7, os.SEEK_END)
            assert file.read() == b"the end"
    assert max(usage.resident for usage in (whole, step)) < MEMORY


def in_process(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def many(desk: Path) -> dict[str, bytes]:
    """Give a tree of files whose commands fill the longest list but for the description."""
    (desk / "tree").mkdir()
    files = {
        "".join(letters): f"this is {letters}".encode()
        for letters in islice(product(digits + ascii_lowercase, repeat=3), FILES)
    }
    for name, octets in files.items():
        (desk / "tree" / name).write_bytes(octets)
    (desk / "manifest.toml").write_text(
        f'[package]\ndescription = "{DESCRIPTION}"\n[[step]]\nextract-tree = "/"\nfrom = "tree"\n',
        encoding="utf-8",
    )
    return files


def test_the_longest_command_list_is_built_verified_and_extracted(desk: Path, many: dict[str, bytes]) -> None:
    package = desk / "many.spkg"
    trusted = ("--trust", desk / "root.pem", "--at", kit.AT.isoformat())

    signer = ("--key", kit.KEYS / "signer.key", "--cert", desk / "signer.pem")
    built = in_process("build", desk / "manifest.toml", "-o", package, *signer, "--json")
    verified = in_process("verify", package, *trusted, "--json")
    extracted = in_process("extract", package, desk / "out", *trusted)

    assert [built.exit_code, verified.exit_code, extracted.exit_code] == [0, 0, 0]
    assert json.loads(built.stdout)["command_list_length"] == MAX_COMMAND_LIST == 65_535
    assert len(json.loads(verified.stdout)["files"]) == FILES > 1000
    assert {file.name: file.read_bytes() for file in (desk / "out").iterdir()} == many


def test_a_command_list_that_is_one_octet_longer_is_refused_naming_the_step(
    desk: Path, many: dict[str, bytes]
) -> None:
    longer = f"package.description={DESCRIPTION}d"

    result = in_process(
        "build", desk / "manifest.toml", "-o", desk / "many.spkg", "--unsigned", "--set", longer
    )

    assert result.exit_code == 3
    assert result.stderr == (
        "spkg: error: manifest.toml:5: step[0]: the command list would have 65536 bytes, "
        "the limit is 65535, exceeded here: 1019 of 1020 files fit [TR-069 E.3]\n"
        "spkg: hint: carry the files in one image or archive that the device unpacks, "
        "or build several packages\n"
    )
    assert not list(desk.glob("*many.spkg*"))
