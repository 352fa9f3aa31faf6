"""Policy files on the command line, and what ``verify --explain`` prints."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.commands import run
from tests.support.kit import AT, KEYS, Draft, authority, certify, root, second_signer, signer
from tests.support.package_files import TIME, TRUST, furnish, identities
from tests.support.revocation_kit import crl


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key, its root, and a policy that trusts it."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("trust.toml").write_text('anchors = ["ca.pem"]\n')
    return tmp_path


def told(*args: str) -> tuple[int, list[str]]:
    """Return how ``verify`` ends, and what it says on standard error."""
    result = run("verify", "p.spkg", *args)
    return result.exit_code, result.stderr.splitlines()


def test_a_policy_file_takes_the_place_of_the_options() -> None:
    assert told("--policy", "trust.toml", *TIME) == (0, [])
    assert run("cat", "p.spkg", "/bin/app", "--policy", "trust.toml", *TIME).exit_code == 0
    assert run("extract", "p.spkg", "out", "--policy", "trust.toml", *TIME).exit_code == 0
    Path("root").mkdir()
    assert run("apply", "p.spkg", "--root", "root", "--policy", "trust.toml", *TIME).exit_code == 0


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ('signers = ["x"]', (), "CN=Test Signer is not one of the accepted signers"),
        ('signers = ["x"]', ("--signer", "CN = Test Signer"), None),
        ("required-signers = 2", (), "only 1 of 2 required signers"),
        ("required-signers = 2", ("--required-signers", "1"), None),
        ('digests = ["sha256"]', (), "the policy does not accept the digest algorithm sha1"),
        ('digests = ["sha256"]', ("--digests", "sha1"), None),
        ('eku = ["1.2.3"]', (), "the signer's certificate has no suitable extendedKeyUsage"),
        ('eku = ["1.2.3"]', ("--eku", "1.3.6.1.5.5.7.3.3"), None),
        ('crls = ["bad.crl"]', (), "CN=Test Signer: certificate revoked"),
        ('crls = ["bad.crl"]', ("--crl", "good.crl"), None),
        ('crls = ["bad.crl"]\nrevocation = "off"', (), None),
        ('revocation = "off"', ("--crl", "bad.crl"), "CN=Test Signer: certificate revoked"),
        ('revocation = "require"', (), "CN=Test Signer: unable to get certificate CRL"),
        ('clock = "off"', ("--at", "2060-01-01"), "CN=Test Root: certificate has expired"),
        ("not-before = 2060-01-01", (), "CN=Test Root: certificate has expired"),
        ("not-before = 2060-01-01", ("--no-clock",), None),
    ],
)
def test_options_override_the_file(text: str, options: tuple[str, ...], problem: str | None) -> None:
    Path("good.crl").write_bytes(crl(root()).public_bytes(Encoding.PEM))
    Path("bad.crl").write_bytes(crl(root(), signer()).public_bytes(Encoding.PEM))
    Path("trust.toml").write_text(f'anchors = ["ca.pem"]\n{text}\n')
    time = () if {"--at", "--no-clock"} & {*options} else TIME

    status, lines = told("--policy", "trust.toml", *options, *time)

    assert status == (0 if problem is None else 4)
    assert problem is None or problem in lines[0]


def test_anchors_of_the_options_take_the_place_of_those_in_the_file() -> None:
    Path("other.pem").write_bytes(authority("Other Root", with_key="other").pem)

    assert told("--policy", "trust.toml", "--trust", "other.pem", *TIME)[0] == 4
    Path("trust.toml").write_text('anchors = ["missing.pem"]\n')
    assert told("--policy", "trust.toml", *TRUST) == (0, [])
    assert told("--policy", "trust.toml", *TIME) == (
        9,
        ["spkg: error: missing.pem: no such file or directory"],
    )


def test_a_policy_that_is_off_checks_no_dates_and_says_so() -> None:
    Path("trust.toml").write_text('anchors = ["ca.pem"]\nclock = "off"\n')

    result = run("verify", "p.spkg", "--policy", "trust.toml")

    assert (
        "the dates of certificates and revocation lists were not checked: there is no clock" in result.stdout
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("anchors = 1", "trust.toml:1: anchors: must be an array"),
        ('anchors = ["ca.pem"]\nkeys = 1', "trust.toml:2: keys: unknown key"),
    ],
)
def test_a_policy_that_is_none_is_3(text: str, line: str) -> None:
    Path("trust.toml").write_text(text)

    for result in (run("verify", "p.spkg", "--policy", "trust.toml"), run("policy", "check", "trust.toml")):
        assert result.exit_code == 3
        assert result.stderr.splitlines()[0].startswith(f"spkg: error: {line}")


@pytest.mark.parametrize("name", ["", " "])
def test_a_signer_without_a_name_is_2(name: str) -> None:
    result = run("verify", "p.spkg", *TRUST, "--signer", name)

    assert (result.exit_code, result.stderr) == (2, "spkg: error: --signer takes a name, not an empty one\n")


def test_a_policy_does_not_come_from_standard_input() -> None:
    for result in (run("verify", "p.spkg", "--policy", "-"), run("policy", "check", "-")):
        assert result.exit_code == 2


def test_policy_check_says_what_is_accepted_and_where_it_is_weak() -> None:
    result = run("policy", "check", "trust.toml", *TIME)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        (
            "Trust begins at 1 anchor: CN=Test Root (an authority, RSA of 2048 bits, "
            "until 2049-06-01T12:00:00Z)."
        ),
        "A package needs 1 signature by a trusted signer.",
        "Any signer with a path to an anchor may sign.",
    ]
    assert result.stderr.splitlines() == [
        (
            "spkg: warning: SHA-1 is accepted, for which collisions are known: "
            'use digests = ["sha256"] if you can'
        ),
        "spkg: warning: RSA keys of 1024 bits are accepted: use minimum-rsa-bits = 2048 or more",
        "spkg: warning: certificates without an extended key usage may sign: name one with 'eku'",
        "spkg: warning: revocation is not checked: a stolen key is trusted until its certificate ends",
    ]


def test_policy_check_prints_a_document() -> None:
    Path("ca.crl").write_bytes(crl(root()).public_bytes(Encoding.PEM))
    Path("trust.toml").write_text(
        'anchors = ["ca.pem"]\ncrls = ["ca.crl"]\nsigners = ["a"]\nclock = "signing-time"\ngrace = "1h"\n'
        f'not-before = 2026-01-01\npins = ["sha256:{"0" * 64}"]\n'
    )

    document = json.loads(run("policy", "check", "trust.toml", "--json", *TIME).stdout)

    assert document["schema"] == "spkg.policy.check/1"
    assert [one["subject"] for one in document["anchors"]] == ["CN=Test Root"]
    assert document["crls"] == [
        {
            "issuer": "CN=Test Root",
            "last_update": "2026-05-31T12:00:00Z",
            "next_update": "2026-07-01T12:00:00Z",
        }
    ]
    stated = {"signers", "clock", "grace", "not_before", "pins", "revocation", "required_signers"}
    assert {key: document[key] for key in stated} == {
        "signers": ["a"],
        "clock": "signing-time",
        "grace": 3600,
        "not_before": "2026-01-01T00:00:00Z",
        "pins": [f"sha256:{'0' * 64}"],
        "revocation": "require-chain",
        "required_signers": 1,
    }
    assert {one["code"] for one in document["warnings"]} == {"weak-policy"}
    assert len(document["accepts"]) >= 9


def test_what_is_skipped_of_a_set_is_warned_of_and_in_the_document() -> None:
    Path("set.pem").write_bytes(signer().pem.replace(b"MII", b"M!I", 1) + root().pem)

    result = run("verify", "p.spkg", "--trust", "set.pem", *TIME, "--json")

    assert result.exit_code == 0
    message = (
        "set.pem: skipped the certificate of an unknown subject: the certificate can't be read: not base64"
    )
    assert result.stderr.startswith(f"spkg: warning: {message}")
    (warning,) = json.loads(result.stdout)["warnings"]
    assert warning["code"] == "certificate-skipped"
    assert warning["message"].startswith(message)
    Path("root").mkdir()
    applied = run("apply", "p.spkg", "--root", "root", "--trust", "set.pem", *TIME, "--json")
    assert json.loads(applied.stdout.splitlines()[-1])["warnings"] == [warning]


def test_a_set_with_a_revocation_list_refuses_who_is_on_it() -> None:
    Path("ca.pem").write_bytes(root().pem + crl(root(), signer()).public_bytes(Encoding.PEM))

    status, lines = told(*TRUST)

    revoked = "on the revocation list of CN=Test Root since 2026-05-30T12:00:00Z [TR-069 E.5]"
    assert (status, lines[0]) == (
        4,
        f"spkg: error: signature[0]: CN=Test Signer: certificate revoked: {revoked}",
    )


def test_trust_takes_a_directory() -> None:
    Path("anchors").mkdir()
    Path("anchors/ca.pem").write_bytes(root().pem)
    Path("anchors/key.pem").write_bytes((KEYS / "root.key").read_bytes())

    assert told("--trust", "anchors", *TIME) == (
        0,
        [
            (
                "spkg: warning: anchors/key.pem: ignored a private key: "
                "it should not lie among the trusted certificates"
            )
        ],
    )


# Why.


def test_explain_shows_a_good_chain() -> None:
    result = run("verify", "p.spkg", *TRUST, "--explain")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "signature 0: CN=Test Signer, sha1: accepted",
        "  trusted through CN=Test Root",
        (
            "  certificate: CN=Test Signer, serial number 03E8, RSA 2048, "
            "valid from 2025-06-01T12:00:00Z until 2049-06-01T12:00:00Z"
        ),
        (
            "  issued by: CN=Test Root, serial number 01, RSA 2048, "
            "valid from 2025-06-01T12:00:00Z until 2049-06-01T12:00:00Z, an anchor"
        ),
    ]
    assert all(line.startswith("  met  ") for line in lines[4:16])
    assert lines[16:] == [
        "package:",
        "  met  required-signers  1 trusted signer with different keys, 1 required",
        "  met  strong-digests    SHA-1 is accepted",
        "files: 1 of 1 match the signed digests, 21 bytes",
        "trusted",
    ]


def test_explain_shows_what_a_broken_chain_lacks() -> None:
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    Path("p.spkg").write_bytes(Draft(signers=identities(certify("Leaf", middle))).encode())

    result = run("verify", "p.spkg", *TRUST, "--explain")

    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    assert "  issued by: CN=Intermediate, whose certificate is missing" in lines
    assert (
        "  what to do: embed the certificate of CN=Intermediate with --chain when signing, "
        "or trust it with --trust when verifying"
    ) in lines


def test_explain_says_that_a_chain_ends_elsewhere_and_what_the_package_lacks() -> None:
    Path("other.pem").write_bytes(second_signer().pem)
    identity = signer().identity(root())
    Path("p.spkg").write_bytes(Draft(signers=(identity,)).encode())

    result = run("verify", "p.spkg", "--trust", "other.pem", *TIME, "--digests", "sha256", "--explain")

    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    assert "  the chain does not end in an anchor" in lines
    assert (
        "  what to do: build the package again with 'strong-digests = true', or accept SHA-1 with --digests"
    ) in lines


def test_explain_is_a_key_of_the_document() -> None:
    expired = certify("Expired", root(), end=AT - timedelta(days=1))
    Path("p.spkg").write_bytes(Draft(signers=identities(expired)).encode())

    document = json.loads(run("verify", "p.spkg", *TRUST, "--explain", "--json").stdout)

    (signature,) = document["explain"]["signatures"]
    assert [(one["subject"], one["anchor"]) for one in signature["chain"]] == [
        ("CN=Expired", False),
        ("CN=Test Root", True),
    ]
    assert (signature["complete"], signature["missing_issuer"]) == (True, None)
    assert [one for one in signature["rules"] if not one["met"]] == [
        {
            "rule": "path",
            "met": False,
            "detail": "CN=Expired: certificate has expired: valid until 2026-05-31T12:00:00Z, "
            "checked at 2026-06-01T12:00:00Z",
        }
    ]
    assert signature["advice"][0].startswith("give --at TIME")
    assert document["explain"]["package"]["rules"][0]["met"] is False
    assert "explain" not in json.loads(run("verify", "p.spkg", *TRUST, "--json").stdout)
