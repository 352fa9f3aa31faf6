"""``spkg diff``: what two packages differ in."""

import json
from hashlib import sha1
from pathlib import Path

import pytest

from tests.support.commands import run
from tests.support.package_files import SHA1, furnish, genuine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_packages_of_the_same_octets_do_not_differ() -> None:
    Path("q.spkg").write_bytes(genuine())

    result = run("diff", "p.spkg", "q.spkg")
    document = run("diff", "p.spkg", "q.spkg", "--json")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert document.exit_code == 0
    assert json.loads(document.stdout) == {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": True,
        "header": [],
        "commands": [],
        "files": {"added": [], "removed": [], "changed": []},
        "gates": [],
        "timeouts": [],
        "signers": [],
        "encoding": [],
    }


def write_changed() -> None:
    """Write a package that changes everything that the genuine one has."""
    Path("m.toml").write_text(
        '[package]\nversion = "2"\nrole = "web-content"\n[timeouts]\ninitial = 5\n'
        '[[step]]\nextract = "/bin/app"\nfrom = "app"\n[[step]]\nadd = "/new"\nfrom = "app"\n'
    )
    Path("app").write_bytes(b"new contents")
    assert run("build", "m.toml", "-o", "new.spkg", "--unsigned").exit_code == 0


def test_diff_tells_what_changes() -> None:
    write_changed()
    digest = sha1(b"new contents", usedforsecurity=False).hexdigest()

    result = run("diff", "p.spkg", "new.spkg")

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "header\n"
        "- command_list_length: 76\n"
        "+ command_list_length: 173\n"
        "- payload_length: 21\n"
        "+ payload_length: 12\n"
        "requirements\n"
        "+ Role: web-content\n"
        "timeouts\n"
        "+ Initial Timeout: 5 s\n"
        "commands\n"
        '+ Version: "2"\n'
        "+ Add File: /new\n"
        "signers\n"
        "- signer: CN=Test Signer, serial 03E8, sha1\n"
        "files\n"
        f"- /bin/app  21 bytes  SHA-1 {SHA1}\n"
        f"+ /bin/app  12 bytes  SHA-1 {digest}\n"
        f"+ /new  12 bytes  SHA-1 {digest}\n"
    )


def test_diff_prints_one_document() -> None:
    write_changed()
    before = {"length": 21, "sha1": SHA1, "sha256": None, "mode": None}
    digest = sha1(b"new contents", usedforsecurity=False).hexdigest()
    after = {"length": 12, "sha1": digest, "sha256": None, "mode": None}

    result = run("diff", "p.spkg", "new.spkg", "--json")

    assert (result.exit_code, result.stderr) == (10, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.diff/1",
        "verified": False,
        "equal": False,
        "header": [
            {"name": "command_list_length", "before": "76", "after": "173"},
            {"name": "payload_length", "before": "21", "after": "12"},
        ],
        "commands": [
            {"name": "Version", "before": None, "after": '"2"'},
            {"name": "Add File", "before": None, "after": "/new"},
        ],
        "files": {
            "added": [{"path": "/new", "before": None, "after": after}],
            "removed": [],
            "changed": [{"path": "/bin/app", "before": before, "after": after}],
        },
        "gates": [{"name": "Role", "before": None, "after": "web-content"}],
        "timeouts": [{"name": "Initial Timeout", "before": None, "after": "5 s"}],
        "signers": [{"name": "signer", "before": "CN=Test Signer, serial 03E8, sha1", "after": None}],
        "encoding": [],
    }


def test_diff_finds_a_difference_that_lies_in_the_octets_alone() -> None:
    Path("q.spkg").write_bytes(genuine()[:-1] + b"?")

    result = run("diff", "p.spkg", "q.spkg")

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "the bytes differ, although every field is the same: the payloads, from byte 20 on\n"
    )


@pytest.mark.parametrize("args", [("p.spkg", "ca.pem"), ("ca.pem", "p.spkg")])
def test_the_file_that_is_no_package_is_named(args: tuple[str, str]) -> None:
    result = run("diff", *args)

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("spkg: error: ca.pem: offset 0x0000: header.preamble: not a signed pac")
