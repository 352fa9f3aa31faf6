"""``spkg verify --explain``: the rules for each signature, those for the package, and what to do."""

from collections.abc import Iterator

from spkg.common.documents import Document
from spkg.report.lines import Line, Tone
from spkg.report.signer_explanation import rule_documents, rule_lines, signature_explanation_document
from spkg.trust.explanation import advice_of
from spkg.verify.explanation import PackageExplanation

__all__ = ["explanation_document", "package_explanation_lines"]


def package_explanation_lines(explanation: PackageExplanation) -> Iterator[Line]:
    """Yield the lines below all signatures."""
    yield Tone.PLAIN, "package:"
    yield from rule_lines(explanation.rules)
    for advice in advice_of(explanation.rules):
        yield Tone.PLAIN, f"  what to do: {advice}"


def explanation_document(explanation: PackageExplanation) -> Document:
    """Return the value of ``explain``."""
    return {
        "signatures": [signature_explanation_document(one) for one in explanation.signatures],
        "package": {
            "rules": rule_documents(explanation.rules),
            "advice": list(advice_of(explanation.rules)),
        },
    }
