"""What all commands do with outputs: those that are there, that can not be, or that have no room."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import files, run
from tests.support.package_files import complete, furnish, unsigned
from tests.support.restrictions import at_most

WRITERS: Final = {
    "build": "build m.toml -o out --unsigned",
    "sign": "sign u.spkg -o out --key signer.key --cert signer.pem",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_is_there_is_kept_unless_forced(writer: str, here: Path) -> None:
    Path("out").write_text("precious")

    refused = run(*WRITERS[writer].split())
    kept = Path("out").read_text()
    forced = run(*WRITERS[writer].split(), "--force")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "spkg: error: out already exists\nspkg: hint: overwrite it with --force\n"
    assert kept == "precious"
    assert (forced.exit_code, forced.stderr) == (0, "")
    assert Path("out").read_bytes() == {"build": unsigned(), "sign": complete()}[writer]
    assert not list(here.glob(".*"))


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(writer: str) -> None:
    Path("elsewhere").write_text("precious")
    Path("out").symlink_to("elsewhere")

    refused = run(*WRITERS[writer].split())
    forced = run(*WRITERS[writer].split(), "--force")

    assert refused.exit_code == 2
    assert forced.exit_code == 0
    assert not Path("out").is_symlink()
    assert Path("elsewhere").read_text() == "precious"


@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_is_no_regular_file_is_never_replaced(writer: str) -> None:
    os.mkfifo("out")

    result = run(*WRITERS[writer].split(), "--force")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "spkg: error: out is not a regular file\n"
    assert Path("out").is_fifo()


@pytest.mark.parametrize(
    "args",
    [
        "build m.toml -o nowhere/out --unsigned",
        "build m.toml -o nowhere/out --check",
        "sign u.spkg -o nowhere/out --key signer.key --cert signer.pem",
        "extract p.spkg nowhere/out --unsafe-skip-signatures",
    ],
)
def test_an_output_in_a_directory_that_is_not_there_is_9(args: str) -> None:
    result = run(*args.split())

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == "spkg: error: nowhere/out: no such file or directory\n"


def test_an_output_may_have_as_long_a_name_as_the_file_system_takes() -> None:
    long = "包" * 80 + ".spkg"  # 245 octets of the 255 that Linux takes

    result = run("build", "m.toml", "-o", long, "--unsigned")

    assert (result.exit_code, result.stderr) == (0, "")
    assert Path(long).read_bytes() == unsigned()


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ("build m.toml -o m.toml --unsigned", "the manifest"),
        ("build m.toml -o signer.key --key signer.key --cert signer.pem", "--key"),
        ("build m.toml -o link --key signer.key --cert signer.pem", "--cert"),
        ("sign u.spkg -o ca.pem --key signer.key --cert signer.pem --chain ca.pem", "--chain"),
        ("build m.toml -o s.json --unsigned --sbom s.json", "--sbom"),
        ("attest p.spkg -o p.spkg --key signer.key --cert signer.pem", "the package"),
        ("attest p.spkg -o signer.pem --key signer.key --cert signer.pem", "--cert"),
    ],
)
def test_no_output_overwrites_what_it_is_made_with(args: str, what: str) -> None:
    Path("link").symlink_to("signer.pem")
    Path("s.json").write_text('{"spdxVersion":"SPDX-2.3"}')
    output = args.split()[3]
    before = Path(output).read_bytes()

    result = run(*args.split(), "--force")

    assert (result.exit_code, result.stderr) == (
        2,
        f"spkg: error: {output}: the output would overwrite an input ({what})\n",
    )
    assert Path(output).read_bytes() == before


@pytest.mark.parametrize(
    ("args", "output"),
    [
        ("build big.toml -o out --unsigned", "out"),
        ("sign big.spkg -o out --key signer.key --cert signer.pem", "out"),
        ("sign big.spkg --key signer.key --cert signer.pem", "big.spkg"),
        ("extract big.spkg out --unsafe-skip-signatures", "out/big"),
    ],
)
def test_a_full_disk_is_9_and_nothing_is_left(args: str, output: str, here: Path) -> None:
    Path("big").write_bytes(bytes(100_000))
    Path("big.toml").write_text('[[step]]\nextract = "/big"\nfrom = "big"\n')
    run("build", "big.toml", "-o", "big.spkg", "--unsigned")
    package = Path("big.spkg").read_bytes()
    there = files(here)

    with at_most(50_000):
        result = run(*args.split())

    assert (result.exit_code, result.stdout) == (9, "")
    assert files(here) == there
    assert Path("big.spkg").read_bytes() == package
    assert result.stderr == f"spkg: error: {output}: file too large\n"
