"""``spkg voucher inspect``: all that a voucher says, and none of it believed."""

import json
from base64 import encodebytes
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.kit import root
from tests.support.voucher_files import (
    CALLED,
    LINES,
    TRUST,
    failed,
    furnish,
    genuine,
    one,
    process,
    run,
    specification,
    told,
)
from tests.support.voucher_kit import IPTV, QOS, signatory

SEEN: Final = """not verified
signature
  http://www.w3.org/2001/04/xmldsig-more#rsa-sha256
  CN=Voucher Signer
    by CN=Test Root, 2025-06-01T12:00:00Z to 2049-06-01T12:00:00Z
  CN=Test Root
    by CN=Test Root, 2025-06-01T12:00:00Z to 2049-06-01T12:00:00Z
"""
INSPECTED: Final = {
    "schema": "spkg.voucher.inspect/1",
    "verified": False,
    "signature": {
        "method": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "digests": ["http://www.w3.org/2001/04/xmlenc#sha256"],
        "octets": 256,
        "key_value": True,
    },
    "certificates": [
        {
            "subject": name,
            "issuer": "CN=Test Root",
            "serial": serial,
            "not_before": "2025-06-01T12:00:00Z",
            "not_after": "2049-06-01T12:00:00Z",
            "key": "RSA 2048",
            "sha256": sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        }
        for name, serial, certificate in (
            (CALLED, "0FA0", signatory().certificate),
            ("CN=Test Root", "01", root().certificate),
        )
    ],
    "options": [specification(IPTV), specification(QOS)],
    "problems": [],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a device, its vouchers, and who is trusted."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.mark.parametrize("octets", [genuine(), encodebytes(genuine())], ids=["XML", "base64"])
def test_all_that_a_voucher_says_is_shown_and_nothing_is_believed(octets: bytes) -> None:
    Path("v").write_bytes(octets)

    people, programs = run("inspect", "v"), run("inspect", "v", "--json")

    assert told(people) == (0, SEEN + LINES, "")
    assert (programs.exit_code, programs.stderr, json.loads(programs.stdout)) == (0, "", INSPECTED)


def test_a_voucher_on_standard_input_is_inspected() -> None:
    result = process("inspect", "-", given=genuine())

    assert (result.returncode, result.stdout, result.stderr) == (0, SEEN + LINES, "")


def test_what_somebody_changed_is_shown_as_it_is_now() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"<Duration>12<", b"<Duration>99<"))

    result = run("inspect", "v.xml")

    assert told(result) == (0, SEEN + LINES.replace("Duration       12", "Duration       99"), "")


def test_an_option_that_is_malformed_is_marked_and_the_others_are_shown() -> None:
    octets = genuine().replace(b"<Mode>EnableWithExpiration<", b"<Mode>EnableForEver<")
    Path("v.xml").write_bytes(octets)
    line = octets[: octets.index(b"<Option>")].count(b"\n") + 1
    problem = (
        f"Signature.Object[0].Option: 'EnableForEver' is not a valid Mode (line {line})"
        " [TR-069 C.3, Tables 62 and 63]"
    )
    second = LINES[LINES.index("option 1\n") :]

    people, programs = run("inspect", "v.xml"), run("inspect", "v.xml", "--json")

    assert people.stdout == f"{SEEN}option 0\n  {problem}\n{second}"
    assert (people.exit_code, programs.exit_code) == (3, 3)
    assert json.loads(programs.stdout) == {
        **INSPECTED,
        "options": [None, specification(QOS)],
        "problems": [problem],
    }
    assert people.stderr == programs.stderr == f"spkg: error: v.xml: {problem}\n"


def test_a_method_of_signing_that_nobody_takes_is_marked() -> None:
    Path("v.xml").write_bytes(genuine().replace(b"#rsa-sha256", b"#rsa-md5"))
    method = "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"

    inspect, verify = run("inspect", "v.xml"), run("verify", "v.xml", *TRUST)

    assert told(inspect) == (
        0,
        SEEN.replace("#rsa-sha256", "#rsa-md5, which is not accepted") + LINES,
        "",
    )
    assert told(verify) == failed(4, f"the SignatureMethod {method} is not accepted")


def test_elements_within_elements_are_shown_by_their_path() -> None:
    extra = (("Note", "one"), ("More", (("Inner", "two"), ("Deep", (("er", "three"),)))))
    Path("v.xml").write_bytes(one(replace(QOS, extra=extra)))

    people, programs = run("inspect", "v.xml"), run("inspect", "v.xml", "--json")

    assert people.stdout.splitlines()[-4:] == [
        "  Transferable  1",
        "  Note          one",
        "  More.Inner    two",
        "  More.Deep.er  three",
    ]
    assert json.loads(programs.stdout)["options"] == [
        specification(QOS, extra=[["Note", "one"], ["More", [["Inner", "two"], ["Deep", [["er", "three"]]]]]])
    ]
