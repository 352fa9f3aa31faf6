"""What came of a fleet of simulated devices, for people."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spkg.common.documents import Document
from spkg.common.printable import amount, size
from spkg.report.lines import Line, Tone

__all__ = ["fleet_lines"]

SPREAD_WORDS: Final = {
    "session": "session",
    "inform": "Inform to response",
    "connect": "connect",
    "late": "begun late by",
    "download": "download",
}
COLUMNS: Final = ("p50", "p90", "p99", "max")


def fleet_lines(document: Document) -> Iterator[Line]:
    """Give the report as lines."""
    sessions, failed = document["sessions"], document["failed"]
    yield Tone.HEADING, f"{amount(document['devices'], 'device')}, {document['acs']}"
    tone = Tone.GOOD if sessions and not failed else Tone.BAD if failed else Tone.PLAIN
    rate = f"{amount(sessions, 'session')} in {document['elapsed']:.1f} s: {document['rate']:.1f} a second"
    yield tone, f"{rate}; {failed} failed, {document['unfinished']} unfinished"
    width = max(map(len, SPREAD_WORDS.values()))
    yield Tone.PLAIN, " ".join([" " * width, *(f"{name:>9}" for name in COLUMNS)])
    for name, words in SPREAD_WORDS.items():
        spread = document["seconds"][name]
        if spread["count"]:
            cells = (f"{_duration(spread[column]):>9}" for column in COLUMNS)
            yield Tone.PLAIN, " ".join([f"{words:<{width}}", *cells])
    for kind, failure in document["failures"].items():
        yield Tone.BAD, f"failed, {kind}: {failure['count']}, such as: {failure['first']}"
    for title, counts in (
        ("calls of the ACS", document["calls"]),
        ("faults of devices", document["faults"]["sent"]),
        ("faults of the ACS", document["faults"]["received"]),
        ("downloads by FaultCode", document["transfers"]),
    ):
        if counts:
            yield Tone.PLAIN, f"{title}: {_counts(counts)}"
    if document["downloaded_bytes"]:
        yield Tone.PLAIN, f"downloaded: {size(document['downloaded_bytes'])}"
    workers = document["workers"]
    busiest = max(one["busy"] for one in workers)
    memory = sum(one["memory_bytes"] for one in workers)
    each = document["cpu_seconds_per_session"]
    used = "" if each is None else f", {each * 1000:.2f} ms of CPU a session"
    processes = amount(len(workers), "process", "processes")
    yield Tone.PLAIN, f"this program: {processes}, {busiest:.0%} of a core{used}, {size(memory)}"


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
