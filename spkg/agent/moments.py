"""What the agent knows of the moment, and never writes: it is found again after a restart, or is over."""

from dataclasses import dataclass, field

from spkg.cwmp.events import Event
from spkg.cwmp.retries import Attempts
from spkg.cwmp.schedule import TimeTold

__all__ = ["LastSession", "Moments"]


@dataclass(frozen=True, kw_only=True)
class LastSession:
    """How the last session went."""

    when: str | None
    """When it began; None without a clock."""
    events: tuple[str, ...]
    reason: str | None
    """Why it failed; None if it ended cleanly."""
    hint: str | None = None
    """What to do about that."""


@dataclass
class Moments:
    """What decides about the next session, besides what is on disk; times are seconds since the boot."""

    requested: float | None = None
    """When the last connection request came."""
    events: list[Event] = field(default_factory=list)
    """Events that need not outlive a power cut."""
    arrived: float = 0.0
    """When the last cause came."""
    forced: bool = False
    """Whether an operator wants a session."""
    attempts: Attempts = field(default_factory=Attempts)
    periodic_since: float = 0.0
    """From when the times of periodic Informs count."""
    periodic_told: TimeTold | None = None
    """The last of them that was reported."""
    changes_told: float | None = None
    """When the last session with ``4 VALUE CHANGE`` began."""
    changed_at: float | None = None
    """When a parameter changed that has to be reported at once."""
    last_session: float | None = None
    """When the last session ended."""
    last: LastSession | None = None
    refused: set[int] = field(default_factory=set)
    """The transfers whose TransferComplete the ACS has refused: reported with the next session that comes."""
