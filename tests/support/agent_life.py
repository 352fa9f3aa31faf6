"""An agent on a fake clock: it does what is due, when it is due, and writes down what it did."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from spkg.cwmp.events import merged
from spkg.cwmp.schedule import Due, Facts, Moment, Periodic, due

__all__ = ["Call", "Life", "every"]

MOST_WAKES = 400_000


@dataclass(frozen=True)
class Call:
    """A session: when it began, and with which events."""

    boot: float
    wall: float | None
    codes: tuple[str, ...]
    keys: tuple[str, ...]
    succeeded: bool


@dataclass
class Life:
    """Facts, two clocks, and what became of them."""

    facts: Facts
    boot: float = 0.0
    offset: float | None = 1_767_225_600.0
    """What the clock is ahead of the seconds since the boot; None if there is none."""
    lasts: float = 0.5
    """How long a session takes."""
    succeeds: Callable[[Moment], bool] = lambda _: True
    draw: Callable[[], float] = lambda: 0.5
    calls: list[Call] = field(default_factory=list)
    wakes: int = 0
    transfers: list[float] = field(default_factory=list)

    @property
    def now(self) -> Moment:
        return Moment(None if self.offset is None else self.boot + self.offset, self.boot)

    def learn(self, **facts: Any) -> None:
        """Change what is known."""
        self.facts = replace(self.facts, **facts)

    def due(self) -> Due:
        return due(self.facts, self.now)

    def live(self, seconds: float) -> None:
        """Do what is due for so many seconds."""
        until = self.boot + seconds
        while True:
            found = self.due()
            self.wakes += 1
            assert self.wakes < MOST_WAKES, "a storm"
            if found.session:
                self._session(found)
            elif found.transfer:
                self.transfers.append(self.boot)
                left = [
                    one for one in self.facts.transfers if one.remaining(self.now, self.facts.boot_id) > 0
                ]
                self.learn(transfers=tuple(left))
            elif found.wake is None or found.wake > until:
                self.boot = until
                return
            else:
                assert found.wake >= self.boot, "a wake in the past"
                self.boot = max(found.wake, self.boot + 1e-6)

    def _session(self, found: Due) -> None:
        begun, reported = self.now, merged(found.causes)
        succeeded = self.succeeds(begun)
        self.boot += self.lasts
        self.calls.append(
            Call(
                begun.boot,
                begun.wall,
                tuple(sorted(event.code for event in reported)),
                tuple(sorted(event.command_key for event in reported if event.command_key)),
                succeeded,
            )
        )
        if not succeeded:
            attempts = self.facts.attempts.inform_failed().session_failed(self.boot, self.draw, limit=11)
            self.learn(last_session=self.boot, attempts=attempts)
            return
        self.facts = self.facts.after_session(begun, reported, self.boot, periodic=found.periodic)

    def with_code(self, code: str) -> Iterator[Call]:
        """Give the sessions with an event."""
        return (call for call in self.calls if code in call.codes)


def every(interval: int, *, reference: float | None = None, phase: float = 0.25) -> Periodic:
    """Return a grid of periodic Informs."""
    return Periodic(interval=interval, reference=reference, phase=phase)
