"""What all commands say of how they are used: help, and one line where they are used wrongly."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Final

import pytest

import spkg
from spkg.cli.app import command
from tests.support.commands import NO_TRUST, USAGE, error, files, run
from tests.support.kit import ROOT
from tests.support.package_files import furnish

TRUST_OPTIONS: Final = {
    *(
        "--trust",
        "--policy",
        "--signer",
        "--required-signers",
        "--at",
        "--no-clock",
        "--crl",
        "--digests",
        "--eku",
    ),
    "--unsafe-allow-unsigned",
}
KEY_OPTIONS: Final = {
    *("--key", "--cert", "--chain", "--key-password-env", "--key-password-file", "--signing-time"),
}
UNFIT_OPTIONS: Final = {"--at", "--unsafe-unfit-certificate"}
TRANSFER_OPTIONS: Final = {
    *("--url-fd", "--username-fd"),
    *("--username", "--password-env", "--password-file", "--password-fd", "--unsafe-basic", "--ca-bundle"),
    *("--client-cert", "--client-key", "--client-key-password-env", "--client-key-password-file"),
    *("--header-file", "--proxy", "--size"),
    *("--timeout", "--idle-timeout"),
}
OPTIONS: Final = {
    "keygen": ("DIR", {"--name", "--csr", "--force"}),
    "build": (
        "MANIFEST",
        {"-o", "--unsigned", "--check", "--strict", "--define", "--set", "--sbom", "--jobs", "--force"}
        | {"--no-progress", "--json", "--trust"}
        | KEY_OPTIONS
        | UNFIT_OPTIONS,
    ),
    "sign": (
        "PKG",
        {"--digest", "--replace", "-o", "--strict", "--force", "--no-progress", "--json", "--trust"}
        | KEY_OPTIONS
        | UNFIT_OPTIONS,
    ),
    "prepare": (
        "PKG",
        {"-o", "--cert", "--chain", "--digest", "--signing-time", "--force", "--json"} | UNFIT_OPTIONS,
    ),
    "attach": (
        "PKG REQUEST",
        {"--signature", "--signer-info", "-o", "--trust", "--strict", "--force", "--no-progress", "--json"}
        | UNFIT_OPTIONS,
    ),
    "signatures": ("[remove] PKG", {"--signer", "-o", "--force", "--no-progress", "--json"}),
    "attest": (
        "PKG",
        {"-o", "--builder", "--strict", "--force", "--no-progress", "--json"}
        | (KEY_OPTIONS - {"--signing-time"})
        | UNFIT_OPTIONS,
    ),
    "inspect": ("PKG", {"--json"}),
    "verify": ("PKG", {"--attestation", "--explain", "--jobs", "--no-progress", "--json"} | TRUST_OPTIONS),
    "extract": (
        "PKG DIR",
        {"--unsafe-skip-signatures", "--manifest", "--no-progress", "--json"} | TRUST_OPTIONS,
    ),
    "list": ("PKG", {"--json"}),
    "cat": ("PKG PATH", TRUST_OPTIONS),
    "diff": ("A B", {"--text", "--json"}),
    "apply": (
        "[SOURCE]",
        {
            *("--root", "--device", "--software-version", "--provisioning-code", "--dry-run", "--in-place"),
            *("--refuse-unknown", "--again", "--unsafe-force", "--report", "--command-key"),
            *("--back-up", "--back-up-boots", "--expect-role"),
            *("--unsafe-streaming", "--jobs", "--no-progress", "--json"),
        }
        | TRUST_OPTIONS
        | TRANSFER_OPTIONS,
    ),
    "fetch": (
        "[URL]",
        {"-o", "--force", "--no-progress", "--json"} | TRUST_OPTIONS | TRANSFER_OPTIONS,
    ),
    "timeline": ("PKG", {"--rate", "--timeout", "--idle-timeout", "--json"}),
    "recover": ("", {"--root", "--boot", "--discard-staged", "--discard-aside", "--json"}),
    "confirm": ("", {"--root", "--forgive", "--json"}),
    "rollback": ("", {"--root", "--dry-run", "--json"}),
    "guard": ("--reboot CMD [ARGUMENT]...", {"--root", "--reboot"}),
    "log": ("", {"--root", "--json"}),
    "status": ("", {"--root", "--json"}),
}
NO_KEY: Final = ("--key, the signer's key, and --cert, its certificate, are required", None)
EITHER_KEY: Final = ("expected either --key and --cert, or --unsigned", None)
USAGES: Final = {
    "inspect": "Usage: spkg inspect [OPTIONS] PKG",
    "build": "Usage: spkg build [OPTIONS] MANIFEST",
    "verify": "Usage: spkg verify [OPTIONS] PKG",
    "sign": "Usage: spkg sign [OPTIONS] PKG",
    "diff": "Usage: spkg diff [OPTIONS] A B",
    "": USAGE,
}
WRONG: Final[dict[str, tuple[str, str | None]]] = {
    "frobnicate p.spkg": ("no such command 'frobnicate'", USAGE),
    "inspect": ("missing argument 'PKG'", USAGES["inspect"]),
    "inspect p.spkg u.spkg": ("got unexpected extra argument (u.spkg)", USAGES["inspect"]),
    "diff p.spkg": ("missing argument 'B'", USAGES["diff"]),
    "agent trace": (
        "missing argument '{on|off}'. Choose from: on, off",
        "Usage: spkg agent trace [OPTIONS] {on|off}",
    ),
    "diff - -": ("only one of the packages can come from standard input", None),
    "build m.toml --unsigned": ("-o PKG is required, except with --check", None),
    "build m.toml --check --cert signer.pem": EITHER_KEY,
    "build m.toml --check --define VERSION": ("--define takes NAME=VALUE, for example VERSION=6.4", None),
    "build m.toml --check --define =6.4": ("--define takes NAME=VALUE, for example VERSION=6.4", None),
    "build m.toml -o new.spkg": EITHER_KEY,
    "build m.toml -o new.spkg --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --key signer.key --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --set package.version": (
        "--set takes KEY=VALUE, for example package.version=6.4",
        None,
    ),
    "build m.toml -o new.spkg --unsigned --set version=6.4": (
        "--set version: expected table.key, such as package.version",
        None,
    ),
    "build m.toml -o new.spkg --unsigned --set =6.4": (
        "--set takes KEY=VALUE, for example package.version=6.4",
        None,
    ),
    "verify p.spkg --trust ca.pem --jobs 0": (
        "invalid value for '--jobs': 0 is not in the range 1<=x<=256",
        USAGES["verify"],
    ),
    "build m.toml -o . --unsigned --force": (". is a directory", None),
    "sign p.spkg -o - --digest sha256 --key signer.key --cert signer.pem": (
        "-o takes a file, not standard output",
        None,
    ),
    "sign p.spkg": NO_KEY,
    "sign p.spkg --cert signer.pem": NO_KEY,
    "sign - --key signer.key --cert signer.pem": ("a package from standard input needs -o OUT", None),
    "sign p.spkg --key signer.key --digest md5": (
        "invalid value for '--digest': 'md5' is not one of 'sha1', 'sha256'",
        USAGES["sign"],
    ),
    "sign p.spkg --key signer.key --key-password-env A --key-password-file b": (
        "--key-password-env and --key-password-file are mutually exclusive",
        None,
    ),
    "sign p.spkg --key signer.key --key-password-env SPKG_TEST_NOTHING": (
        "the environment variable SPKG_TEST_NOTHING is not set",
        None,
    ),
    "verify p.spkg": NO_TRUST,
    "extract p.spkg out": NO_TRUST,
    "extract p.spkg out --trust ca.pem --unsafe-skip-signatures": (
        "--trust and --unsafe-skip-signatures are mutually exclusive",
        None,
    ),
    "extract p.spkg out --signer Jane --unsafe-skip-signatures": (
        "--signer and --unsafe-skip-signatures are mutually exclusive",
        None,
    ),
    "verify p.spkg --trust ca.pem --at 2026-01-01 --no-clock": (
        "--at and --no-clock are mutually exclusive",
        None,
    ),
    "extract p.spkg out --trust ca.pem --at 2026-01-01 --no-clock": (
        "--at and --no-clock are mutually exclusive",
        None,
    ),
    "verify p.spkg --trust ca.pem --at yesterday": (
        "invalid value for '--at': 'yesterday' is not a time such as 2026-11-21T12:00:00Z",
        USAGES["verify"],
    ),
    "verify p.spkg --trust ca.pem --at 0001-01-01T00:00:00+01:00": (
        "invalid value for '--at': '0001-01-01T00:00:00+01:00' is not a time such as 2026-11-21T12:00:00Z",
        USAGES["verify"],
    ),
    "verify p.spkg --trust ca.pem --digests md5": ("--digests takes sha1, sha256 or both, not 'md5'", None),
    "verify p.spkg --trust ca.pem --digests ''": ("--digests takes sha1, sha256 or both, not ''", None),
    "verify p.spkg --trust ca.pem --digests sha1,": (
        "--digests takes sha1, sha256 or both, not 'sha1,'",
        None,
    ),
    "verify p.spkg --trust ca.pem --required-signers 0": (
        "invalid value for '--required-signers': 0 is not in the range x>=1",
        USAGES["verify"],
    ),
    "verify p.spkg --trust ca.pem --unsafe-allow-unsigned --required-signers 2": (
        "a policy that allows unsigned packages can't require signers",
        None,
    ),
    "verify p.spkg --unsafe-allow-unsigned --signer Jane": (
        "a policy that allows unsigned packages can't require signers",
        None,
    ),
    "verify '' --trust ca.pem": (
        "invalid value for 'PKG': a path can't be empty",
        USAGES["verify"],
    ),
    "verify p.spkg --trust ca.pem --eku codeSigning": ("--eku takes an OID, not 'codeSigning'", None),
    "keygen keys --name ''": ("--name must have 1 to 64 characters, valid in UTF-8", None),
    "extract p.spkg p.spkg --unsafe-skip-signatures": ("p.spkg exists and is not a directory", None),
    "extract p.spkg . --unsafe-skip-signatures": (". is not empty", None),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def options_of(text: str) -> set[str]:
    """Return the options that a help text lists, but for ``--help``."""
    listed = re.findall(r"^  (-\S+?),? ", text, re.MULTILINE)
    assert "-h" in listed
    return set(listed) - {"-h"}


@pytest.mark.parametrize("command", OPTIONS)
def test_the_help_of_a_command_lists_its_arguments_and_options(command: str) -> None:
    arguments, options = OPTIONS[command]

    result = run(command, "--help")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: spkg {command} [OPTIONS] {arguments}".rstrip() + "\n")
    assert options_of(result.stdout) == options
    assert run(command, "-h").stdout == result.stdout


def test_a_command_that_is_parsed_by_itself_keeps_its_help_options() -> None:
    """As `agent check` parses the options of an agent's installations."""
    alone = command("alone")(lambda: None)

    found = alone.get_help_option(alone.make_context("alone", []))

    assert found is not None
    assert found.opts == ["-h", "--help"]


def test_the_help_of_the_program_lists_its_commands() -> None:
    result = run("--help")

    assert (result.exit_code, result.stderr) == (0, "")
    assert set(re.findall(r"^  ([a-z]+) ", result.stdout, re.MULTILINE)) == {
        *OPTIONS,
        "agent",
        "policy",
        "voucher",
    }
    assert options_of(result.stdout) == {"--version", "--debug"}


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    result = run("--version")

    assert project["project"]["version"] == spkg.__version__
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"spkg {spkg.__version__}\n", "")


@pytest.mark.parametrize("args", WRONG)
def test_wrong_usage_is_told_in_one_line_before_any_work(args: str, here: Path) -> None:
    message, hint = WRONG[args]
    there = files(here)

    result = run(*shlex.split(args))

    told = f"spkg: error: {message}\n" + (f"spkg: hint: {hint}\n" if hint else "")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
    assert files(here) == there


def test_an_unknown_option_is_wrong_usage() -> None:
    result = run("inspect", "p.spkg", "--verbose")

    # click has changed its words for this before, and will again.
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(
        r"spkg: error: no such option:? '?--verbose'?\n"
        r"spkg: hint: Usage: spkg inspect \[OPTIONS\] PKG\n",
        result.stderr,
    )


def test_wrong_usage_is_a_document_where_one_is_asked_for() -> None:
    result = run("inspect", "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout) == error("error", 2, "missing argument 'PKG'", hint=USAGES["inspect"])


def test_no_command_at_all_is_told_in_one_line() -> None:
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"spkg: error: missing command\nspkg: hint: {USAGE}\n"
