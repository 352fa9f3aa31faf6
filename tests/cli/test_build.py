"""``spkg build``: what it makes of a manifest, and what it tells of that."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from spkg.common.times import write_time
from tests.support.commands import files, process, run
from tests.support.kit import AT, certify, read, root
from tests.support.package_files import KEY, MANIFEST, furnish, genuine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_build_writes_the_same_octets_always() -> None:
    result = run("build", "m.toml", "-o", "new.spkg", *KEY)
    again = run("build", "m.toml", "-o", "again.spkg", *KEY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "new.spkg: 2 commands, 1 file, payload of 21 bytes, signed\n"
    assert Path("new.spkg").read_bytes() == genuine()
    assert again.exit_code == 0
    assert Path("again.spkg").read_bytes() == genuine()


def test_build_tells_what_a_tree_step_took_and_left() -> None:
    for path in ("tree/a", "tree/b", "tree/c.map", "tree/sub/d"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("same")
    Path("tree/empty").mkdir()
    Path("tree/link").symlink_to("a")
    Path("m.toml").write_text(
        '[package]\nrole = "software-upgrade"\n[timeouts]\ninitial = 5\n'
        '[[step]]\nextract-tree = "/"\nfrom = "tree"\nexclude = ["*.map", "*.o"]\n'
        'links = "skip"\nunsafe = true\n'
    )

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned")

    assert result.exit_code == 0
    assert result.stdout == (
        "step[0]: 3 files taken\n"
        "  1 excluded: c.map\n"
        "  1 link skipped: link\n"
        "  1 empty directory left out: not in the format: empty\n"
        "new.spkg: 6 commands, 3 files (2 sharing the contents of another), payload of 4 bytes, not signed\n"
    )
    assert result.stderr == (
        "spkg: warning: a software-upgrade without maximum-version can be applied over a newer release\n"
        "spkg: warning: step[0] leaves the initial state at once, so the initial timeouts never apply\n"
        "spkg: warning: step[0].exclude: '*.o' matches nothing\n"
    )


def test_an_output_that_would_go_into_the_package_is_refused(here: Path) -> None:
    Path("tree").mkdir()
    Path("m.toml").write_text('[[step]]\nextract-tree = "/"\nfrom = "tree"\n')
    build = ("build", "m.toml", "-o", "tree/new.spkg", "--unsigned", "--force")

    first, second = run(*build), run(*build)

    assert first.exit_code == 0
    assert (second.exit_code, second.stderr) == (
        2,
        "spkg: error: step[0] would pack the output file tree/new.spkg into the package\n",
    )
    assert files(here / "tree") == ["new.spkg"]


def test_build_prints_one_document() -> None:
    Path("tree").mkdir()
    Path("tree/a").write_text("contents")
    Path("tree/b.map").write_text("contents")
    Path("m.toml").write_text('[[step]]\nextract-tree = "/x"\nfrom = "tree"\nexclude = ["*.map"]\n')

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.build/1",
        "output": "new.spkg",
        "size": Path("new.spkg").stat().st_size,
        "signed": False,
        "signed_sha256": sha256(read(Path("new.spkg").read_bytes()).signed).hexdigest(),
        "signer": None,
        "commands": 2,
        "files": 1,
        "shared": 0,
        "command_list_length": 72,
        "payload_length": 8,
        "warnings": [],
        "trees": [
            {
                "step": "step[0]",
                "taken": ["/x/a"],
                "excluded": ["b.map"],
                "skipped_links": [],
                "copied_links": [],
                "empty_directories": [],
            }
        ],
    }


def test_a_value_that_is_set_takes_the_place_of_the_manifests() -> None:
    Path("m.toml").write_text(f'[package]\nversion = "1"\n{MANIFEST}')

    result = run(
        "build", "m.toml", "-o", "new.spkg", "--unsigned",
        "--set", "package.version=2=two", "--set", "timeouts.initial=1min",
    )  # fmt: skip
    inspected = run("inspect", "new.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split(maxsplit=3)[3] for line in inspected.stdout.splitlines()[6:8]] == [
        'Version          "2=two"',
        "Initial Timeout  60 s",
    ]


def test_a_value_that_is_not_utf8_is_malformed() -> None:
    result = process("build", "m.toml", "-o", "new.spkg", "--unsigned", "--set", b"package.version=\xff")

    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "spkg: error: m.toml: package.version: the text can't be written in UTF-8\n"


def test_a_key_file_may_bring_its_certificate() -> None:
    Path("both.pem").write_bytes(Path("signer.key").read_bytes() + Path("signer.pem").read_bytes())

    result = run("build", "m.toml", "-o", "new.spkg", "--key", "both.pem")

    assert (result.exit_code, result.stderr) == (0, "")
    assert Path("new.spkg").read_bytes() == genuine()


def test_a_doubt_is_told_and_the_package_is_signed_all_the_same() -> None:
    expired = certify("Old Signer", root(), start=AT.replace(year=2001), end=AT.replace(year=2002))
    Path("old.pem").write_bytes(expired.pem)
    key = ("--key", "signer.key", "--cert", "old.pem")
    when = write_time(AT.replace(year=2002))
    doubt = f"spkg: warning: the certificate of CN=Old Signer expired on {when}\n"

    built = run("build", "m.toml", "-o", "new.spkg", *key)
    signed = run("sign", "u.spkg", *key)

    assert (built.exit_code, built.stderr) == (0, doubt)
    assert (signed.exit_code, signed.stderr) == (0, doubt)


def test_strict_turns_warnings_into_a_refusal() -> None:
    Path("tree").mkdir()
    Path("m.toml").write_text('[[step]]\nextract-tree = "/"\nfrom = "tree"\n')

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned", "--strict", "--json")

    assert (result.exit_code, Path("new.spkg").exists()) == (5, False)
    assert result.stderr == (
        "spkg: warning: step[0] takes no files\n"
        "spkg: error: step[0] takes no files (empty-tree)\n"
        "spkg: hint: without --strict, warnings stop nothing\n"
    )
    assert json.loads(result.stdout)["status"] == "refused"


def test_warnings_are_listed_in_the_document() -> None:
    Path("tree").mkdir()
    Path("m.toml").write_text('[[step]]\nextract-tree = "/"\nfrom = "tree"\n')

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned", "--json")

    assert json.loads(result.stdout)["warnings"] == [
        {"code": "empty-tree", "message": "step[0] takes no files", "path": None}
    ]
