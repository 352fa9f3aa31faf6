"""What all commands say of inputs: those that can not be read, that come from a pipe, or that are damaged."""

import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import files, main, process, run
from tests.support.kit import CONTENTS
from tests.support.package_files import (
    KEY,
    TIME,
    TRUST,
    complete,
    damaged,
    front_size,
    furnish,
    genuine,
    unsigned,
)

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


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize(
    ("reader", "spoilt"),
    [
        (reader, spoilt)
        for reader in READERS
        for spoilt in SPOILT
        if (reader, spoilt) != ("trust", "directory")
    ],
)
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


def test_a_file_called_like_standard_input_is_asked_for_by_its_directory() -> None:
    Path("-").write_bytes(genuine())

    result = run("verify", "./-", *TRUST)

    assert (result.exit_code, result.stderr) == (0, "")


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
    assert piped(genuine(), "extract", "-", "out", *TRUST) == (0, "out: 1 file, 21 bytes\n", "")
    assert Path("out/bin/app").read_bytes() == CONTENTS


def test_a_package_from_a_pipe_is_listed() -> None:
    assert piped(genuine(), "list", "-") == (0, run("list", "p.spkg").stdout, "")


def test_a_package_from_a_pipe_is_signed() -> None:
    status, _, stderr = piped(unsigned(), "sign", "-", "-o", "new.spkg", *KEY)

    assert (status, stderr) == (0, "")
    assert Path("new.spkg").read_bytes() == complete()


@pytest.mark.parametrize("order", [("-", "p.spkg"), ("p.spkg", "-")])
def test_a_package_from_a_pipe_is_compared(order: tuple[str, str]) -> None:
    assert piped(genuine(), "diff", *order) == (0, "", "")


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (lambda: genuine()[:-1], "1 of 21 bytes are missing"),
        (lambda: genuine() + b"!", "more data follows after the 21 bytes that the header states"),
    ],
    ids=["cut", "trailing"],
)
@pytest.mark.parametrize("command", ["verify", "extract", "sign", "cat"])
def test_a_payload_of_the_wrong_size_from_a_pipe_is_malformed(
    command: str, octets: Callable[[], bytes], problem: str, here: Path
) -> None:
    rest = {
        "verify": TRUST,
        "extract": ("out", *TRUST),
        "sign": ("-o", "out", "--digest", "sha256", *KEY),
        "cat": ("/bin/app", *TRUST),
    }
    there = files(here)

    status, _, stderr = piped(octets(), command, "-", *rest[command])

    assert status == 3
    assert re.fullmatch(rf"spkg: error: offset 0x[0-9a-f]{{4}}: payload: {problem} \[TR-069 E\.3\]\n", stderr)
    assert files(here) == there


def test_an_empty_pipe_is_malformed() -> None:
    assert piped(b"", "inspect", "-") == (
        3,
        "",
        "spkg: error: offset 0x0000: header.preamble: the input ends 8 bytes too early [TR-069 E.3]\n",
    )


# Packages that are not what they should be.


@pytest.mark.parametrize(
    "args",
    [
        "extract p.spkg out --trust ca.pem --at 2026-06-01",
        "extract p.spkg out --unsafe-skip-signatures",
        "cat p.spkg /bin/app --trust ca.pem --at 2026-06-01",
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


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (lambda octets: octets[:-1], 20, "1 of 21 bytes are missing"),
        (lambda octets: octets[:-21], 0, "21 of 21 bytes are missing"),
        (lambda octets: octets + b"!", 21, "more data follows after the 21 bytes that the header states"),
    ],
    ids=["cut", "cut off", "trailing"],
)
@pytest.mark.parametrize("command", ["inspect", "list", "verify", "extract", "cat", "sign", "diff"])
def test_a_payload_of_the_wrong_size_is_malformed(
    command: str, change: Callable[[bytes], bytes], place: int, problem: str, here: Path
) -> None:
    Path("p.spkg").write_bytes(change(genuine()))
    rest = {
        "inspect": (),
        "list": (),
        "verify": TRUST,
        "extract": ("out", *TRUST),
        "cat": ("/bin/app", *TRUST),
        "sign": ("-o", "out", "--digest", "sha256", *KEY),
        "diff": ("u.spkg",),
    }
    there = files(here)

    result = run(command, "p.spkg", *rest[command])

    which = "p.spkg: " if command == "diff" else ""
    message = f"{which}offset 0x{front_size() + place:04x}: payload: {problem} [TR-069 E.3]"
    assert (result.exit_code, result.stderr) == (3, f"spkg: error: {message}\n")
    assert files(here) == there
