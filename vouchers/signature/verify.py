"""From a voucher to a trusted one: who signed it, and what exactly was signed (TR-069 C.2, C.3).

The only way to a :class:`TrustedVoucher`.  signxml validates the signature; what it leaves to its caller (the
shape, the certificate path, the whole KeyValue, exact Canonical XML) is checked before and around it.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final, final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from spkg.common.digests import Digest
from spkg.common.frozen import dataclass
from spkg.common.hostile_xml import PlainParser, XmlElement, base64_of, canonical
from spkg.common.sealed import Sealed
from spkg.errors import FormatError, RefusedError, UntrustedError
from spkg.trust.certificates import issuer_name, read_certificate, subject_name, subject_of
from spkg.trust.chain import check_signer
from spkg.trust.policy import Policy
from vouchers.model import Voucher
from vouchers.signature.algorithms import (
    DIGESTS,
    DSIG,
    KeyNumbers,
    PublicKey,
    Scheme,
    check_key,
    digest_of_method,
    key_value_of,
    scheme_for,
)
from vouchers.signature.option_elements import read_option
from vouchers.signature.shape import VoucherDocument

__all__ = [
    "TrustedVoucher",
    "Verifier",
    "check_key_value",
    "check_method",
    "check_voucher_signature",
    "only_signature",
    "read_signer",
    "verify_voucher",
]

_SEAL: Final = object()
_PARSER: Final = PlainParser()
MAX_KNOWN: Final = 64
"""The number of certificate paths that a verifier caches."""


@final
@dataclass(frozen=True, kw_only=True)
class TrustedVoucher(Sealed, of=_SEAL, maker="Verifier.verify()"):
    """A voucher that a trusted signer has signed.  Only a :class:`Verifier` makes one."""

    voucher: Voucher
    """What was signed, read from the bytes that were digested."""
    digest: Digest
    path: tuple[x509.Certificate, ...]
    """From the signer to an anchor."""
    signer_key: bytes
    """Identifies the signer, whatever the certificate: the SHA-256 of the SubjectPublicKeyInfo."""
    dates_checked: bool

    @property
    def signer(self) -> x509.Certificate:
        """The certificate of the signer."""
        return self.path[0]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A signer, and a certificate path that is valid between two times."""

    path: tuple[x509.Certificate, ...]
    signer_key: bytes
    key_value: KeyNumbers
    schemes: dict[Digest, Scheme]
    since: datetime
    until: datetime

    def scheme(self, digest: Digest) -> Scheme:
        """Return how the signer signs with a digest; as :func:`scheme_for`."""
        found = self.schemes.get(digest)
        if found is None:
            found = self.schemes[digest] = scheme_for(self.path[0].public_key(), digest)
        return found


class Verifier:
    """Verifies vouchers under one policy; certificate paths are cached, and their dates checked each time.

    Args:
        policy: What it accepts; its digests, keys and purposes are those of vouchers.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: dict[tuple[KeyNumbers | None, tuple[bytes, ...]], _Known] = {}

    def verify(self, document: VoucherDocument, at: datetime | None) -> TrustedVoucher:
        """Return what was signed.

        Args:
            document: The voucher as it was received.
            at: The time at which dates are checked; None checks no dates.

        Raises:
            UntrustedError: It has no trusted signature.
            FormatError: It has one, but is not a valid voucher.
        """
        # (1) A voucher has one signature, and each of its algorithms must be accepted.
        only_signature(self._policy)
        digest = check_method(document, self._policy)
        # (2) The signer's certificate must lead to an anchor and be for signing; the policy may want a name.
        known = self._path(document, at)
        # (3) The key must have a kind and size of this method, and KeyValue must not be a different key.
        check_key_value(document, known.path[0], known.scheme(digest), known.key_value)
        # (4) The signature must match SignedInfo, and each digest in it the Object at the same position.
        signed = check_voucher_signature(document, known.path[0], digest)
        # (5) Only what was digested is read.
        return TrustedVoucher(
            voucher=_voucher_in(document, signed),
            digest=digest,
            path=known.path,
            signer_key=known.signer_key,
            dates_checked=self._policy.moment(at) is not None,
            seal=_SEAL,
        )

    def _path(self, document: VoucherDocument, at: datetime | None) -> _Known:
        """Return the path to an anchor, from the cache if it is valid at this time."""
        named = (document.key_value, document.certificates)
        known = self._known.get(named)
        # Nothing is cached with revocation lists: they have dates of their own.
        time = self._policy.moment(at)
        if known is not None and time is not None and known.since <= time <= known.until:
            return known
        leaf, others = read_signer(document)
        path = check_signer(leaf, others, self._policy, at)
        public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        known = _Known(
            path=path,
            signer_key=sha256(public).digest(),
            key_value=key_value_of(check_key(leaf.public_key()))[1],
            schemes={},
            since=max(one.not_valid_before_utc for one in path),
            until=min(one.not_valid_after_utc for one in path),
        )
        if time is not None and not self._policy.crls:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[named] = known
        return known


def voucher_signed_by(document: VoucherDocument, certificate: x509.Certificate, digest: Digest) -> Voucher:
    """Return what a voucher says, if its signature is one of *certificate*; nothing is said about trust.

    Raises:
        UntrustedError: The signature does not hold, or is not by this signer and digest.
        FormatError: It holds, but what it signs is not a valid voucher.
    """
    check_method(document, Policy(anchors=(certificate,), digests=frozenset({digest})))
    if read_signer(document)[0] != certificate:
        raise UntrustedError(
            f"the voucher has the certificate of a signer other than {subject_of(certificate)}"
        )
    key = check_key(certificate.public_key())
    check_key_value(document, certificate, scheme_for(key, digest), key_value_of(key)[1])
    return _voucher_in(document, check_voucher_signature(document, certificate, digest))


def _voucher_in(document: VoucherDocument, signed: Sequence[XmlElement]) -> Voucher:
    """Return what was signed as a voucher.

    Raises:
        FormatError: It is not one.
    """
    try:
        options = [read_option(element[0]) for element in signed]
    except FormatError:
        for element in document.objects:  # the same error, with its place
            read_option(element[0])
        raise
    try:
        return Voucher(options=tuple(options))
    except ValueError as exc:
        # Each Option is valid: they are for different devices, which SetVouchers has to deny (Table 62).
        raise FormatError(str(exc), section="C.3, Table 62", reason=RefusedError.REASON) from exc


def only_signature(policy: Policy) -> None:
    """Refuse a policy that wants more signatures than a voucher has.

    Raises:
        UntrustedError: It does.
    """
    if policy.required_signers > 1:
        raise UntrustedError(f"a voucher has one signature, but {policy.required_signers} are required")


def check_method(document: VoucherDocument, policy: Policy) -> Digest:
    """Return the digest that the whole signature uses, if a policy accepts its algorithms.

    Raises:
        UntrustedError: It does not.
    """
    digest = digest_of_method(document.method)
    if digest is None:
        raise UntrustedError(f"the SignatureMethod {document.method[:80]} is not accepted")
    for uri in document.digests:
        if uri != DIGESTS[digest]:
            raise UntrustedError(
                f"expected the DigestMethod of the signature, {digest.value}, got {uri[:80]}"
            )
    if digest not in policy.digests:
        raise UntrustedError(
            f"a signature with {digest.value} is not accepted",
            hint="use --digests sha1,sha256 to accept the form of 2004" if digest is Digest.SHA1 else None,
        )
    return digest


def read_signer(document: VoucherDocument) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """Return the signer's certificate, and the others that the voucher has.

    Raises:
        UntrustedError: One of them can't be read.
    """
    try:
        pool = [*map(read_certificate, document.certificates)]
    except FormatError as exc:
        raise UntrustedError(exc.problem, section="C.3") from exc
    leaf = _signer_of(pool, document.key_value)
    return leaf, [one for one in pool if one is not leaf]


def check_key_value(
    document: VoucherDocument, signer: x509.Certificate, scheme: Scheme, key_value: KeyNumbers
) -> None:
    """Make sure that the method fits the signer's key, and that KeyValue is no other key.

    Raises:
        UntrustedError: It does not, or is.
    """
    if scheme.uri != document.method or len(document.signature) != scheme.length:
        raise UntrustedError(f"the signature does not fit the key of {subject_of(signer)}")
    if document.key_value not in {None, key_value}:
        raise UntrustedError("KeyValue is not the key of the certificate", section="C.3")


def _signer_of(pool: Sequence[x509.Certificate], key_value: KeyNumbers | None) -> x509.Certificate:
    """Return the signer's certificate, which may be anywhere in X509Data.

    It is that of KeyValue, or the only one that certifies no other one; in doubt it is the first.  A voucher
    that was forged gains nothing here: the signature must be that of the certificate, which must be trusted.
    """
    if key_value is not None:
        return next((one for one in pool if _has_key(one, key_value)), pool[0])
    issuers = {issuer_name(one) for one in pool if issuer_name(one) != subject_name(one)}
    ends = [one for one in pool if subject_name(one) not in issuers]
    return ends[0] if len(ends) == 1 else pool[0]


def _has_key(certificate: x509.Certificate, key_value: KeyNumbers) -> bool:
    key = certificate.public_key()
    return isinstance(key, PublicKey) and key_value_of(key)[1] == key_value


def verify_voucher(document: VoucherDocument, policy: Policy, at: datetime | None) -> TrustedVoucher:
    """Verify one voucher; as :meth:`Verifier.verify`, which is faster for many."""
    return Verifier(policy).verify(document, at)


class _Core(XMLVerifier):
    """signxml on a tree whose shape is already checked: nothing is parsed, searched or copied again.

    Canonical XML is ours, because lxml's is wrong below a default namespace.  So is the way from a Reference
    to its Object, which the shape has fixed.
    """

    def get_root(self, data: XmlElement) -> XmlElement:
        """Return the document as it is."""
        return data

    def _tostring(self, xml_node: XmlElement, **_: Any) -> XmlElement:
        return xml_node

    def _fromstring(self, xml_string: bytes | XmlElement, **_: Any) -> XmlElement:
        return etree.fromstring(xml_string, _PARSER) if isinstance(xml_string, bytes) else xml_string

    def _find(self, element: Any, query: Any, require: Any = True, xpath: Any = "") -> Any:  # noqa: FBT002
        del require, xpath  # the shape has fixed its position
        return next(child for child in element if child.tag == f"{{{DSIG}}}{query}")

    def _c14n(self, nodes: XmlElement, algorithm: object, inclusive_ns_prefixes: object = None) -> bytes:
        del algorithm, inclusive_ns_prefixes  # the shape allows only one, and no prefixes
        return canonical(nodes)

    def _check_cert_validity(self, cert: x509.Certificate, cert_source: str) -> None:
        """Do nothing: the whole path has been checked, with its dates."""

    def _verify_reference(self, reference: XmlElement, index: int, root: XmlElement, *_: Any) -> VerifyResult:
        octets = canonical(root[3 + index])
        (digest,) = self.config.digest_algorithms  # that of all References, as _digest() has checked
        if base64_of(self._find(reference, "DigestValue")) != self._get_digest(octets, digest):
            raise InvalidDigest(f"Object[{index}]")
        return VerifyResult(octets, self._fromstring(octets), root, signature_key=b"")


@cache
def _config(method: str, digest: Digest) -> SignatureConfiguration:
    """Return what signxml accepts: one method, one digest, any number of References in a list."""
    return SignatureConfiguration(
        location="./",
        expect_references=True,
        signature_methods=frozenset({SignatureMethod(method)}),
        digest_algorithms=frozenset({DigestAlgorithm(DIGESTS[digest])}),
        ignore_ambiguous_key_info=True,  # they are compared in full above
    )


def check_voucher_signature(
    document: VoucherDocument, leaf: x509.Certificate, digest: Digest
) -> Sequence[XmlElement]:
    """Return the Objects as they were digested, if the signature of *leaf* is valid for them.

    Raises:
        UntrustedError: It is not.
    """
    config = _config(document.method, digest)
    try:
        results: Any = _Core().verify(
            document.root, x509_cert=leaf, expect_config=config, validate_schema=False
        )
    except InvalidDigest as exc:
        raise UntrustedError("contents do not match the signed digest", field=f"Signature.{exc}") from exc
    except (SignXMLException, etree.LxmlError, ValueError, UnsupportedAlgorithm) as exc:
        raise UntrustedError(f"the signature of {subject_of(leaf)} is not valid") from exc
    signed = [result.signed_xml for result in results if result.signed_xml is not None]
    if len(signed) != len(document.objects):
        raise UntrustedError("not every Object is signed")
    return signed
