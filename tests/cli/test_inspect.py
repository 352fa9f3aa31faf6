"""``spkg inspect``: all that a package says, and none of it believed."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from spkg.format.commands import End
from spkg.format.package import encode_commands
from tests.support.commands import error, process, run
from tests.support.kit import CONTENTS, Certified, Draft, file, key, root, signer
from tests.support.odd_certificates import ODD, odd
from tests.support.package_files import SHA1, TRUST, fingerprint, front_size, furnish, genuine, identities


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_inspect_shows_everything_and_says_that_nothing_is_verified() -> None:
    result = run("inspect", "p.spkg")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "nothing is verified: this is only what the file claims\n"
        "header\n"
        "  format 1.0\n"
        "  command list of 76 bytes\n"
        "  payload of 21 bytes\n"
        "commands: 2\n"
        "  0  0x0018  1  Extract File  /bin/app, 21 bytes\n"
        "  1  0x005c  0  End\n"
        f"signature block: {front_size() - 100} bytes at 0x0064\n"
        "  signature 0: CN=Test Signer, serial 03E8, sha1\n"
        "  certificate 0: CN=Test Signer, RSA 2048, 2025-06-01 to 2049-06-01\n"
        f"    by CN=Test Root, SHA-256 {fingerprint()}\n"
        f"payload: 21 bytes at 0x{front_size():04x}\n"
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
                    "serial": "03E8",
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
                    "serial": "03E8",
                    "not_before": "2025-06-01T12:00:00Z",
                    "not_after": "2049-06-01T12:00:00Z",
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


def test_inspect_marks_what_is_malformed_and_is_3() -> None:
    records = (file("/bin/app"), file("/etc/motd", at=1), End())
    Path("p.spkg").write_bytes(Draft(records=records).encode().replace(b"/etc/motd", b"/etc/../x"))
    message = "offset 0x0084: command[1].path: the path contains the part '..' [TR-069 E.4.3]"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (3, f"spkg: error: {message}\n")
    assert text.stdout.splitlines()[5:10] == [
        "commands: 3",
        "  0  0x0018  1  Extract File  /bin/app, 21 bytes",
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
        "  4 bytes after End, ignored",
        "signature block: 37 bytes at 0x0068",
        "  no signatures",
        "payload: 23 bytes at 0x008d",
        "  0x00000002  21  /bin/app (command 0)",
        "  2 bytes at 0x00000000 belong to no file: they are not signed",
    ]
    shown = json.loads(document.stdout)
    assert shown["behind_end"] == 4
    assert shown["payload"]["uncovered"] == [{"offset": 0, "length": 2}]


def test_inspect_shows_a_certificate_that_cannot_be_read() -> None:
    odd_certificate = ODD["a key of an unknown kind"]()
    Path("p.spkg").write_bytes(genuine().replace(signer().der, odd_certificate))
    problem = "the certificate can't be read: Unknown key type: 1.2.840.113549.1.1.99"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.splitlines()[9:11] == [
        "  signature 0: a signer certified by CN=Test Root, serial 03E8, sha1",
        f"  certificate 0: {problem}",
    ]
    assert json.loads(document.stdout)["signature_block"]["certificates"] == [
        {"sha256": sha256(odd_certificate).hexdigest(), "problem": problem}
    ]


def test_inspect_shows_what_there_is_of_a_package_that_is_cut() -> None:
    Path("p.spkg").write_bytes(genuine()[:92])
    message = "offset 0x005c: command[1].type: the input ends 4 bytes too early [TR-069 E.4]"

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stderr) == (3, f"spkg: error: {message}\n")
    assert text.stdout.splitlines()[5:] == [
        "commands: 1",
        "  0  0x0018  1  Extract File  /bin/app, 21 bytes",
    ]
    shown = json.loads(document.stdout)
    assert (shown["signature_block"], shown["payload"]) == (None, None)
    assert [problem["message"] for problem in shown["problems"]] == [message]


def test_what_is_no_package_at_all_is_malformed() -> None:
    Path("p.spkg").write_bytes(b"\x1f\x8b\x08 compressed")
    message = (
        "p.spkg: offset 0x0000: header.preamble: not a signed package: it begins with "
        "'\\x1f\\x8b\\x08 comp' [TR-069 E.3]"
    )

    text, document = run("inspect", "p.spkg"), run("inspect", "p.spkg", "--json")

    assert (text.exit_code, text.stdout) == (3, "")
    assert text.stderr == f"spkg: error: {message}\nspkg: hint: it looks compressed: decompress it first\n"
    assert json.loads(document.stdout) == error(
        "malformed",
        3,
        message,
        source="p.spkg",
        offset=0,
        field="header.preamble",
        section="E.3",
        hint="it looks compressed: decompress it first",
    )


@pytest.mark.parametrize(
    ("octets", "begins", "hint"),
    [
        (b'[package]\nversion = "1"\n', "[package", "spkg build m.file -o PKG"),
        (b"# A manifest\n[package]\n", "# A mani", "spkg build m.file -o PKG"),
        (b"<!DOCTYPE html><html>", "<!DOCTYP", "this is a web page"),
        (b"<HTML><body>", "<HTML><b", "this is a web page"),
        (b"<Signature/>", "<Signatu", "'spkg voucher'"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name_with_what_to_do(
    octets: bytes, begins: str, hint: str
) -> None:
    Path("m.file").write_bytes(octets)

    result = run("verify", "m.file", *TRUST)

    assert result.exit_code == 3
    first, second = result.stderr.splitlines()
    assert first.startswith("spkg: error: m.file: offset 0x0000: header.preamble: not a signed package: ")
    assert f"it begins with '{begins}'" in first
    assert second.startswith("spkg: hint: ")
    assert hint in second


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
    assert inspected.stdout.splitlines()[9] == f"  signature 0: CN={'x' * 70}, serial 03E8, sha1"


def test_a_serial_number_below_zero_is_shown_without_warnings() -> None:
    negative = odd(b"\x02\x02\x03\xe8", b"\x02\x02\xff\x18")
    Path("p.spkg").write_bytes(genuine().replace(signer().der, negative))

    result = process("inspect", "p.spkg")

    assert (result.returncode, result.stderr) == (0, "")
