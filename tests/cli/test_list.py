"""``spkg list``: the files of a package, as its commands describe them."""

import json
import os
from hashlib import sha1
from pathlib import Path

import pytest

from spkg.format.commands import Add, End, ExtractVersioned, FileModes, Metadata, Remove
from spkg.format.paths import RootPath, VersionedPath
from tests.support.commands import process, run
from tests.support.kit import CONTENTS, Draft, file
from tests.support.package_files import SHA1, furnish, genuine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


EMPTY = sha1(b"", usedforsecurity=False).hexdigest()


def write_several() -> None:
    """Write a package with all that a list can show."""
    records = (
        Metadata(entries=(("build", "42"), ("host", "a\x1bb"))),
        FileModes(modes=(0o640, 0o4, 0)),
        Remove(path=RootPath(b"gone")),
        file("etc/x\x1b[2J", CONTENTS),
        Add(path=RootPath(b"/empty"), hash=bytes.fromhex(EMPTY), file_offset=0, file_length=0),
        ExtractVersioned(
            path=VersionedPath(b"/app.001"), hash=bytes.fromhex(SHA1), file_offset=0, file_length=21
        ),
        End(),
    )
    Path("p.spkg").write_bytes(Draft(records=records).encode())


def test_files_are_listed_as_by_ls() -> None:
    write_several()

    result = run("list", "p.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"-rw-r-----  21  {SHA1}  etc/x\\x1b[2J\n"
        f"-------r--   0  {EMPTY}  /empty\n"
        f"-?????????  21  {SHA1}  /app.001\n"
        'build = "42"\n'
        'host = "a\\u001bb"\n'
        "3 files, 42 bytes; nothing is verified\n"
    )


def test_files_are_listed_in_one_document() -> None:
    write_several()

    result = run("list", "p.spkg", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.list/1",
        "verified": False,
        "files": [
            {"path": "etc/x\x1b[2J", "mode": "0640", "length": 21, "sha1": SHA1, "command": 3},
            {"path": "/empty", "mode": "0004", "length": 0, "sha1": EMPTY, "command": 4},
            {"path": "/app.001", "mode": None, "length": 21, "sha1": SHA1, "command": 5},
        ],
        "metadata": {"build": "42", "host": "a\x1bb"},
    }


def test_a_package_without_files_has_an_empty_list() -> None:
    Path("p.spkg").write_bytes(Draft(records=(End(),), payload=b"").encode())

    assert run("list", "p.spkg").stdout == "0 files, 0 bytes; nothing is verified\n"
    assert json.loads(run("list", "p.spkg", "--json").stdout)["files"] == []


def test_a_payload_that_never_comes_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe, os.fdopen(reading, "rb") as source:
        pipe.write(genuine()[: -len(CONTENTS)])
        pipe.flush()

        result = process("list", "-", stdin=source)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "1 file, 21 bytes; nothing is verified"


def test_a_malformed_package_is_3() -> None:
    Path("p.spkg").write_bytes(genuine()[:50])

    result = run("list", "p.spkg")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "spkg: error: offset 0x0032: command[0]: the input ends 42 bytes too early [TR-069 E.4]\n"
    )
