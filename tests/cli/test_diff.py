"""``spkg diff``: what two packages differ in."""

import json
import subprocess
from hashlib import sha1
from pathlib import Path

import pytest

from tests.support.commands import PROGRAM, run
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
        "summary": {"added": 0, "removed": 0, "changed": 0, "octets": 0},
        "header": [],
        "commands": [],
        "files": {"added": [], "removed": [], "changed": []},
        "gates": [],
        "timeouts": [],
        "signers": [],
        "encoding": [],
        "warnings": [],
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
        "1 added, 1 changed, +3 bytes\n"
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
        "summary": {"added": 1, "removed": 0, "changed": 1, "octets": 3},
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
        "warnings": [],
    }


def test_diff_finds_a_difference_that_lies_in_the_octets_alone() -> None:
    Path("q.spkg").write_bytes(genuine()[:-1] + b"?")

    result = run("diff", "p.spkg", "q.spkg")

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "no file added, removed or changed\n"
        "the bytes differ, although every field is the same: the payloads, from byte 20 on\n"
    )


def write_texts() -> None:
    """Write two packages: a text that changes, with what a terminal must not get, and files that are none."""
    for name, text in (("old", b"one\ntwo\n"), ("new", b"one\n\x1b[2Jtwo\t\xe2\x80\xae\n")):
        Path("text").write_bytes(text)
        Path("binary").write_bytes(b"\0" + name.encode())
        Path("m.toml").write_text(
            f'[[step]]\nextract = "/b"\nfrom = "binary"\n[[step]]\nextract = "/{name}"\nfrom = "app"\n'
            '[[step]]\nextract = "/t"\nfrom = "text"\n'
        )
        assert run("build", "m.toml", "-o", f"{name}.spkg", "--unsigned").exit_code == 0


def test_diff_shows_how_text_files_change() -> None:
    write_texts()

    result = run("diff", "old.spkg", "new.spkg", "--text")

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout.removeprefix(run("diff", "old.spkg", "new.spkg").stdout) == (
        "--- A/b\n+++ B/b\nnot shown: binary\n"
        "--- /dev/null\n+++ B/new\n@@ -0,0 +1,2 @@\n+#!/bin/sh\n+echo hello\n"
        "--- A/old\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-#!/bin/sh\n-echo hello\n"
        "--- A/t\n+++ B/t\n@@ -1,2 +1,2 @@\n one\n-two\n+\\x1b[2Jtwo\\t\\u202e\n"
    )


@pytest.mark.parametrize("order", [("-", "new.spkg"), ("old.spkg", "-")])
def test_texts_of_a_package_from_a_pipe_are_compared(order: tuple[str, str]) -> None:
    write_texts()
    octets = Path("old.spkg" if order[0] == "-" else "new.spkg").read_bytes()

    command = [*PROGRAM, "diff", *order, "--text"]
    result = subprocess.run(command, input=octets, capture_output=True, check=False)

    assert (result.returncode, result.stderr) == (10, b"")
    assert result.stdout.decode() == run("diff", "old.spkg", "new.spkg", "--text").stdout


def test_the_texts_are_in_the_document() -> None:
    write_texts()

    files = json.loads(run("diff", "old.spkg", "new.spkg", "--text", "--json").stdout)["files"]

    assert [(one["path"], one["text"], one["text_omitted"]) for one in files["changed"]] == [
        ("/b", [], "binary"),
        ("/t", ["@@ -1,2 +1,2 @@", " one", "-two", "+\x1b[2Jtwo\t\u202e"], None),
    ]
    assert [one["text"][0] for one in (*files["added"], *files["removed"])] == [
        "@@ -0,0 +1,2 @@",
        "@@ -1,2 +0,0 @@",
    ]


def test_a_difference_that_was_cut_says_so() -> None:
    for name, text in (("old", b""), ("new", b"a\n" * 10_001)):
        Path("app").write_bytes(text)
        assert run("build", "m.toml", "-o", f"{name}.spkg", "--unsigned").exit_code == 0

    result = run("diff", "old.spkg", "new.spkg", "--text")
    document = json.loads(run("diff", "old.spkg", "new.spkg", "--text", "--json").stdout)

    assert result.stdout.endswith("\n+a\n+a\nnot shown: more than 10000 lines\n")
    assert [one["text_omitted"] for one in document["files"]["changed"]] == ["lines"]


@pytest.mark.parametrize(
    ("before", "after", "summary"),
    [
        (0, 300_000, "1 changed, +293 KiB"),
        (300_000, 0, "1 changed, -293 KiB"),
        (10, 5000, "1 changed, +4.9 KiB"),
        (0, 1 << 20, "1 changed, +1.0 MiB"),
    ],
)
def test_the_summary_says_how_much_larger_the_files_are(before: int, after: int, summary: str) -> None:
    for name, length in (("old", before), ("new", after)):
        Path("app").write_bytes(bytes(length))
        assert run("build", "m.toml", "-o", f"{name}.spkg", "--unsigned").exit_code == 0

    text, document = (run("diff", "old.spkg", "new.spkg", *more) for more in ((), ("--json",)))

    assert text.stdout.splitlines()[0] == summary
    assert json.loads(document.stdout)["summary"] == {
        "added": 0,
        "removed": 0,
        "changed": 1,
        "octets": after - before,
    }


def test_files_of_the_same_size_are_no_difference_in_size() -> None:
    for name in ("old", "new"):
        Path("app").write_text(name)
        assert run("build", "m.toml", "-o", f"{name}.spkg", "--unsigned").exit_code == 0

    assert run("diff", "old.spkg", "new.spkg").stdout.startswith("1 changed, no difference in size\n")


@pytest.mark.parametrize("args", [("p.spkg", "ca.pem"), ("ca.pem", "p.spkg")])
def test_the_file_that_is_no_package_is_named(args: tuple[str, str]) -> None:
    result = run("diff", *args)

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("spkg: error: ca.pem: offset 0x0000: header.preamble: not a signed pac")
