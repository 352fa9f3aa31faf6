"""What ``--explain`` shows of one signature: the chain, each rule with its values, and what to do."""

from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from spkg.common.documents import Document
from spkg.common.times import write_time
from spkg.report.certificates import certificate_document, key_text
from spkg.report.lines import Line, Tone, columns
from spkg.trust.certificates import serial_text, subject_of
from spkg.trust.chain import SignerRule
from spkg.trust.explanation import SignatureExplanation

__all__ = [
    "rule_documents",
    "rule_lines",
    "signature_explanation_document",
    "signature_explanation_lines",
]


def signature_explanation_lines(explanation: SignatureExplanation) -> Iterator[Line]:
    """Yield the lines below a signature."""
    for number, certificate in enumerate(explanation.chain):
        what = "certificate" if number == 0 else "issued by"
        role = ", an anchor" if certificate == explanation.anchor else ""
        yield Tone.PLAIN, f"  {what}: {_described(certificate)}{role}"
    if explanation.missing_issuer is not None:
        yield Tone.BAD, f"  issued by: {explanation.missing_issuer}, whose certificate is missing"
    elif explanation.chain and explanation.anchor is None:
        yield Tone.BAD, "  the chain does not end in an anchor"
    yield from rule_lines(explanation.rules)
    for advice in explanation.advice:
        yield Tone.PLAIN, f"  what to do: {advice}"


def rule_lines(rules: Sequence[SignerRule]) -> Iterator[Line]:
    """Yield a line for each rule."""
    rows = [("  met" if one.error is None else "  not met", one.rule, one.detail) for one in rules]
    for one, text in zip(rules, columns(rows), strict=True):
        yield Tone.PLAIN if one.error is None else Tone.BAD, text


def _described(certificate: x509.Certificate) -> str:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (
        f"{subject_of(certificate)}, serial number {serial_text(certificate.serial_number)}, "
        f"{key_text(certificate)}, valid from {write_time(start)} until {write_time(end)}"
    )


def signature_explanation_document(explanation: SignatureExplanation) -> Document:
    """Return the explanation of a signature as JSON."""
    return {
        "index": explanation.index,
        "chain": [
            certificate_document(one.public_bytes(Encoding.DER)) | {"anchor": one == explanation.anchor}
            for one in explanation.chain
        ],
        "complete": explanation.anchor is not None,
        "missing_issuer": explanation.missing_issuer,
        "rules": rule_documents(explanation.rules),
        "advice": list(explanation.advice),
    }


def rule_documents(rules: Sequence[SignerRule]) -> list[Document]:
    """Return rules as JSON."""
    return [{"rule": one.rule, "met": one.error is None, "detail": one.detail} for one in rules]
