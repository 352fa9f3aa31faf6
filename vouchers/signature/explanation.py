"""Why a voucher is trusted or not: every rule of a policy with the values that were compared.

The checks are those of :mod:`vouchers.signature.verify`, which alone makes a voucher trusted.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509

from spkg.common.printable import amount
from spkg.trust.certificates import serial_text, subject_of
from spkg.trust.chain import SignerRule
from spkg.trust.explanation import SignatureExplanation, applied_rule, explain_signature
from spkg.trust.policy import Policy
from vouchers.signature.algorithms import check_key, key_value_of, scheme_for
from vouchers.signature.shape import VoucherDocument
from vouchers.signature.verify import (
    check_key_value,
    check_method,
    check_voucher_signature,
    only_signature,
    read_signer,
)

__all__ = ["explain_voucher"]


def explain_voucher(document: VoucherDocument, policy: Policy, at: datetime | None) -> SignatureExplanation:
    """Return the rules for a voucher and its signer; the arguments are those of Verifier and its verify()."""
    signer: x509.Certificate | None = None
    others: Sequence[x509.Certificate] = ()

    def certificate() -> str:
        nonlocal signer, others
        signer, others = read_signer(document)
        return (
            f"{subject_of(signer)}, serial number {serial_text(signer.serial_number)}, "
            f"and {amount(len(others), 'other certificate')}"
        )

    rules = [applied_rule("certificate", certificate), *_own_rules(document, policy)]
    if signer is not None:
        rules += _key_rules(document, signer, policy)
    return explain_signature(0, rules, signer, others, policy, at=at)


def _own_rules(document: VoucherDocument, policy: Policy) -> Iterator[SignerRule]:
    def required_signers() -> str:
        only_signature(policy)
        return "1 signature required, and a voucher has one"

    def algorithms() -> str:
        digest = check_method(document, policy)
        accepted = ", ".join(sorted(one.value for one in policy.digests))
        method = document.method.rpartition("#")[2]
        return f"{method}, and {digest.value} of each Object; accepted digests: {accepted}"

    yield applied_rule("required-signers", required_signers)
    yield applied_rule("algorithms", algorithms)


def _key_rules(document: VoucherDocument, signer: x509.Certificate, policy: Policy) -> Iterator[SignerRule]:
    """Apply the rules for the signature and the key of the certificate."""

    def key() -> str:
        scheme = scheme_for(signer.public_key(), check_method(document, policy))
        check_key_value(document, signer, scheme, key_value_of(check_key(signer.public_key()))[1])
        stated = "there is no KeyValue" if document.key_value is None else "KeyValue is the same key"
        return f"the method fits the key of the certificate; {stated}"

    def signature() -> str:
        digest = check_method(document, policy)
        signed = check_voucher_signature(document, signer, digest)
        return f"valid under the key of the certificate, for {amount(len(signed), 'Object')}"

    yield applied_rule("key", key)
    yield applied_rule("signature", signature)
