"""What comes from a voucher can't control a terminal, and garbage is no defect."""

import json
import re
import unicodedata
from base64 import encodebytes
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.support.sampling import amount, chance
from tests.support.voucher_files import (
    ANCHOR,
    APPLY,
    STORE,
    TIME,
    TRUST,
    applied,
    failed,
    furnish,
    genuine,
    one,
    run,
    specification,
    told,
)
from tests.support.voucher_kit import DEVICE, IPTV, QOS

HOSTILE: Final = replace(
    QOS,
    serial="4\u202e",
    device=replace(DEVICE, manufacturer="\x9b31m\nspkg: error: none\r", product_class="\x7f\u2066"),
    ident="Q\x9b2J\u202eoS\nx",
    description="\u2028\u00a0\t\x85\u200b",
    extra=(("Note", "\x9b2J\nspkg: hint: none"), ("More", (("Inner", "b\u202e"),))),
)
HOSTILE_DEVICE: Final = (
    '[device]\noui = "00D09E"\nproduct-class = "\\u007F\\u2066"\nserial-number = "123456789"\n'
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def hostile() -> None:
    Path("v.xml").write_bytes(one(HOSTILE, subject="Evil\x9b2J\u202e"))
    Path("device.toml").write_text(HOSTILE_DEVICE)


def assert_harmless(*texts: str) -> None:
    """Nothing but visible characters, spaces and the ends of our own lines."""
    for text in texts:
        found = {unicodedata.name(char, hex(ord(char))) for char in text if not harmless(char)}
        assert not found


def harmless(char: str) -> bool:
    return char in "\n " or unicodedata.category(char)[0] not in "CZ"


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["people", "programs"])
def test_a_hostile_voucher_controls_no_terminal(as_json: tuple[str, ...]) -> None:
    hostile()
    name = HOSTILE.ident

    results = [
        run("inspect", "v.xml", *as_json),
        run("verify", "v.xml", *TRUST, *as_json),
        run("verify", "v.xml", *TRUST, "--device", "plain.toml", *as_json),
        run("verify", "v.xml", *TRUST, "--signer", "Somebody", *as_json),
        run("apply", "v.xml", *APPLY, *as_json),
        run("apply", "v.xml", *APPLY, *as_json),
        run("options", *STORE, *TIME, *as_json),
        run("options", *STORE, *TIME, "--name", name, *as_json),
        run("options", *STORE, *TIME, "--name", f"{name}\x1b[2J", *as_json),
    ]

    assert [result.exit_code for result in results] == [0, 0, 5, 4, 0, 0, 0, 0, 2]
    stdout = "".join(result.stdout for result in results)
    assert_harmless(stdout, *(one.stderr for one in results))
    assert not {line for line in stdout.splitlines() if line.startswith("spkg: ")}


def test_a_hostile_voucher_is_shown_line_by_line() -> None:
    hostile()

    result = run("apply", "v.xml", *APPLY)

    assert told(result) == (
        0,
        "Q\\x9b2J\\u202eoS\\nx: enabled, by voucher 4\\u202e\n  signed by CN=Evil\\x9b2J\\u202e\n",
        "",
    )


def test_a_hostile_name_is_set_up_and_does_no_harm() -> None:
    hostile()
    applied("v.xml")

    known, unknown = (run("setup", name, *STORE) for name in (HOSTILE.ident, "\x1b[31m\n"))

    assert told(known) == (0, "Q\\x9b2J\\u202eoS\\nx: set up\n", "")
    assert unknown.exit_code == 2
    assert_harmless(known.stdout, unknown.stderr)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Television", b"\x1b[31m"),
        (b"<Mode>EnableWithExpiration", "<Mode>\u202e\x9b".encode()),
        (b"<Duration>12", "<Duration>\u202e\x9b".encode()),
        (b"<StartDate>2026", "<StartDate>\u202e\x9b".encode()),
        (b"#rsa-sha256", "#\u202e\x9b2J".encode()),
        (b"#sha256", "#\u202e\x9b2J".encode()),
        (b"OptionDesc>", "Option\u200dDesc>".encode()),
        (b"<SignatureValue>", "<SignatureValue>\u202e\x9b".encode()),
        (b'Id="option0"', 'Id="\u202e\x9b"'.encode()),
        (b"Television", b"\x1b]0;\xff\x07"),
    ],
)
def test_what_is_wrong_with_hostile_text_is_told_without_harm(old: bytes, new: bytes) -> None:
    Path("v.xml").write_bytes(genuine().replace(old, new))

    results = [
        run(*command, *as_json)
        for command in (("inspect", "v.xml"), ("verify", "v.xml", *TRUST), ("apply", "v.xml", *APPLY))
        for as_json in ((), ("--json",))
    ]

    assert {result.exit_code for result in results[2:]} <= {3, 4}
    assert_harmless(*(result.stdout + result.stderr for result in results))


def test_a_hostile_file_name_is_told_without_harm() -> None:
    result = run("verify", "\x1b[31m\u202e.xml", *TRUST)

    assert told(result) == failed(9, "\\x1b[31m\\u202e.xml: no such file or directory")


# Garbage.


def spoiled(octets: bytes, random: Random) -> bytes:
    """Return a voucher that is hardly one any more."""
    match random.randrange(6):
        case 0:
            return random.randbytes(random.randrange(2000))
        case 1:
            return octets[: random.randrange(len(octets))]
        case 2:
            spots = bytearray(octets)
            for _ in range(random.randrange(1, 20)):
                spots[random.randrange(len(spots))] = random.randrange(256)
            return bytes(spots)
        case 3:
            start, end = sorted(random.randrange(len(octets)) for _ in range(2))
            return octets[:start] + octets[end:]
        case 4:
            start, end, at = (random.randrange(len(octets)) for _ in range(3))
            return octets[:at] + octets[start : start + end] + octets[at:]
        case _:
            tags = re.findall(rb"</?[\w:]+[^>]*>", octets)
            old, new = random.choice(tags), random.choice([*tags, b"", b"<a/>", b"&x;", b"<!--x-->"])
            return octets.replace(old, new, random.choice((1, -1)))


@pytest.mark.part("vouchers")
def test_garbage_is_malformed_or_not_trusted_and_never_a_defect() -> None:
    random = chance("garbage")
    count = amount(600, 40)
    found: dict[int, int] = {}
    for number in range(count):
        octets = spoiled(genuine(), random)
        Path("v").write_bytes(encodebytes(octets) if number % 5 == 0 else octets)

        inspect = run("inspect", "v")
        verify = run("verify", "v", *TRUST, "--json")
        apply = run("apply", "v", *ANCHOR, *TIME, "--device", "device.toml", "--store", f"{number}.db")

        assert inspect.exit_code in {0, 3}, inspect.stderr
        assert verify.exit_code in {0, 3, 4}, verify.stderr
        assert apply.exit_code == verify.exit_code
        assert Path(f"{number}.db").exists() is (apply.exit_code == 0)
        assert_harmless(inspect.stdout, inspect.stderr, verify.stderr, apply.stderr)
        said = json.loads(verify.stdout)["options"]
        assert said == ([specification(IPTV), specification(QOS)] if verify.exit_code == 0 else [])
        found[verify.exit_code] = found.get(verify.exit_code, 0) + 1
    assert found[3] > count // 3
