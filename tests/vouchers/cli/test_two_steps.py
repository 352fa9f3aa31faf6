"""``spkg voucher prepare`` and ``attach``: vouchers that are signed elsewhere, one or a batch."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.trust.signers import KeySigner
from tests.support.acs_files import ISSUE, LEDGER, NO_REJECTED, QUICK, furnish, prepare, states, write_list
from tests.support.commands import run
from tests.support.kit import AT, KEYS, LAST, certify, key, second_signer
from tests.support.voucher_kit import signatory
from vouchers.acs.two_steps import MAX_VOUCHER_REQUEST
from vouchers.signature.algorithms import raw_signature, scheme_for

CERTIFICATE: Final = ("--cert", "signer.pem", "--options", "options.toml")
SINGLE: Final = ("voucher", "prepare", *CERTIFICATE, "--device", "device.toml")
MANY: Final = ("voucher", "prepare", *CERTIFICATE, "--devices", "devices.csv", *LEDGER, "--batch", "may")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def requests(name: str = "request") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def sign(request: dict[str, Any], which: str = QUICK) -> bytes:
    """Sign a request as somebody does who has nothing but it and the key."""
    octets, digest = b64decode(request["signed_info"]), Digest(request["digest"])
    who = signatory(which)
    key = who.key.public_key
    return raw_signature(who.key.sign(digest, digest.of(octets)), key, scheme_for(key, digest).length)


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
def test_a_voucher_that_is_signed_elsewhere_is_what_issue_writes(digest: str) -> None:
    prepared = run(*SINGLE, "--serial", "7", "--digest", digest, "-o", "request")
    (request,) = requests()
    Path("signature").write_bytes(sign(request))

    attached = run("voucher", "attach", "request", "--signature", "signature", "-o", "two.xml")

    assert (prepared.exit_code, prepared.stdout) == (0, "request: 2 Options to be signed, serials 7, 8\n")
    assert (attached.exit_code, attached.stderr) == (0, "")
    assert attached.stdout == "two.xml: 2 Options for 00D09E 123456789, serials 7, 8\n"
    issue = ("--device", "device.toml", "--serial", "7", "--digest", digest)
    assert run(*ISSUE, *issue, "-o", "one.xml").exit_code == 0
    assert Path("two.xml").read_bytes() == Path("one.xml").read_bytes()
    hashed = Digest(digest).of(b64decode(request["signed_info"]))
    assert b64decode(request["signed_info_digest"]) == hashed
    assert b64decode(request["digest_info"]).endswith(hashed)


@pytest.mark.parametrize("form", ["raw", "der"])
@pytest.mark.parametrize("which", ["p256", "dsa2048"])
def test_keys_of_other_kinds_sign_in_both_forms(which: str, form: str) -> None:
    prepare(which)
    assert run(*SINGLE, "--serial", "7", "-o", "request").exit_code == 0
    (request,) = requests()
    hashed = b64decode(request["signed_info_digest"])
    made = signatory(which).key.sign(Digest.SHA256, hashed) if form == "der" else sign(request, which)
    Path("signature").write_bytes(made)

    attached = run("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml")

    assert (attached.exit_code, attached.stderr, request["digest_info"]) == (0, "", None)
    assert run("voucher", "verify", "v.xml", "--trust", "ca.pem").exit_code == 0


def test_a_batch_that_is_signed_elsewhere_is_what_issue_writes() -> None:
    write_list([1, 2, 3])

    prepared = run(*MANY, "-o", "request")
    signatures(map_of(requests()))
    attached = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "two")

    assert (prepared.exit_code, prepared.stdout) == (0, "request: 3 vouchers to be signed, batch may\n")
    assert (attached.exit_code, attached.stdout) == (0, "two: 3 vouchers\n")
    issued = run(*ISSUE, "--devices", "devices.csv", *LEDGER, "--batch", "may", "--out-dir", "one")
    assert issued.exit_code == 0
    assert Path("two/vouchers.ndjson").read_bytes() == Path("one/vouchers.ndjson").read_bytes()
    assert {state for *_, state in states()} == {"issued"}
    assert len(states()) == 6


def map_of(found: Sequence[dict[str, Any]]) -> list[bytes]:
    return [sign(one) for one in found]


def signatures(made: Sequence[bytes]) -> None:
    Path("signatures").write_text("".join(f"{b64encode(one).decode()}\n" for one in made))


def test_lines_without_a_device_are_named_and_the_rest_is_prepared() -> None:
    Path("devices.csv").write_text("oui,product_class,serial_number\n00D09E,Gateway,1\nnonsense,Gateway,2\n")

    result = run(*MANY, "-o", "request")

    assert result.exit_code == 3
    assert result.stdout == "request: 1 voucher to be signed, batch may\n"
    (rejected,) = Path("request.rejected.csv").read_text().splitlines()[1:]
    assert rejected.startswith("3,")
    assert rejected.endswith(",nonsense,Gateway,2")
    assert len(requests()) == 1


@pytest.mark.parametrize("count", [2, 4])
def test_each_request_needs_a_signature(count: int) -> None:
    write_list([1, 2, 3])
    assert run(*MANY, "-o", "request").exit_code == 0
    made = map_of(requests())
    signatures((made * 2)[:count])

    result = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "two")

    what = "a request without a signature" if count < 3 else "a signature without a request"
    assert (result.exit_code, Path("two").exists()) == (3, False)
    assert result.stderr == f"spkg: error: signatures:{min(count, 3) + 1}: {what}\n"


def test_signatures_in_another_order_are_4_with_the_line() -> None:
    write_list([1, 2, 3])
    assert run(*MANY, "-o", "request").exit_code == 0
    first, second, third = map_of(requests())
    signatures([first, third, second])

    result = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "two")

    assert (result.exit_code, Path("two").exists()) == (4, False)
    assert result.stderr.startswith("spkg: error: signatures:2: ")
    assert "is not valid" in result.stderr


def test_a_voucher_of_a_batch_that_is_none_is_3_with_the_line() -> None:
    write_list([1, 2])
    assert run(*MANY, "-o", "request").exit_code == 0
    first, second = requests()
    signatures([sign(first), sign(second)])
    none = second | {"voucher": b64encode(b"<x/>").decode()}
    Path("request").write_text(f"{json.dumps(first)}\n{json.dumps(none)}\n")

    result = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "two")

    told = "spkg: error: request:2: the voucher has no SignatureValue [TR-069 C.3]\n"
    assert (result.exit_code, result.stderr, Path("two").exists()) == (3, told, False)


def test_a_batch_with_one_signature_is_2() -> None:
    write_list([1, 2])
    assert run(*MANY, "-o", "request").exit_code == 0
    Path("signature").write_bytes(sign(requests()[0]))

    result = run("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml")

    assert (result.exit_code, Path("v.xml").exists()) == (2, False)
    assert result.stderr == (
        "spkg: error: request has several requests, and --signature is for one\n"
        "spkg: hint: give the signatures of a batch with --signatures, and --out-dir\n"
    )


def test_what_is_not_base64_is_3_with_the_line() -> None:
    write_list([1])
    assert run(*MANY, "-o", "request").exit_code == 0
    Path("signatures").write_text("?\n")

    result = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "two")

    assert (result.exit_code, result.stderr) == (3, "spkg: error: signatures:1: not base64\n")


@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        ({"schema": "x"}, 3, "expected a request with the schema 'spkg.voucher.request/1'"),
        ({"digest": 1}, 3, "request: digest: expected a string, got 1"),
        ({"more": "x" * MAX_VOUCHER_REQUEST}, 3, f"request has more than {MAX_VOUCHER_REQUEST} bytes"),
        ({"certificate": "x"}, 3, "request: certificate: expected certificates in PEM that can be read"),
        ({"voucher": b64encode(b"<x/>").decode()}, 3, "the voucher has no SignatureValue"),
        ({"digest": "sha1"}, 4, ""),
    ],
    ids=["schema", "type", "size", "certificate", "voucher", "digest"],
)
def test_what_is_no_request_or_another_one_is_refused(
    change: dict[str, Any], status: int, problem: str
) -> None:
    assert run(*SINGLE, "--serial", "7", "-o", "request").exit_code == 0
    (request,) = requests()
    Path("signature").write_bytes(sign(request))
    Path("request").write_text(json.dumps(request | change))

    result = run("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml")

    assert (result.exit_code, result.stdout, Path("v.xml").exists()) == (status, "", False)
    assert problem in result.stderr


@pytest.mark.parametrize("why", ["for servers", "for encryption"])
def test_an_unfit_certificate_is_refused_and_with_the_option_signs_all_the_same(why: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "for servers": {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        "for encryption": {"usage": ("key_encipherment",)},
    }
    Path("signer.pem").write_bytes(certify("Odd", **settings[why], end=LAST).pem)
    Path("signer.key").write_bytes((KEYS / "signer.key").read_bytes())
    forced = "--unsafe-unfit-certificate"
    assert run(*SINGLE, "--serial", "7", forced, "-o", "request").exit_code == 0
    (request,) = requests()
    octets = b64decode(request["signed_info"])
    Path("signature").write_bytes(KeySigner(key("signer")).sign(Digest.SHA256, Digest.SHA256.of(octets)))

    attach = ("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml")
    refused, made = run(*attach), run(*attach, forced)

    assert (refused.exit_code, made.exit_code) == (5, 0)
    assert refused.stderr.startswith("spkg: error: verifiers may reject this signature: ")
    assert Path("v.xml").stat().st_size > len(octets)


def test_a_request_of_a_signer_with_another_kind_of_key_is_refused() -> None:
    assert run(*SINGLE, "--serial", "7", "-o", "request").exit_code == 0
    (request,) = requests()
    key = ed25519.Ed25519PrivateKey.generate()
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ed")])
    certificate = (
        x509.CertificateBuilder(called, called, key.public_key(), 1, AT, AT + timedelta(days=9))
        .sign(key, None)
        .public_bytes(Encoding.PEM)
        .decode()
    )
    Path("request").write_text(json.dumps(request | {"certificate": certificate}))
    Path("signature").write_bytes(bytes(64))

    result = run("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml")

    assert (result.exit_code, result.stderr) == (4, "spkg: error: the key must be RSA, DSA or ECDSA\n")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("prepare", *CERTIFICATE, "-o", "r", "--serial", "1"), "expected either --device or --devices"),
        (
            ("prepare", *CERTIFICATE, "-o", "r", "--device", "device.toml"),
            "expected either --ledger, or --serial for one voucher without --batch",
        ),
        (
            (*MANY[1:-1], "a\nb", "-o", "r"),
            "--batch must have 1 to 128 printable characters",
        ),
        (
            ("attach", "r", "--signature", "s"),
            "expected --signature and -o for one voucher, or --signatures and --out-dir",
        ),
        (
            ("attach", "r", "--signature", "s", "-o", "v", "--out-dir", "d"),
            "expected --signature and -o for one voucher, or --signatures and --out-dir",
        ),
    ],
)
def test_options_that_contradict_each_other_are_2(args: tuple[str, ...], problem: str) -> None:
    result = run("voucher", *args)

    assert (result.exit_code, result.stderr) == (2, f"spkg: error: {problem}\n")


# What a device would say.


@pytest.mark.parametrize(
    "many", [(), ("--devices", "devices.csv", *LEDGER, "--batch", "may", "--out-dir", "out", "--jobs", "1")]
)
def test_a_voucher_that_its_device_would_not_trust_is_not_written(many: tuple[str, ...]) -> None:
    write_list([1])
    Path("other.pem").write_bytes(second_signer().pem)
    what = many or ("--device", "device.toml", "--serial", "7", "-o", "out")

    refused = run(*ISSUE, *what, "--trust", "other.pem")
    there = Path("out").exists()
    trusted = run(*ISSUE, *what, "--trust", "ca.pem")

    assert (refused.exit_code, there) == (5, False)
    assert "spkg: error: a device would not trust this: " in refused.stderr
    assert (trusted.exit_code, Path("out").exists()) == (0, True)


@pytest.mark.parametrize("many", [False, True])
def test_a_voucher_is_completed_only_for_devices_that_would_trust_it(*, many: bool) -> None:
    write_list([1])
    Path("other.pem").write_bytes(second_signer().pem)
    what = MANY if many else (*SINGLE, "--serial", "7")
    assert run(*what, "-o", "request").exit_code == 0
    made = map_of(requests())
    signatures(made)
    Path("signature").write_bytes(made[0])
    ways = ("--signatures", "signatures", "--out-dir"), ("--signature", "signature", "-o")
    attach = ("voucher", "attach", "request", *ways[0 if many else 1], "out")

    refused = run(*attach, "--trust", "other.pem")
    late = run(*attach, "--at", "2060-01-01")
    there = Path("out").exists()
    trusted = run(*attach, "--trust", "ca.pem")
    forced = run(*attach[:-1], "again", "--at", "2060-01-01", "--unsafe-unfit-certificate")

    assert (refused.exit_code, late.exit_code, there) == (5, 5, False)
    assert "spkg: error: a device would not trust this: " in refused.stderr
    assert "spkg: error: the certificate of CN=Voucher Signer expired on " in late.stderr
    assert (trusted.exit_code, trusted.stderr, Path("out").exists()) == (0, "", True)
    assert (forced.exit_code, forced.stderr.startswith("spkg: warning: the certificate of")) == (0, True)


def test_both_steps_for_one_voucher_print_documents() -> None:
    prepared = run(*SINGLE, "--serial", "7", "-o", "request", "--json")
    Path("signature").write_bytes(map_of(requests())[0])
    attached = run("voucher", "attach", "request", "--signature", "signature", "-o", "v.xml", "--json")

    (warning,) = json.loads(prepared.stdout)["warnings"]
    assert json.loads(prepared.stdout) == {
        "schema": "spkg.voucher.prepare/1",
        "output": "request",
        "serials": [7, 8],
        "warnings": [warning],
    }
    assert warning["code"] == "serial-not-remembered"
    assert json.loads(attached.stdout) == {
        "schema": "spkg.voucher.attach/1",
        "output": "v.xml",
        "vouchers": 1,
        "warnings": [],
    }


def test_both_steps_for_a_batch_print_documents() -> None:
    Path("devices.csv").write_text("oui,product_class,serial_number\n00D09E,Gateway,1\nnonsense,Gateway,2\n")

    prepared = run(*MANY, "-o", "request", "--json")
    signatures(map_of(requests()))
    attached = run("voucher", "attach", "request", "--signatures", "signatures", "--out-dir", "out", "--json")

    problem = "1 line of the list got no voucher"
    document = json.loads(prepared.stdout)
    told = ("schema", "batch", "prepared", "rejected", "status", "exit", "message")
    assert prepared.exit_code == 3
    assert prepared.stderr == (
        f"spkg: error: {problem}\nspkg: hint: see request.rejected.csv for the reasons\n"
    )
    assert [document[key] for key in told] == [
        "spkg.voucher.prepare/1",
        "may",
        1,
        1,
        "malformed",
        3,
        problem,
    ]
    assert (json.loads(attached.stdout)["output"], json.loads(attached.stdout)["vouchers"]) == ("out", 1)


def test_lines_that_get_no_request_are_listed_as_issue_lists_them_and_can_be_given_back() -> None:
    bad = "".join(f"{number},Gateway,{number},=x,\xe9\n" for number in range(30))
    Path("devices.csv").write_text(
        f"oui,product_class,serial_number,=note,n\n00D09E,Gateway,000000,,\n{bad}", encoding="latin-1"
    )

    prepared = run(*MANY, "-o", "request")
    issued = run(*ISSUE, "--devices", "devices.csv", *LEDGER, "--batch", "may", "--out-dir", "out")

    listed = Path("request.rejected.csv").read_bytes()
    assert (prepared.exit_code, issued.exit_code) == (3, 3)
    assert prepared.stderr == issued.stderr.replace("out/rejected.csv", "request.rejected.csv")
    assert listed == Path("out/rejected.csv").read_bytes()
    assert len(listed.splitlines()) == 31
    assert b"OUI: " in listed.splitlines()[-1]
    Path("devices.csv").write_bytes(listed.replace(b",0,Gateway,", b",00D09E,Gateway,"))
    again = run(*MANY, "-o", "again")
    assert again.exit_code == 3
    assert [one["device"]["serial_number"] for one in requests("again")] == ["0"]


def test_a_list_without_rejected_lines_replaces_those_of_the_last_one_on_demand_alone() -> None:
    Path("request.rejected.csv").write_text("of another list")

    refused = run(*MANY, "-o", "request")
    before = (Path("request").exists(), Path("request.rejected.csv").read_text(), states())
    forced = run(*MANY, "-o", "request", "--force")

    assert (refused.exit_code, before) == (2, (False, "of another list", []))
    assert "spkg: error: request.rejected.csv already exists\n" in refused.stderr
    assert (forced.exit_code, Path("request.rejected.csv").read_bytes()) == (0, NO_REJECTED)


def test_a_list_is_not_overwritten_by_its_own_rejected_lines() -> None:
    Path("devices.csv").rename("request.rejected.csv")
    args = [word.replace("devices.csv", "request.rejected.csv") for word in MANY]

    result = run(*args, "-o", "request", "--force")

    assert result.exit_code == 2
    assert "request.rejected.csv" in result.stderr
    assert states() == []
