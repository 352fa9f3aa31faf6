"""``spkg recover``: what became of an interrupted installation."""

from collections.abc import Iterator

from spkg.common.documents import Document
from spkg.install.status import RootState
from spkg.install.supervisor import Recovered
from spkg.report.apply import outcome_text
from spkg.report.lines import Line, Tone, warning_documents

__all__ = [
    "recovery_document",
    "recovery_lines",
]


def recovery_document(done: Recovered) -> Document:
    """Return what ``recover --json`` prints."""
    return {
        "schema": "spkg.recover/1",
        "outcome": done.outcome.value,
        "cause": done.cause or None,
        "state": done.state.value,
        "warnings": warning_documents(done.warnings),
    }


def recovery_lines(done: Recovered, root: str) -> Iterator[Line]:
    """Yield what ``recover`` prints."""
    tone = Tone.GOOD if done.state is RootState.CLEAN else Tone.BAD
    yield tone, f"{root}: {outcome_text(done.outcome, done.cause)}; the root is {done.state.value}"
