"""When the next session is due, and for which causes (TR-069 3.2.1, Table 61), from facts and a moment.

Spans are measured by the seconds since the boot, which nobody sets.  The clock counts only where a time of
day is meant: PeriodicInformTime, what has to outlive a reboot, and the end of an Option.  So a clock that is
set makes no storm and no silence: the next time of the grid counts, whichever way the clock went.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Self

from spkg.cwmp.events import Event, EventCode, method_event
from spkg.cwmp.retries import Attempts

__all__ = ["SESSION_GAP", "Due", "DueTime", "Facts", "Moment", "Periodic", "TimeTold", "due"]

SESSION_GAP: Final = 1.0
"""The shortest time between two sessions, in seconds: servers need a moment to store the last one."""
SCHEDULE_INFORM: Final = "ScheduleInform"


@dataclass(frozen=True)
class Moment:
    """A point in time, by both clocks."""

    wall: float | None
    """In seconds since 1970, UTC; None as long as there is no clock to rely on."""
    boot: float
    """In seconds since the boot, sleep included."""


@dataclass(frozen=True)
class DueTime:
    """A moment some seconds after a request of the ACS, which outlives a reboot."""

    wall: float | None
    """By the clock; None if there was none."""
    boot: float
    """In seconds since the boot *boot_id*."""
    boot_id: str

    @classmethod
    def after(cls, seconds: float, now: Moment, boot_id: str) -> Self:
        """Return the moment so many seconds from now."""
        return cls(None if now.wall is None else now.wall + seconds, now.boot + seconds, boot_id)

    def remaining(self, now: Moment, boot_id: str) -> float:
        """Return the seconds until then; 0 or less if it has come."""
        if boot_id == self.boot_id:
            return self.boot - now.boot
        if self.wall is None:
            return 0.0  # nobody knows how much of the time has passed, so none is added
        by_boot = self.boot - now.boot  # more cannot be left, whatever happened to the clock
        return by_boot if now.wall is None else min(by_boot, self.wall - now.wall)


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """The times of periodic Informs (Table 61): a reference plus or minus any number of intervals."""

    interval: float
    """PeriodicInformInterval, in seconds; whole ones, but for simulated devices."""
    reference: float | None = None
    """PeriodicInformTime in seconds since 1970; None if it is zero."""
    phase: float
    """The reference of our own choice, as a part of an interval from 0 up to 1: drawn once and kept."""

    def age(self, now: Moment) -> float:
        """Return the seconds since the last of these times."""
        shift = self.phase * self.interval
        if now.wall is None:
            return (now.boot - shift) % self.interval
        return (now.wall - (shift if self.reference is None else self.reference)) % self.interval


@dataclass(frozen=True)
class TimeTold:
    """The last time of a grid that a session has reported."""

    periodic: Periodic
    at: float
    """In seconds since the boot.  It is the time of the grid; where only a clock that was set has made that a
    time of the past, it is when the session began."""

    @property
    def until(self) -> float:
        """The moment up to which times of this grid are told.

        It is half an interval later.  So where the clock is moved a little, the same time does not come
        twice; where it is moved a lot, and as often as it is, the next Inform comes half an interval later
        at the earliest, and one and a half at the latest.
        """
        return self.at + self.periodic.interval / 2


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that decides about the next session; times are seconds since the boot."""

    boot_id: str
    waiting: tuple[Event, ...] = ()
    """Causes for a session: what is on disk, and what is of the moment, such as ``5 KICKED``."""
    arrived: float = 0.0
    """When the last of them came."""
    passive: tuple[Event, ...] = ()
    """Events that go with the next session and are no reason for one, such as what the ACS refused."""
    requested: float | None = None
    """When the last connection request came; None if there was none since the last session."""
    periodic: Periodic | None = None
    """None if PeriodicInformEnable is false."""
    periodic_since: float = 0.0
    """From when times of the grid count: the start of the agent, later that of the last clean session."""
    periodic_told: TimeTold | None = None
    """What counts instead as long as the grid is the same; None if no session has reported any."""
    scheduled: tuple[tuple[str, DueTime], ...] = ()
    """The CommandKey of each ScheduleInform, and when it is due."""
    changed: bool = False
    """Whether any parameter differs from what the ACS knows, with passive notification, too."""
    changed_at: float | None = None
    """When the last one changed that has to be told at once; None if nothing has."""
    changes_told: float | None = None
    """When the last session with ``4 VALUE CHANGE`` began; None if there was none."""
    change_interval: float = 60
    """The least time between two sessions for changes, in seconds."""
    transfers: tuple[DueTime, ...] = ()
    """When each of those is due that wait."""
    transfer_running: bool = False
    options_change: float | None = None
    """When the next Option ends or is to be looked at, in seconds since 1970; None for never."""
    attempts: Attempts = field(default_factory=Attempts)
    last_session: float | None = None
    """When the last session ended, in whichever way; None if there was none."""
    busy: bool = False
    """Whether a session runs, or the device is about to be rebooted or reset."""
    forced: bool = False
    """Whether an operator wants a session, whatever else there is."""

    @property
    def periodic_from(self) -> float:
        """The moment from which times of the grid count; another grid counts from the last session."""
        told = self.periodic_told
        return self.periodic_since if told is None or told.periodic != self.periodic else told.until

    def after_session(
        self, begun: Moment, reported: Collection[Event], ended: float, *, periodic: TimeTold | None
    ) -> Self:
        """Return what is known after a session that has ended cleanly; what came during it stays.

        Args:
            begun: The moment for which :func:`due` gave the causes.
            reported: The events of its Inform.
            ended: When it ended, in seconds since the boot.
            periodic: What is told of the grid by it, as :func:`due` gave it.
        """
        requested, changed = self.requested, self.changed_at
        value_change = Event(EventCode.VALUE_CHANGE) in reported
        return replace(
            self,
            waiting=tuple(event for event in self.waiting if event not in reported),
            passive=tuple(event for event in self.passive if event not in reported),
            requested=None if requested is None or requested <= begun.boot else requested,
            periodic_since=begun.boot,
            periodic_told=periodic,
            scheduled=tuple(
                (key, time)
                for key, time in self.scheduled
                if time.remaining(begun, self.boot_id) > 0
                or method_event(SCHEDULE_INFORM, key) not in reported
            ),
            changed=changed is not None and changed > begun.boot,
            changed_at=None if changed is None or changed <= begun.boot else changed,
            changes_told=begun.boot if value_change else self.changes_told,
            attempts=self.attempts.session_over(),
            last_session=ended,
            forced=False,
        )


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is to be done now, and when to ask again."""

    causes: tuple[Event, ...]
    """All events for the next Inform, also where no session is due yet."""
    periodic: TimeTold | None
    """What is told of the grid once a session that begins now has ended cleanly."""
    session: bool
    """Whether a session is to begin."""
    transfer: bool
    """Whether a transfer is to begin."""
    options: bool
    """Whether the Options are to be looked at."""
    wake: float | None
    """When to ask again if nothing happens before, in seconds since the boot; None: never."""


def due(facts: Facts, now: Moment) -> Due:
    """Return what is due."""
    begin = max(_limits(facts))
    periodic = facts.periodic_told
    causes, reasons, later = [*facts.waiting, *facts.passive], list[float](), list[float]()
    if facts.waiting:
        reasons.append(facts.arrived)
    if facts.requested is not None:
        causes.append(Event(EventCode.CONNECTION_REQUEST))
        reasons.append(facts.requested)
    if facts.periodic is not None:
        age = facts.periodic.age(now)
        later.append(now.boot + facts.periodic.interval - age)
        time_due = now.boot - age
        if time_due > facts.periodic_from:
            causes.append(Event(EventCode.PERIODIC))
            reasons.append(time_due)
            periodic = TimeTold(facts.periodic, time_due + max(0.0, now.boot - max(time_due, begin)))
        elif periodic is None or periodic.periodic != facts.periodic:
            periodic = TimeTold(facts.periodic, time_due)
    for key, time in facts.scheduled:
        remaining = time.remaining(now, facts.boot_id)
        if remaining <= 0:
            causes.append(method_event(SCHEDULE_INFORM, key))
            reasons.append(now.boot + remaining)
        else:
            later.append(now.boot + remaining)
    if any(event.code == method_event(SCHEDULE_INFORM, "").code for event in causes):
        causes.append(Event(EventCode.SCHEDULED))
    if facts.changed or facts.changed_at is not None:
        causes.append(Event(EventCode.VALUE_CHANGE))
    if facts.changed_at is not None:
        told = facts.changes_told
        ready = facts.changed_at if told is None else max(facts.changed_at, told + facts.change_interval)
        (reasons if ready <= now.boot else later).append(ready)

    given_up = facts.attempts.given_up
    wanted = facts.forced or any(given_up is None or reason > given_up for reason in reasons)
    session = wanted and begin <= now.boot and not facts.busy
    if wanted:
        later = [begin]
    work, work_later = _work(facts, now)
    options = now.wall is not None and facts.options_change is not None and facts.options_change <= now.wall
    if now.wall is not None and facts.options_change is not None and not options:
        work_later.append(now.boot + facts.options_change - now.wall)
    return Due(
        causes=tuple(causes),
        periodic=periodic,
        session=session,
        transfer=work and not session,
        options=options,
        wake=None if session or facts.busy else min([*later, *work_later], default=None),
    )


def _limits(facts: Facts) -> Iterator[float]:
    """Give the moments before which no session may begin."""
    yield 0.0
    if facts.last_session is not None:
        yield facts.last_session + SESSION_GAP
    if not facts.forced:
        yield facts.attempts.not_before
        failed = facts.attempts.failed_at
        if failed is None or facts.requested is None or facts.requested <= failed:
            yield facts.attempts.retry_at  # a server that has asked since is there


def _work(facts: Facts, now: Moment) -> tuple[bool, list[float]]:
    """Say whether a transfer is to begin, and when the next ones are due."""
    if facts.transfer_running or facts.busy:
        return False, []
    remaining = [time.remaining(now, facts.boot_id) for time in facts.transfers]
    return any(one <= 0 for one in remaining), [now.boot + one for one in remaining if one > 0]
