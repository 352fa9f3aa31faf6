"""``spkg timeline``: states and deadlines of a download, drawn."""

from collections.abc import Iterator
from typing import Final

from spkg.common.printable import size
from spkg.download.timeline import Span, Timeline
from spkg.format.states import State
from spkg.report.lines import Document, Line, Tone, columns

__all__ = ["timeline_document", "timeline_hints", "timeline_lines"]

WIDTH: Final = 60
"""Of the drawing, in characters."""


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
                "state": span.state.value,
                "from": round(span.begins, 3),
                "to": round(span.ends, 3),
                "octets": span.octets,
                "command": None if span.command is None else span.command.index,
                "deadline": None
                if span.deadline is None
                else {"timeout": span.deadline.title, "seconds": span.deadline.seconds},
            }
            for span in found.spans
        ],
    }


def timeline_lines(found: Timeline) -> Iterator[Line]:
    """Give what ``timeline`` prints."""
    rate = f"{size(round(found.rate)) if found.rate >= 10 else f'{found.rate:g} octets'}/s"
    yield Tone.HEADING, f"{size(found.octets)} at {rate} take {_seconds(found.seconds)} (not verified)"
    last = max([found.ends, *(span.deadline.at for span in found.spans if span.deadline is not None)])
    rows = [("state", "from", "to", "begins with", "deadline", "")]
    rows += [
        (
            span.state.value,
            _seconds(span.begins),
            _seconds(span.ends),
            "the download" if span.command is None else f"command[{span.command.index}] {span.command.title}",
            "none" if span.deadline is None else f"{span.deadline.title} {_seconds(span.deadline.at)}",
            "" if span.deadline is None else _margin(span.deadline.at - span.ends),
        )
        for span in found.spans
    ]
    for number, line in enumerate(columns(rows)):
        yield Tone.PLAIN if number else Tone.HEADING, line
    for span in found.spans:
        yield Tone.PLAIN, f"{span.state.value:14}{_bar(span, last)}"
    yield Tone.PLAIN, f"{'':14}0 s{_seconds(last):>{WIDTH - 3}}"
    if found.passed is None:
        yield Tone.GOOD, f"installed after {_seconds(found.ends)}"
    else:
        share = found.arrived / found.octets
        yield (
            Tone.BAD,
            f"the {found.passed.title} passes after {_seconds(found.ends)}, with {share:.0%} of the package",
        )


def timeline_hints(found: Timeline) -> Iterator[str]:
    """Give what a release engineer may not have meant."""
    for span in found.spans:
        left = span.state in {State.RECOVERABLE, State.UNRECOVERABLE}
        if span.command is not None and left and span.octets == found.front_matter:
            name = f"command[{span.command.index}] {span.command.title}"
            yield f"{name} leaves the initial state at once, so the initial timeouts never apply"
            break


def _bar(span: Span, last: float) -> str:
    """Draw when a span is, and its deadline."""
    scale = (WIDTH - 1) / last if last else 0
    begins, ends = round(span.begins * scale), round(span.ends * scale)
    cells = [" "] * WIDTH
    for cell in range(begins, max(begins + 1, ends)):
        cells[cell] = "="
    if span.deadline is not None:
        cells[round(span.deadline.at * scale)] = "!"
    return "".join(cells).rstrip()


def _margin(seconds: float) -> str:
    return "passes" if seconds <= 0 else f"{_seconds(seconds)} to spare"


def _seconds(seconds: float) -> str:
    """Return a time as people read it."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
