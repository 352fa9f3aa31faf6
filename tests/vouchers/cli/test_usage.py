"""What all commands of the side of the device say of wrong usage, and of what they can not read."""

import json
from base64 import b64encode, encodebytes
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support import commands
from tests.support.commands import NO_TRUST, error, failure
from tests.support.kit import Draft
from tests.support.voucher_files import (
    ANCHOR,
    APPLY,
    HERE,
    STORE,
    TIME,
    TRUST,
    failed,
    furnish,
    genuine,
    process,
    run,
    told,
)
from vouchers.signature.shape import MAX_VOUCHER

USAGE: Final = {
    "verify": "Usage: spkg voucher verify [OPTIONS] FILE",
    "inspect": "Usage: spkg voucher inspect [OPTIONS] FILE",
    "apply": "Usage: spkg voucher apply [OPTIONS] FILE...",
    "options": "Usage: spkg voucher options [OPTIONS]",
    "setup": "Usage: spkg voucher setup [OPTIONS] NAME",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("verify", "v.xml"), NO_TRUST),
        (("apply", "v.xml", *HERE), NO_TRUST),
        (("verify", "v.xml", *TRUST, "--no-clock"), ("--at and --no-clock are mutually exclusive",)),
        (("apply", "v.xml", *APPLY, "--no-clock"), ("--at and --no-clock are mutually exclusive",)),
        (
            ("verify", "v.xml", *TRUST, "--digests", "md5"),
            ("--digests takes sha1, sha256 or both, not 'md5'",),
        ),
        (("verify", "v.xml", *TRUST, "--eku", "x"), ("--eku takes an OID, not 'x'",)),
        (("verify",), ("missing argument 'FILE'", USAGE["verify"])),
        (
            ("verify", "v.xml", "vpn.xml", *TRUST),
            ("got unexpected extra argument (vpn.xml)", USAGE["verify"]),
        ),
        (
            ("verify", "v.xml", *ANCHOR, "--at", "never"),
            (
                "invalid value for '--at': 'never' is not a time such as 2026-11-21T12:00:00Z",
                USAGE["verify"],
            ),
        ),
        (("inspect",), ("missing argument 'FILE'", USAGE["inspect"])),
        (("apply", *APPLY), ("missing argument 'FILE...'", USAGE["apply"])),
        (("apply", "v.xml", *TRUST, *STORE), ("missing option '--device'", USAGE["apply"])),
        (
            ("apply", "v.xml", *TRUST, "--device", "device.toml"),
            ("missing option '--store'", USAGE["apply"]),
        ),
        (("options",), ("missing option '--store'", USAGE["options"])),
        (
            ("options", "--store", ""),
            ("invalid value for '--store': a path can't be empty", USAGE["options"]),
        ),
        (("setup", *STORE), ("missing argument 'NAME'", USAGE["setup"])),
        (("setup", "QoS"), ("missing option '--store'", USAGE["setup"])),
    ],
)
def test_wrong_usage_is_said_and_does_nothing(args: tuple[str, ...], problem: tuple[str, ...]) -> None:
    result = run(*args)

    assert told(result) == failed(2, *problem)
    assert not Path("o.db").exists()


def test_wrong_usage_has_a_document_too() -> None:
    verify, apply = run("verify", "v.xml", "--json"), run("apply", "v.xml", *HERE, "--json")

    problem = failure("error", 2, NO_TRUST[0], hint=NO_TRUST[1])
    assert (verify.exit_code, json.loads(verify.stdout)) == (
        2,
        {
            "schema": "spkg.voucher.verify/1",
            "verdict": "error",
            "dates_checked": None,
            "signer": None,
            "digest": None,
            "options": [],
            "warnings": [],
            **problem,
        },
    )
    document = error("error", 2, NO_TRUST[0], hint=NO_TRUST[1])
    assert (apply.exit_code, json.loads(apply.stdout)) == (2, document)


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (("verify", "no.xml", *TRUST), "no.xml"),
        (("verify", "v.xml", "--trust", "no.pem"), "no.pem"),
        (("verify", "v.xml", *TRUST, "--crl", "no.crl"), "no.crl"),
        (("verify", "v.xml", *TRUST, "--device", "no.toml"), "no.toml"),
        (("inspect", "no.xml"), "no.xml"),
        (("apply", "v.xml", "no.xml", *APPLY), "no.xml"),
        (("apply", "v.xml", *TRUST, *STORE, "--device", "no.toml"), "no.toml"),
    ],
)
def test_a_file_that_is_not_there_is_named(args: tuple[str, ...], missing: str) -> None:
    result = run(*args)

    assert told(result) == failed(9, f"{missing}: no such file or directory")
    assert not Path("o.db").exists()


def test_a_device_that_is_malformed_is_named() -> None:
    Path("device.toml").write_text("[device]\noui = 7\n")

    verify, apply = run("verify", "v.xml", *TRUST, "--device", "device.toml"), run("apply", "v.xml", *APPLY)

    wanted = failed(3, "device.toml:2: device.oui: must be a string in quotes")
    assert (told(verify), told(apply)) == (wanted, wanted)


# What is no voucher, for all commands that read one.


NONE: Final[Mapping[str, tuple[bytes, str]]] = {
    "package": (
        Draft().encode(),
        "expected a voucher, got a package [TR-069 C.3]\nspkg: hint: use 'spkg verify' for packages",
    ),
    "nothing": (b"", "offset 0x0000: malformed XML: document is empty [TR-069 C.3]"),
    "words": (b"hello, world", "not a voucher: neither XML nor base64 [TR-069 C.3]"),
    "other XML": (b"<a/>", "a: must be a Signature of XML-Signature (line 1) [TR-069 C.3]"),
    "XML in base64": (
        b64encode(b"<a/>"),
        "a: must be a Signature of XML-Signature (line 1) [TR-069 C.3]",
    ),
    "base64 twice": (
        b64encode(b64encode(genuine())),
        "offset 0x0000: malformed XML: start tag expected, '<' not found [TR-069 C.3]",
    ),
    "an octet too many": (
        genuine().ljust(MAX_VOUCHER + 1),
        "a voucher must have at most 262144 bytes [TR-069 C.3]",
    ),
    "an octet too many in base64": (
        encodebytes(genuine().ljust(MAX_VOUCHER + 1)),
        "a voucher must have at most 262144 bytes [TR-069 C.3]",
    ),
    "far too large": (
        genuine().ljust(1 << 20),
        "a voucher must have at most 262144 bytes [TR-069 C.3]",
    ),
    "far too much base64": (
        b"A" * (1 << 20),
        "a voucher must have at most 262144 bytes, got more [TR-069 C.3]",
    ),
}


@pytest.mark.parametrize("command", ["verify", "inspect", "apply"])
@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_voucher_is_said_of_its_file(command: str, kind: str) -> None:
    octets, problem = NONE[kind]
    Path("x").write_bytes(octets)
    options = {"verify": TRUST, "inspect": (), "apply": APPLY}[command]

    result = run(command, "x", *options)

    assert told(result) == failed(3, f"x: {problem}")
    assert not Path("o.db").exists()


def test_a_file_that_never_ends_is_too_large() -> None:
    result = run("inspect", "/dev/zero")

    assert told(result) == failed(
        3, "/dev/zero: a voucher must have at most 262144 bytes, got more [TR-069 C.3]"
    )


@pytest.mark.parametrize("command", ["options", "setup", "apply"])
def test_a_store_is_a_file_and_no_stream(command: str) -> None:
    args = {"options": (), "setup": ("QoS",), "apply": ("v.xml", *TRUST, "--device", "device.toml")}[command]

    result = run(command, *args, "--store", "-")

    assert told(result) == failed(2, "--store needs a file, not standard input or output")


def test_standard_input_is_one_voucher() -> None:
    result = run("apply", "-", "v.xml", "-", *APPLY)

    assert told(result) == failed(2, "only one voucher can come from standard input")


def test_what_is_no_voucher_on_standard_input_is_said_of_it() -> None:
    result = process("verify", "-", *TRUST, given=b"")

    assert (result.returncode, result.stdout, result.stderr) == failed(
        3, "-: offset 0x0000: malformed XML: document is empty [TR-069 C.3]"
    )


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_voucher_is_no_package(command: str) -> None:
    options = TRUST if command == "verify" else ()

    result = commands.run(command, "v.xml", *options)

    assert told(result)[:2] == (3, "")
    assert result.stderr == (
        "spkg: error: v.xml: offset 0x0000: header.preamble: not a signed package: it begins with '<Signatu'"
        " [TR-069 E.3]\n"
        "spkg: hint: if it is a voucher, use the commands of 'spkg voucher'\n"
    )


# What is no store.


@pytest.mark.parametrize("args", [("options", *STORE), ("options", *STORE, *TIME), ("setup", "QoS", *STORE)])
def test_a_store_that_is_not_there_is_not_made(args: tuple[str, ...]) -> None:
    result = run(*args)

    assert told(result) == failed(9, "o.db: unable to open database file")
    assert not Path("o.db").exists()


@pytest.mark.parametrize(
    "args",
    [
        ("options", *STORE),
        ("options", *STORE, *TIME),
        ("setup", "QoS", *STORE),
        ("apply", "v.xml", *APPLY),
    ],
)
def test_a_file_that_is_no_store_is_named_and_left_alone(args: tuple[str, ...]) -> None:
    Path("o.db").write_bytes(genuine())

    result = run(*args)

    assert told(result) == failed(9, "o.db: file is not a database")
    assert Path("o.db").read_bytes() == genuine()
