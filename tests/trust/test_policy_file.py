"""Policy files: what each key means, and what is refused where it stands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.digests import Digest
from spkg.errors import FormatError, HostError
from spkg.trust.policy import ClockRule, Policy, RevocationRule, pin_of
from spkg.trust.policy_file import PolicySettings, load_policy_settings
from spkg.trust.weaknesses import policy_sentences, weaknesses
from tests.support.kit import AT, authority, certify, policy, root, second_signer, signer
from tests.support.revocation_kit import crl

ANCHORS = 'anchors = ["ca.pem"]\n'


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], PolicySettings]:
    """Read a policy file beside an anchor, ``ca.pem``, and an empty list of it, ``ca.crl``."""
    (tmp_path / "ca.pem").write_bytes(root().pem)
    (tmp_path / "ca.crl").write_bytes(crl(root()).public_bytes(Encoding.PEM))

    def load(text: str, **options: Any) -> PolicySettings:
        (tmp_path / "trust.toml").write_text(text)
        return load_policy_settings(tmp_path / "trust.toml", **options)

    return load


PIN = pin_of(signer().certificate)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (f'pins = ["sha256:{PIN.hex()}"]', "pins", frozenset({PIN})),
        (f'pins = ["sha256:{PIN.hex().upper()}"]', "pins", frozenset({PIN})),
        ('signers = ["a", "CN=b"]', "signers", frozenset({"a", "CN=b"})),
        ("required-signers = 2", "required_signers", 2),
        ('digests = ["sha256"]', "digests", frozenset({Digest.SHA256})),
        ("minimum-rsa-bits = 2048", "minimum_rsa_bits", 2048),
        ('eku = ["1.3.6.1.5.5.7.3.3"]', "purposes", frozenset({"1.3.6.1.5.5.7.3.3"})),
        ('eku = ["1.3.6.1.5.5.7.3.3"]', "purposes_required", True),
        *((f'revocation = "{word.value}"', "revocation", word) for word in RevocationRule),
        *((f'clock = "{word.value}"', "clock", word) for word in ClockRule),
        ("not-before = 2026-01-31T12:00:00Z", "not_before", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("not-before = 2026-01-31T12:00:00+02:00", "not_before", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("not-before = 2026-01-31T12:00:00", "not_before", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("not-before = 2026-01-31", "not_before", datetime(2026, 1, 31, tzinfo=UTC)),
        ('not-before = "2026-01-31T12:00:00Z"', "not_before", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('not-before = "2026-01-31"', "not_before", datetime(2026, 1, 31, tzinfo=UTC)),
        ('grace = "30d"', "grace", timedelta(days=30)),
        ("grace = 60", "grace", timedelta(minutes=1)),
    ],
)
def test_a_key_states_a_part_of_the_policy(
    text: str, name: str, value: object, settings: Callable[..., PolicySettings]
) -> None:
    found = settings(ANCHORS + text)

    assert found.values[name] == value
    assert getattr(Policy(**found.values), name) == value


def test_what_is_left_out_has_the_default(settings: Callable[..., PolicySettings]) -> None:
    assert Policy(**settings(ANCHORS).values) == policy()


def test_paths_are_relative_to_the_file(settings: Callable[..., PolicySettings]) -> None:
    found = settings(ANCHORS + 'crls = ["ca.crl"]')

    assert found.values["anchors"] == (root().certificate,)
    assert found.values["crls"] == (crl(root()),)


def test_lists_among_the_anchors_count(tmp_path: Path, settings: Callable[..., PolicySettings]) -> None:
    (tmp_path / "both.pem").write_bytes(root().pem + crl(root()).public_bytes(Encoding.PEM))

    assert len(settings('anchors = ["both.pem"]\ncrls = ["ca.crl"]').values["crls"]) == 2


def test_what_comes_from_options_is_not_read(settings: Callable[..., PolicySettings]) -> None:
    text = 'anchors = ["missing.pem"]\ncrls = ["missing.crl"]\nrequired-signers = 2'

    found = settings(text, overridden=frozenset({"anchors", "crls"}))

    assert found.values == {"required_signers": 2}
    assert settings("", overridden=frozenset({"anchors"})).values == {}


EXPECTED_REVOCATION = 'expected "off", "if-present", "require" or "require-chain"'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("anchor = 1", "trust.toml:2: anchor: unknown key; did you mean 'anchors'?"),
        ("anchors = []", "trust.toml:1: anchors: must not be empty; leave the key out instead"),
        ('anchors = [""]', "trust.toml:1: anchors: must not contain an empty string"),
        ('anchors = "ca.pem"', "trust.toml:1: anchors: must be an array"),
        (
            'pins = ["sha1:00"]',
            "trust.toml:2: pins: expected \"sha256:\" and 64 hexadecimal digits, got 'sha1:00'",
        ),
        ("signers = [1]", "trust.toml:2: signers: must be an array of strings"),
        ("required-signers = 0", "trust.toml:2: required-signers: must be from 1 to 64, got 0"),
        ('digests = ["md5"]', 'trust.toml:2: digests: expected "sha1" or "sha256", got \'md5\''),
        ("minimum-rsa-bits = 512", "trust.toml:2: minimum-rsa-bits: must be from 1024 to 8192, got 512"),
        (
            'eku = ["codeSigning"]',
            "trust.toml:2: eku: expected an OID such as 1.3.6.1.5.5.7.3.3, got 'codeSigning'",
        ),
        ('revocation = "chain"', f"trust.toml:2: revocation: {EXPECTED_REVOCATION}, got 'chain'"),
        ('clock = "none"', 'trust.toml:2: clock: expected "now", "signing-time" or "off", got \'none\''),
        ("clock = true", "trust.toml:2: clock: must be a string in quotes"),
        (
            "not-before = 12",
            "trust.toml:2: not-before: must be a date or a time, such as 2026-01-31T12:00:00Z",
        ),
        (
            'not-before = "soon"',
            "trust.toml:2: not-before: expected a time such as 2026-01-31T12:00:00Z, got 'soon'",
        ),
        (
            "not-before = 9999-12-31T23:00:00-14:00",
            "trust.toml:2: not-before: must be a time of the years 1 to 9999 in UTC",
        ),
        ('anchors = ["ca\\u0000.pem"]', "trust.toml:1: anchors: must not contain NUL"),
        ('grace = "long"', 'trust.toml:2: grace: must be a number of seconds, or a time such as "10min"'),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(
    text: str, problem: str, settings: Callable[..., PolicySettings]
) -> None:
    with pytest.raises(FormatError) as raised:
        settings(text if text.startswith("anchors") else ANCHORS + text)

    assert str(raised.value) == problem


def test_all_that_is_wrong_is_found_at_once(settings: Callable[..., PolicySettings]) -> None:
    with pytest.raises(FormatError) as raised:
        settings('clock = 1\ngrace = "x"\nstrange = 1')

    found = [raised.value, *raised.value.others]
    assert [(one.line, one.field) for one in found] == [
        (None, "anchors"),
        (1, "clock"),
        (2, "grace"),
        (3, "strange"),
    ]


def test_an_anchor_that_can_t_be_used_is_named(
    tmp_path: Path, settings: Callable[..., PolicySettings]
) -> None:
    (tmp_path / "bad.pem").write_bytes(b"garbage\n")

    with pytest.raises(HostError) as raised:
        settings('anchors = ["bad.pem"]')

    assert str(raised.value) == f"{tmp_path}/bad.pem contains no certificate"
    with pytest.raises(FileNotFoundError):
        settings('anchors = ["missing.pem"]')
    with pytest.raises(OSError, match="Input/output error") as unread:
        settings('anchors = ["/proc/self/mem"]')
    assert unread.value.filename == "/proc/self/mem"


def test_what_a_policy_skips_is_said(tmp_path: Path, settings: Callable[..., PolicySettings]) -> None:
    (tmp_path / "odd.pem").write_bytes(root().pem + signer().pem.replace(b"MII", b"M!I", 1))

    found = settings('anchors = ["odd.pem"]')

    assert [one.code for one in found.findings] == ["certificate-skipped"]


# In words.


def test_a_policy_is_explained_in_sentences() -> None:
    wanted = policy(
        signer(),
        signers=frozenset({"b", "a"}),
        pins=frozenset({b"\1" * 32}),
        required_signers=2,
        purposes=frozenset({"1.2.3"}),
        purposes_required=True,
        crls=(crl(root()),),
        revocation=RevocationRule.REQUIRE,
        clock=ClockRule.SIGNING_TIME,
        not_before=AT,
        grace=timedelta(days=2),
        minimum_rsa_bits=2048,
        digests=frozenset({Digest.SHA256}),
    )

    assert list(policy_sentences(wanted)) == [
        (
            "Trust begins at 1 anchor: CN=Test Signer (a signer's own certificate, RSA of 2048 bits, "
            "until 2049-06-01T12:00:00Z)."
        ),
        "A package needs 2 signatures with different keys by a trusted signer.",
        "Only these signers may sign: a; b.",
        f"The path must contain one of these keys: sha256:{'01' * 32}.",
        "Accepted digests: sha256.",
        "RSA keys need at least 2048 bits.",
        "The signer's certificate must have one of these extended key usages: 1.2.3.",
        (
            "The signer's certificate needs a current revocation list of its issuer, and must not be on it; "
            "intermediates only if there is a list."
        ),
        "Revocation lists at hand: 1.",
        (
            "Dates of certificates are checked at the signed signing time, or without one at the "
            "time of verification; revocation lists at the time of verification."
        ),
        "A clock before 2026-06-01T12:00:00Z counts as that time.",
        "A certificate is accepted for 2 days after its end.",
    ]


STRONG: dict[str, Any] = {
    "digests": frozenset({Digest.SHA256}),
    "minimum_rsa_bits": 2048,
    "purposes": frozenset({"1.3.6.1.5.5.7.3.3"}),
    "purposes_required": True,
    "crls": (crl(root()),),
}


def test_a_strong_policy_has_no_weakness() -> None:
    assert weaknesses(policy(**STRONG), AT) == []


@pytest.mark.parametrize(
    ("settings_", "at", "message"),
    [
        (
            {"anchors": (signer().certificate,), "crls": (), "revocation": RevocationRule.IF_PRESENT},
            AT,
            (
                "the only anchor, CN=Test Signer, is a signer's own certificate: "
                "it can't be replaced without a new policy on every device"
            ),
        ),
        (
            {
                "anchors": (root().certificate, authority("Small", with_key="small").certificate),
                "minimum_rsa_bits": 1024,
            },
            AT,
            "the anchor CN=Small has an RSA key of 1024 bits; use 2048 or more",
        ),
        (
            {"anchors": (root().certificate, authority("Small", with_key="small").certificate)},
            AT,
            (
                "the anchor CN=Small has an RSA key of 1024 bits, less than minimum-rsa-bits: "
                "nothing below it is accepted"
            ),
        ),
        (
            {"not_before": AT.replace(year=2050)},
            AT,
            "the anchor CN=Test Root expired on 2049-06-01T12:00:00Z: nothing below it is accepted now",
        ),
        (
            {"not_before": AT + timedelta(seconds=1)},
            AT,
            "'not-before' is still to come, 2026-06-01T12:00:01Z: until then, every clock counts as it",
        ),
        ({"revocation": RevocationRule.OFF}, AT, "the 1 revocation list at hand will not be looked at"),
        (
            {},
            AT.replace(year=2050),
            "the anchor CN=Test Root expired on 2049-06-01T12:00:00Z: nothing below it is accepted now",
        ),
        ({}, AT.replace(year=2049, month=5), "the anchor CN=Test Root ends soon, on 2049-06-01T12:00:00Z"),
        (
            {"digests": frozenset(Digest)},
            AT,
            'SHA-1 is accepted, for which collisions are known: use digests = ["sha256"] if you can',
        ),
        (
            {"minimum_rsa_bits": 1024},
            AT,
            "RSA keys of 1024 bits are accepted: use minimum-rsa-bits = 2048 or more",
        ),
        (
            {"purposes": frozenset({"2.5.29.37.0"})},
            AT,
            "any extended key usage is accepted: certificates for any purpose may sign",
        ),
        (
            {"purposes_required": False},
            AT,
            "certificates without an extended key usage may sign: name one with 'eku'",
        ),
        (
            {"signers": frozenset({"a"}), "required_signers": 2},
            AT,
            "2 signatures are required of 1 accepted signer: a name must stand for several keys",
        ),
        (
            {"clock": ClockRule.OFF},
            AT,
            "dates are not checked: expired certificates and old revocation lists are accepted for ever",
        ),
        (
            {"clock": ClockRule.SIGNING_TIME},
            AT,
            "the signer states the time: a stolen key whose certificate expired signs with an old date",
        ),
        ({"grace": timedelta(days=91)}, AT, "certificates are accepted for 91 days after their end"),
        (
            {"grace": timedelta(days=91, seconds=1)},
            AT,
            "certificates are accepted for 7862401 seconds after their end",
        ),
        ({"crls": ()}, AT, "revocation is not checked: a stolen key is trusted until its certificate ends"),
        (
            {"revocation": RevocationRule.OFF},
            AT,
            "revocation is not checked: a stolen key is trusted until its certificate ends",
        ),
        (
            {"crls": (), "revocation": RevocationRule.IF_PRESENT},
            AT,
            "there are no revocation lists, so none is checked",
        ),
        (
            {"crls": (), "revocation": RevocationRule.REQUIRE},
            AT,
            "revocation lists are required, but there are none: nothing is accepted without --crl",
        ),
        ({}, AT + timedelta(days=60), "the revocation list of CN=Test Root ended on 2026-07-01T12:00:00Z"),
        (
            {"crls": (crl(root()), crl(certify("Other", ca=True)))},
            AT,
            "the revocation list of CN=Other is not of an anchor: it counts only for an intermediate",
        ),
    ],
)
def test_a_weakness_is_warned_of(settings_: dict[str, Any], at: datetime, message: str) -> None:
    found = weaknesses(Policy(**{"anchors": (root().certificate,), **STRONG, **settings_}), at)

    assert message in [one.message for one in found]
    assert {one.code for one in found} == {"weak-policy"}


def test_a_root_of_version_1_is_an_authority_and_a_second_leaf_no_weakness() -> None:
    old = authority("Old", version_1=True)
    leaves = policy(signer(), second_signer(), **STRONG)

    assert "CN=Old (an authority," in next(policy_sentences(policy(old)))
    assert not any("only anchor" in one.message for one in weaknesses(policy(old, **STRONG), AT))
    assert not any("only anchor" in one.message for one in weaknesses(leaves, AT))
