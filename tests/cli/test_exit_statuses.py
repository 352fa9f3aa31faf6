"""How every command ends: the status, the line and the document of every kind of failure."""

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

import spkg
from spkg.cli.app import EXIT_DEFECT, EXIT_DIFFERENT, EXIT_FOR, exit_status
from spkg.errors import SpkgError
from spkg.verify.contents import DamagedPayloadError, PayloadReport
from spkg.verify.signatures import UntrustedPackageError
from tests.support.commands import PATIENCE, error, process, run, with_command
from tests.support.kit import ROOT
from tests.support.package_files import KEY, TRUST, furnish, genuine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


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
        "HostError": 9,
    }
    assert (EXIT_DEFECT, EXIT_DIFFERENT) == (1, 10)


DOCUMENTED: Final = (
    "build m.toml -o new.spkg --unsigned",
    "inspect p.spkg",
    "verify p.spkg --trust ca.pem",
    "verify nothing.spkg --trust ca.pem",
    "extract p.spkg out --unsafe-skip-signatures",
    "diff p.spkg u.spkg",
    "diff p.spkg u.spkg --text",
    "list p.spkg",
    "list nothing.spkg",
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


def test_wrong_usage_is_2() -> None:
    args = ("build", "m.toml", "-o", "p.spkg", "--unsigned")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout) == (2, "")
    assert text.stderr == "spkg: error: p.spkg already exists\nspkg: hint: overwrite it with --force\n"
    assert (document.exit_code, document.stderr) == (2, text.stderr)
    assert json.loads(document.stdout) == error(
        "error", 2, "p.spkg already exists", hint="overwrite it with --force"
    )


def test_a_malformed_package_is_3_and_located_to_the_octet() -> None:
    Path("p.spkg").write_bytes(genuine()[:50])
    message = "p.spkg: offset 0x0032: command[0]: the input ends 42 bytes too early [TR-069 E.4]"
    args = ("diff", "p.spkg", "u.spkg")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (3, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (3, text.stderr)
    assert json.loads(document.stdout) == error(
        "malformed", 3, message, source="p.spkg", offset=50, field="command[0]", section="E.4"
    )


def test_a_malformed_manifest_is_3_and_located_to_the_key() -> None:
    Path("m.toml").write_text('[package]\nversoin = "1"\n')
    message = "m.toml:2: package.versoin: unknown key; did you mean 'version'?"
    args = ("build", "m.toml", "-o", "new.spkg", "--unsigned")

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (3, "", f"spkg: error: {message}\n")
    assert json.loads(document.stdout) == error(
        "malformed", 3, message, source="m.toml", field="package.versoin"
    ) | {"line": 2}


def test_an_untrusted_package_is_4() -> None:
    args = ("extract", "u.spkg", "out", *TRUST)
    message = "the package carries no signature [TR-069 E.5]"

    text, document = run(*args), run(*args, "--json")

    assert (text.exit_code, text.stdout, text.stderr) == (4, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (4, text.stderr)
    assert json.loads(document.stdout) == error("untrusted", 4, message, section="E.5")
    assert not Path("out").exists()


def test_signing_twice_is_5_and_changes_nothing() -> None:
    result = run("sign", "p.spkg", *KEY)

    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == "spkg: error: CN=Test Signer has already signed this package with sha1\n"
    assert Path("p.spkg").read_bytes() == genuine()


def test_an_input_that_is_not_there_is_9() -> None:
    text, document = run("inspect", "nothing.spkg"), run("inspect", "nothing.spkg", "--json")

    message = "nothing.spkg: no such file or directory"
    assert (text.exit_code, text.stdout, text.stderr) == (9, "", f"spkg: error: {message}\n")
    assert (document.exit_code, document.stderr) == (9, text.stderr)
    assert json.loads(document.stdout) == error("error", 9, message)


def test_a_process_exits_with_the_status() -> None:
    result = process("verify", "u.spkg", *TRUST)

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == "spkg: error: the package carries no signature [TR-069 E.5]\n"


# Defects.


def divide() -> None:
    raise ZeroDivisionError("division by\nzero")


def test_a_defect_is_1_and_one_line() -> None:
    group = with_command(divide)

    text, document = run("more", group=group), run("more", "--json", group=group)

    message = "a defect in spkg: ZeroDivisionError: division by\nzero"
    assert (text.exit_code, text.stdout) == (1, "")
    assert text.stderr == (
        "spkg: error: a defect in spkg: ZeroDivisionError: division by\\nzero\n"
        "spkg: hint: please report it with the output of 'spkg --debug …' for the same command\n"
    )
    assert (document.exit_code, document.stderr) == (1, text.stderr)
    assert json.loads(document.stdout) == error("error", 1, message)


def test_the_traceback_of_a_defect_is_shown_where_it_is_asked_for() -> None:
    result = run("--debug", "more", group=with_command(divide))

    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)
    assert (result.stdout, result.stderr) == ("", "")


def test_a_failure_that_is_no_defect_has_no_traceback() -> None:
    result = run("--debug", "inspect", "nothing.spkg")

    assert (result.exit_code, result.stdout) == (9, "")
    assert result.stderr == "spkg: error: nothing.spkg: no such file or directory\n"


MORE: Final = """
import cli, click
@cli.main.command()
@click.option("--json", "as_json", is_flag=True)
def more(as_json): raise ZeroDivisionError("division by zero")
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
        "spkg: hint: please report it with the output of 'spkg --debug …' for the same command\n"
    )
