"""What comes from an input controls no terminal."""

import json
import os
import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from spkg.format.commands import Description, End
from spkg.report.keygen import keys_lines
from tests.support.commands import USAGE, run
from tests.support.kit import Draft, certify, file, root
from tests.support.package_files import KEY, TIME, TRUST, furnish, identities

HOSTILE: Final = "\x1b[2Jowned\x07\u202e\x9b31m\u2028"
ESCAPED: Final = r"\x1b[2Jowned\x07\u202e\x9b31m\u2028"
QUOTED: Final = r"\u001b[2Jowned\u0007\u202e\u009b31m\u2028"
HOSTILE_PLACES: Final = {
    "inspect {}": 0,
    "verify {} --trust ca.pem": 0,
    "verify {} --trust ca.pem --signer Jane": 4,
    "extract {} out --trust ca.pem": 0,
    "extract {} out --unsafe-skip-signatures --manifest": 0,
    "diff p.spkg {}": 10,
    "diff {} p.spkg": 10,
}
HOSTILE_NAME: Final = f"p{HOSTILE}.spkg"
ESCAPED_NAME: Final = f"p{ESCAPED}.spkg"
MADE: Final = "".join(f"{line}\n" for _, line in keys_lines(ESCAPED_NAME, requests=False))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


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
        f"  1  0x003f  1   Extract File  /bin/{ESCAPED}, 21 bytes",
    ]
    assert lines[11] == f"  signature 0: CN=Evil{ESCAPED}, serial 03E8, sha1"


def test_damage_under_a_hostile_path_is_told_escaped() -> None:
    Path("evil.spkg").write_bytes(hostile_package()[:-1] + b"?")

    result = run("verify", "evil.spkg", *TRUST)

    assert result.exit_code == 4
    assert result.stderr == (
        f"spkg: error: /bin/{ESCAPED}: contents do not match the signed SHA-1 digest [TR-069 E.4.3]\n"
    )


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (("keygen", HOSTILE_NAME), 0, MADE),
        (
            ("build", "m.toml", "-o", HOSTILE_NAME, "--unsigned"),
            0,
            f"{ESCAPED_NAME}: 2 commands, 1 file, payload of 21 bytes, not signed\n",
        ),
        (
            ("sign", "p.spkg", "-o", HOSTILE_NAME, "--digest", "sha256", *KEY),
            0,
            f"{ESCAPED_NAME}: signed by CN=Test Signer with sha256, 2 signatures\n",
        ),
        (("extract", "p.spkg", HOSTILE_NAME, *TRUST), 0, f"{ESCAPED_NAME}: 1 file, 21 bytes\n"),
        (("inspect", HOSTILE_NAME), 9, f"spkg: error: {ESCAPED_NAME}: no such file or directory\n"),
        (
            ("inspect", os.fsdecode(b"p\xff.spkg")),
            9,
            "spkg: error: p\\xff.spkg: no such file or directory\n",
        ),
        (
            ("verify", "p.spkg", "--trust", "ca.pem", "--digests", HOSTILE),
            2,
            f"spkg: error: --digests takes sha1, sha256 or both, not {HOSTILE!r}\n",
        ),
        ((HOSTILE,), 2, f"spkg: error: no such command {HOSTILE!r}\nspkg: hint: {USAGE}\n"),
    ],
)
def test_names_on_the_command_line_are_told_escaped(args: tuple[str, ...], status: int, told: str) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout + result.stderr) == (status, told)


def test_names_in_a_document_are_told_escaped() -> None:
    result = run("inspect", os.fsdecode(b"p\xff.spkg"), "--json")

    assert is_harmless(result.stdout)
    assert json.loads(result.stdout)["message"] == "p\\xff.spkg: no such file or directory"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (
            ("timeline", "p.spkg", "--rate", "\udce4"),
            "invalid value for '--rate': '\\xe4' is not a rate such as",
        ),
        (("l\udce4",), "no such command 'l\\xe4'"),
        (("fetch", "\udce4", "-o", "out", *TRUST), "'\\xe4' is not a URL"),
    ],
)
def test_a_byte_that_is_no_text_is_told_as_one(args: tuple[str, ...], told: str) -> None:
    result = run(*args)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"spkg: error: {told}")
