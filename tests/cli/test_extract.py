"""``spkg extract``: the files of a package, and the manifest that builds it again."""

import json
from pathlib import Path

import pytest

from spkg.format.commands import End
from tests.support.commands import files, run
from tests.support.kit import CONTENTS, SAMPLE, Draft, file
from tests.support.package_files import KEY, SHA1, TRUST, furnish


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_extract_gives_the_files_under_their_paths() -> None:
    result = run("extract", "p.spkg", "out", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "out: 1 file, 21 bytes\n"
    assert files("out") == ["bin", "bin/app"]
    assert Path("out/bin/app").read_bytes() == CONTENTS


def test_extract_prints_one_document() -> None:
    result = run("extract", "p.spkg", "out", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.extract/1",
        "directory": "out",
        "verified": True,
        "dates_checked": True,
        "files": [
            {
                "command": 0,
                "path": "/bin/app",
                "place": "bin/app",
                "length": 21,
                "sha1": SHA1,
                "mode": None,
            }
        ],
        "uncovered": [],
        "rebuilds": None,
        "warnings": [],
    }


def test_a_manifest_that_was_extracted_builds_the_package_again() -> None:
    run("build", SAMPLE / "manifest.toml", "-o", "sample.spkg", *KEY)

    result = run("extract", "sample.spkg", "out", *TRUST, "--manifest")
    rebuilt = run("build", "out/manifest.toml", "-o", "again.spkg", *KEY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "out: 21 files, 21.6 KiB, and manifest.toml, which rebuilds the package\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["manifest.toml", "rootfs"]
    assert rebuilt.exit_code == 0
    assert Path("again.spkg").read_bytes() == Path("sample.spkg").read_bytes()


def test_extract_tells_what_is_out_of_the_ordinary() -> None:
    records = (file("/app"), file("/app", b"echo", at=10), End())
    Path("p.spkg").write_bytes(Draft(records=records, payload=CONTENTS + b"++").encode())

    result = run("extract", "p.spkg", "out", *TRUST, "--manifest")
    document = json.loads(run("extract", "p.spkg", "again", *TRUST, "--manifest", "--json").stdout)

    told = [
        f"{one['path']}: {one['message']}" if one["path"] else one["message"] for one in document["warnings"]
    ]
    assert [one["code"] for one in document["warnings"]] == ["renamed", "not-covered", "another-builder"]
    assert [f"spkg: warning: {one}" for one in told] == result.stderr.splitlines()
    assert result.exit_code == 0
    assert result.stdout == "out: 2 files, 25 bytes, and manifest.toml\n"
    assert result.stderr == (
        "spkg: warning: /app: another file has this path: this one was written to rootfs/app.2\n"
        "spkg: warning: left out 2 bytes at 0x00000015 of the payload, which no command covers\n"
        "spkg: warning: another builder wrote this package: "
        "building from the manifest gives different bytes\n"
    )


def test_extract_takes_what_nobody_vouches_for_where_it_is_told_to() -> None:
    result = run("extract", "u.spkg", "out", "--unsafe-skip-signatures")

    document = json.loads(run("extract", "u.spkg", "again", "--unsafe-skip-signatures", "--json").stdout)

    assert (result.exit_code, result.stdout) == (0, "out: 1 file, 21 bytes\n")
    assert result.stderr == "spkg: warning: no signature was checked: these files may come from anyone\n"
    assert (document["verified"], document["dates_checked"]) == (False, None)
    assert [one["code"] for one in document["warnings"]] == ["not-signed"]


def test_extract_says_what_it_did_not_check() -> None:
    unsigned_taken = run("extract", "u.spkg", "out", "--unsafe-allow-unsigned")
    undated = run("extract", "p.spkg", "undated", "--trust", "ca.pem", "--no-clock")

    told = "spkg: warning: the package is not signed: these files may come from anyone\n"
    assert unsigned_taken.stderr == told
    assert undated.stderr == (
        "spkg: warning: the dates of certificates and revocation lists were not checked: there is no clock\n"
    )
