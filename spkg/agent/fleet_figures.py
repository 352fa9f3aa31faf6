"""What came of the sessions of a fleet, in bounded memory: counts, and durations by their logarithm."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import Any, Final

from spkg.agent.contact import ContactError
from spkg.common.documents import Document
from spkg.common.printable import printable
from spkg.cwmp.methods import CPE_METHODS
from spkg.errors import SpkgError

__all__ = ["FleetFigures", "Spread"]

SHORTEST: Final = 1e-6
"""Durations below count as this, in seconds."""
STEP: Final = log(1.02)
"""Durations within 2 % of each other are one."""
PERCENTILES: Final = (50, 90, 95, 99, 99.9)
SHOWN_DIGITS: Final = 6
MAX_EXAMPLE: Final = 240
"""How many characters of an example are kept."""
SESSION_FAILED: Final = "session"
"""The kind of a failure where the ACS did not keep to the order of messages."""
DROPPED: Final = "dropped"
"""The kind of a session that the device itself broke off, because its profile says so."""


class Spread:
    """How durations are spread, to 2 %."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0.0
        self._least, self._most = 0.0, 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        if not self._counts or seconds < self._least:
            self._least = seconds
        self._most = max(self._most, seconds)
        self._counts[ceil(log(max(seconds, SHORTEST) / SHORTEST) / STEP)] += 1
        self._total += seconds

    @property
    def count(self) -> int:
        """How many durations there are."""
        return self._counts.total()

    def percentile(self, percent: float) -> float:
        """Return the duration within which so many of a hundred are; 0 for no durations."""
        wanted, seen = ceil(self.count * percent / 100), 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= wanted:
                return max(self._least, min(SHORTEST * exp(index * STEP), self._most))
        return 0.0

    def document(self) -> Document:
        """Return the figures for people and programs, in seconds."""
        count = self.count
        shown = {f"p{percent:g}": round(self.percentile(percent), SHOWN_DIGITS) for percent in PERCENTILES}
        return {
            "count": count,
            "min": round(self._least, SHOWN_DIGITS),
            "mean": round(self._total / count, SHOWN_DIGITS) if count else 0.0,
            **shown,
            "max": round(self._most, SHOWN_DIGITS),
        }

    def packed(self) -> Document:
        """Return all of it, for another process."""
        return {
            "counts": [*self._counts.items()],
            "total": self._total,
            "least": self._least,
            "most": self._most,
        }

    def take(self, packed: Document) -> None:
        """Add what another process packed."""
        if packed["counts"]:
            self._least = min(self._least, packed["least"]) if self._counts else packed["least"]
        self._most = max(self._most, packed["most"])
        self._total += packed["total"]
        for index, count in packed["counts"]:
            self._counts[index] += count


@dataclass(kw_only=True)
class FleetFigures:
    """What came of the sessions."""

    counts: Counter[str] = field(default_factory=Counter)
    """``sessions`` that ended cleanly, ``failed``, ``unfinished``, ``posts``, ``connections``, ``late``."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls of the ACS, by their method."""
    failures: Counter[str] = field(default_factory=Counter)
    """Sessions that failed, by what failed."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first failure of each kind, in words."""
    sent: Counter[str] = field(default_factory=Counter)
    """Faults that devices answered, by their code."""
    received: Counter[str] = field(default_factory=Counter)
    """Faults that the ACS answered, by their code."""
    transfers: Counter[str] = field(default_factory=Counter)
    """Downloads that ended, by the FaultCode of their TransferComplete."""
    session: Spread = field(default_factory=Spread)
    """From the beginning of a session to its clean end."""
    inform: Spread = field(default_factory=Spread)
    """From an Inform to its response, without the time to connect."""
    connect: Spread = field(default_factory=Spread)
    """What connecting took, TLS included."""
    late: Spread = field(default_factory=Spread)
    """From when a session was due to when it began."""
    download: Spread = field(default_factory=Spread)
    """What downloads took that succeeded."""

    def ended(self, seconds: float) -> None:
        """Count a session that ended cleanly."""
        self.counts["sessions"] += 1
        self.session.add(seconds)

    def failed(self, error: SpkgError) -> None:
        """Count a session that failed."""
        kind = str(error.kind) if isinstance(error, ContactError) else SESSION_FAILED
        self.counts["failed"] += 1
        self.failures[kind] += 1
        self.examples.setdefault(kind, printable(str(error))[:MAX_EXAMPLE])

    def dropped(self) -> None:
        """Count a session that the device broke off."""
        self.counts["failed"] += 1
        self.failures[DROPPED] += 1
        self.examples.setdefault(DROPPED, "broken off after the Inform, as the profile says")

    def connected(self, count: int, seconds: float) -> None:
        """Count the connections of a session, and what they took."""
        self.counts["connections"] += count
        if count:
            self.connect.add(seconds / count)

    def downloaded(self, code: int, octets: int, seconds: float) -> None:
        """Count a download that has ended."""
        self.transfers[str(code)] += 1
        self.counts["downloaded_bytes"] += octets
        if not code:
            self.download.add(seconds)

    def called(self, method: str) -> None:
        """Count a call of the ACS."""
        self.calls[method if method in CPE_METHODS else "other"] += 1

    def received_fault(self, code: int) -> None:
        """Count a fault of the ACS; codes that are not its own count as one."""
        self.received[str(code) if 8000 <= code < 9000 else "other"] += 1

    def packed(self) -> Document:
        """Return all of it, for another process."""
        return {
            name: value.packed() if isinstance(value, Spread) else dict(value)
            for name, value in vars(self).items()
        }

    def take(self, packed: Document) -> None:
        """Add what another process packed."""
        for name, value in packed.items():
            own: Any = getattr(self, name)
            if isinstance(own, Spread):
                own.take(value)
            elif isinstance(own, Counter):
                own.update(value)
            else:
                own.update({kind: text for kind, text in value.items() if kind not in own})

    def document(self) -> Document:
        """Return the figures as they are reported."""
        counts = ("sessions", "failed", "unfinished", "posts", "connections", "downloaded_bytes")
        return {
            **{name: self.counts[name] for name in counts},
            "seconds": {
                name: getattr(self, name).document()
                for name in ("session", "inform", "connect", "late", "download")
            },
            "calls": _sorted(self.calls.items()),
            "faults": {"sent": _sorted(self.sent.items()), "received": _sorted(self.received.items())},
            "failures": {
                kind: {"count": count, "first": self.examples.get(kind, "")}
                for kind, count in sorted(self.failures.items())
            },
            "transfers": _sorted(self.transfers.items()),
        }


def _sorted(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(items))
