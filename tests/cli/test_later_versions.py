"""Packages of a later minor version of the format: what it has added is kept, and never guessed at (E.3)."""

import json
from pathlib import Path

import pytest

from spkg.common.digests import Digest
from spkg.format.commands import (
    End,
    MinimumVolatileStorage,
    Record,
    StrongDigests,
    UncheckedCommand,
    UnknownCommand,
)
from spkg.format.package import Header, encode_commands
from tests.support.commands import files, run
from tests.support.kit import CONTENTS, Draft, file, read
from tests.support.package_files import KEY, TRUST, furnish
from tests.vectors.make.commands import extract, u32

PROBLEM = "command[0]: Extract File has hash type 2, which can't be checked [TR-069 E.4.3]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("root").mkdir()
    return tmp_path


def later(*records: Record, minor: int = 1) -> bytes:
    commands = encode_commands(records)
    header = Header(minor=minor, command_list_length=len(commands), payload_length=len(CONTENTS))
    return Draft(records=records, header=header.encode()).encode()


UNCHECKED = UnknownCommand(number=1, value=extract(hash_type=2))


@pytest.mark.parametrize(
    "args",
    [
        ("verify", "p.spkg", *TRUST),
        ("extract", "p.spkg", "out", *TRUST),
        ("cat", "p.spkg", "/other", *TRUST),
        ("sign", "p.spkg", "-o", "out", "--digest", "sha256", *KEY),
        ("apply", "p.spkg", "--root", "root", *TRUST),
        ("apply", "p.spkg", "--root", "root", "--in-place", *TRUST),
        ("apply", "p.spkg", "--root", "root", "--dry-run", *TRUST),
    ],
    ids=lambda args: " ".join(args[:5]),
)
def test_a_file_that_can_not_be_checked_is_refused_with_all_others(args: tuple[str, ...], here: Path) -> None:
    Path("p.spkg").write_bytes(later(UNCHECKED, file("/other"), End()))
    there = files(here)

    result = run(*args)

    assert result.exit_code == 5
    assert result.stderr.endswith(f"spkg: error: {PROBLEM}\n")
    assert [name for name in files(here) if not name.startswith("root/.spkg")] == there


def test_in_a_package_of_this_version_it_is_malformed() -> None:
    Path("p.spkg").write_bytes(later(UNCHECKED, file("/other"), End(), minor=0))

    assert run("verify", "p.spkg", *TRUST).exit_code == 3


def test_what_can_not_be_checked_is_shown() -> None:
    Path("p.spkg").write_bytes(later(UNCHECKED, End()))

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, document.exit_code) == (0, 0)
    assert "1  Extract File  hash type 2, which is unknown: " in text.stdout
    (shown, _) = json.loads(document.stdout)["commands"]
    assert (shown["type"], shown["fields"]) == (1, {"value": extract(hash_type=2).hex()})


def test_what_was_added_to_a_value_is_kept_and_shown() -> None:
    longer = UnknownCommand(number=22, value=u32(64, 7))
    Path("p.spkg").write_bytes(octets := later(longer, file("/other"), End()))

    shown = json.loads(run("inspect", "p.spkg", "--json").stdout)["commands"][0]

    assert shown["fields"] == {"storage_size": 64, "rest": "00000007"}
    package = read(octets)
    assert package.records[0] == MinimumVolatileStorage(storage_size=64, rest=u32(7))
    assert octets.startswith(package.encode())


def test_a_requirement_that_is_longer_still_counts() -> None:
    wanted = UnknownCommand(number=22, value=u32(0xFFFFFFFF, 0))
    Path("p.spkg").write_bytes(later(wanted, file("/other"), End()))
    Path("device.toml").write_text('[storage]\nvolatile = "1MiB"\n')

    result = run("apply", "p.spkg", "--root", "root", "--device", "device.toml", *TRUST)

    assert result.exit_code == 5
    assert "requires 4294967295 bytes of storage" in result.stderr


def test_digests_stay_with_their_files() -> None:
    digests = StrongDigests(digests=(bytes(32), Digest.SHA256.of(CONTENTS)))

    package = read(later(digests, UNCHECKED, file("/other"), End()))

    assert [(one.command, one.sha256) for one in package.files] == [(2, Digest.SHA256.of(CONTENTS))]


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_every_command_with_a_file_is_kept_if_its_hash_is_unknown(code: int) -> None:
    package = read(later(UnknownCommand(number=code, value=extract(hash_type=9)), End()))

    (found, _) = package.records
    assert found == UncheckedCommand(number=code, hash_type=9, value=extract(hash_type=9))


def test_extensions_of_ours_have_one_form_in_any_version() -> None:
    longer = UnknownCommand(number=9256, value=b"SPKG-D01" + u32(1) + bytes(33))
    Path("p.spkg").write_bytes(later(longer, file("/other"), End()))

    assert run("verify", "p.spkg", *TRUST).exit_code == 3
