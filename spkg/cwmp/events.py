"""Why a session is begun: the events of an Inform, and which of them one Inform can hold (TR-069 A.3.3.1).

An event is over when the session that reported it has ended cleanly, not when its Inform was answered.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from spkg.errors import FormatError

__all__ = [
    "MAX_EVENTS",
    "Event",
    "EventCode",
    "first_events",
    "merged",
    "method_event",
    "raised_event",
]

MAX_EVENTS: Final = 16
"""The most events in an Inform (Table 31)."""
MAX_EVENT_CODE: Final = 64
"""The longest EventCode, in characters (Table 35)."""
RAISED: Final = re.compile(r"X [0-9A-F]{6} [!-~](?:[ -~]*[!-~])?")
"""A vendor-specific event: ``X``, the OUI in upper case, and the vendor's own name for it (Table 35)."""


class EventCode(StrEnum):
    """The EventCodes of Table 35 that have a number; ``M …`` and ``X …`` are written out."""

    BOOTSTRAP = "0 BOOTSTRAP"
    """The first installation, or another URL of the ACS."""
    BOOT = "1 BOOT"
    """Power-up or reset of any cause."""
    PERIODIC = "2 PERIODIC"
    SCHEDULED = "3 SCHEDULED"
    """A time that ScheduleInform asked for."""
    VALUE_CHANGE = "4 VALUE CHANGE"
    KICKED = "5 KICKED"
    """Kicked will be called in this session."""
    CONNECTION_REQUEST = "6 CONNECTION REQUEST"
    TRANSFER_COMPLETE = "7 TRANSFER COMPLETE"
    """TransferComplete will be called in this session, once or more."""
    DIAGNOSTICS_COMPLETE = "8 DIAGNOSTICS COMPLETE"


LASTING: Final = frozenset({EventCode.BOOTSTRAP, EventCode.BOOT})
"""The numbered events that nothing else brings back after a power cut."""


@dataclass(frozen=True)
class Event:
    """A cause of a session, as EventStruct has it (Table 35)."""

    code: str
    command_key: str = ""
    """The CommandKey of the method that caused it; empty for all other causes."""

    @property
    def lasts(self) -> bool:
        """Whether it has to be on disk: 0, 1, M … and X …; others are found again, or are of the moment."""
        return self.code in LASTING or self.code.startswith(("M ", "X "))


def method_event(method: str, command_key: str) -> Event:
    """Return the event of what a method of the ACS caused, such as ``M Download`` (Table 35)."""
    return Event(f"M {method}", command_key)


def raised_event(text: str) -> Event:
    """Return an event that a provider or an operator raises: ``X 00D09E Name`` or ``8 DIAGNOSTICS COMPLETE``.

    Raises:
        FormatError: It is another one; the agent itself raises those with a number.
    """
    if text == EventCode.DIAGNOSTICS_COMPLETE:
        return Event(EventCode.DIAGNOSTICS_COMPLETE)
    if len(text) > MAX_EVENT_CODE:
        problem = f"expected at most {MAX_EVENT_CODE} characters, got {len(text)}"
        raise FormatError(problem, field="event", section="A.3.3.1")
    if RAISED.fullmatch(text) is None:
        problem = f"expected 'X OUI NAME' with an OUI of six upper-case hexadecimal digits, got {text!r}"
        raise FormatError(problem, field="event", section="A.3.3.1")
    return Event(text)


def first_events(
    *, boot_id: str, last_boot_id: str | None, url: str, url_told: str | None
) -> tuple[Event, ...]:
    """Return the events of a start.

    Args:
        boot_id: The id of this boot.
        last_boot_id: That of the last start; None if there was none.
        url: The URL of the ACS.
        url_told: The URL to which the last session went that ended cleanly; None if there was none.
    """
    events = [Event(EventCode.BOOTSTRAP)] if url != url_told else []
    return (*events, Event(EventCode.BOOT)) if boot_id != last_boot_id else tuple(events)


def merged(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return what one Inform reports of these events: each once, in the order of Table 35, at most 16.

    Those with a number always fit, and are of the moment: they come first.  Of those on disk, ``M …`` and
    ``X …``, the oldest are taken; what is not in the result waits for the next session.
    """
    once = list(dict.fromkeys(events))
    numbered = [event for event in once if event.code[:1].isdigit()]
    others = [event for event in once if not event.code[:1].isdigit()]
    chosen = [*sorted(numbered, key=lambda event: event.code), *others][:MAX_EVENTS]
    return tuple(sorted(chosen, key=lambda event: event.code if event.code[:1].isdigit() else event.code[:1]))
