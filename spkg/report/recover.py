"""``spkg recover``: what became of an interrupted installation."""

from collections.abc import Iterator

from spkg.common.documents import Document
from spkg.common.printable import amount
from spkg.install.recovery import outcome_text
from spkg.install.status import RootState
from spkg.install.supervised_recovery import Recovered
from spkg.report.lines import Line, Tone, warning_documents
from spkg.report.trial import rollback_lines

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
        "boots_left": done.boots_left,
        "rolled_back": None
        if done.rolled_back is None
        else {
            "package": done.rolled_back.package,
            "changes": list(done.rolled_back.changes),
            "set_aside": list(done.rolled_back.set_aside),
        },
        "discarded_aside": list(done.discarded_aside),
        "warnings": warning_documents(done.warnings),
    }


def recovery_lines(done: Recovered, root: str) -> Iterator[Line]:
    """Yield what ``recover`` prints."""
    if done.rolled_back is not None:
        yield from rollback_lines(done.rolled_back, root, planned=False)
    elif done.boots_left is not None:
        yield Tone.PLAIN, f"{root}: {amount(done.boots_left, 'boot')} left to confirm the package on trial"
    for path in done.discarded_aside:
        yield Tone.PLAIN, f"  deleted: {path}"
    tone = Tone.GOOD if done.state in {RootState.CLEAN, RootState.TRIAL} else Tone.BAD
    state = "on trial" if done.state is RootState.TRIAL else done.state.value
    yield tone, f"{root}: {outcome_text(done.outcome, done.cause)}; the root is {state}"
