"""``spkg timeline``: states and deadlines of a download, drawn."""

from collections.abc import Iterator
from typing import Final

from spkg.common.documents import Document
from spkg.common.findings import Finding, warning_documents
from spkg.common.printable import size
from spkg.download.timeline import Phase, Timeline
from spkg.format.installation_state import InstallationState
from spkg.report.lines import Line, Tone, columns

__all__ = ["timeline_document", "timeline_lines", "timeline_warnings"]

WIDTH: Final = 60
"""The width of the drawing, in characters."""


def timeline_document(found: Timeline) -> Document:
    """Return what ``timeline --json`` prints."""
    return {
        "schema": "spkg.timeline/1",
        "verified": False,
        "rate": found.rate,
        "octets": found.octets,
        "seconds": round(found.seconds, 3),
        "finishes": found.passed is None,
        "end": {
            "seconds": round(found.ends, 3),
            "octets": found.arrived,
            "timeout": None if found.passed is None else found.passed.title,
        },
        "spans": [
            {
                "state": phase.state.value,
                "from": round(phase.begins, 3),
                "to": round(phase.ends, 3),
                "octets": phase.octets,
                "command": None if phase.command is None else phase.command.index,
                "deadline": None
                if phase.deadline is None
                else {"timeout": phase.deadline.title, "seconds": phase.deadline.seconds},
            }
            for phase in found.phases
        ],
        "warnings": warning_documents(timeline_warnings(found)),
    }


def timeline_lines(found: Timeline) -> Iterator[Line]:
    """Yield what ``timeline`` prints."""
    rate = f"{size(round(found.rate)) if found.rate >= 10 else f'{found.rate:g} bytes'}/s"
    yield Tone.HEADING, f"{size(found.octets)} at {rate} take {_seconds(found.seconds)} (not verified)"
    last = max([found.ends, *(phase.deadline.at for phase in found.phases if phase.deadline is not None)])
    rows = [("state", "from", "to", "begins with", "deadline", "")]
    rows += [
        (
            phase.state.value,
            _seconds(phase.begins),
            _seconds(phase.ends),
            "the download"
            if phase.command is None
            else f"command[{phase.command.index}] {phase.command.title}",
            "none" if phase.deadline is None else f"{phase.deadline.title} {_seconds(phase.deadline.at)}",
            _margin(phase, found),
        )
        for phase in found.phases
    ]
    for number, line in enumerate(columns(rows)):
        yield Tone.PLAIN if number else Tone.HEADING, line
    for phase in found.phases:
        yield Tone.PLAIN, f"{phase.state.value:14}{_bar(phase, last)}"
    yield Tone.PLAIN, f"{'':14}0 s{_seconds(last):>{WIDTH - 3}}"
    if found.passed is None:
        yield Tone.GOOD, f"installed after {_seconds(found.ends)}"
    else:
        share = found.arrived / found.octets
        yield (
            Tone.BAD,
            f"the {found.passed.title} expires after {_seconds(found.ends)}, with {share:.0%} of the package",
        )


def timeline_warnings(found: Timeline) -> Iterator[Finding]:
    """Yield what a release engineer may not have intended."""
    for phase in found.phases:
        left = phase.state in {InstallationState.RECOVERABLE, InstallationState.UNRECOVERABLE}
        if phase.command is not None and left and phase.octets == found.front_matter:
            name = f"command[{phase.command.index}] {phase.command.title}"
            message = f"{name} leaves the initial state at once, so the initial timeouts never apply"
            yield Finding(code="initial-timeouts", message=message)
            break


def _bar(phase: Phase, last: float) -> str:
    """Draw a phase and its deadline."""
    scale = (WIDTH - 1) / last if last else 0
    begins, ends = round(phase.begins * scale), round(phase.ends * scale)
    cells = [" "] * WIDTH
    for cell in range(begins, max(begins + 1, ends)):
        cells[cell] = "="
    if phase.deadline is not None:
        cells[round(phase.deadline.at * scale)] = "!"
    return "".join(cells).rstrip()


def _margin(phase: Phase, found: Timeline) -> str:
    if phase.deadline is None:
        return ""
    seconds = phase.deadline.at - phase.ends
    if seconds > 0:
        return f"{_seconds(seconds)} to spare"
    return "expires" if phase.deadline == found.passed else "passed, but no data is awaited"


def _seconds(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
