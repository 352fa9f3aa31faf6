"""Whether a certificate was revoked, by the lists of a policy.  What is not current fails closed."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from OpenSSL import crypto

from spkg.common.times import write_time
from spkg.errors import UntrustedError
from spkg.trust.certificates import issuer_name, list_issuer, subject_name, subject_of
from spkg.trust.digest_rules import check_hash
from spkg.trust.issuing import extension_of, is_signed_by
from spkg.trust.names import is_same_name
from spkg.trust.paths import certificate_store, clock_hint
from spkg.trust.policy import Policy, RevocationRule

__all__ = ["check_revocation"]

NEED_LIST: Final = "give a current revocation list with --crl when verifying"


def check_revocation(
    path: Sequence[x509.Certificate], policy: Policy, at: datetime | None
) -> tuple[str, ...]:
    """Check the certificates of a path against the revocation lists of their issuers.

    One link at a time: OpenSSL's own check of a whole path would also need a list for the anchor.

    Returns:
        What was found for each certificate that was checked.

    Raises:
        UntrustedError: One is revoked, or a list that the policy requires is missing or not current.
    """
    rule = policy.revocation_rule
    if rule is RevocationRule.OFF:
        return ()
    found: list[str] = []
    for number, certificate in enumerate(path):
        if policy.is_anchor(certificate):
            _check_anchor(certificate, policy, at)
            continue
        required = rule is RevocationRule.REQUIRE_CHAIN or (rule is RevocationRule.REQUIRE and number == 0)
        found.append(_check_link(certificate, path[number + 1], policy, at, required=required))
    return tuple(found)


def _check_link(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    policy: Policy,
    at: datetime | None,
    *,
    required: bool,
) -> str:
    """Check a certificate against the lists that its issuer signed."""
    name, authority = subject_of(certificate), subject_of(issuer)
    lists = [
        crl
        for crl in policy.crls
        if is_same_name(list_issuer(crl), subject_name(issuer)) and is_signed_by(crl, issuer)
    ]
    for crl in lists:
        check_hash(crl, f"the revocation list of {authority}", policy)
        _check_listed(crl, certificate)  # every list counts, even a stale or delta list
    if not lists:
        if not required:
            return f"{name}: {authority} has no revocation list, and none is required"
        problem = f"{name}: unable to get certificate CRL: there is no revocation list of {authority}"
        raise UntrustedError(problem, hint=NEED_LIST)
    current = [crl for crl in lists if _list_problem(crl, at) is None]
    if not current:
        latest = max(lists, key=lambda crl: crl.last_update_utc)
        problem = f"{name}: {_list_problem(latest, at)}: that of {authority}{_dates(latest, at)}"
        raise UntrustedError(problem, hint=(None if at is None else clock_hint(at)) or NEED_LIST)
    store = certificate_store([issuer], None, crypto.X509StoreFlags.CRL_CHECK)
    for crl in current:
        store.add_crl(crl)
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate)).verify_certificate()
    except crypto.X509StoreContextError as exc:
        raise UntrustedError(f"{name}: {exc}", hint=NEED_LIST) from exc
    latest = max(current, key=lambda crl: crl.last_update_utc)
    return f"{name}: not on the revocation list of {authority}, which{_dates(latest, at)}"


def _dates(crl: x509.CertificateRevocationList, at: datetime | None) -> str:
    """Return from when to when a list is current."""
    end = "has no end" if crl.next_update_utc is None else f"ends on {write_time(crl.next_update_utc)}"
    checked = "dates not checked" if at is None else f"checked at {write_time(at)}"
    return f" began on {write_time(crl.last_update_utc)} and {end}, {checked}"


def _list_problem(crl: x509.CertificateRevocationList, at: datetime | None) -> str | None:
    """Return why a list is not current, in OpenSSL's words; None if it is."""
    if at is None:
        return None
    if at < crl.last_update_utc:
        return "CRL is not yet valid"
    # Without an end a list of 2004 would be current for ever.
    return "CRL has expired" if crl.next_update_utc is None or at > crl.next_update_utc else None


def _check_anchor(anchor: x509.Certificate, policy: Policy, at: datetime | None) -> None:
    """Check an anchor: the user trusts it, but a list in its issuer's name counts, by any signer."""
    issuer = issuer_name(anchor)
    current: defaultdict[bytes | None, list[bool]] = defaultdict(list)
    for crl in policy.crls:
        if not is_same_name(list_issuer(crl), issuer):
            continue
        _check_listed(crl, anchor)
        # Authorities with the same name have separate lists; the key identifier, if any, tells them apart.
        key = extension_of(crl.extensions, x509.AuthorityKeyIdentifier)
        counts = _list_problem(crl, at) is None and not _is_delta(crl)
        current[None if key is None else key.key_identifier].append(counts)
    if not all(any(lists) for lists in current.values()):
        problem = f"there is no current revocation list of {issuer.rfc4514_string()}"
        raise UntrustedError(problem, hint=(None if at is None else clock_hint(at)) or NEED_LIST)


def _check_listed(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Refuse a certificate that is on a list."""
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is not None:
        name, when = subject_of(certificate), write_time(entry.revocation_date_utc)
        raise UntrustedError(
            f"{name}: certificate revoked: on the revocation list of {list_issuer(crl).rfc4514_string()}"
            f" since {when}",
            hint=f"sign again with a key other than that of {name}",
        )


def _is_delta(crl: x509.CertificateRevocationList) -> bool:
    """Whether a list only has changes to another: a certificate that is not on it may still be revoked."""
    return extension_of(crl.extensions, x509.DeltaCRLIndicator) is not None
