"""The command line: what it prints, where, and the status it ends with (DESIGN.md, sections 4 and 5)."""

import copy
import fcntl
import io
import json
import os
import pkgutil
import pty
import re
import resource
import shlex
import signal
import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from hashlib import sha1, sha256
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

import click
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

import cli
import spkg
from cli import EXIT_FOR, exit_status, main
from spkg.build.sign import sign_package
from spkg.errors import SpkgError
from spkg.format.commands import Description, End
from spkg.format.package import Header, encode_commands
from spkg.verify.contents import DamagedPayloadError, PayloadReport
from spkg.verify.signatures import UntrustedPackageError
from tests.support.kit import (
    AT,
    CONTENTS,
    KEYS,
    ROOT,
    SAMPLE,
    Certified,
    Draft,
    authority,
    certify,
    file,
    key,
    read,
    root,
    second_signer,
    signer,
)

PROGRAM: Final = (sys.executable, str(ROOT / "cli.py"))
TIME: Final = ("--at", AT.isoformat())
TRUST: Final = ("--trust", "ca.pem", *TIME)
KEY: Final = ("--key", "signer.key", "--cert", "signer.pem")
MANIFEST: Final = '[[step]]\nextract = "/bin/app"\nfrom = "app"\n'
SHA1: Final = sha1(CONTENTS, usedforsecurity=False).hexdigest()
SHA256: Final = sha256(CONTENTS).hexdigest()
PATIENCE: Final = 60
"""How many seconds a process has before a test gives it up."""


@cache
def genuine() -> bytes:
    return Draft().encode()


@cache
def unsigned() -> bytes:
    return Draft(signers=()).encode()


@cache
def front_size() -> int:
    """Where the payload of the genuine package begins."""
    return len(Draft().front)


@cache
def fingerprint() -> str:
    return sha256(signer().der).hexdigest()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(root().pem)
    Path("signer.pem").write_bytes(signer().pem)
    Path("signer.key").write_bytes((KEYS / "signer.key").read_bytes())
    Path("p.spkg").write_bytes(genuine())
    Path("u.spkg").write_bytes(unsigned())
    Path("m.toml").write_text(MANIFEST)
    Path("app").write_bytes(CONTENTS)
    return tmp_path


def run(*args: str | Path, env: Mapping[str, str] | None = None, group: click.Command = main) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(group, [str(one) for one in args], env=env, prog_name="spkg")


def process(
    *args: str | bytes, prefix: tuple[str, ...] = (), **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run the program as a process."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    return subprocess.run(
        [*prefix, *PROGRAM, *args], text=True, encoding="utf-8", timeout=PATIENCE, check=False, **settings
    )


def files(directory: Path | str = ".") -> list[str]:
    """Return what lies in a directory, at any depth."""
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*"))


def failure(status: str, number: int, message: str, **rest: Any) -> dict[str, Any]:
    """Return the document of a command that failed."""
    places = {"source": None, "offset": None, "field": None, "section": None, "hint": None}
    return {"schema": "spkg.error/1", "status": status, "exit": number, "message": message, **places, **rest}


def identities(*signers: Certified) -> tuple[Any, ...]:
    return tuple(one.identity() for one in signers)


# The contract.


def descendants(kind: type[SpkgError]) -> Iterator[type[SpkgError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_class_of_errors_has_an_exit_status() -> None:
    for module in pkgutil.walk_packages(spkg.__path__, "spkg."):
        import_module(module.name)

    missing = [kind for kind in descendants(SpkgError) if EXIT_FOR.keys().isdisjoint(kind.__mro__)]

    assert missing == []
    assert set(SpkgError.__subclasses__()) <= EXIT_FOR.keys()


def test_the_exit_status_of_an_error_is_that_of_its_nearest_class() -> None:
    class OwnError(spkg.UntrustedError):
        pass

    assert exit_status(OwnError("x")) == 4
    assert exit_status(UntrustedPackageError("x", [])) == 4
    assert exit_status(DamagedPayloadError("x", PayloadReport(files=(), uncovered=()))) == 4


def test_the_exit_statuses_are_those_of_the_design() -> None:
    assert {kind.__name__: status for kind, status in EXIT_FOR.items()} == {
        "UsageError": 2,
        "FormatError": 3,
        "UntrustedError": 4,
        "RefusedError": 5,
        "FailedError": 6,
        "UnsafeError": 7,
        "TransferError": 8,
        "SurroundingsError": 9,
    }
    assert (cli.EXIT_DEFECT, cli.EXIT_DIFFERENT) == (1, 10)


TRUST_OPTIONS: Final = {
    *("--trust", "--signer", "--required-signers", "--at", "--no-clock", "--crl", "--digests", "--eku"),
    "--unsafe-allow-unsigned",
}
KEY_OPTIONS: Final = {
    *("--key", "--cert", "--chain", "--key-password-env", "--key-password-file", "--signing-time"),
}
TRANSFER_OPTIONS: Final = {
    *("--username", "--password-env", "--password-file", "--unsafe-basic", "--ca-bundle", "--size"),
    *("--timeout", "--idle-timeout"),
}
OPTIONS: Final = {
    "keygen": ("DIR", {"--name", "--force"}),
    "build": (
        "MANIFEST",
        {"-o", "--unsigned", "--set", "--jobs", "--force", "--no-progress", "--json"} | KEY_OPTIONS,
    ),
    "sign": ("PKG", {"--digest", "-o", "--force", "--no-progress"} | KEY_OPTIONS),
    "inspect": ("PKG", {"--json"}),
    "verify": ("PKG", {"--jobs", "--no-progress", "--json"} | TRUST_OPTIONS),
    "extract": (
        "PKG DIR",
        {"--unsafe-skip-signatures", "--manifest", "--no-progress", "--json"} | TRUST_OPTIONS,
    ),
    "diff": ("A B", {"--json"}),
    "apply": (
        "SOURCE",
        {
            *("--root", "--device", "--software-version", "--provisioning-code", "--dry-run", "--in-place"),
            *("--refuse-unknown", "--again", "--unsafe-force", "--report", "--command-key"),
            *("--unsafe-streaming", "--no-progress", "--json"),
        }
        | TRUST_OPTIONS
        | TRANSFER_OPTIONS,
    ),
    "fetch": (
        "URL",
        {"-o", "--force", "--no-progress", "--json"} | TRUST_OPTIONS | TRANSFER_OPTIONS,
    ),
    "timeline": ("PKG", {"--rate", "--timeout", "--idle-timeout", "--json"}),
    "recover": ("", {"--root", "--discard-staged", "--json"}),
    "status": ("", {"--root", "--json"}),
}


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


def test_the_help_of_the_program_lists_its_commands() -> None:
    result = run("--help")

    assert (result.exit_code, result.stderr) == (0, "")
    assert set(re.findall(r"^  ([a-z]+) ", result.stdout, re.MULTILINE)) == {*OPTIONS, "voucher"}
    assert options_of(result.stdout) == {"--version", "--debug"}


# Every command as it is meant to go.


def test_keys_just_made_sign_a_package_that_is_trusted_now() -> None:
    made = run("keygen", "keys", "--name", "Jane Doe")
    built = run("build", "m.toml", "-o", "new.spkg", "--key", "keys/signer.key", "--cert", "keys/signer.pem")
    verified = run("verify", "new.spkg", "--trust", "keys/ca.pem", "--signer", "Jane Doe")

    assert (made.exit_code, made.stdout, made.stderr) == (0, "keys: ca.pem, signer.pem, signer.key\n", "")
    assert {path.name: path.stat().st_mode & 0o777 for path in Path("keys").iterdir()} == {
        "ca.pem": 0o644,
        "signer.pem": 0o644,
        "signer.key": 0o600,
    }
    assert (built.exit_code, built.stderr) == (0, "")
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout == (
        "signature 0: CN=Jane Doe, sha1: accepted\n"
        "  trusted through CN=Jane Doe root\n"
        "files: 1 of 1 are what was signed, 21 octets\n"
        "trusted\n"
    )


def test_build_writes_the_same_octets_always() -> None:
    result = run("build", "m.toml", "-o", "new.spkg", *KEY)
    again = run("build", "m.toml", "-o", "again.spkg", *KEY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "new.spkg: 2 commands, 1 file, payload of 21 octets, signed\n"
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
        "  1 empty directory left: the format has none: empty\n"
        "new.spkg: 6 commands, 3 files (2 stored once with another), payload of 4 octets, not signed\n"
    )
    assert result.stderr == (
        "spkg: hint: a software-upgrade without maximum-version can be applied over a newer release\n"
        "spkg: hint: step[0] leaves the initial state at once, so the initial timeouts never apply\n"
        "spkg: hint: step[0].exclude: '*.o' matches nothing\n"
    )


def test_an_output_that_would_go_into_the_package_is_refused(here: Path) -> None:
    Path("tree").mkdir()
    Path("m.toml").write_text('[[step]]\nextract-tree = "/"\nfrom = "tree"\n')
    build = ("build", "m.toml", "-o", "tree/new.spkg", "--unsigned", "--force")

    first, second = run(*build), run(*build)

    assert first.exit_code == 0
    assert (second.exit_code, second.stderr) == (
        2,
        "spkg: error: step[0] would put tree/new.spkg, the output, into the package\n",
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
        "signed": False,
        "commands": 2,
        "files": 1,
        "shared": 0,
        "command_list_length": 72,
        "payload_length": 8,
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


def test_sign_adds_a_signature_in_place_and_keeps_the_first() -> None:
    Path("second.pem").write_bytes(second_signer().pem)
    before = read(genuine()).block

    result = run("sign", "p.spkg", "--key", KEYS / "second.key", "--cert", "second.pem", "--chain", "ca.pem")
    after = read(Path("p.spkg").read_bytes()).block
    verified = run("verify", "p.spkg", *TRUST, "--required-signers", "2")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "p.spkg: signed by CN=Second Signer with sha1, 2 signatures\n"
    assert before.signers[0].octets in [one.octets for one in after.signers]
    assert len(after.signers) == 2
    assert set(after.certificate_octets) == {signer().der, second_signer().der, root().der}
    assert Path("p.spkg").read_bytes().startswith(Draft().signed)
    assert (verified.exit_code, verified.stderr) == (0, "")


def test_sign_adds_a_strong_signature_by_the_same_signer() -> None:
    result = run("sign", "p.spkg", *KEY, "--digest", "sha256", "-o", "new.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "new.spkg: signed by CN=Test Signer with sha256, 2 signatures\n"
    assert Path("p.spkg").read_bytes() == genuine()
    assert run("verify", "new.spkg", *TRUST).stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "signature 1: CN=Test Signer, sha256: accepted\n"
        "  trusted through CN=Test Root\n"
        "files: 1 of 1 are what was signed, 21 octets\n"
        "trusted\n"
    )


def test_a_package_that_is_signed_with_sha256_alone_is_told_to_depart_from_the_text() -> None:
    result = run("sign", "u.spkg", *KEY, "--digest", "sha256")

    assert result.exit_code == 0
    assert result.stderr == "spkg: hint: E.5 wants SHA-1: readers of 2004 take no signature of this package\n"


def test_one_signature_is_told_in_the_singular() -> None:
    result = run("sign", "u.spkg", *KEY)

    assert result.stdout == "u.spkg: signed by CN=Test Signer with sha1, 1 signature\n"


def test_a_signing_time_is_stated_where_it_is_given() -> None:
    result = run("sign", "u.spkg", *KEY, "--signing-time", "2026-06-01T12:00:00+02:00")
    inspected = json.loads(run("inspect", "u.spkg", "--json").stdout)

    assert result.exit_code == 0
    assert inspected["signature_block"]["signers"][0]["signing_time"] == "2026-06-01T10:00:00+00:00"


@pytest.mark.parametrize("time", ["1949-12-31T23:59:59", "2050-01-01T00:00:00"])
def test_a_signing_time_outside_the_years_of_utctime_is_stated_as_a_generalized_time(time: str) -> None:
    result = run("sign", "u.spkg", *KEY, "--signing-time", time)
    inspected = json.loads(run("inspect", "u.spkg", "--json").stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert inspected["signature_block"]["signers"][0]["signing_time"] == f"{time}+00:00"


def test_inspect_shows_everything_and_says_that_nothing_is_verified() -> None:
    result = run("inspect", "p.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "not verified: this is what the package says, not who says it\n"
        "header\n"
        "  format 1.0\n"
        "  command list of 76 octets\n"
        "  payload of 21 octets\n"
        "commands: 2\n"
        "  0  0x0018  1  Extract File  /bin/app, 21 octets\n"
        "  1  0x005c  0  End\n"
        f"signature block: {front_size() - 100} octets at 0x0064\n"
        "  signature 0: CN=Test Signer, serial 1000, sha1\n"
        "  certificate 0: CN=Test Signer, RSA 2048, 2025-06-01 to 2049-06-01\n"
        f"    by CN=Test Root, SHA-256 {fingerprint()}\n"
        f"payload: 21 octets at 0x{front_size():04x}\n"
        "  0x00000000  21  /bin/app (command 0)\n"
    )


def test_inspect_prints_one_document() -> None:
    result = run("inspect", "p.spkg", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.inspect/1",
        "verified": False,
        "header": {"major": 1, "minor": 0, "command_list_length": 76, "payload_length": 21},
        "commands": [
            {
                "index": 0,
                "offset": 24,
                "type": 1,
                "name": "Extract File",
                "length": 60,
                "fields": {
                    "flags": 0,
                    "unsafe": False,
                    "path": "/bin/app",
                    "hash_type": 1,
                    "hash": SHA1,
                    "file_offset": 0,
                    "file_length": 21,
                },
            },
            {"index": 1, "offset": 92, "type": 0, "name": "End", "length": 0, "fields": {}},
        ],
        "behind_end": 0,
        "signature_block": {
            "offset": 100,
            "length": front_size() - 100,
            "version": 1,
            "digest_algorithms": ["sha1"],
            "signers": [
                {
                    "index": 0,
                    "subject": "CN=Test Signer",
                    "issuer": "CN=Test Root",
                    "serial": 1000,
                    "digest": "sha1",
                    "signature_algorithm": "rsassa_pkcs1v15",
                    "authenticated_attributes": ["1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"],
                    "signing_time": None,
                }
            ],
            "certificates": [
                {
                    "subject": "CN=Test Signer",
                    "issuer": "CN=Test Root",
                    "serial": 1000,
                    "not_before": "2025-06-01T12:00:00+00:00",
                    "not_after": "2049-06-01T12:00:00+00:00",
                    "key": "RSA 2048",
                    "sha256": fingerprint(),
                }
            ],
            "revocation_lists": 0,
        },
        "payload": {
            "offset": front_size(),
            "length": 21,
            "ranges": [{"command": 0, "path": "/bin/app", "offset": 0, "length": 21}],
            "uncovered": [],
        },
        "problems": [],
    }


def test_verify_says_who_signed_and_what_was_signed() -> None:
    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "files: 1 of 1 are what was signed, 21 octets\n"
        "trusted\n"
    )


ACCEPTED: Final = {
    "index": 0,
    "subject": "CN=Test Signer",
    "issuer": "CN=Test Root",
    "serial": 1000,
    "digest": "sha1",
    "signing_time": None,
    "status": "accepted",
    "reason": None,
}
INTACT: Final = {
    "command": 0,
    "path": "/bin/app",
    "length": 21,
    "mode": None,
    "sha1": SHA1,
    "sha256": SHA256,
    "status": "intact",
    "reason": None,
}


def test_verify_prints_one_document() -> None:
    result = run("verify", "p.spkg", *TRUST, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "trusted",
        "dates_checked": True,
        "signatures": [ACCEPTED],
        "files": [INTACT],
        "uncovered": [],
    }


def test_verify_says_that_it_checked_no_dates() -> None:
    expired = certify("Old Signer", root(), start=AT.replace(year=2001), end=AT.replace(year=2002))
    Path("p.spkg").write_bytes(Draft(signers=identities(expired)).encode())

    result = run("verify", "p.spkg", "--trust", "ca.pem", "--no-clock")
    document = json.loads(run("verify", "p.spkg", "--trust", "ca.pem", "--no-clock", "--json").stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "signature 0: CN=Old Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "the dates of certificates and revocation lists were not checked: there is no clock\n"
        "files: 1 of 1 are what was signed, 21 octets\n"
        "trusted\n"
    )
    assert document["dates_checked"] is False


def test_verify_shows_octets_that_nobody_signed() -> None:
    Path("p.spkg").write_bytes(Draft(payload=CONTENTS + b"more").encode())

    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[3:] == [
        "4 octets at 0x00000015 of the payload belong to no file: nobody signed them",
        "trusted",
    ]


def test_verify_gives_the_same_answer_with_any_number_of_jobs() -> None:
    run("build", SAMPLE / "manifest.toml", "-o", "sample.spkg", *KEY)

    one = run("verify", "sample.spkg", *TRUST, "--json", "--jobs", "1")
    four = run("verify", "sample.spkg", *TRUST, "--json", "--jobs", "4")

    assert (one.exit_code, four.exit_code) == (0, 0)
    assert one.stdout == four.stdout


def test_extract_gives_the_files_under_their_paths() -> None:
    result = run("extract", "p.spkg", "out", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "out: 1 file, 21 octets\n"
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
    }


def test_a_manifest_that_was_extracted_builds_the_package_again() -> None:
    run("build", SAMPLE / "manifest.toml", "-o", "sample.spkg", *KEY)

    result = run("extract", "sample.spkg", "out", *TRUST, "--manifest")
    rebuilt = run("build", "out/manifest.toml", "-o", "again.spkg", *KEY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "out: 21 files, 21.6 KiB, and manifest.toml, which builds it again\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["manifest.toml", "rootfs"]
    assert rebuilt.exit_code == 0
    assert Path("again.spkg").read_bytes() == Path("sample.spkg").read_bytes()


def test_extract_tells_what_is_out_of_the_ordinary() -> None:
    records = (file("/app"), file("/app", b"echo", at=10), End())
    Path("p.spkg").write_bytes(Draft(records=records, payload=CONTENTS + b"++").encode())

    result = run("extract", "p.spkg", "out", *TRUST, "--manifest")

    assert result.exit_code == 0
    assert result.stdout == "out: 2 files, 25 octets, and manifest.toml\n"
    assert result.stderr == (
        "spkg: hint: /app is taken by another file: this one is rootfs/app.2\n"
        "spkg: hint: left out 2 octets at 0x00000015 of the payload, which no command covers\n"
        "spkg: hint: another builder wrote this package: building from the manifest gives other octets\n"
    )


def test_extract_takes_what_nobody_vouches_for_where_it_is_told_to() -> None:
    result = run("extract", "u.spkg", "out", "--unsafe-skip-signatures")

    document = json.loads(run("extract", "u.spkg", "again", "--unsafe-skip-signatures", "--json").stdout)

    assert (result.exit_code, result.stdout) == (0, "out: 1 file, 21 octets\n")
    assert result.stderr == "spkg: hint: no signature was checked: anybody may have made these files\n"
    assert (document["verified"], document["dates_checked"]) == (False, None)


def test_extract_says_what_it_did_not_check() -> None:
    unsigned_taken = run("extract", "u.spkg", "out", "--unsafe-allow-unsigned")
    undated = run("extract", "p.spkg", "undated", "--trust", "ca.pem", "--no-clock")

    assert (
        unsigned_taken.stderr == "spkg: hint: the package is not signed: anybody may have made these files\n"
    )
    assert undated.stderr == (
        "spkg: hint: the dates of certificates and revocation lists were not checked: there is no clock\n"
    )


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ("build m.toml -o m.toml --unsigned", "the manifest"),
        ("build m.toml -o signer.key --key signer.key --cert signer.pem", "--key"),
        ("build m.toml -o link --key signer.key --cert signer.pem", "--cert"),
        ("sign u.spkg -o ca.pem --key signer.key --cert signer.pem --chain ca.pem", "--chain"),
    ],
)
def test_no_output_overwrites_what_it_is_made_with(args: str, what: str) -> None:
    Path("link").symlink_to("signer.pem")
    output = args.split()[3]
    before = Path(output).read_bytes()

    result = run(*args.split(), "--force")

    assert (result.exit_code, result.stderr) == (
        2,
        f"spkg: error: {output} is {what}, and can't be the output\n",
    )
    assert Path(output).read_bytes() == before


def test_a_doubt_is_told_and_the_package_is_signed_all_the_same() -> None:
    expired = certify("Old Signer", root(), start=AT.replace(year=2001), end=AT.replace(year=2002))
    Path("old.pem").write_bytes(expired.pem)
    key = ("--key", "signer.key", "--cert", "old.pem")
    doubt = (
        f"spkg: hint: the certificate of CN=Old Signer has expired on {AT.replace(year=2002).isoformat()}\n"
    )

    built = run("build", "m.toml", "-o", "new.spkg", *key)
    signed = run("sign", "u.spkg", *key)

    assert (built.exit_code, built.stderr) == (0, doubt)
    assert (signed.exit_code, signed.stderr) == (0, doubt)


def test_a_key_file_may_bring_its_certificate() -> None:
    Path("both.pem").write_bytes(Path("signer.key").read_bytes() + Path("signer.pem").read_bytes())

    result = run("build", "m.toml", "-o", "new.spkg", "--key", "both.pem")

    assert (result.exit_code, result.stderr) == (0, "")
    assert Path("new.spkg").read_bytes() == genuine()


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
        "gates\n"
        "+ Role: web-content\n"
        "timeouts\n"
        "+ Initial Timeout: 5 s\n"
        "commands\n"
        '+ Version: "2"\n'
        "+ Add File: /new\n"
        "signers\n"
        "- signer: CN=Test Signer, serial 1000, sha1\n"
        "files\n"
        f"- /bin/app  21 octets  SHA-1 {SHA1}\n"
        f"+ /bin/app  12 octets  SHA-1 {digest}\n"
        f"+ /new  12 octets  SHA-1 {digest}\n"
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
        "signers": [{"name": "signer", "before": "CN=Test Signer, serial 1000, sha1", "after": None}],
        "encoding": [],
    }


def test_diff_finds_a_difference_that_lies_in_the_octets_alone() -> None:
    Path("q.spkg").write_bytes(genuine()[:-1] + b"?")

    result = run("diff", "p.spkg", "q.spkg")

    assert (result.exit_code, result.stderr) == (10, "")
    assert result.stdout == (
        "the octets differ where all that they say is the same: the payloads, from octet 20 on\n"
    )


DOCUMENTED: Final = (
    "build m.toml -o new.spkg --unsigned",
    "inspect p.spkg",
    "verify p.spkg --trust ca.pem",
    "verify nothing.spkg --trust ca.pem",
    "extract p.spkg out --unsafe-skip-signatures",
    "diff p.spkg u.spkg",
    "inspect nothing.spkg",
    "inspect --nothing",
)


@pytest.mark.parametrize("args", DOCUMENTED)
def test_a_document_is_all_that_is_printed_and_begins_with_its_schema(args: str) -> None:
    command = args.split(maxsplit=1)[0]

    result = run(*args.split(), "--json")
    document = json.loads(result.stdout)

    failed = "nothing" in args and command != "verify"
    assert next(iter(document.items())) == ("schema", f"spkg.{'error' if failed else command}/1")


# How every kind of failure is told.


def test_wrong_usage_is_2() -> None:
    args = ("build", "m.toml", "-o", "p.spkg", "--unsigned")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout) == (2, "")
    assert text.stderr == "spkg: error: p.spkg exists\nspkg: hint: --force overwrites it\n"
    assert (document.exit_code, document.stderr) == (2, text.stderr)
    assert json.loads(document.stdout) == failure("error", 2, "p.spkg exists", hint="--force overwrites it")


def test_a_malformed_package_is_3_and_located_to_the_octet() -> None:
    Path("p.spkg").write_bytes(genuine()[:50])
    message = "p.spkg: offset 0x0032: command[0]: the input ends 42 octets too early [TR-069 E.4]"
    args = ("diff", "p.spkg", "u.spkg")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (3, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (3, text.stderr)
    assert json.loads(document.stdout) == failure(
        "malformed", 3, message, source="p.spkg", offset=50, field="command[0]", section="E.4"
    )


def test_a_malformed_manifest_is_3_and_located_to_the_key() -> None:
    Path("m.toml").write_text('[package]\nversoin = "1"\n')
    message = "m.toml: package.versoin: unknown key, did you mean 'version'?"
    args = ("build", "m.toml", "-o", "new.spkg", "--unsigned")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (3, "", f"spkg: error: {message}\n")
    assert json.loads(document.stdout) == failure(
        "malformed", 3, message, source="m.toml", field="package.versoin"
    )


def test_an_untrusted_package_is_4() -> None:
    args = ("extract", "u.spkg", "out", *TRUST)
    message = "the package carries no signature [TR-069 E.5]"

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (4, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (4, text.stderr)
    assert json.loads(document.stdout) == failure("untrusted", 4, message, section="E.5")
    assert not Path("out").exists()


def test_signing_twice_is_5_and_changes_nothing() -> None:
    result = run("sign", "p.spkg", *KEY)

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == "spkg: error: CN=Test Signer has signed this with sha1 already\n"
    assert Path("p.spkg").read_bytes() == genuine()


def test_an_input_that_is_not_there_is_9() -> None:
    text, document = run("inspect", "nothing.spkg"), run("inspect", "nothing.spkg", "--json")

    message = "nothing.spkg: no such file or directory"
    assert (text.exit_code, text.stdout, text.stderr) == (9, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (9, text.stderr)
    assert json.loads(document.stdout) == failure("error", 9, message)


def with_command(callback: Callable[[], None]) -> click.Group:
    """Return the program with one more command, ``more``."""
    group = copy.copy(main)
    group.commands = dict(main.commands)
    group.command("more", params=[click.Option(["--json"], is_flag=True, expose_value=False)])(callback)
    return group


def divide() -> None:
    raise ZeroDivisionError("division by\nzero")


def test_a_defect_is_1_and_one_line() -> None:
    group = with_command(divide)

    text, document = run("more", group=group), run("more", "--json", group=group)

    message = "a defect in spkg: ZeroDivisionError: division by\nzero"
    assert (text.exit_code, text.stdout) == (1, "")
    assert text.stderr == (
        "spkg: error: a defect in spkg: ZeroDivisionError: division by\\nzero\n"
        "spkg: hint: please report it, with what 'spkg --debug …' prints for the same command\n"
    )
    assert (document.exit_code, document.stderr) == (1, text.stderr)
    assert json.loads(document.stdout) == failure("error", 1, message)


def test_the_traceback_of_a_defect_is_shown_where_it_is_asked_for() -> None:
    result = run("--debug", "more", group=with_command(divide))

    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)
    assert (result.stdout, result.stderr) == ("", "")


def test_a_failure_that_is_no_defect_has_no_traceback() -> None:
    result = run("--debug", "inspect", "nothing.spkg")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == "spkg: error: nothing.spkg: no such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_has_a_status_of_its_own_and_its_old_meaning_afterwards(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)  # whoever starts the tests may ignore it
    try:
        result = run("more", group=with_command(lambda: signal.raise_signal(number)))
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    status, stdout, stderr = SIGNALS[number]
    assert (result.exit_code, result.stdout, result.stderr) == (status, stdout.decode(), stderr.decode())
    assert after is signal.default_int_handler


# Wrong usage, one by one.

NO_TRUST: Final = (
    "nothing is trusted without --trust",
    "name the certificates you trust with --trust; 'spkg keygen' makes some to try things with",
)
NO_KEY: Final = ("--key names the key to sign with, and --cert its certificate", None)
EITHER_KEY: Final = ("either --key and --cert, or --unsigned", None)
USAGE: Final = {
    "inspect": "Usage: spkg inspect [OPTIONS] PKG",
    "build": "Usage: spkg build [OPTIONS] MANIFEST",
    "verify": "Usage: spkg verify [OPTIONS] PKG",
    "sign": "Usage: spkg sign [OPTIONS] PKG",
    "diff": "Usage: spkg diff [OPTIONS] A B",
    "": "Usage: spkg [OPTIONS] COMMAND [ARGS]...",
}
WRONG: Final[dict[str, tuple[str, str | None]]] = {
    "frobnicate p.spkg": ("no such command 'frobnicate'", USAGE[""]),
    "inspect": ("missing argument 'PKG'", USAGE["inspect"]),
    "inspect p.spkg u.spkg": ("got unexpected extra argument (u.spkg)", USAGE["inspect"]),
    "diff p.spkg": ("missing argument 'B'", USAGE["diff"]),
    "diff - -": ("only one of the packages can come from standard input", None),
    "build m.toml --unsigned": ("missing option '-o'", USAGE["build"]),
    "build m.toml -o new.spkg": EITHER_KEY,
    "build m.toml -o new.spkg --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --key signer.key --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --cert signer.pem": EITHER_KEY,
    "build m.toml -o new.spkg --unsigned --set package.version": (
        "--set takes KEY=VALUE, as package.version=6.4",
        None,
    ),
    "build m.toml -o new.spkg --unsigned --set version=6.4": (
        "--set version: this names no key of a table, as package.version does",
        None,
    ),
    "build m.toml -o new.spkg --unsigned --set =6.4": ("--set takes KEY=VALUE, as package.version=6.4", None),
    "verify p.spkg --trust ca.pem --jobs 0": (
        "invalid value for '--jobs': 0 is not in the range 1<=x<=256",
        USAGE["verify"],
    ),
    "build m.toml -o . --unsigned --force": (". is a directory", None),
    "build m.toml -o - --unsigned": ("a package can't be written to standard output", None),
    "sign p.spkg -o - --digest sha256 --key signer.key --cert signer.pem": (
        "a package can't be written to standard output",
        None,
    ),
    "sign p.spkg": NO_KEY,
    "sign p.spkg --cert signer.pem": NO_KEY,
    "sign - --key signer.key --cert signer.pem": ("a package from standard input wants -o OUT", None),
    "sign p.spkg --key signer.key --digest md5": (
        "invalid value for '--digest': 'md5' is not one of 'sha1', 'sha256'",
        USAGE["sign"],
    ),
    "sign p.spkg --key signer.key --key-password-env A --key-password-file b": (
        "--key-password-env and --key-password-file exclude each other",
        None,
    ),
    "sign p.spkg --key signer.key --key-password-env SPKG_TEST_NOTHING": (
        "the environment has no variable SPKG_TEST_NOTHING",
        None,
    ),
    "verify p.spkg": NO_TRUST,
    "extract p.spkg out": NO_TRUST,
    "extract p.spkg out --trust ca.pem --unsafe-skip-signatures": (
        "--trust and --unsafe-skip-signatures exclude each other",
        None,
    ),
    "extract p.spkg out --signer Jane --unsafe-skip-signatures": (
        "--signer and --unsafe-skip-signatures exclude each other",
        None,
    ),
    "verify p.spkg --trust ca.pem --at 2026-01-01 --no-clock": (
        "--at and --no-clock exclude each other",
        None,
    ),
    "extract p.spkg out --trust ca.pem --at 2026-01-01 --no-clock": (
        "--at and --no-clock exclude each other",
        None,
    ),
    "verify p.spkg --trust ca.pem --at yesterday": (
        "invalid value for '--at': 'yesterday' is no time, as 2026-11-21T12:00:00Z is",
        USAGE["verify"],
    ),
    "verify p.spkg --trust ca.pem --at 0001-01-01T00:00:00+01:00": (
        "invalid value for '--at': '0001-01-01T00:00:00+01:00' is no time, as 2026-11-21T12:00:00Z is",
        USAGE["verify"],
    ),
    "verify p.spkg --trust ca.pem --digests md5": ("--digests takes sha1, sha256 or both, not 'md5'", None),
    "verify p.spkg --trust ca.pem --digests ''": ("--digests takes sha1, sha256 or both, not ''", None),
    "verify p.spkg --trust ca.pem --digests sha1,": (
        "--digests takes sha1, sha256 or both, not 'sha1,'",
        None,
    ),
    "verify p.spkg --trust ca.pem --required-signers 0": (
        "invalid value for '--required-signers': 0 is not in the range x>=1",
        USAGE["verify"],
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
        USAGE["verify"],
    ),
    "verify p.spkg --trust ca.pem --eku codeSigning": ("--eku takes an OID, not 'codeSigning'", None),
    "keygen keys --name ''": ("--name takes 1 to 64 characters that UTF-8 can write", None),
    "extract p.spkg p.spkg --unsafe-skip-signatures": ("p.spkg exists and is no directory", None),
    "extract p.spkg . --unsafe-skip-signatures": (". is not empty", None),
}


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
    assert json.loads(result.stdout) == failure("error", 2, "missing argument 'PKG'", hint=USAGE["inspect"])


def test_no_command_at_all_is_told_in_one_line() -> None:
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"spkg: error: missing command\nspkg: hint: {USAGE['']}\n"


# Inputs that can't be read.

SPOILT: Final = {
    "nothing": "no such file or directory",
    "dangling": "no such file or directory",
    "app/file": "not a directory",
    "directory": "is a directory",
    "loop": "too many levels of symbolic links",
}
READERS: Final = {
    "inspect": "inspect {}",
    "verify": "verify {} --trust ca.pem",
    "extract": "extract {} out --unsafe-skip-signatures",
    "diff, before": "diff {} p.spkg",
    "diff, after": "diff p.spkg {}",
    "build": "build {} -o new.spkg --unsigned",
    "trust": "verify p.spkg --trust {}",
    "crl": "verify p.spkg --trust ca.pem --crl {}",
    "sign": "sign {} -o new.spkg --key signer.key --cert signer.pem",
    "key": "sign u.spkg --key {} --cert signer.pem",
    "cert": "sign u.spkg --key signer.key --cert {}",
    "chain": "sign u.spkg --key signer.key --cert signer.pem --chain {}",
    "key-password-file": "sign u.spkg --key signer.key --cert signer.pem --key-password-file {}",
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("reader", READERS)
def test_an_input_that_cannot_be_opened_is_9(reader: str, spoilt: str, here: Path) -> None:
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("directory").mkdir()
    there = files(here)

    result = run(*shlex.split(READERS[reader].format(spoilt)))

    assert (result.exit_code, result.stderr) == (9, f"spkg: error: {spoilt}: {SPOILT[spoilt]}\n")
    assert files(here) == there


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_package_that_cannot_be_signed_in_place_is_9(spoilt: str) -> None:
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("directory").mkdir()

    result = run("sign", spoilt, *KEY)

    assert (result.exit_code, result.stderr) == (9, f"spkg: error: {spoilt}: {SPOILT[spoilt]}\n")


WITHOUT_OVERRIDE: Final = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root reads what it may not
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("reader", ["inspect", "key"])
def test_an_input_that_may_not_be_read_is_9(reader: str) -> None:
    Path("secret").write_bytes(genuine())
    Path("secret").chmod(0)

    result = process(
        *READERS[reader].format("secret").split(), prefix=(sys.executable, "-c", WITHOUT_OVERRIDE)
    )

    assert (result.returncode, result.stdout) == (9, "")
    assert result.stderr == "spkg: error: secret: permission denied\n"


# Keys.


def pem(kind: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes | None = None) -> bytes:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key("signer").private_bytes(Encoding.PEM, kind, encryption)


def pfx(passphrase: bytes | None = None) -> bytes:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return pkcs12.serialize_key_and_certificates(
        b"signer", key("signer"), signer().certificate, [root().certificate], encryption
    )


def test_the_passphrase_of_a_key_comes_from_the_environment_or_a_file() -> None:
    Path("e.key").write_bytes(pem(passphrase="pass wörd".encode()))
    Path("old.key").write_bytes(pem(PrivateFormat.TraditionalOpenSSL, "pass wörd".encode()))
    Path("pass").write_text("pass wörd\r\nand nothing of this\n", encoding="utf-8")
    known = {"SPKG_TEST_PASS": "pass wörd"}

    results = [
        run(
            "sign", "u.spkg", "-o", f"{number}.spkg", "--key", one, "--cert", "signer.pem", *option, env=known
        )
        for number, (one, option) in enumerate(
            (one, option)
            for one in ("e.key", "old.key")
            for option in (("--key-password-env", "SPKG_TEST_PASS"), ("--key-password-file", "pass"))
        )
    ]

    assert [(result.exit_code, result.stderr) for result in results] == [(0, "")] * 4
    assert {Path(f"{number}.spkg").read_bytes() for number in range(4)} == {genuine()}


@pytest.mark.parametrize("passphrase", [None, b"secret"])
def test_a_pkcs12_file_brings_certificate_and_chain(passphrase: bytes | None) -> None:
    Path("signer.p12").write_bytes(pfx(passphrase))
    Path("pass").write_bytes(b"secret")
    option = () if passphrase is None else ("--key-password-file", "pass")

    result = run("sign", "u.spkg", "--key", "signer.p12", *option)

    assert (result.exit_code, result.stderr) == (0, "")
    assert set(read(Path("u.spkg").read_bytes()).block.certificates) == {signer().der, root().der}


def ec_key() -> bytes:
    made = ec.derive_private_key(0x1234567890, ec.SECP256R1())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


PASSPHRASE_HINT: Final = "give its passphrase with --key-password-env or --key-password-file"
WRONG_PASSPHRASE: Final = "the key in k can't be read: the passphrase is wrong, or the file is damaged"
NO_PRIVATE_KEY: Final = "the key in k can't be read: it is no private key"
BAD_KEYS: Final[dict[str, tuple[Callable[[], bytes], bytes | None, str, str | None]]] = {
    "encrypted, no passphrase": (
        lambda: pem(passphrase=b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "encrypted, wrong passphrase": (lambda: pem(passphrase=b"secret"), b"public", WRONG_PASSPHRASE, None),
    "encrypted, empty passphrase": (lambda: pem(passphrase=b"secret"), b"", WRONG_PASSPHRASE, None),
    "old form, no passphrase": (
        lambda: pem(PrivateFormat.TraditionalOpenSSL, b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "old form, wrong passphrase": (
        lambda: pem(PrivateFormat.TraditionalOpenSSL, b"secret"),
        b"public",
        WRONG_PASSPHRASE,
        None,
    ),
    "plain, a passphrase": (
        pem,
        b"secret",
        "the key in k is not encrypted, but a passphrase was given",
        None,
    ),
    "PKCS #12, wrong passphrase": (lambda: pfx(b"secret"), b"public", WRONG_PASSPHRASE, None),
    "PKCS #12, no passphrase": (
        lambda: pfx(b"secret"),
        None,
        "the key in k is encrypted",
        PASSPHRASE_HINT,
    ),
    "PKCS #12, without a key": (
        lambda: pkcs12.serialize_key_and_certificates(None, None, None, [root().certificate], NoEncryption()),
        None,
        "k holds no private key",
        None,
    ),
    "EC": (ec_key, None, "the key in k is not an RSA key, as E.5 demands", None),
    "garbage": (lambda: b"garbage\n", None, NO_PRIVATE_KEY, None),
    "empty": (lambda: b"", None, NO_PRIVATE_KEY, None),
    "a certificate": (lambda: signer().pem, None, NO_PRIVATE_KEY, None),
    "DER": (
        lambda: key("signer").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        None,
        "the key in k can't be read: it is neither PEM nor PKCS #12",
        None,
    ),
    "of another certificate": (
        (KEYS / "other.key").read_bytes,
        None,
        "the key in k is not that of the certificate CN=Test Signer",
        None,
    ),
    "too large": (lambda: bytes((1 << 24) + 1), None, "k is larger than 16777216 octets", None),
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_key_that_cannot_be_used_is_9_and_leaves_the_package_as_it_was(kind: str) -> None:
    make, passphrase, message, hint = BAD_KEYS[kind]
    Path("k").write_bytes(make())
    Path("pass").write_bytes((passphrase or b"") + b"\n")
    option = () if passphrase is None else ("--key-password-file", "pass")

    result = run("sign", "u.spkg", "--key", "k", "--cert", "signer.pem", *option)

    told = f"spkg: error: {message}\n" + (f"spkg: hint: {hint}\n" if hint else "")
    assert (result.exit_code, result.stdout, result.stderr) == (9, "", told)
    assert Path("u.spkg").read_bytes() == unsigned()


def test_a_key_without_a_certificate_is_9() -> None:
    result = run("sign", "u.spkg", "--key", "signer.key")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == (
        "spkg: error: signer.key holds no certificate\nspkg: hint: name the signer's with --cert\n"
    )


def test_a_key_that_no_verifier_accepts_signs_nothing() -> None:
    Path("tiny.pem").write_bytes(certify("Tiny", root(), with_key="tiny").pem)

    result = run("sign", "u.spkg", "--key", KEYS / "tiny.key", "--cert", "tiny.pem")

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        f"spkg: error: an RSA key of {key('tiny').key_size} bits, 1024 to 8192 are accepted\n"
    )


# Outputs.

WRITERS: Final = {
    "build": "build m.toml -o out --unsigned",
    "sign": "sign u.spkg -o out --key signer.key --cert signer.pem",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_is_there_is_kept_unless_forced(writer: str, here: Path) -> None:
    Path("out").write_text("precious")

    refused = run(*WRITERS[writer].split())
    kept = Path("out").read_text()
    forced = run(*WRITERS[writer].split(), "--force")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "spkg: error: out exists\nspkg: hint: --force overwrites it\n"
    assert kept == "precious"
    assert (forced.exit_code, forced.stderr) == (0, "")
    assert Path("out").read_bytes() == {"build": unsigned(), "sign": genuine()}[writer]
    assert not list(here.glob(".*"))


@pytest.mark.parametrize("there", ["ca.pem", "signer.pem", "signer.key"])
def test_keys_that_are_there_are_kept_unless_forced(there: str) -> None:
    Path("keys").mkdir()
    Path("keys", there).write_text("precious")

    refused = run("keygen", "keys")
    left = files("keys")
    forced = run("keygen", "keys", "--force")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"spkg: error: keys/{there} exists\nspkg: hint: --force overwrites it\n"
    assert left == [there]
    assert (forced.exit_code, forced.stderr) == (0, "")
    assert files("keys") == ["ca.pem", "signer.key", "signer.pem"]
    assert Path("keys/signer.key").stat().st_mode & 0o777 == 0o600


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
    assert result.stderr == "spkg: error: out is no regular file\n"
    assert Path("out").is_fifo()


@pytest.mark.parametrize(
    "args",
    [
        "build m.toml -o nowhere/out --unsigned",
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


def test_signing_in_place_keeps_the_mode_of_the_file_whatever_the_umask() -> None:
    Path("u.spkg").chmod(0o664)
    before = os.umask(0o077)
    try:
        result = run("sign", "u.spkg", *KEY)
    finally:
        os.umask(before)

    assert result.exit_code == 0
    assert Path("u.spkg").stat().st_mode & 0o777 == 0o664


def test_signing_in_place_keeps_the_mode_of_the_file() -> None:
    Path("u.spkg").chmod(0o640)

    result = run("sign", "u.spkg", *KEY)

    assert result.exit_code == 0
    assert Path("u.spkg").stat().st_mode & 0o777 == 0o640


def test_a_package_that_somebody_else_signed_meanwhile_is_not_overwritten(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*args: Any, **settings: Any) -> None:
        sign_package(*args, **settings)
        (here / "other").write_bytes(genuine())
        (here / "other").replace(here / "u.spkg")

    monkeypatch.setattr("spkg.build.sign.sign_package", overtaken)

    result = run("sign", "u.spkg", "--digest", "sha256", *KEY)

    assert (result.exit_code, result.stderr) == (
        9,
        "spkg: error: u.spkg was changed by somebody else in the meantime; it stays as it is\n",
    )
    assert Path("u.spkg").read_bytes() == genuine()
    assert not list(here.glob(".*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_signing_in_place_keeps_the_owner_of_the_file() -> None:
    os.chown("u.spkg", 1234, 2345)

    result = run("sign", "u.spkg", *KEY)

    assert result.exit_code == 0
    assert (Path("u.spkg").stat().st_uid, Path("u.spkg").stat().st_gid) == (1234, 2345)


def test_a_pipe_can_not_be_signed_in_place() -> None:
    os.mkfifo("pipe")
    with ThreadPoolExecutor(max_workers=1) as pool:
        writing = pool.submit(Path("pipe").write_bytes, unsigned())
        result = run("sign", "pipe", *KEY)
        writing.result()

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: pipe is no regular file: signing it wants -o OUT\n",
    )


def test_a_file_called_like_standard_input_is_asked_for_by_its_directory() -> None:
    Path("-").write_bytes(genuine())

    result = run("verify", "./-", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")


def test_where_nobody_can_be_told_what_is_wrong_the_status_still_tells() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        assert process("inspect", "nothing", stderr=full).returncode == 9


def test_signing_in_place_follows_a_link_to_the_package() -> None:
    Path("store").mkdir()
    Path("u.spkg").rename("store/u.spkg")
    Path("u.spkg").symlink_to("store/u.spkg")

    result = run("sign", "u.spkg", "--digest", "sha1", *KEY)

    assert result.exit_code == 0
    assert Path("u.spkg").is_symlink()
    assert Path("store/u.spkg").read_bytes() == genuine()
    assert files("store") == ["u.spkg"]


@contextmanager
def at_most(octets: int) -> Iterator[None]:
    """Let no file grow beyond so many octets, as a full disk does; Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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


@pytest.mark.parametrize("octets", [100, 1_150])
def test_keys_for_which_there_is_no_room_are_not_left_in_part(octets: int, here: Path) -> None:
    there = files(here)

    with at_most(octets):
        result = run("keygen", "keys")

    assert result.exit_code == 9
    assert files(here) == there


# Packages that are not what they should be.


def damaged(position: int) -> bytes:
    octets = bytearray(genuine())
    octets[position] ^= 1
    return bytes(octets)


def test_a_payload_that_was_tampered_with_is_not_trusted() -> None:
    Path("p.spkg").write_bytes(damaged(-1))
    message = "/bin/app: contents do not match the signed SHA-1 digest"

    text, document = run("verify", "p.spkg", *TRUST), run("verify", "p.spkg", *TRUST, "--json")

    assert text.exit_code == 4
    assert text.stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        f"{message}\n"
        "files: 0 of 1 are what was signed, 0 octets\n"
    )
    assert text.stderr == f"spkg: error: {message} [TR-069 E.4.3]\n"
    assert (document.exit_code, document.stderr) == (4, text.stderr)
    contents = CONTENTS[:-1] + bytes([CONTENTS[-1] ^ 1])
    assert json.loads(document.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "untrusted",
        "dates_checked": True,
        "signatures": [ACCEPTED],
        "files": [
            {
                **INTACT,
                "sha1": sha1(contents, usedforsecurity=False).hexdigest(),
                "sha256": sha256(contents).hexdigest(),
                "status": "damaged",
                "reason": "contents do not match the signed SHA-1 digest",
            }
        ],
        "uncovered": [],
        "status": "untrusted",
        "exit": 4,
        "message": f"{message} [TR-069 E.4.3]",
        "source": None,
        "offset": None,
        "field": None,
        "section": "E.4.3",
        "hint": None,
    }


@pytest.mark.parametrize(
    "args",
    [
        "extract p.spkg out --trust ca.pem --at 2026-06-01",
        "extract p.spkg out --unsafe-skip-signatures",
        "sign p.spkg -o out --key signer.key --cert signer.pem --digest sha256",
    ],
)
def test_a_payload_that_was_tampered_with_is_neither_extracted_nor_signed(args: str, here: Path) -> None:
    Path("p.spkg").write_bytes(damaged(-1))
    there = files(here)

    result = run(*args.split())

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "spkg: error: /bin/app: contents do not match the signed SHA-1 digest [TR-069 E.4.3]\n"
    )
    assert files(here) == there


def test_commands_that_were_tampered_with_are_not_trusted() -> None:
    Path("p.spkg").write_bytes(genuine().replace(b"/bin/app", b"/bin/sh!"))
    reason = "the attribute messageDigest is not that of the header and command list"

    text, document = run("verify", "p.spkg", *TRUST), run("verify", "p.spkg", *TRUST, "--json")

    assert text.exit_code == 4
    assert text.stdout == f"signature 0: CN=Test Signer, sha1: {reason}\n"
    assert text.stderr == f"spkg: error: signature[0]: {reason} [TR-069 E.5]\n"
    assert json.loads(document.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "untrusted",
        "dates_checked": None,
        "signatures": [{**ACCEPTED, "status": "refused", "reason": reason}],
        "files": [],
        "uncovered": [],
        "status": "untrusted",
        "exit": 4,
        "message": f"signature[0]: {reason} [TR-069 E.5]",
        "source": None,
        "offset": None,
        "field": None,
        "section": "E.5",
        "hint": None,
    }


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (lambda octets: octets[:-1], 20, "1 of 21 octets are missing"),
        (lambda octets: octets[:-21], 0, "21 of 21 octets are missing"),
        (lambda octets: octets + b"!", 21, "octets follow behind the 21 that the header states"),
    ],
    ids=["cut", "cut off", "trailing"],
)
@pytest.mark.parametrize("command", ["inspect", "verify", "extract", "sign", "diff"])
def test_a_payload_of_the_wrong_size_is_malformed(
    command: str, change: Callable[[bytes], bytes], place: int, problem: str, here: Path
) -> None:
    Path("p.spkg").write_bytes(change(genuine()))
    rest = {
        "inspect": (),
        "verify": TRUST,
        "extract": ("out", *TRUST),
        "sign": ("-o", "out", "--digest", "sha256", *KEY),
        "diff": ("u.spkg",),
    }
    there = files(here)

    result = run(command, "p.spkg", *rest[command])

    which = "p.spkg: " if command == "diff" else ""
    message = f"{which}offset 0x{front_size() + place:04x}: payload: {problem} [TR-069 E.3]"
    assert (result.exit_code, result.stderr) == (3, f"spkg: error: {message}\n")
    assert files(here) == there


def test_verify_prints_its_own_document_of_a_malformed_package_too() -> None:
    Path("p.spkg").write_bytes(genuine()[:-1])

    result = run("verify", "p.spkg", *TRUST, "--json")

    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "schema": "spkg.verify/1",
        "verdict": "malformed",
        "dates_checked": None,
        "signatures": [],
        "files": [],
        "uncovered": [],
        "status": "malformed",
        "exit": 3,
        "message": f"offset 0x{front_size() + 20:04x}: payload: 1 of 21 octets are missing [TR-069 E.3]",
        "source": None,
        "offset": front_size() + 20,
        "field": "payload",
        "section": "E.3",
        "hint": None,
    }


@pytest.mark.parametrize(
    ("args", "number", "message"),
    [
        ("nothing.spkg --trust ca.pem", 9, "nothing.spkg: no such file or directory"),
        ("p.spkg --trust nothing.pem", 9, "nothing.pem: no such file or directory"),
        ("p.spkg", 2, NO_TRUST[0]),
    ],
)
def test_verify_prints_its_own_document_whatever_fails(args: str, number: int, message: str) -> None:
    result = run("verify", *args.split(), "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == number
    assert {name: document.get(name) for name in ("schema", "verdict", "status", "exit", "message")} == {
        "schema": "spkg.verify/1",
        "verdict": "error",
        "status": "error",
        "exit": number,
        "message": message,
    }


def test_inspect_marks_what_is_malformed_and_is_3() -> None:
    records = (file("/bin/app"), file("/etc/motd", at=1), End())
    Path("p.spkg").write_bytes(Draft(records=records).encode().replace(b"/etc/motd", b"/etc/../x"))
    message = "offset 0x0084: command[1].path: the path has a part '..' [TR-069 E.4.3]"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (3, f"spkg: error: {message}\n")
    assert text.stdout.splitlines()[5:10] == [
        "commands: 3",
        "  0  0x0018  1  Extract File  /bin/app, 21 octets",
        "  1  0x005c  1  Extract File  (malformed)",
        "  2  0x00a1  0  End",
        f"  command 1 is malformed: {message}",
    ]
    assert (document.exit_code, document.stderr) == (3, text.stderr)
    told = {"message": message, "offset": 0x84, "field": "command[1].path", "section": "E.4.3"}
    shown = json.loads(document.stdout)
    assert shown["schema"] == "spkg.inspect/1"
    assert shown["problems"] == [told]
    assert shown["commands"][1]["fields"] is None
    assert shown["commands"][1]["problem"] == told


def test_inspect_shows_what_lies_where_nobody_looks() -> None:
    commands = encode_commands((file("/bin/app", at=2), End())) + b"tail"
    Path("p.spkg").write_bytes(Draft(commands=commands, payload=b"++" + CONTENTS, signers=()).encode())

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.splitlines()[8:] == [
        "  4 octets behind End, not looked at",
        "signature block: 37 octets at 0x0068",
        "  no signatures",
        "payload: 23 octets at 0x008d",
        "  0x00000002  21  /bin/app (command 0)",
        "  2 octets at 0x00000000 belong to no file: nobody signed them",
    ]
    shown = json.loads(document.stdout)
    assert shown["behind_end"] == 4
    assert shown["payload"]["uncovered"] == [{"offset": 0, "length": 2}]


def test_inspect_shows_a_certificate_that_cannot_be_read() -> None:
    odd_certificate = ODD["a key of an unknown kind"]()
    Path("p.spkg").write_bytes(genuine().replace(signer().der, odd_certificate))
    problem = "no certificate that can be read: Unknown key type: 1.2.840.113549.1.1.99"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.splitlines()[9:11] == [
        "  signature 0: someone certified by CN=Test Root, serial 1000, sha1",
        f"  certificate 0: {problem}",
    ]
    assert json.loads(document.stdout)["signature_block"]["certificates"] == [
        {"sha256": sha256(odd_certificate).hexdigest(), "problem": problem}
    ]


def test_inspect_shows_what_there_is_of_a_package_that_is_cut() -> None:
    Path("p.spkg").write_bytes(genuine()[:92])
    message = "offset 0x005c: command[1].type: the input ends 4 octets too early [TR-069 E.4]"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (3, f"spkg: error: {message}\n")
    assert text.stdout.splitlines()[5:] == [
        "commands: 1",
        "  0  0x0018  1  Extract File  /bin/app, 21 octets",
    ]
    shown = json.loads(document.stdout)
    assert (shown["signature_block"], shown["payload"]) == (None, None)
    assert [problem["message"] for problem in shown["problems"]] == [message]


def test_what_is_no_package_at_all_is_malformed() -> None:
    Path("p.spkg").write_bytes(b"\x1f\x8b\x08 compressed")
    message = (
        "offset 0x0000: header.preamble: 1f 8b 08 20 63 6f 6d 70 is not the preamble of a signed package "
        "[TR-069 E.3]"
    )

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stdout) == (3, "")
    assert text.stderr == f"spkg: error: {message}\nspkg: hint: it looks compressed: unpack it first\n"
    assert json.loads(document.stdout) == failure(
        "malformed",
        3,
        message,
        offset=0,
        field="header.preamble",
        section="E.3",
        hint="it looks compressed: unpack it first",
    )


def test_an_unsigned_package_is_trusted_only_where_that_is_said_by_name() -> None:
    refused = run("verify", "u.spkg", *TRUST)
    accepted = run("verify", "u.spkg", "--unsafe-allow-unsigned")
    signed_by_nobody = run("verify", "p.spkg", "--unsafe-allow-unsigned", *TIME)

    assert (refused.exit_code, refused.stdout) == (4, "")
    assert refused.stderr == "spkg: error: the package carries no signature [TR-069 E.5]\n"
    assert (accepted.exit_code, accepted.stderr) == (0, "")
    assert accepted.stdout == (
        "no signatures: accepted because --unsafe-allow-unsigned says so\n"
        "files: 1 of 1 match their commands, 21 octets\n"
        "not signed\n"
    )
    assert (
        json.loads(run("verify", "u.spkg", "--unsafe-allow-unsigned", "--json").stdout)["verdict"]
        == "unsigned"
    )
    assert signed_by_nobody.exit_code == 4


def revocations(*serials: int) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root().certificate.subject)
        .last_update(AT.replace(month=5))
        .next_update(AT.replace(month=7))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(AT.replace(month=5))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(root().key, hashes.SHA256()).public_bytes(Encoding.PEM)


REFUSALS: Final = {
    "": None,
    "--signer 'Test Signer'": None,
    "--signer 'CN=Test Signer' --signer Jane": None,
    "--signer Jane": "signature[0]: CN=Test Signer is none of the signers asked for",
    "--required-signers 2": "1 of 2 required signers",
    "--at 2024-01-01": (
        "signature[0]: CN=Test Root: certificate is not yet valid or the system clock is incorrect"
    ),
    "--at 2050-01-01": "signature[0]: CN=Test Root: certificate has expired",
    "--crl good.crl": None,
    "--crl bad.crl": "signature[0]: CN=Test Signer: certificate revoked",
    "--at 2026-08-01 --crl good.crl": "signature[0]: CN=Test Signer: CRL has expired",
    "--digests sha1": None,
    "--digests ' sha256 , sha1 '": None,
    "--digests sha256": "signature[0]: the digest algorithm sha1 is not accepted here",
    "--eku 1.3.6.1.5.5.7.3.3": None,
    "--eku 1.3.6.1.5.5.7.3.1": "signature[0]: the certificate's extendedKeyUsage is not for signing this",
}


@pytest.mark.parametrize("options", REFUSALS)
def test_the_options_of_trust_decide(options: str) -> None:
    Path("good.crl").write_bytes(revocations(77))
    Path("bad.crl").write_bytes(revocations(77, 1000))
    reason = REFUSALS[options]

    result = run("verify", "p.spkg", *TRUST, *shlex.split(options))

    assert (result.exit_code, result.stderr) == (
        (0, "") if reason is None else (4, f"spkg: error: {reason} [TR-069 E.5]\n")
    )


def test_a_signer_whose_root_is_not_trusted_is_not_trusted() -> None:
    Path("other.pem").write_bytes(authority("Other Root", with_key="other").pem)

    result = run("verify", "p.spkg", "--trust", "other.pem", *TIME)

    reason = "CN=Test Signer: unable to get local issuer certificate"
    assert result.exit_code == 4
    assert result.stdout == f"signature 0: CN=Test Signer, sha1: {reason}\n"
    assert result.stderr == (
        f"spkg: error: signature[0]: {reason} [TR-069 E.5]\n"
        "spkg: hint: the certificate of the signer's issuer is neither in the package nor trusted\n"
    )


@pytest.mark.parametrize("option", ["--trust", "--crl"])
def test_certificates_and_lists_that_cannot_be_read_are_9(option: str) -> None:
    result = run("verify", "p.spkg", *TRUST, option, "app")

    what = {"--trust": "certificate", "--crl": "revocation list"}[option]
    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == f"spkg: error: app holds no {what}\n"


# Certificates that are odd: nobody has signed that part of the block, so anybody can put them there.


def odd(old: bytes, new: bytes) -> bytes:
    """Return the signer's certificate with some octets exchanged, so that its own signature is wrong."""
    assert len(old) == len(new)
    assert signer().der.count(old) == 1
    return signer().der.replace(old, new)


ODD: Final = {
    "two extensions of one kind": lambda: odd(b"\x06\x03\x55\x1d\x13", b"\x06\x03\x55\x1d\x0f"),
    "a subject that is not UTF-8": lambda: odd(b"Test Signer", b"Test\xff\xfeigner"),
    "an issuer that is not UTF-8": lambda: odd(b"Test Root", b"Test\xffRoot"),
    "a key of an unknown kind": lambda: odd(
        bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d010163")
    ),
    "a key that can't be read": lambda: odd(b"\x02\x03\x01\x00\x01", b"\x02\x03\x80\x00\x01"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_signer_with_an_odd_certificate_is_not_trusted(kind: str) -> None:
    Path("p.spkg").write_bytes(genuine().replace(signer().der, ODD[kind]()))

    result = run("verify", "p.spkg", *TRUST)

    assert result.exit_code == 4
    assert result.stderr.startswith("spkg: error: signature[0]: ")
    assert "[(" not in result.stderr


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_certificate_beside_the_signers_harms_nobody(kind: str) -> None:
    beside = x509.load_der_x509_certificate(ODD[kind]())
    Path("p.spkg").write_bytes(Draft(signers=(replace(signer().identity(), chain=(beside,)),)).encode())

    result = run("verify", "p.spkg", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["a subject that is not UTF-8", "a key of an unknown kind"])
def test_a_certificate_that_is_odd_signs_nothing(kind: str) -> None:
    Path("odd.der").write_bytes(ODD[kind]())

    result = run("sign", "u.spkg", "--key", "signer.key", "--cert", "odd.der")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr.startswith("spkg: error: odd.der: no certificate that can be read: ")
    assert Path("u.spkg").read_bytes() == unsigned()


def with_long_name() -> Certified:
    """Return the signer with a common name of more characters than the 64 of X.520: plenty do not care."""
    template = signer().certificate
    with pytest.warns(UserWarning, match="Attribute's length must be"):
        long = x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 70, _validate=False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([long]))
        .issuer_name(template.issuer)
        .public_key(template.public_key())
        .serial_number(1000)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
    )
    return Certified(key=key("signer"), certificate=builder.sign(root().key, hashes.SHA256()))


def test_a_name_that_is_too_long_is_shown_as_it_is_and_without_warnings() -> None:
    Path("p.spkg").write_bytes(Draft(signers=identities(with_long_name())).encode())

    inspected = process("inspect", "p.spkg")
    verified = process("verify", "p.spkg", *TRUST)

    assert (inspected.returncode, inspected.stderr) == (0, "")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert inspected.stdout.splitlines()[9] == f"  signature 0: CN={'x' * 70}, serial 1000, sha1"


def test_a_serial_number_below_zero_is_shown_without_warnings() -> None:
    negative = odd(b"\x02\x02\x03\xe8", b"\x02\x02\xff\x18")
    Path("p.spkg").write_bytes(genuine().replace(signer().der, negative))

    result = process("inspect", "p.spkg")

    assert (result.returncode, result.stderr) == (0, "")


# Packages from a pipe.


def piped(octets: bytes, *args: str) -> tuple[int, str, str]:
    """Run the program in this process with a pipe as its standard input, and all of *octets* in it."""
    reading, writing = os.pipe()
    assert os.write(writing, octets) == len(octets)
    os.close(writing)
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        open(reading, encoding="utf-8") as stdin,  # noqa: PTH123 - it has no path
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        patch.setattr(sys, "stdin", stdin)
        with pytest.raises(SystemExit) as ended:
            main.main(args, prog_name="spkg")
    assert isinstance(ended.value.code, int)
    return ended.value.code, stdout.getvalue(), stderr.getvalue()


@pytest.mark.parametrize("args", ["inspect {}", "inspect {} --json", "verify {} --trust ca.pem --json"])
def test_a_package_from_a_pipe_is_shown_as_from_a_file(args: str) -> None:
    options = TIME if args.startswith("verify") else ()

    from_file = run(*args.format("p.spkg").split(), *options)
    from_pipe = piped(genuine(), *args.format("-").split(), *options)

    assert from_pipe == (0, from_file.stdout, "")


def test_a_package_from_a_pipe_is_extracted() -> None:
    assert piped(genuine(), "extract", "-", "out", *TRUST) == (0, "out: 1 file, 21 octets\n", "")
    assert Path("out/bin/app").read_bytes() == CONTENTS


def test_a_package_from_a_pipe_is_signed() -> None:
    status, _, stderr = piped(unsigned(), "sign", "-", "-o", "new.spkg", *KEY)

    assert (status, stderr) == (0, "")
    assert Path("new.spkg").read_bytes() == genuine()


@pytest.mark.parametrize("order", [("-", "p.spkg"), ("p.spkg", "-")])
def test_a_package_from_a_pipe_is_compared(order: tuple[str, str]) -> None:
    assert piped(genuine(), "diff", *order) == (0, "", "")


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (lambda: genuine()[:-1], "1 of 21 octets are missing"),
        (lambda: genuine() + b"!", "octets follow behind the 21 that the header states"),
    ],
    ids=["cut", "trailing"],
)
@pytest.mark.parametrize("command", ["verify", "extract", "sign"])
def test_a_payload_of_the_wrong_size_from_a_pipe_is_malformed(
    command: str, octets: Callable[[], bytes], problem: str, here: Path
) -> None:
    rest = {"verify": TRUST, "extract": ("out", *TRUST), "sign": ("-o", "out", "--digest", "sha256", *KEY)}
    there = files(here)

    status, _, stderr = piped(octets(), command, "-", *rest[command])

    assert status == 3
    assert re.fullmatch(rf"spkg: error: offset 0x[0-9a-f]{{4}}: payload: {problem} \[TR-069 E\.3\]\n", stderr)
    assert files(here) == there


def test_an_empty_pipe_is_malformed() -> None:
    assert piped(b"", "inspect", "-") == (
        3,
        "",
        "spkg: error: offset 0x0000: header.preamble: the input ends 8 octets too early [TR-069 E.3]\n",
    )


# What only a process can show.


def test_a_process_exits_with_the_status() -> None:
    result = process("verify", "u.spkg", *TRUST)

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == "spkg: error: the package carries no signature [TR-069 E.5]\n"


MORE: Final = """
import cli, click
@cli.main.command()
@click.option("--json", is_flag=True)
def more(json): raise ZeroDivisionError("division by zero")
cli.main()
"""


def test_a_process_shows_the_traceback_of_a_defect_where_it_is_asked_for() -> None:
    result = subprocess.run(
        [sys.executable, "-c", MORE, "--debug", "more"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith("\nZeroDivisionError: division by zero\n")


def test_a_defect_is_1_also_where_its_document_has_no_reader() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-c", MORE, "more", "--json"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)

    assert result.returncode == 1
    assert result.stderr == (
        "spkg: error: a defect in spkg: ZeroDivisionError: division by zero\n"
        "spkg: hint: please report it, with what 'spkg --debug …' prints for the same command\n"
    )


@pytest.mark.parametrize("args", ["inspect p.spkg", "verify nothing --json", "--help"])
def test_a_reader_that_has_enough_ends_the_program_quietly(args: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = process(*args.split(), stdout=writing)
    finally:
        os.close(writing)

    assert result.stderr == ""
    assert result.returncode == 9


CLOSED: Final = "import os, sys\nos.close(int(sys.argv[1]))\nos.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize(
    ("args", "descriptor", "status"),
    [
        ("inspect -", 0, 9),
        ("inspect p.spkg", 1, 9),
        ("inspect nothing", 2, 9),
        ("verify u.spkg --trust ca.pem", 2, 4),
    ],
)
def test_a_standard_stream_that_is_closed_is_no_defect(args: str, descriptor: int, status: int) -> None:
    result = process(*args.split(), prefix=(sys.executable, "-c", CLOSED, str(descriptor)))

    assert result.returncode == status


@pytest.mark.parametrize(
    "args", ["inspect p.spkg", "inspect nothing --json", "--help", "sign --help", "--version"]
)
def test_an_output_that_cannot_be_written_is_9(args: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = process(*args.split(), stdout=full)

    assert result.returncode == 9
    assert result.stderr.splitlines()[-1] == "spkg: error: standard output: no space left on device"


def test_a_terminal_that_lacks_a_character_gets_it_escaped() -> None:
    Path("p.spkg").write_bytes(Draft(records=(file("/bin/€"), End())).encode())

    result = process("inspect", "p.spkg", env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[6] == "  0  0x0018  1  Extract File  /bin/\\u20ac, 21 octets"


def test_a_value_that_is_not_utf8_is_malformed() -> None:
    result = process("build", "m.toml", "-o", "new.spkg", "--unsigned", "--set", b"package.version=\xff")

    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == "spkg: error: m.toml: package.version: the text can't be written in UTF-8\n"


@contextmanager
def started(
    *args: str, sigint: Callable[..., Any] | signal.Handlers = signal.default_int_handler
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program, with a pipe of one page as its standard input, and end it whatever happens."""
    # Who starts tests in the background may ignore SIGINT, and so would all their children.
    before = signal.signal(signal.SIGINT, sigint)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        running = subprocess.Popen(
            [*PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGHUP, hangup)
    with running:
        try:
            fcntl.fcntl(input_of(running), fcntl.F_SETPIPE_SZ, 4096)
            yield running
        finally:
            running.kill()


def input_of(running: subprocess.Popen[bytes]) -> IO[bytes]:
    assert running.stdin is not None
    return running.stdin


def close_input_of(running: subprocess.Popen[bytes]) -> None:
    """Close the pipe: a signal that comes just before a read that blocks is seen when the read ends."""
    input_of(running).close()
    running.stdin = None


SIGNALS: Final = {
    signal.SIGHUP: (129, b"", b"spkg: error: the terminal is gone\n"),
    signal.SIGTERM: (143, b"", b"spkg: error: terminated\n"),
    signal.SIGINT: (130, b"", b"spkg: error: interrupted\n"),
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "args",
    [
        "extract - out --unsafe-skip-signatures",
        "sign - -o out --key signer.key --cert signer.pem",
    ],
)
def test_a_signal_in_the_midst_of_the_payload_leaves_nothing(
    number: signal.Signals, args: str, here: Path
) -> None:
    payload = bytes(1 << 20)
    octets = Draft(records=(file("/big", payload), End()), payload=payload, signers=()).encode()
    there = files(here)

    with started(*args.split()) as running:
        # When this returns, all but one page was read: more than the front matter and any buffer behind it.
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        (part,) = here.glob(".*")
        running.send_signal(number)
        close_input_of(running)
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert re.fullmatch(r"\.out\.[0-9a-f]{8}\.part", part.name)
    assert files(here) == there
    assert (running.returncode, stdout, stderr) == SIGNALS[number]


def test_a_second_signal_does_not_disturb_the_cleaning_after_the_first(here: Path) -> None:
    payload = bytes(1 << 20)
    many = [file(f"/{number}", b"\0", at=number) for number in range(700)]
    octets = Draft(records=(*many, file("/big", payload), End()), payload=payload, signers=()).encode()

    def left() -> int:
        try:
            return len(list(part.iterdir()))
        except FileNotFoundError:
            return 0

    there = files(here)

    with started("extract", "-", "out", "--unsafe-skip-signatures") as running:
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        (part,) = here.glob(".out.*.part")
        assert left() == len(many) + 1
        running.terminate()
        close_input_of(running)
        while left() > len(many) and running.poll() is None:
            pass
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=PATIENCE)

    assert files(here) == there
    assert (running.returncode, stderr) == (143, b"spkg: error: terminated\n")


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(here: Path) -> None:
    payload = bytes(1 << 20)
    octets = Draft(records=(file("/big", payload), End()), payload=payload, signers=()).encode()

    # So a shell starts what it runs in the background, and nohup what is to live on.
    with started("extract", "-", "out", "--unsafe-skip-signatures", sigint=signal.SIG_IGN) as running:
        input_of(running).write(octets[: len(octets) // 2])
        input_of(running).flush()
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(octets[len(octets) // 2 :], timeout=PATIENCE)

    assert (running.returncode, stderr) == (
        0,
        b"spkg: hint: no signature was checked: anybody may have made these files\n",
    )
    assert Path("out/big").stat().st_size == len(payload)


def test_a_signal_ends_hashing_in_parallel() -> None:
    half = 1 << 30
    records = tuple(replace(file(f"/{at}"), file_offset=at * half, file_length=half) for at in (0, 1))
    commands = encode_commands((*records, End()))
    header = Header(command_list_length=len(commands), payload_length=2 * half).encode()
    front = Draft(records=(*records, End()), header=header).front
    Path("big.spkg").write_bytes(front)
    os.truncate("big.spkg", len(front) + 2 * half)  # takes no room, and a second to hash

    with started("verify", "big.spkg", *TRUST, "--jobs", "2") as running:
        while len(list(Path(f"/proc/{running.pid}/task").iterdir())) < 3:
            assert running.poll() is None
        running.terminate()
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout, stderr) == SIGNALS[signal.SIGTERM]


def test_a_signal_in_the_midst_of_building_leaves_nothing(here: Path) -> None:
    with Path("big").open("wb") as big:
        big.truncate(1 << 30)  # takes no room, and a second to hash
    Path("m.toml").write_text('[[step]]\nextract = "/big"\nfrom = "big"\n')
    there = files(here)

    with started("build", "m.toml", "-o", "out", "--unsigned") as running:
        while not list(here.glob(".out.*.part")):
            assert running.poll() is None
        running.terminate()
        stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stdout, stderr) == (143, b"", b"spkg: error: terminated\n")
    assert files(here) == there


# Terminals.


def on_terminal(*args: str) -> tuple[int, str]:
    """Run the program in this process with a terminal as its standard output and error."""

    def read_all(descriptor: int) -> bytes:
        octets = b""
        while True:
            try:
                octets += os.read(descriptor, 1 << 16)
            except OSError:  # EIO: so a terminal ends that nobody writes to any more
                os.close(descriptor)
                return octets

    master, slave = pty.openpty()
    with ThreadPoolExecutor(max_workers=1) as pool:
        shown = pool.submit(read_all, master)
        with (
            open(slave, "w", encoding="utf-8") as screen,  # noqa: PTH123 - it has no path
            redirect_stdout(screen),
            redirect_stderr(screen),
            pytest.raises(SystemExit) as ended,
        ):
            main.main(args, prog_name="spkg")
        text = shown.result(timeout=PATIENCE).decode()
    assert isinstance(ended.value.code, int)
    return ended.value.code, text.replace("\r\n", "\n")


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can do all that any can, whatever the one that runs the tests is."""
    for variable in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_a_terminal_has_colours(colours: None) -> None:
    assert on_terminal("verify", "p.spkg", *TRUST) == (
        0,
        (
            "\x1b[32msignature 0: CN=Test Signer, sha1: accepted\x1b[0m\n"
            "  trusted through CN=Test Root\n"
            "files: 1 of 1 are what was signed, 21 octets\n"
            "\x1b[32mtrusted\x1b[0m\n"
        ),
    )
    assert on_terminal("diff", "p.spkg", "u.spkg") == (
        10,
        "\x1b[1msigners\x1b[0m\n\x1b[33m- signer: CN=Test Signer, serial 1000, sha1\x1b[0m\n",
    )
    assert on_terminal("verify", "p.spkg") == (
        2,
        (
            f"\x1b[31m\x1b[1mspkg: error:\x1b[0m {NO_TRUST[0]}\n"
            f"\x1b[36m\x1b[1mspkg: hint:\x1b[0m {NO_TRUST[1]}\n"
        ),
    )


def test_a_terminal_has_no_colours_where_nobody_wants_them(
    colours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    verified, refused = on_terminal("verify", "p.spkg", *TRUST), on_terminal("verify", "p.spkg")

    assert verified == (0, run("verify", "p.spkg", *TRUST).stdout)
    assert refused == (2, run("verify", "p.spkg").stderr)


def test_a_terminal_that_can_do_nothing_has_no_colours(
    colours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert on_terminal("verify", "p.spkg", *TRUST) == (0, run("verify", "p.spkg", *TRUST).stdout)


def test_documents_have_no_colours(colours: None) -> None:
    status, text = on_terminal("verify", "p.spkg", *TRUST, "--json")

    assert (status, text) == (0, run("verify", "p.spkg", *TRUST, "--json").stdout)


@pytest.fixture
def long_work() -> None:
    """A manifest of a package that is long work to build."""
    with Path("big").open("wb") as big:
        big.truncate(cli.LONG_WORK)
    Path("m.toml").write_text('[[step]]\nextract = "/big"\nfrom = "big"\n')


def test_long_work_draws_its_progress_on_a_terminal_and_wipes_it(colours: None, long_work: None) -> None:
    status, text = on_terminal("build", "m.toml", "-o", "new.spkg", "--unsigned")

    assert status == 0
    assert "building" in text
    assert text.endswith("new.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\x1b[0m\n")


def test_progress_is_drawn_only_where_it_is_wanted(colours: None, long_work: None) -> None:
    unwanted = on_terminal("build", "m.toml", "-o", "a.spkg", "--unsigned", "--no-progress")
    off_terminal = run("build", "m.toml", "-o", "b.spkg", "--unsigned")
    short = on_terminal("build", "m.toml", "-o", "nowhere/c.spkg", "--unsigned")

    assert unwanted == (
        0,
        "\x1b[32ma.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\x1b[0m\n",
    )
    assert (off_terminal.exit_code, off_terminal.stderr) == (0, "")
    assert off_terminal.stdout == "b.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\n"
    assert short[0] == 9


# What comes from an input controls no terminal.

HOSTILE: Final = "\x1b[2Jowned\x07\u202e\x9b31m\u2028"
ESCAPED: Final = r"\x1b[2Jowned\x07\u202e\x9b31m\u2028"
QUOTED: Final = r"\u001b[2Jowned\u0007\u202e\u009b31m\u2028"


def is_harmless(text: str) -> bool:
    """Whether text has no character but visible ones and line ends."""
    return all(
        char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        for char in text
    )


@cache
def hostile_package() -> bytes:
    someone = certify(f"Evil{HOSTILE}", root())
    records = (
        Description(text=f"line\nbreak{HOSTILE}"),
        file(f"/bin/{HOSTILE}"),
        file(f"/bin/{HOSTILE}", b"echo", at=10),
        End(),
    )
    return Draft(records=records, signers=identities(someone)).encode()


HOSTILE_PLACES: Final = {
    "inspect {}": 0,
    "verify {} --trust ca.pem": 0,
    "verify {} --trust ca.pem --signer Jane": 4,
    "extract {} out --trust ca.pem": 0,
    "extract {} out --unsafe-skip-signatures --manifest": 0,
    "diff p.spkg {}": 10,
    "diff {} p.spkg": 10,
}


@pytest.mark.parametrize("json_too", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("args", HOSTILE_PLACES)
def test_nothing_in_a_package_controls_the_terminal(args: str, json_too: tuple[str, ...]) -> None:
    Path("evil.spkg").write_bytes(hostile_package())
    time = TIME if "--trust" in args else ()

    result = run(*args.format("evil.spkg").split(), *time, *json_too)

    assert result.exit_code == HOSTILE_PLACES[args]
    assert is_harmless(result.stdout)
    assert is_harmless(result.stderr)
    assert "owned" in result.stdout + result.stderr or args.startswith("extract {} out --trust")


def test_what_is_hostile_is_shown_escaped() -> None:
    Path("evil.spkg").write_bytes(hostile_package())

    result = run("inspect", "evil.spkg")

    lines = result.stdout.splitlines()
    assert lines[6:8] == [
        f'  0  0x0018  11  Description   "line\\nbreak{QUOTED}"',
        f"  1  0x003f  1   Extract File  /bin/{ESCAPED}, 21 octets",
    ]
    assert lines[11] == f"  signature 0: CN=Evil{ESCAPED}, serial 1000, sha1"


def test_damage_under_a_hostile_path_is_told_escaped() -> None:
    Path("evil.spkg").write_bytes(hostile_package()[:-1] + b"?")

    result = run("verify", "evil.spkg", *TRUST)

    assert result.exit_code == 4
    assert result.stderr == (
        f"spkg: error: /bin/{ESCAPED}: contents do not match the signed SHA-1 digest [TR-069 E.4.3]\n"
    )


HOSTILE_NAME: Final = f"p{HOSTILE}.spkg"
ESCAPED_NAME: Final = f"p{ESCAPED}.spkg"


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (("keygen", HOSTILE_NAME), 0, f"{ESCAPED_NAME}: ca.pem, signer.pem, signer.key\n"),
        (
            ("build", "m.toml", "-o", HOSTILE_NAME, "--unsigned"),
            0,
            f"{ESCAPED_NAME}: 2 commands, 1 file, payload of 21 octets, not signed\n",
        ),
        (
            ("sign", "p.spkg", "-o", HOSTILE_NAME, "--digest", "sha256", *KEY),
            0,
            f"{ESCAPED_NAME}: signed by CN=Test Signer with sha256, 2 signatures\n",
        ),
        (("extract", "p.spkg", HOSTILE_NAME, *TRUST), 0, f"{ESCAPED_NAME}: 1 file, 21 octets\n"),
        (("inspect", HOSTILE_NAME), 9, f"spkg: error: {ESCAPED_NAME}: no such file or directory\n"),
        (
            ("inspect", os.fsdecode(b"p\xff.spkg")),
            9,
            "spkg: error: p\\udcff.spkg: no such file or directory\n",
        ),
        (
            ("verify", "p.spkg", "--trust", "ca.pem", "--digests", HOSTILE),
            2,
            f"spkg: error: --digests takes sha1, sha256 or both, not {HOSTILE!r}\n",
        ),
        ((HOSTILE,), 2, f"spkg: error: no such command {HOSTILE!r}\nspkg: hint: {USAGE['']}\n"),
    ],
)
def test_names_on_the_command_line_are_told_escaped(args: tuple[str, ...], status: int, told: str) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout + result.stderr) == (status, told)


def test_names_in_a_document_are_told_escaped() -> None:
    result = run("inspect", os.fsdecode(b"p\xff.spkg"), "--json")

    assert is_harmless(result.stdout)
    assert json.loads(result.stdout)["message"] == "p\udcff.spkg: no such file or directory"


def test_the_version_is_that_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    result = run("--version")

    assert (result.exit_code, result.stdout, result.stderr) == (0, f"spkg {version}\n", "")
