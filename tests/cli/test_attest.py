"""``spkg attest`` and ``verify --attestation``: provenance, and what it is worth."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

import spkg
from tests.support.commands import files, run
from tests.support.kit import AT, CONTENTS, Draft, certify, root, second_signer
from tests.support.package_files import KEY, TRUST, damaged, front_size, furnish
from tests.support.provenance_kit import enveloped, statement
from tests.support.restrictions import at_most

ATTEST: Final = ("attest", "p.spkg", "-o", "a.json", *KEY)
SIGNED: Final = sha256(Draft().signed).hexdigest()
PAYLOAD: Final = sha256(CONTENTS).hexdigest()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def stated(name: str = "a.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b64decode(json.loads(Path(name).read_bytes())["payload"]))
    return found


def test_an_attestation_is_made_and_accepted() -> None:
    made = run(*ATTEST)
    verified = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout == (
        "a.json: provenance of p.spkg, signed by CN=Test Signer\n"
        f"  subject: SHA-256 {SIGNED}, of header and command list\n"
    )
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout == (
        "signature 0: CN=Test Signer, sha1: accepted\n"
        "  trusted through CN=Test Root\n"
        "attestation: CN=Test Signer: accepted\n"
        "  trusted through CN=Test Root\n"
        "  built by pkg:pypi/tr069-spkg\n"
        "files: 1 of 1 match the signed digests, 21 bytes\n"
        "trusted\n"
    )


def test_it_states_what_the_package_says_and_nothing_of_the_machine() -> None:
    Path("m.toml").write_text(
        '[package]\nversion = "6.4"\ndescription = "D"\nrole = "web-content"\n'
        '[metadata]\nbuild = "7"\nsbom-sha256 = "none"\n[[step]]\nextract = "/bin/app"\nfrom = "app"\n'
    )
    Path("s.json").write_text('{"spdxVersion":"SPDX-2.3"}')
    run("build", "m.toml", "-o", "new.spkg", "--unsigned")

    run("attest", "new.spkg", "-o", "n.json", *KEY, "--builder", "https://ci.example/7")

    assert stated("n.json")["predicate"] == {
        "buildDefinition": {
            "buildType": "pkg:pypi/tr069-spkg#package/v1",
            "externalParameters": {
                "package": {"version": "6.4", "description": "D", "role": "web-content"},
                "metadata": {"build": "7"},
            },
        },
        "runDetails": {
            "builder": {"id": "https://ci.example/7", "version": {"tr069-spkg": spkg.__version__}}
        },
    }


def test_the_subject_is_what_the_signatures_cover_and_the_payload_beside_it() -> None:
    run(*ATTEST)

    found = stated()

    assert list(found) == ["_type", "subject", "predicateType", "predicate"]
    assert (found["_type"], found["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert found["subject"] == [
        {"name": "p.spkg", "digest": {"sha256": SIGNED}, "annotations": {"payloadSha256": PAYLOAD}}
    ]


@pytest.mark.parametrize("large", [False, True])
def test_the_bill_of_materials_is_named_by_its_digest(*, large: bool) -> None:
    text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "x": "x" * 20_000 * large})
    Path("s.json").write_text(text)
    run("build", "m.toml", "-o", "new.spkg", "--sbom", "s.json", *KEY)

    run("attest", "new.spkg", "-o", "n.json", *KEY)

    kind = {} if large else {"mediaType": "application/vnd.cyclonedx+json"}
    digest = {"sha256": sha256(text.encode()).hexdigest()}
    assert stated("n.json")["predicate"]["runDetails"]["byproducts"] == [
        {"name": "sbom", "digest": digest} | kind
    ]
    assert stated("n.json")["predicate"]["buildDefinition"]["externalParameters"]["metadata"] == {}


def test_the_same_inputs_give_the_same_bytes_wherever_the_package_is() -> None:
    run(*ATTEST)
    Path("sub").mkdir()
    Path("sub/p.spkg").write_bytes(Path("p.spkg").read_bytes())

    run("attest", str(Path("sub/p.spkg").absolute()), "-o", "b.json", *KEY)

    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_a_signature_that_is_added_later_breaks_nothing() -> None:
    run(*ATTEST)
    run("sign", "p.spkg", *KEY, "--digest", "sha256")

    verified = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert (verified.exit_code, verified.stderr) == (0, "")


def test_json_has_what_was_stated_and_what_was_accepted() -> None:
    made = json.loads(run(*ATTEST, "--json").stdout)
    verified = json.loads(run("verify", "p.spkg", *TRUST, "--attestation", "a.json", "--json").stdout)
    without = json.loads(run("verify", "p.spkg", *TRUST, "--json").stdout)

    assert made == {
        "schema": "spkg.attest/1",
        "output": "a.json",
        "signer": "CN=Test Signer",
        "builder": "pkg:pypi/tr069-spkg",
        "subject": "p.spkg",
        "signed_sha256": SIGNED,
        "payload_sha256": PAYLOAD,
        "warnings": [],
    }
    assert verified["attestation"] == {
        "signer": "CN=Test Signer",
        "subject": "p.spkg",
        "builder": "pkg:pypi/tr069-spkg",
        "build_type": "pkg:pypi/tr069-spkg#package/v1",
    }
    assert without["attestation"] is None


def test_an_attestation_of_another_package_is_4() -> None:
    run(*ATTEST)
    Path("m.toml").write_text('[[step]]\nremove = "/x"\n')
    run("build", "m.toml", "-o", "other.spkg", *KEY)

    result = run("verify", "other.spkg", *TRUST, "--attestation", "a.json")

    assert result.exit_code == 4
    assert result.stderr.startswith("spkg: error: the attestation is for another package: expected SHA-256 ")
    assert "trusted\n" not in result.stdout.splitlines()[-1:]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_an_attestation_that_was_changed_is_4(form: tuple[str, ...]) -> None:
    run(*ATTEST)
    envelope = json.loads(Path("a.json").read_text())
    payload = b64decode(envelope["payload"]).replace(b"p.spkg", b"q.spkg")
    forged = enveloped(payload)
    envelope["payload"] = json.loads(forged.encode())["payload"]
    Path("a.json").write_text(json.dumps(envelope))

    result = run("verify", "p.spkg", *TRUST, "--attestation", "a.json", *form)

    assert (result.exit_code, result.stderr) == (
        4,
        "spkg: error: the attestation: signature[0]: the signature is not valid\n",
    )
    assert not form or json.loads(result.stdout)["verdict"] == "untrusted"


def test_an_attestation_of_a_signer_that_is_not_trusted_is_4() -> None:
    Path("a.json").write_bytes(enveloped(statement(), certify("Self", with_key="other")).encode())

    result = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert (result.exit_code, result.stderr) == (
        4,
        "spkg: error: the attestation: signature[0]: CN=Self: self-signed certificate\n",
    )


def test_the_signer_of_the_attestation_has_to_be_allowed_by_name() -> None:
    Path("a.json").write_bytes(enveloped(statement(), second_signer()).encode())

    any_signer = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")
    named = run("verify", "p.spkg", *TRUST, "--attestation", "a.json", "--signer", "Test Signer")

    assert any_signer.exit_code == 0
    assert (named.exit_code, named.stderr) == (
        4,
        "spkg: error: the attestation: signature[0]: CN=Second Signer is not one of the accepted signers\n",
    )


def test_a_payload_that_only_sha1_protects_has_to_be_the_attested_one() -> None:
    subject = statement()["subject"][0] | {"annotations": {"payloadSha256": "00" * 32}}
    Path("a.json").write_bytes(enveloped(statement(subject=[subject])).encode())

    result = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert (result.exit_code, result.stderr) == (
        4,
        "spkg: error: the payload does not match the SHA-256 digest in the attestation\n",
    )


def test_what_a_statement_says_controls_no_terminal() -> None:
    predicate = {
        "buildDefinition": {"buildType": "x"},
        "runDetails": {"builder": {"id": "x:\x1b[2J\u202e"}},
    }
    Path("a.json").write_bytes(enveloped(statement(predicate=predicate)).encode())

    result = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert result.exit_code == 0
    assert r"  built by x:\x1b[2J\u202e" in result.stdout.splitlines()


@pytest.mark.parametrize("octets", [b"", b"{}", b"[1]", b"\x30\x82", b'{"payload":"","payloadType":""}'])
def test_what_is_no_envelope_is_3(octets: bytes) -> None:
    Path("a.json").write_bytes(octets)

    result = run("verify", "p.spkg", *TRUST, "--attestation", "a.json")

    assert (result.exit_code, result.stdout.splitlines()[-1:]) == (3, [])
    assert result.stderr.startswith("spkg: error: a.json: expected ") or ":1: expected " in result.stderr


def test_an_unsigned_package_without_anchors_has_no_accepted_attestation() -> None:
    run("attest", "u.spkg", "-o", "u.json", *KEY)

    result = run("verify", "u.spkg", "--unsafe-allow-unsigned", "--attestation", "u.json")

    assert result.exit_code == 4
    problem = "CN=Test Root: self-signed certificate in certificate chain"
    assert result.stderr == f"spkg: error: the attestation: signature[0]: {problem}\n"


def test_nobody_attests_a_damaged_package() -> None:
    Path("p.spkg").write_bytes(damaged(front_size()))

    result = run(*ATTEST)

    assert (result.exit_code, result.stderr) == (
        4,
        "spkg: error: /bin/app: contents do not match the signed SHA-1 digest [TR-069 E.4.3]\n",
    )
    assert not Path("a.json").exists()


def test_a_doubtful_certificate_is_warned_of() -> None:
    Path("signer.pem").write_bytes(certify("Old", root(), end=AT.replace(month=1, year=2026)).pem)

    made = run(*ATTEST)
    strict = run("attest", "p.spkg", "-o", "b.json", *KEY, "--strict")

    assert (
        made.stderr.startswith("spkg: warning: the certificate of CN=Old expired on ") or made.exit_code == 5
    )
    assert strict.exit_code == 5
    assert not Path("b.json").exists()


def test_an_attestation_that_is_there_is_kept_unless_forced() -> None:
    Path("a.json").write_text("precious")

    refused = run(*ATTEST)
    left = Path("a.json").read_text()
    forced = run(*ATTEST, "--force")

    assert (refused.exit_code, refused.stderr) == (
        2,
        "spkg: error: a.json already exists\nspkg: hint: overwrite it with --force\n",
    )
    assert left == "precious"
    assert forced.exit_code == 0
    assert stated()["subject"][0]["name"] == "p.spkg"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--builder", "me"), "--builder takes a URI, not 'me'"),
        (("--builder", "x:a b"), "--builder takes a URI, not 'x:a b'"),
        (("--builder", "x:\n"), "--builder takes a URI, not 'x:\\n'"),
        (("-o", "-"), "an attestation can't be written to standard output"),
    ],
)
def test_what_makes_no_sense_is_2(args: tuple[str, ...], message: str, here: Path) -> None:
    there = files(here)

    result = run(*ATTEST, *args)

    assert (result.exit_code, result.stderr) == (2, f"spkg: error: {message}\n")
    assert files(here) == there


def test_without_room_nothing_is_left(here: Path) -> None:
    there = files(here)

    with at_most(200):
        result = run(*ATTEST)

    assert result.exit_code == 9
    assert files(here) == there
