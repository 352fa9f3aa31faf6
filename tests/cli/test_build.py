"""``spkg build``: what it makes of a manifest, and what it tells of that."""

import json
import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from spkg.common.times import write_time
from tests.support.commands import files, process, run
from tests.support.kit import AT, certify, read, root, second_signer
from tests.support.package_files import KEY, MANIFEST, complete, furnish, genuine
from tests.support.restrictions import fixed


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
    assert Path("new.spkg").read_bytes() == complete()
    assert again.exit_code == 0
    assert Path("again.spkg").read_bytes() == complete()


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
        "sbom": None,
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
    assert Path("new.spkg").read_bytes() == complete()


def test_a_certificate_that_is_over_signs_only_where_that_is_said() -> None:
    expired = certify("Old Signer", root(), start=AT.replace(year=2001), end=AT.replace(year=2002))
    Path("old.pem").write_bytes(expired.pem + root().pem)
    key = ("--key", "signer.key", "--cert", "old.pem")
    when = write_time(AT.replace(year=2002))
    doubt = f"the certificate of CN=Old Signer expired on {when}\n"
    way_out = (
        "spkg: hint: use another certificate; --at states the time of an old release, and "
        "--unsafe-unfit-certificate signs all the same\n"
    )

    for command in (("build", "m.toml", "-o", "new.spkg", *key), ("sign", "u.spkg", *key)):
        refused, signed = run(*command), run(*command, "--unsafe-unfit-certificate")

        assert (refused.exit_code, refused.stderr) == (5, f"spkg: error: {doubt}{way_out}")
        assert (signed.exit_code, signed.stderr) == (0, f"spkg: warning: {doubt}")


def test_a_package_that_its_device_would_not_trust_does_not_appear() -> None:
    Path("other.pem").write_bytes(second_signer().pem)

    trusted = run("build", "m.toml", "-o", "good.spkg", *KEY, "--trust", "ca.pem")
    refused = run("build", "m.toml", "-o", "bad.spkg", *KEY, "--trust", "other.pem")

    assert (trusted.exit_code, trusted.stderr) == (0, "")
    assert Path("good.spkg").read_bytes() == complete()
    assert (refused.exit_code, Path("bad.spkg").exists()) == (5, False)
    assert refused.stderr.startswith("spkg: error: a device would not trust this: signature[0]: ")


@pytest.mark.parametrize("option", ["--unsigned", "--check"])
def test_only_a_finished_package_can_be_verified(option: str) -> None:
    key = () if option == "--unsigned" else KEY

    result = run("build", "m.toml", "-o", "new.spkg", *key, "--trust", "ca.pem", option)

    told = "spkg: error: --trust needs a signed package in a file, without --unsigned, --check or -o -\n"
    assert (result.exit_code, result.stderr) == (2, told)


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
    document = json.loads(result.stdout)
    warned = {"code": "empty-tree", "message": "step[0] takes no files", "path": None}
    assert (document["status"], document["warnings"]) == ("refused", [warned])


def test_warnings_are_listed_in_the_document() -> None:
    Path("tree").mkdir()
    Path("m.toml").write_text('[[step]]\nextract-tree = "/"\nfrom = "tree"\n')

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned", "--json")

    assert json.loads(result.stdout)["warnings"] == [
        {"code": "empty-tree", "message": "step[0] takes no files", "path": None}
    ]


# Checking, filling in, and pipes


def test_a_check_says_what_would_be_built_and_writes_nothing(here: Path) -> None:
    before = files(here)

    plain = run("build", "m.toml", "--check", "--strict")
    signed = run("build", "m.toml", "--check", "-o", "new.spkg", *KEY, "--json")

    assert (plain.exit_code, plain.stderr) == (0, "")
    assert plain.stdout == ("checked, nothing written: 2 commands, 1 file, payload of 21 bytes, not signed\n")
    document = json.loads(signed.stdout)
    assert (signed.exit_code, document["output"], document["signer"]) == (0, None, "CN=Test Signer")
    assert document["size"] == len(complete())
    assert document["signed_sha256"] == sha256(read(genuine()).signed).hexdigest()
    assert files(here) == before


def test_a_check_looks_at_the_place_of_the_package_too() -> None:
    Path("place").mkdir()

    with fixed(Path("place")):
        result = run("build", "m.toml", "--check", "-o", "place/new.spkg")

    told = "spkg: error: place/new.spkg: nothing can be written in that directory\n"
    assert (result.exit_code, result.stderr) == (9, told)


def test_a_check_refuses_what_a_build_refuses() -> None:
    Path("there.spkg").write_text("")
    Path("bad.toml").write_text('[[step]]\nextract = "/a"\nfrom = "nowhere"\n')

    exists = run("build", "m.toml", "--check", "-o", "there.spkg")
    missing = run("build", "bad.toml", "--check")

    assert (exists.exit_code, exists.stderr.splitlines()[0]) == (
        2,
        "spkg: error: there.spkg already exists",
    )
    assert (missing.exit_code, missing.stderr) == (
        9,
        "spkg: error: bad.toml:3: step[0].from: nowhere: no such file or directory\n",
    )


def test_placeholders_are_defined_on_the_command_line() -> None:
    Path("m.toml").write_text(f'[package]\nversion = "${{V}}"\ndescription = "${{D}}"\n{MANIFEST}')

    result = run("build", "m.toml", "-o", "new.spkg", "--unsigned", "--define", "V=6=${D}", "--define", "D=")
    undefined = run("build", "m.toml", "--check", "--define", "V=1", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [str(getattr(one, "text", "")) for one in read(Path("new.spkg").read_bytes()).records[:2]] == [
        "6=${D}",
        "",
    ]
    assert undefined.exit_code == 3
    assert undefined.stderr == (
        "spkg: error: m.toml:3: package.description: D is not defined\n"
        "spkg: hint: define it with --define D=VALUE\n"
    )
    assert json.loads(undefined.stdout)["line"] == 3


def test_several_problems_are_told_in_lines_and_in_one_document() -> None:
    Path("m.toml").write_text('[package]\nversion = 1\ncolour = ""\n')

    result = run("build", "m.toml", "--check", "--json")

    first = "m.toml:2: package.version: must be a string in quotes"
    second = "m.toml:3: package.colour: unknown key"
    assert (result.exit_code, result.stderr) == (3, f"spkg: error: {first}\nspkg: error: {second}\n")
    document = json.loads(result.stdout)
    assert (document["message"], document["line"], document["unlisted"]) == (first, 2, 0)
    assert document["problems"] == [
        {"message": first, "source": "m.toml", "line": 2, "field": "package.version"},
        {"message": second, "source": "m.toml", "line": 3, "field": "package.colour"},
    ]


def test_problems_beyond_the_limit_are_counted() -> None:
    Path("m.toml").write_text("".join(f"k{number} = 1\n" for number in range(53)))

    result = run("build", "m.toml", "--check", "--json")

    assert len(result.stderr.splitlines()) == 51
    assert result.stderr.endswith("\nspkg: error: and 3 more\n")
    assert json.loads(result.stdout)["unlisted"] == 3


def test_a_manifest_from_standard_input_has_its_sources_here(here: Path) -> None:
    with (here / "m.toml").open("rb") as manifest:
        result = process("build", "-", "-o", "new.spkg", *KEY, stdin=manifest)

    assert (result.returncode, result.stderr) == (0, "")
    assert Path("new.spkg").read_bytes() == complete()


def test_a_problem_of_standard_input_is_located() -> None:
    result = process("build", "-", "--check", input="\n[package]\nversion = 1\n")

    assert (result.returncode, result.stderr) == (
        3,
        "spkg: error: standard input:3: package.version: must be a string in quotes\n",
    )


def test_a_package_for_standard_output_is_all_that_is_there(here: Path) -> None:
    with (here / "piped.spkg").open("wb") as output:
        result = process("build", "m.toml", "-o", "-", *KEY, stdout=output)

    assert (result.returncode, result.stderr) == (
        0,
        "standard output: 2 commands, 1 file, payload of 21 bytes, signed\n",
    )
    assert Path("piped.spkg").read_bytes() == complete()


def test_json_and_a_package_exclude_each_other_on_standard_output() -> None:
    result = run("build", "m.toml", "-o", "-", "--unsigned", "--json")

    assert (result.exit_code, result.stderr) == (2, "spkg: error: -o - and --json exclude each other\n")


def test_a_full_pipe_that_is_closed_ends_without_a_traceback() -> None:
    Path("app").write_bytes(bytes(1 << 20))
    reading, writing = os.pipe()
    os.close(reading)

    result = process("build", "m.toml", "-o", "-", "--unsigned", stdout=writing)
    os.close(writing)

    assert (result.returncode, result.stderr) == (9, "")


def test_a_certificate_that_ends_soon_is_warned_of_when_it_signs() -> None:
    now = datetime.now(UTC)
    soon = certify("Signer", root(), start=now - timedelta(days=9), end=now + timedelta(days=30, hours=1))
    Path("soon.pem").write_bytes(soon.pem + root().pem)
    key = ("--key", "signer.key", "--cert", "soon.pem")

    built = run("build", "m.toml", "-o", "new.spkg", *key, "--json")
    signed = run("sign", "u.spkg", "-o", "signed.spkg", *key, "--json")
    strict = run("sign", "u.spkg", "-o", "strict.spkg", *key, "--strict")

    end = soon.certificate.not_valid_after_utc
    message = f"the certificate of CN=Signer expires in 30 days, on {write_time(end)}"
    warning = {"code": "certificate-expires", "message": message, "path": None}
    assert json.loads(built.stdout)["warnings"] == [warning]
    assert json.loads(signed.stdout) == {
        "schema": "spkg.sign/1",
        "output": "signed.spkg",
        "signer": "CN=Signer",
        "digest": "sha1",
        "signatures": 1,
        "signed_sha256": sha256(read(genuine()).signed).hexdigest(),
        "warnings": [warning],
    }
    assert (strict.exit_code, Path("strict.spkg").exists()) == (5, False)
