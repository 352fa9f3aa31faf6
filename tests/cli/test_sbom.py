"""``build --sbom``: a bill of materials in a package, or beside it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from spkg.format.sbom import MAX_SBOM
from tests.support.commands import files, process, run
from tests.support.package_files import KEY, MANIFEST, TRUST, furnish
from tests.support.restrictions import at_most

SMALL = '{"bomFormat": "CycloneDX",\n "specVersion": "1.6", "name": "ä\\u001b"}\n'
LARGE = json.dumps({"spdxVersion": "SPDX-2.3", "files": ["x" * 100] * 200}, indent=1)
BUILD = ("build", "m.toml", "-o", "out.spkg", "--sbom", "s.json")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("s.json").write_text(SMALL)
    Path("large.json").write_text(LARGE)
    return tmp_path


def metadata(package: str = "out.spkg") -> dict[str, str]:
    listed: dict[str, Any] = json.loads(run("list", package, "--json").stdout)
    found: dict[str, str] = listed["metadata"]
    return found


def test_a_document_is_carried_byte_for_byte_and_signed() -> None:
    built = run(*BUILD, *KEY)
    verified = run("verify", "out.spkg", *TRUST)

    assert (built.exit_code, built.stderr) == (0, "")
    assert built.stdout == (
        "sbom: CycloneDX 1.6, 70 bytes, in the package\n"
        "out.spkg: 3 commands, 1 file, payload of 21 bytes, signed\n"
    )
    assert metadata() == {"sbom": SMALL}
    assert verified.exit_code == 0
    assert not Path("out.spkg.sbom.json").exists()


def test_the_same_document_gives_the_same_bytes() -> None:
    run(*BUILD, *KEY)
    first = Path("out.spkg").read_bytes()

    run(*BUILD, *KEY, "--force")

    assert Path("out.spkg").read_bytes() == first


def test_other_metadata_stays_and_a_manifest_that_is_extracted_builds_the_same() -> None:
    Path("m.toml").write_text(f'[metadata]\nbuild = "7"\nzone = "x"\n{MANIFEST}')
    run(*BUILD, "--unsigned")
    run("extract", "out.spkg", "parts", "--manifest", "--unsafe-skip-signatures")

    again = run("build", "parts/manifest.toml", "-o", "again.spkg", "--unsigned")

    assert again.exit_code == 0
    assert metadata() == {"build": "7", "sbom": SMALL, "zone": "x"}
    assert Path("again.spkg").read_bytes() == Path("out.spkg").read_bytes()


def test_it_is_shown_by_its_kind_and_not_at_full_length() -> None:
    run(*BUILD, "--unsigned")
    told = f"sbom = CycloneDX 1.6 (70 bytes, SHA-256 {sha256(SMALL.encode()).hexdigest()[:16]}…)"

    assert f"  9258  Metadata      {told}\n" in run("inspect", "out.spkg").stdout
    assert f"\n{told}\n" in run("list", "out.spkg").stdout
    assert f"+ Metadata: {told}\n" in run("diff", "u.spkg", "out.spkg").stdout


def test_a_large_document_goes_beside_the_package_and_its_digest_into_it() -> None:
    built = run("build", "m.toml", "-o", "out.spkg", "--sbom", "large.json", *KEY, "--json")

    assert (built.exit_code, built.stderr) == (0, "")
    assert json.loads(built.stdout)["sbom"] == {
        "format": "SPDX",
        "version": "2.3",
        "size": len(LARGE),
        "sha256": sha256(LARGE.encode()).hexdigest(),
        "inside": False,
        "file": "out.spkg.sbom.json",
    }
    assert Path("out.spkg.sbom.json").read_text() == LARGE
    assert metadata() == {"sbom-sha256": sha256(LARGE.encode()).hexdigest()}


@pytest.mark.parametrize(("length", "inside"), [(16384, True), (16385, False)])
def test_the_limit_of_the_metadata_decides(length: int, *, inside: bool) -> None:
    text = '{"spdxVersion":"SPDX-2.3","x":""}'
    escaped = len(json.dumps({"sbom": text}, separators=(",", ":")))
    Path("s.json").write_text(text.replace('""', f'"{"x" * (length - escaped)}"'))

    built = run(*BUILD, "--unsigned", "--json")

    assert json.loads(built.stdout)["sbom"]["inside"] == inside
    assert Path("out.spkg.sbom.json").exists() == (not inside)


def test_a_document_for_which_the_command_list_has_no_room_goes_beside_the_package() -> None:
    many = "".join(f'[[step]]\nremove = "/{number:04}{"x" * 90}"\n' for number in range(500))
    Path("m.toml").write_text(many)
    Path("s.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "x": "x" * 15000}))

    built = run(*BUILD, "--unsigned", "--json")

    assert (built.exit_code, built.stderr) == (
        0,
        "spkg: warning: step[0] leaves the initial state at once, so the initial timeouts never apply\n",
    )
    assert json.loads(built.stdout)["sbom"]["inside"] is False


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<bom/>", "s.json:1: expected a CycloneDX or SPDX document in JSON, got XML"),
        ('{"a": 1}', "s.json: expected a CycloneDX or SPDX document"),
        ("SPDXVersion: SPDX-2.3", "s.json:1: expected JSON: expecting value"),
        ("{\n,", "s.json:2: expected JSON: expecting property name enclosed in double quotes"),
        ('{"bomFormat":"CycloneDX"}', "s.json: specVersion: expected a version such as 1.6, got nothing"),
        (None, f"s.json: the document has more than {MAX_SBOM} bytes"),
    ],
)
def test_what_is_neither_cyclonedx_nor_spdx_is_3(document: str | None, message: str) -> None:
    Path("s.json").write_text(" " * (MAX_SBOM + 1) if document is None else document)

    result = run(*BUILD, "--unsigned")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[0] == f"spkg: error: {message}"
    assert not Path("out.spkg").exists()


@pytest.mark.parametrize("key", ["sbom", "sbom-sha256"])
def test_a_manifest_that_has_the_key_already_is_refused(key: str) -> None:
    Path("m.toml").write_text(f'[metadata]\n{key} = "x"\n{MANIFEST}')

    result = run(*BUILD, "--unsigned")

    assert (result.exit_code, result.stderr) == (
        3,
        f"spkg: error: m.toml: metadata.{key}: the manifest already has this key, which --sbom sets\n",
    )


def test_metadata_without_room_even_for_the_digest_is_refused() -> None:
    Path("m.toml").write_text(f'[metadata]\nk = "{"x" * 16370}"\n{MANIFEST}')

    result = run(*BUILD, "--unsigned")

    assert (result.exit_code, result.stderr) == (
        3,
        "spkg: error: m.toml: metadata: the metadata has 16459 bytes, the limit is 16384\n",
    )


@pytest.mark.parametrize("target", [("-o", "-"), ("-o", "-", "--key", "signer.key", "--cert", "signer.pem")])
def test_standard_output_has_no_place_for_a_large_document(target: tuple[str, ...]) -> None:
    unsigned = () if "--key" in target else ("--unsigned",)

    result = process("build", "m.toml", *target, "--sbom", "large.json", *unsigned)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "spkg: error: the SBOM does not fit into the package, and standard output has no place beside it\n"
        "spkg: hint: write the package to a file, with -o PKG\n"
    )


def test_checking_writes_neither() -> None:
    there = files()

    result = run("build", "m.toml", "--check", "--sbom", "large.json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(
        "sbom: SPDX 2.3, 20.7 KiB, beside the package, for which it is too large\n"
    )
    assert files() == there


def test_a_document_beside_the_package_is_kept_unless_forced() -> None:
    command = ("build", "m.toml", "-o", "out.spkg", "--sbom", "large.json", "--unsigned")
    Path("out.spkg.sbom.json").write_text("precious")

    refused = run(*command)
    left = Path("out.spkg.sbom.json").read_text()
    forced = run(*command, "--force")

    assert (refused.exit_code, refused.stderr) == (
        2,
        "spkg: error: out.spkg.sbom.json already exists\nspkg: hint: overwrite it with --force\n",
    )
    assert left == "precious"
    assert forced.exit_code == 0
    assert Path("out.spkg.sbom.json").read_text() == LARGE


def test_a_document_is_not_overwritten_with_itself() -> None:
    Path("out.spkg.sbom.json").write_text(LARGE)

    result = run("build", "m.toml", "-o", "out.spkg", "--sbom", "out.spkg.sbom.json", "--unsigned", "--force")

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: out.spkg.sbom.json: the output would overwrite an input (--sbom)\n",
    )
    assert Path("out.spkg.sbom.json").read_text() == LARGE


@pytest.mark.parametrize("octets", [100, 1_000, 15_000])
def test_without_room_for_both_there_is_neither(octets: int, here: Path) -> None:
    there = files(here)

    with at_most(octets):
        result = run("build", "m.toml", "-o", "out.spkg", "--sbom", "large.json", *KEY)

    assert result.exit_code == 9
    assert files(here) == there
