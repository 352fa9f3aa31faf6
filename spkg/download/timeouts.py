"""The deadlines of a download, and the states in which they apply (TR-069 E.4.7, Figure 9, Tables 72 and 73).

A :class:`Watch` is a value: each event gives a new one.  It never reads a clock; times are seconds of any
clock that does not jump, given by the caller.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self

from spkg.format.commands import (
    InitialActivityTimeout,
    InitialTimeout,
    Record,
    RecoverableTimeout,
    UnrecoverableTimeout,
)
from spkg.format.installation_state import InstallationState
from spkg.format.states import state_after

__all__ = ["DEFAULT_ACTIVITY", "DEFAULT_INITIAL", "Deadline", "Timeouts", "Watch"]

DEFAULT_INITIAL: Final = 600
"""The Initial Timeout until a command sets it, in seconds (decision 26)."""
DEFAULT_ACTIVITY: Final = 60
"""The Initial Activity Timeout until a command sets it, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """The values of the four timeouts, in seconds; 0 is infinite (Table 72)."""

    initial: float = DEFAULT_INITIAL
    activity: float = DEFAULT_ACTIVITY
    recoverable: float = 0
    unrecoverable: float = 0
    stated: frozenset[str] = frozenset()
    """The names of those that a command of the package has set; the others are limits of our own."""

    def after(self, record: Record) -> Self:
        """Return the timeouts after a command."""
        match record:
            case InitialTimeout(timeout=seconds):
                return replace(self, initial=seconds, stated=self.stated | {"initial"})
            case InitialActivityTimeout(timeout=seconds):
                return replace(self, activity=seconds, stated=self.stated | {"activity"})
            case RecoverableTimeout(timeout=seconds):
                return replace(self, recoverable=seconds, stated=self.stated | {"recoverable"})
            case UnrecoverableTimeout(timeout=seconds):
                return replace(self, unrecoverable=seconds, stated=self.stated | {"unrecoverable"})
            case _:
                return self


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The time at which a download is ended, unless it is complete or makes progress before."""

    at: float
    """The time."""
    seconds: float
    """The timeout that was set."""
    title: str
    """Its name in Table 73."""
    stated: bool = field(default=False, compare=False)
    """Whether a command of the package has set it (E.4.7)."""

    def passed(self, now: float) -> bool:
        """Whether it has passed."""
        return now >= self.at


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The state of a download, and which deadline is in force.

    Args:
        begun: When the download began.
        received: When its last byte arrived, or it began.
        state: The state of Figure 9.
        timeouts: The timeouts as set by the commands so far.
    """

    begun: float
    received: float
    state: InstallationState = InstallationState.INITIAL
    timeouts: Timeouts = Timeouts()

    @classmethod
    def begin(cls, now: float, timeouts: Timeouts | None = None) -> Self:
        """Return the watch for a download that begins."""
        return cls(begun=now, received=now, timeouts=timeouts or Timeouts())

    def octets(self, now: float) -> Self:
        """Return it after bytes of the package arrived."""
        return replace(self, received=now)

    def later(self, seconds: float) -> Self:
        """Return it after a time that does not count: something other than the download was awaited."""
        return replace(self, begun=self.begun + seconds, received=self.received + seconds)

    def process(self, record: Record) -> Self:
        """Return it after a command was processed, whose data had arrived."""
        return replace(self, state=state_after(self.state, record), timeouts=self.timeouts.after(record))

    def end(self) -> Self:
        """Return it after the whole list was processed, with or without an End: no timeout runs any more."""
        return replace(self, state=InstallationState.INSTALLED)

    @property
    def download_deadline(self) -> Deadline | None:
        """The deadline in force that counts from the beginning; None if the download has no time limit."""
        match self.state:
            case InstallationState.INITIAL:
                return self._limit("Initial Timeout", self.begun, "initial")
            case InstallationState.RECOVERABLE:
                return self._limit("Recoverable Timeout", self.begun, "recoverable")
            case InstallationState.UNRECOVERABLE:
                return self._limit("Unrecoverable Timeout", self.begun, "unrecoverable")
            case InstallationState.INSTALLED:
                return None

    @property
    def deadline(self) -> Deadline | None:
        """The deadline in force, the earlier one of two; None if nothing limits the download."""
        limits = [self.download_deadline]
        if self.state is InstallationState.INITIAL:
            limits.append(self._limit("Initial Activity Timeout", self.received, "activity"))
        running = [limit for limit in limits if limit is not None]
        return min(running, key=lambda deadline: deadline.at, default=None)

    def passed(self, now: float) -> Deadline | None:
        """Return the deadline that has passed, if one has."""
        deadline = self.deadline
        return deadline if deadline is not None and deadline.passed(now) else None

    def _limit(self, title: str, start: float, name: str) -> Deadline | None:
        seconds = getattr(self.timeouts, name)
        stated = name in self.timeouts.stated
        return Deadline(at=start + seconds, seconds=seconds, title=title, stated=stated) if seconds else None
