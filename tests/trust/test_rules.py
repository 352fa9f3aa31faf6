"""The rules of a policy beyond anchors and names: clock, revocation, pins, and sizes of keys."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.build.sign import add_signature
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust.issuing import MAX_ISSUERS, MAX_NAMESAKES, missing_issuer
from spkg.trust.paths import EXPIRED, NO_CLOCK
from spkg.trust.policy import ClockRule, Policy, RevocationRule, pin_of
from spkg.verify.signatures import UntrustedPackageError, verify_package
from tests.judges.programs import run
from tests.support.kit import (
    AT,
    Certified,
    Draft,
    authority,
    certify,
    policy,
    read,
    root,
    second_signer,
    signer,
)
from tests.support.revocation_kit import crl

DAY = timedelta(days=1)


def signed(by: Certified, chain: Sequence[Certified] = (), time: datetime | None = None) -> Draft:
    """Return a package signed by somebody, who may state the time."""
    draft = Draft()
    block = add_signature(load_block(EMPTY_BLOCK), draft.signed, by.identity(*chain), signing_time=time)
    return Draft(block=block)


def verdict(draft: Draft, wanted: Policy, at: datetime | None = AT) -> str:
    """Return why a package is refused, or that it is trusted."""
    try:
        verify_package(read(draft.encode()), wanted, at=at)
    except UntrustedPackageError as exc:
        return exc.problem.removeprefix("signature[0]: ")
    return "trusted"


def advice(draft: Draft, wanted: Policy, at: datetime | None = AT) -> str | None:
    with pytest.raises(UntrustedPackageError) as raised:
        verify_package(read(draft.encode()), wanted, at=at)
    return raised.value.hint


# Clock.

ENDED = certify("Ended", root(), start=AT - 10 * DAY, end=AT - DAY, serial=1005)
EXPIRED_ENDED = (
    "CN=Ended: certificate has expired: valid until 2026-05-31T12:00:00Z, checked at 2026-06-01T12:00:00Z"
)


def test_a_release_is_checked_at_its_signing_time_if_the_policy_says_so() -> None:
    release = signed(ENDED, time=AT - 2 * DAY)

    assert verdict(release, policy(clock=ClockRule.SIGNING_TIME)) == "trusted"
    assert verdict(release, policy()) == EXPIRED_ENDED
    assert advice(release, policy()) == EXPIRED


def test_without_a_signing_time_the_clock_counts() -> None:
    assert verdict(signed(ENDED), policy(clock=ClockRule.SIGNING_TIME)) == EXPIRED_ENDED


def test_a_signing_time_outside_of_the_dates_is_refused() -> None:
    early = signed(ENDED, time=AT - 11 * DAY)

    assert verdict(early, policy(clock=ClockRule.SIGNING_TIME)).startswith(
        "CN=Ended: certificate is not yet valid"
    )


def test_a_signing_time_to_come_counts_as_now() -> None:
    early = certify("Early", root(), start=AT + DAY)
    release = signed(early, time=AT + 2 * DAY)

    assert verdict(release, policy(clock=ClockRule.SIGNING_TIME)).startswith(
        "CN=Early: certificate is not yet valid"
    )


def test_revocation_lists_are_checked_now_whatever_the_signing_time() -> None:
    wanted = policy(clock=ClockRule.SIGNING_TIME, crls=(crl(root(), days=0),))

    assert verdict(signed(signer(), time=AT - DAY), wanted, AT + DAY).startswith(
        "CN=Test Signer: CRL has expired"
    )
    assert (
        verdict(signed(signer(), time=AT - DAY), policy(clock=ClockRule.SIGNING_TIME), AT + DAY) == "trusted"
    )


def test_each_signature_has_its_own_time() -> None:
    one = signed(ENDED, time=AT - 2 * DAY)
    both = add_signature(load_block(one.block or b""), one.signed, signer().identity(), signing_time=AT)

    reports = verify_package(
        read(Draft(block=both).encode()), policy(clock=ClockRule.SIGNING_TIME), at=AT
    ).signatures

    assert {report.subject: report.signer is not None for report in reports} == {
        "CN=Ended": True,
        "CN=Test Signer": True,
    }


def test_a_clock_that_is_off_checks_no_dates() -> None:
    trusted = verify_package(read(signed(ENDED).encode()), policy(clock=ClockRule.OFF), at=AT)

    assert not trusted.dates_checked


def test_the_floor_helps_a_clock_that_was_never_set() -> None:
    unset = datetime(1970, 1, 1, tzinfo=UTC)

    assert verdict(Draft(), policy(not_before=AT), unset) == "trusted"
    assert verdict(signed(ENDED), policy(not_before=AT), unset) == EXPIRED_ENDED
    assert advice(Draft(), policy(), unset) == NO_CLOCK
    assert advice(Draft(), policy(), AT.replace(year=2024)) is None


def test_the_floor_does_not_hold_back_a_clock_that_is_right() -> None:
    assert verdict(signed(ENDED), policy(not_before=AT - 2 * DAY)) == EXPIRED_ENDED


def test_the_floor_makes_old_lists_stale() -> None:
    unset = datetime(1970, 1, 1, tzinfo=UTC)
    stale = policy(crls=(crl(root(), days=0),), not_before=AT + DAY)

    assert verdict(Draft(), stale, unset).startswith("CN=Test Signer: CRL has expired")
    assert advice(Draft(), policy(crls=(crl(root()),), not_before=None), unset) == NO_CLOCK


@pytest.mark.parametrize(
    ("grace", "problem"), [(DAY, "trusted"), (DAY - timedelta(seconds=1), EXPIRED_ENDED)]
)
def test_grace_ends_to_the_second(grace: timedelta, problem: str) -> None:
    assert verdict(signed(ENDED), policy(grace=grace)) == problem


def test_grace_does_not_begin_before_a_certificate() -> None:
    early = certify("Early", root(), start=AT + DAY)

    assert verdict(signed(early), policy(grace=2 * DAY)).startswith("CN=Early: certificate is not yet valid")


def test_grace_mends_nothing_else() -> None:
    other = authority("Other Root", with_key="other")

    assert "unable to get local issuer" in verdict(signed(ENDED), policy(other, grace=2 * DAY))
    revoked = verdict(signed(ENDED), policy(grace=2 * DAY, crls=(crl(root(), ENDED),)))
    assert revoked.startswith("CN=Ended: certificate revoked: on the revocation list of CN=Test Root")
    assert verdict(signed(ENDED), policy(grace=2 * DAY, crls=(crl(root()),))) == "trusted"


def test_an_expired_certificate_below_a_faulty_path_is_refused_for_the_path() -> None:
    leaf = certify("Leaf", signer(), with_key="other", end=AT - DAY)

    assert verdict(signed(leaf), policy(signer())) == "CN=Test Signer: invalid CA certificate"


# Revocation.


def endless(by: Certified, *revoked: Certified) -> x509.CertificateRevocationList:
    """Return a list without a next update."""
    changed = asn1_crl.CertificateList.load(crl(by, *revoked).public_bytes(Encoding.DER))
    tbs = changed["tbs_cert_list"]
    tbs["next_update"] = None
    changed["signature"] = by.key.sign(tbs.dump(force=True), padding.PKCS1v15(), hashes.SHA256())
    return x509.load_der_x509_crl(changed.dump(force=True))


def test_a_list_without_an_end_is_not_current_for_ever() -> None:
    wanted = policy(crls=(endless(root()),))

    assert wanted.crls[0].next_update_utc is None
    assert verdict(Draft(), wanted) == (
        "CN=Test Signer: CRL has expired: that of CN=Test Root began on 2026-05-31T12:00:00Z and has no end, "
        "checked at 2026-06-01T12:00:00Z"
    )
    assert verdict(Draft(), wanted, None) == "trusted"
    assert ": certificate revoked: on the" in verdict(
        Draft(), policy(crls=(endless(root(), signer()),)), None
    )
    assert verdict(Draft(), policy(signer(), crls=(endless(root()),))) == (
        "there is no current revocation list of CN=Test Root"
    )


def test_a_list_of_an_intermediate_without_an_end_is_refused_too() -> None:
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    leaf = signed(certify("Leaf", middle), [middle])

    assert verdict(leaf, policy(crls=(crl(root()), endless(middle)))).startswith("CN=Leaf: CRL has expired")
    assert verdict(leaf, policy(crls=(endless(root()), crl(middle)))).startswith(
        "CN=Intermediate: CRL has expired"
    )
    assert verdict(leaf, policy(crls=(crl(root()), crl(middle)))) == "trusted"


MIDDLE = authority("Intermediate", root(), with_key="other", serial=2)
LEAF = certify("Leaf", MIDDLE)


@pytest.mark.parametrize(
    ("rule", "lists", "problem"),
    [
        (RevocationRule.OFF, (crl(MIDDLE, LEAF),), "trusted"),
        (RevocationRule.IF_PRESENT, (), "trusted"),
        (RevocationRule.IF_PRESENT, (crl(MIDDLE),), "trusted"),
        (RevocationRule.IF_PRESENT, (crl(MIDDLE, LEAF),), "CN=Leaf: certificate revoked"),
        (RevocationRule.IF_PRESENT, (crl(root(), MIDDLE),), "CN=Intermediate: certificate revoked"),
        (RevocationRule.IF_PRESENT, (crl(MIDDLE, start=-9, days=-5),), "CN=Leaf: CRL has expired"),
        (RevocationRule.REQUIRE, (), "CN=Leaf: unable to get certificate CRL"),
        (RevocationRule.REQUIRE, (crl(root()),), "CN=Leaf: unable to get certificate CRL"),
        (RevocationRule.REQUIRE, (crl(MIDDLE),), "trusted"),
        (RevocationRule.REQUIRE, (crl(MIDDLE), crl(root(), MIDDLE)), "CN=Intermediate: certificate revoked"),
        (RevocationRule.REQUIRE_CHAIN, (crl(MIDDLE),), "CN=Intermediate: unable to get certificate CRL"),
        (RevocationRule.REQUIRE_CHAIN, (crl(MIDDLE), crl(root())), "trusted"),
        (None, (), "trusted"),
        (None, (crl(MIDDLE),), "CN=Intermediate: unable to get certificate CRL"),
    ],
)
def test_the_rule_decides_which_certificates_need_a_list(
    rule: RevocationRule | None, lists: tuple[x509.CertificateRevocationList, ...], problem: str
) -> None:
    found = verdict(signed(LEAF, [MIDDLE]), policy(crls=lists, revocation=rule))

    assert found.startswith(problem)


def test_a_missing_list_is_named_with_the_option() -> None:
    wanted = policy(revocation=RevocationRule.REQUIRE)

    assert verdict(Draft(), wanted) == (
        "CN=Test Signer: unable to get certificate CRL: there is no revocation list of CN=Test Root"
    )
    assert "--crl" in (advice(Draft(), wanted) or "")


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("revoked", [True, False])
def test_openssl_judges_lists_of_the_whole_chain_alike(
    *, current: bool, revoked: bool, tmp_path: Path
) -> None:
    lists = (
        crl(root(), *((MIDDLE,) if revoked else ())),
        crl(MIDDLE) if current else crl(MIDDLE, start=-9, days=-5),
    )
    (tmp_path / "root.pem").write_bytes(root().pem)
    (tmp_path / "middle.pem").write_bytes(MIDDLE.pem)
    (tmp_path / "leaf.pem").write_bytes(LEAF.pem)
    (tmp_path / "lists.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in lists))

    judged = run(
        *["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "middle.pem", "-CRLfile", "lists.pem"],
        *["-crl_check_all", "-attime", str(int(AT.timestamp())), "leaf.pem"],
        cwd=tmp_path,
    )

    ours = verdict(signed(LEAF, [MIDDLE]), policy(crls=lists))
    assert (judged.status == 0) == (ours == "trusted") == (current and not revoked)


# Pins and keys.


def test_a_pin_may_be_of_any_key_on_the_path() -> None:
    draft = signed(LEAF, [MIDDLE])

    for one in (LEAF, MIDDLE, root()):
        assert verdict(draft, policy(pins=frozenset({pin_of(one.certificate), b"\0" * 32}))) == "trusted"


def test_without_a_pinned_key_the_own_one_is_named() -> None:
    own = pin_of(signer().certificate).hex()

    problem = verdict(Draft(), policy(pins=frozenset({pin_of(second_signer().certificate)})))

    assert problem == f"no key on the path is pinned; that of CN=Test Signer is sha256:{own}"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pins": frozenset()}, "a policy that pins keys must pin at least one"),
        ({"minimum_rsa_bits": 512}, "a policy must require RSA keys of at least 1024 bits"),
        ({"not_before": datetime(2026, 1, 1)}, "the floor of the clock must have a time zone"),  # noqa: DTZ001
        ({"grace": -DAY}, "the grace after expiry can't be negative"),
    ],
)
def test_a_rule_that_makes_no_sense_is_an_error(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        policy(**settings)


@pytest.mark.parametrize("who", ["leaf", "anchor"])
def test_the_smallest_key_counts_on_the_whole_path(who: str) -> None:
    top = authority("Small", with_key="small") if who == "anchor" else root()
    leaf = certify("Leaf", top, with_key="small" if who == "leaf" else "signer")
    name = {"leaf": "CN=Leaf", "anchor": "CN=Small"}[who]

    assert verdict(signed(leaf), policy(top, minimum_rsa_bits=2048)) == (
        f"{name} has an RSA key of 1024 bits, expected at least 2048"
    )
    assert verdict(signed(leaf), policy(top)) == "trusted"
    assert verdict(Draft(), policy(minimum_rsa_bits=2048)) == "trusted"


# Names as openssl prints them.


@pytest.mark.parametrize(
    "name", ["CN=Test Signer", "CN = Test Signer", "commonName=Test Signer", 'CN="Test Signer"']
)
def test_a_signer_may_be_named_as_openssl_does(name: str) -> None:
    assert verdict(Draft(), policy(signers=frozenset({name}))) == "trusted"


# The missing issuer.


def test_the_issuer_of_a_signer_is_missing_unless_it_is_embedded_or_trusted() -> None:
    assert missing_issuer(LEAF.certificate, ()) == "CN=Intermediate"
    assert missing_issuer(LEAF.certificate, (root().certificate,)) == "CN=Intermediate"
    assert missing_issuer(LEAF.certificate, (), (root().certificate,)) == "CN=Intermediate"
    assert missing_issuer(LEAF.certificate, (MIDDLE.certificate,)) is None
    assert missing_issuer(LEAF.certificate, (), (MIDDLE.certificate,)) is None


def test_who_is_trusted_or_self_signed_misses_no_issuer() -> None:
    assert missing_issuer(LEAF.certificate, (), (LEAF.certificate,)) is None
    assert missing_issuer(root().certificate, ()) is None


def test_an_issuer_of_another_key_is_missing_too() -> None:
    false = authority("Intermediate", root(), with_key="second", serial=3)

    assert missing_issuer(LEAF.certificate, (false.certificate,)) == "CN=Intermediate"
    assert missing_issuer(LEAF.certificate, (), (false.certificate,)) == "CN=Intermediate"


# Bounds.


def test_of_many_namesakes_only_a_few_are_tried() -> None:
    false = [authority("Intermediate", root(), with_key="second", serial=10 + number) for number in range(9)]

    assert verdict(signed(LEAF, [*false[: MAX_NAMESAKES - 1], MIDDLE]), policy()) == "trusted"
    chain = [MIDDLE, *false]
    certificates = [one.certificate for one in chain]
    assert missing_issuer(LEAF.certificate, certificates) is None
    assert missing_issuer(LEAF.certificate, certificates[::-1]) == "CN=Intermediate"


def test_a_path_has_a_largest_length() -> None:
    chain = [root()]
    for number in range(MAX_ISSUERS):
        chain.append(
            authority(f"Authority {number}", chain[-1], with_key="other" if number % 2 else "second")
        )

    longest = certify("Leaf", chain[-2])
    longer = certify("Leaf", chain[-1])

    assert verdict(signed(longest, chain[1:-1]), policy()) == "trusted"
    assert "unable to get" in verdict(signed(longer, chain[1:]), policy())
