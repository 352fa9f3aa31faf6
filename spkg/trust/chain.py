"""Which signers are trusted: certificate paths from a signer to an anchor, checked under a policy.

Trust comes only from the anchors that the user names; time is an argument.  Packages and vouchers share this
module.  Paths are built and checked by OpenSSL, through pyOpenSSL; what OpenSSL leaves to its caller (the
purpose of the signer's certificate, the strength of keys and digests) is checked here.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID
from OpenSSL import crypto

from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.common.printable import amount
from spkg.common.times import write_time
from spkg.errors import UntrustedError
from spkg.trust.certificates import common_names_of, quiet, subject_of
from spkg.trust.policy import ANY_PURPOSE, PACKAGE_PURPOSES, Policy

__all__ = [
    "check_rsa_key",
    "check_signer",
    "doubts",
    "key_id",
    "names_of",
]

MIN_RSA_BITS: Final = 1024
MAX_RSA_BITS: Final = 8192
MIN_EXPONENT: Final = 65537
"""With a smaller public exponent, signatures can be forged if padding is checked carelessly."""
MAX_EXPONENT: Final = (1 << 32) + 1
"""A larger one makes verification slow."""
NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name."""
EXPIRES_SOON: Final = timedelta(days=90)
"""How long before the end of a certificate it is time to get another one."""

PSS: Final = SignatureAlgorithmOID.RSASSA_PSS
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
STRONG_HASHES: Final = (hashes.SHA224, hashes.SHA256, hashes.SHA384, hashes.SHA512)


@quiet()  # OpenSSL returns certificates, which are parsed again
def check_signer(
    certificate: x509.Certificate, pool: Sequence[x509.Certificate], policy: Policy, at: datetime | None
) -> tuple[x509.Certificate, ...]:
    """Return the path from a signer's certificate to an anchor.

    Args:
        certificate: The signer's.
        pool: Certificates that may be used on the path, limited in number; none is trusted.
        policy: What it takes to be trusted.
        at: The time at which dates are checked; None checks no dates.

    Raises:
        UntrustedError: There is no path, or one of its certificates is not allowed there.
    """
    try:
        # (1) The name comes first: it is the most useful reason for a refusal.
        if policy.signers is not None and policy.signers.isdisjoint(names_of(certificate)):
            raise UntrustedError(f"{subject_of(certificate)} is not one of the accepted signers")
        # (2) A certificate made for signing (decision 14): a gateway's own must not sign anything.
        _check_purpose(certificate, policy)
        # (3) A path of bounded cost to an anchor, within its dates.
        # An anchor needs no issuer; OpenSSL would still follow its issuers if they are in the pool.
        path = _path(certificate, [] if policy.is_anchor(certificate) else _usable(pool), policy, at)
        # (4) OpenSSL accepts any digest, and any purpose of intermediates; the policy decides which count.
        for step in path[1:]:
            if not policy.is_anchor(step):
                _check_extended(
                    step, policy.purposes | {ANY_PURPOSE}, f"the certificate of {subject_of(step)}"
                )
        _check_digests(path, policy)
        # (5) No certificate on the path is revoked, if the policy has revocation lists.
        if policy.crls:
            _check_revocation(path, policy, at)
    except crypto.Error as exc:
        # One parser may refuse what another accepts; OpenSSL's own message is a list of codes.
        raise UntrustedError("OpenSSL can't read a certificate or revocation list") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise UntrustedError(f"a revocation list can't be read: {exc}") from exc
    return path


def doubts(
    certificate: x509.Certificate, at: datetime, purposes: frozenset[str] = PACKAGE_PURPOSES
) -> list[Finding]:
    """Return why a verifier with the default policy would reject signatures of *certificate*, now or soon."""
    name = f"the certificate of {subject_of(certificate)}"
    found: list[str] = []
    try:
        _check_purpose(certificate, Policy(anchors=(certificate,), purposes=purposes))
        constraints = _extension(certificate.extensions, x509.BasicConstraints)
        if constraints is not None and constraints.ca:
            found.append(f"{name} is a CA certificate: it may sign only as an anchor")
    except UntrustedError as exc:
        found.append(f"verifiers may reject this signature: {exc.problem}")
    if at < certificate.not_valid_before_utc:
        found.append(f"{name} is not valid before {write_time(certificate.not_valid_before_utc)}")
    end = certificate.not_valid_after_utc
    if at > end:
        found.append(f"{name} expired on {write_time(end)}")
    findings = [Finding(code="unfit-certificate", message=message) for message in found]
    if at <= end < at + EXPIRES_SOON:
        days = amount((end - at).days, "day")
        message = f"{name} expires in {days}, on {write_time(end)}"
        findings.append(Finding(code="certificate-expires", message=message))
    return findings


def check_rsa_key(key: object) -> rsa.RSAPublicKey:
    """Return *key* if it is an RSA key of secure and affordable size.

    Raises:
        UntrustedError: It is not.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        raise UntrustedError("the key is not an RSA key")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise UntrustedError(
            f"expected an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, got {key.key_size}"
        )
    exponent = key.public_numbers().e
    if not MIN_EXPONENT <= exponent <= MAX_EXPONENT or exponent % 2 == 0:
        raise UntrustedError(
            f"expected an RSA key with an odd exponent from {MIN_EXPONENT} to {MAX_EXPONENT}, got {exponent}"
        )
    return key


def key_id(certificate: x509.Certificate) -> int:
    """Return what identifies a key, the modulus: a holder who can sign with one exponent can with any other.

    Raises:
        UntrustedError: The key is not an RSA key of secure and affordable size.
    """
    return check_rsa_key(certificate.public_key()).public_numbers().n


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the names of a signer: the RFC 4514 subject, and the common name if there is exactly one.

    A common name that contains an equals sign is left out: it could be mistaken for a subject.
    """
    common = common_names_of(certificate)
    short = {name for name in common if len(common) == 1 and "=" not in name}
    return frozenset({subject_of(certificate), *short})


def _check_purpose(certificate: x509.Certificate, policy: Policy) -> None:
    extensions = certificate.extensions
    constraints = _extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca and not policy.is_anchor(certificate):
        raise UntrustedError("the signer's certificate is a CA certificate")
    usage = _extension(extensions, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise UntrustedError("the certificate's keyUsage lacks digitalSignature")
    if usage is not None and usage.key_cert_sign and not policy.is_anchor(certificate):
        raise UntrustedError("the certificate's keyUsage includes keyCertSign, as for a CA")
    if policy.purposes_required and _extension(extensions, x509.ExtendedKeyUsage) is None:
        raise UntrustedError("the certificate has no extendedKeyUsage")
    _check_extended(certificate, policy.purposes, "the signer's certificate")


def _check_extended(certificate: x509.Certificate, purposes: frozenset[str], name: str) -> None:
    """Check the extended key usages of a signer's or intermediate certificate, if it has any."""
    extended = _extension(certificate.extensions, x509.ExtendedKeyUsage)
    if extended is not None and purposes.isdisjoint(purpose.dotted_string for purpose in extended):
        raise UntrustedError(f"{name} has no suitable extendedKeyUsage")


def _usable(pool: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates of unknown origin that are cheap to check: others could make a path costly."""
    return [certificate for certificate in pool if _is_affordable(certificate)]


@lru_cache(maxsize=256)
def _is_affordable(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    try:
        return not isinstance(key, rsa.RSAPublicKey) or check_rsa_key(key) is key
    except UntrustedError:
        return False


def _namesakes(leaf: x509.Certificate, candidates: Sequence[x509.Certificate]) -> set[x509.Certificate]:
    """Return those that have the name of an issuer on the path from *leaf*, but not the key that signed.

    OpenSSL takes the first issuer with the right name and never tries another.  Authorities that changed
    their key kept their name.
    """
    by_name: defaultdict[x509.Name, list[x509.Certificate]] = defaultdict(list)
    for candidate in dict.fromkeys(candidates):
        by_name[candidate.subject].append(candidate)
    wrong: set[x509.Certificate] = set()
    right: set[x509.Certificate] = set()
    waiting = [leaf]
    while waiting:
        certificate = waiting.pop()
        named = by_name[certificate.issuer]
        signed = {one for one in named if _is_issued(certificate, one)}
        wrong.update(one for one in named if one not in signed)
        waiting += [one for one in signed if one not in right]
        right |= signed
    return wrong - right


@lru_cache(maxsize=16384)
def _is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    return _is_signed(certificate, issuer)


def _is_signed(signed: x509.Certificate | x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the key of *issuer* signed, as far as is known here, and not whether it is allowed to."""
    key, algorithm = issuer.public_key(), signed.signature_hash_algorithm
    if not isinstance(key, rsa.RSAPublicKey) or algorithm is None or signed.signature_algorithm_oid == PSS:
        return True
    octets = (
        signed.tbs_certificate_bytes if isinstance(signed, x509.Certificate) else signed.tbs_certlist_bytes
    )
    try:
        key.verify(signed.signature, octets, padding.PKCS1v15(), algorithm)
    except UnsupportedAlgorithm:
        return True
    except InvalidSignature:
        return False
    return True


def _store(anchors: Iterable[x509.Certificate], at: datetime | None, flags: int = 0) -> crypto.X509Store:
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


def _path(
    certificate: x509.Certificate, pool: Sequence[x509.Certificate], policy: Policy, at: datetime | None
) -> tuple[x509.Certificate, ...]:
    wrong = _namesakes(certificate, [*policy.anchors, *pool])
    context = crypto.X509StoreContext(
        _store([anchor for anchor in policy.anchors if anchor not in wrong], at),
        crypto.X509.from_cryptography(certificate),
        _openssl([one for one in pool if one not in wrong]),
    )
    try:
        return tuple(step.to_cryptography() for step in context.get_verified_chain())
    except crypto.X509StoreContextError as exc:
        raise UntrustedError(f"{_culprit(exc)}: {exc}") from exc


def _openssl(pool: Iterable[x509.Certificate]) -> list[crypto.X509]:
    """Return those that OpenSSL can also read."""
    return [converted for converted in map(_converted, pool) if converted is not None]


@lru_cache(maxsize=256)
def _converted(certificate: x509.Certificate) -> crypto.X509 | None:
    try:
        return crypto.X509.from_cryptography(certificate)
    except crypto.Error:
        return None


def _culprit(exc: crypto.X509StoreContextError) -> str:
    return subject_of(exc.certificate.to_cryptography())


def _check_digests(path: Sequence[x509.Certificate], policy: Policy) -> None:
    for certificate in path:
        if not policy.is_anchor(certificate):
            _check_hash(certificate.signature_hash_algorithm, subject_of(certificate), policy)


def _check_revocation(path: Sequence[x509.Certificate], policy: Policy, at: datetime | None) -> None:
    """Check each certificate below an anchor against its issuer's revocation lists.

    One link at a time: OpenSSL's own check of a whole path would also need a list for the anchor.
    """
    for number, certificate in enumerate(path):
        if policy.is_anchor(certificate):
            _check_anchor(certificate, policy, at)
            continue
        issuer = path[number + 1]
        store = _store([issuer], at, crypto.X509StoreFlags.CRL_CHECK)
        for crl in policy.crls:
            if not _is_same(crl.issuer, issuer.subject) or not _is_signed(crl, issuer):
                continue
            name = f"the revocation list of {crl.issuer.rfc4514_string()}"
            _check_hash(crl.signature_hash_algorithm, name, policy)
            _check_listed(crl, certificate)  # every list counts, even a stale or delta list
            store.add_crl(crl)
        try:
            crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate)).verify_certificate()
        except crypto.X509StoreContextError as exc:
            raise UntrustedError(f"{subject_of(certificate)}: {exc}") from exc


def _check_anchor(anchor: x509.Certificate, policy: Policy, at: datetime | None) -> None:
    """Check an anchor: the user trusts it, but a list in its issuer's name counts, by any signer."""
    current: defaultdict[bytes | None, list[bool]] = defaultdict(list)
    for crl in policy.crls:
        if not _is_same(crl.issuer, anchor.issuer):
            continue
        _check_listed(crl, anchor)
        end = crl.next_update_utc
        # Authorities with the same name have separate lists; the key identifier, if any, tells them apart.
        key = _extension(crl.extensions, x509.AuthorityKeyIdentifier)
        in_time = at is None or (end is not None and crl.last_update_utc <= at <= end)
        current[None if key is None else key.key_identifier].append(in_time and not _is_delta(crl))
    if not all(any(lists) for lists in current.values()):
        raise UntrustedError(f"there is no current revocation list of {anchor.issuer.rfc4514_string()}")


def _check_listed(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise UntrustedError(f"{subject_of(certificate)}: certificate revoked")


def _is_delta(crl: x509.CertificateRevocationList) -> bool:
    """Whether a list only has changes to another: a certificate that is not on it may still be revoked."""
    return _extension(crl.extensions, x509.DeltaCRLIndicator) is not None


def _is_same(one: x509.Name, other: x509.Name) -> bool:
    """Whether two Names are the same by RFC 5280: case and the width of spaces do not matter."""
    return one == other or _folded(one) == _folded(other)


def _folded(name: x509.Name) -> list[tuple[str, str]]:
    return [(part.oid.dotted_string, " ".join(str(part.value).casefold().split())) for part in name]


def _check_hash(algorithm: hashes.HashAlgorithm | None, name: str, policy: Policy) -> None:
    """Refuse what is signed with a weak digest; None means a signature algorithm with a built-in digest."""
    accepted = (*STRONG_HASHES, hashes.SHA1) if Digest.SHA1 in policy.digests else STRONG_HASHES
    if algorithm is not None and not isinstance(algorithm, accepted):
        raise UntrustedError(f"{name} is signed with {algorithm.name}, which is not accepted")


def _extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
