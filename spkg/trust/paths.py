"""The path from a signer's certificate to an anchor, built and checked by OpenSSL, within its dates.

What OpenSSL says in general words gets the names, dates and options that the user needs.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from spkg.common.times import write_time
from spkg.errors import UntrustedError
from spkg.trust.certificates import issuer_of, subject_of
from spkg.trust.issuing import Issuers
from spkg.trust.policy import Policy

__all__ = ["build_path", "certificate_store", "date_problem"]

NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name."""
NO_ISSUER: Final = {2, 20, 21}
"""Errors of OpenSSL: an issuer is missing, or it did not sign."""
DATES: Final = {9, 10}
"""Errors of OpenSSL: a certificate is not yet valid, or has expired."""
SELF_SIGNED: Final = {18, 19}
"""Errors of OpenSSL: the path ends in a certificate that is not an anchor."""
UNSET_CLOCK: Final = 2004
"""A clock before this year was never set: the format is no older."""
NO_CLOCK: Final = "the clock seems not to be set: set it, or use --no-clock, or 'not-before' in a policy file"
EXPIRED: Final = (
    "give --at TIME for the time that counts, or set 'clock' or 'grace' in a policy file; "
    "sign again with a certificate that is still valid"
)


def build_path(
    certificate: x509.Certificate, issuers: Issuers, policy: Policy, at: datetime | None
) -> tuple[x509.Certificate, ...]:
    """Return the path from a signer's certificate to an anchor.

    Args:
        certificate: The signer's.
        issuers: The certificates that may be on the path.
        policy: The grace after the end of a certificate.
        at: The time at which dates are checked; None checks no dates.

    Raises:
        UntrustedError: There is no path, or one of its certificates is not allowed there.
    """
    try:
        return _verified(certificate, issuers, at)
    except crypto.X509StoreContextError as exc:
        if at is None or exc.errors[0] not in DATES:
            raise _path_error(exc, issuers) from exc
    try:
        path = _verified(certificate, issuers, None)
    except crypto.X509StoreContextError as exc:
        raise _path_error(exc, issuers) from exc
    for step in reversed(path):
        problem = date_problem(step, at, policy.grace)
        if problem is not None:
            raise problem
    return path


def date_problem(certificate: x509.Certificate, at: datetime, grace: timedelta) -> UntrustedError | None:
    """Return why a certificate is not valid at a time; None if it is."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < start:
        problem = f"certificate is not yet valid: valid from {write_time(start)}, checked at {write_time(at)}"
        return UntrustedError(f"{subject_of(certificate)}: {problem}", hint=clock_hint(at))
    if at > end and at - end > grace:
        problem = f"certificate has expired: valid until {write_time(end)}, checked at {write_time(at)}"
        return UntrustedError(f"{subject_of(certificate)}: {problem}", hint=EXPIRED)
    return None


def clock_hint(at: datetime) -> str | None:
    """Return what to do about a clock that can't be right."""
    return NO_CLOCK if at.astimezone(UTC).year < UNSET_CLOCK else None


def _verified(
    certificate: x509.Certificate, issuers: Issuers, at: datetime | None
) -> tuple[x509.Certificate, ...]:
    context = crypto.X509StoreContext(
        certificate_store(issuers.anchors, at),
        crypto.X509.from_cryptography(certificate),
        _openssl(issuers.others),
    )
    return tuple(step.to_cryptography() for step in context.get_verified_chain())


def certificate_store(
    anchors: Iterable[x509.Certificate], at: datetime | None, flags: int = 0
) -> crypto.X509Store:
    """Return what OpenSSL trusts, and the time at which it checks dates; None checks none."""
    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    if at is None:
        flags |= NO_CHECK_TIME
    else:
        # pyOpenSSL drops the time zone; setting a time would also disable NO_CHECK_TIME.
        store.set_time(at.astimezone(UTC).replace(tzinfo=None))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | flags)
    return store


def _openssl(pool: Sequence[x509.Certificate]) -> list[crypto.X509]:
    """Return those that OpenSSL can also read."""
    return [converted for converted in map(_converted, pool) if converted is not None]


@lru_cache(maxsize=256)
def _converted(certificate: x509.Certificate) -> crypto.X509 | None:
    try:
        return crypto.X509.from_cryptography(certificate)
    except crypto.Error:
        return None


def _path_error(exc: crypto.X509StoreContextError, issuers: Issuers) -> UntrustedError:
    """Return the error for a path that OpenSSL refused, with names and options."""
    culprit = exc.certificate.to_cryptography()
    problem = f"{subject_of(culprit)}: {exc}"
    if exc.errors[0] in NO_ISSUER:
        issuer = issuer_of(culprit)
        if culprit == issuers.chain[-1] and issuers.namesakes:
            reason = f"the key of the certificate of {issuer} did not sign it"
        else:
            reason = f"there is no certificate of {issuer}"
        advice = (
            f"embed the certificate of {issuer} with --chain when signing, "
            "or trust it with --trust when verifying"
        )
        return UntrustedError(f"{problem}: {reason}", hint=advice)
    if exc.errors[0] in SELF_SIGNED:
        name = subject_of(culprit)
        return UntrustedError(problem, hint=f"to trust {name}, give its certificate with --trust")
    return UntrustedError(problem)
