"""How long to wait after a session that failed, and how often to try (TR-069 A.5.3, 3.7.1.4, Table 31).

RetryCount counts Informs that were not answered, and is 0 again with the first response to one.  The wait
grows with sessions that failed, and is short again only after one that ended cleanly: a server that breaks
each session later on would otherwise be called every few seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

__all__ = ["MAX_RETRY_AFTER", "Attempts", "may_kick", "retry_delay"]

FIRST_DELAY: Final = 5
"""The shortest wait after the first failure, in seconds; the longest is twice that."""
DOUBLINGS: Final = 9
"""How often a wait is doubled: up to 2560 to 5120 seconds, as in later editions of TR-069."""
MAX_RETRY_AFTER: Final = 86_400
"""The longest wait that a server can ask for with Retry-After, in seconds."""
KICK_PERIOD: Final = 3600
"""The time in which calls of Kicked are limited, in seconds (D.4)."""


def retry_delay(failures: int, draw: Callable[[], float]) -> float:
    """Return how long to wait after so many failures in a row, in seconds.

    Args:
        failures: How many sessions have failed, at least one.
        draw: Gives a random number from 0 up to 1, so that devices do not come back all at once.
    """
    return _shortest(failures) * (1 + draw())


def _shortest(failures: int) -> float:
    return float(FIRST_DELAY << min(failures - 1, DOUBLINGS))


@dataclass(frozen=True)
class Attempts:
    """What came of the attempts since the last session that ended cleanly; none are known after a boot."""

    retry_count: int = 0
    """RetryCount of the next Inform (Table 31)."""
    failures: int = 0
    """How many sessions in a row have failed."""
    retry_at: float = 0.0
    """When the next may begin, in seconds since the boot; a connection request does not wait for it."""
    not_before: float = 0.0
    """When the server wants to be called again, by its Retry-After; only an operator comes before it."""
    failed_at: float | None = None
    """When the last session failed."""
    given_up: float | None = None
    """When the last retry failed: only causes that came since make a session; None if retries go on."""

    def inform_failed(self) -> Self:
        """Count an Inform without a response: no connection, no answer, or a fault."""
        return replace(self, retry_count=self.retry_count + 1)

    def inform_answered(self) -> Self:
        """Forget the Informs that failed; the sessions that failed count until one ends cleanly."""
        return replace(self, retry_count=0)

    def session_failed(
        self, boot: float, draw: Callable[[], float], *, limit: int, retry_after: float | None = None
    ) -> Self:
        """Count a session that did not end cleanly, and say when to try again.

        Args:
            boot: When it failed, in seconds since the boot.
            draw: Gives a random number from 0 up to 1.
            limit: How many retries there are at most, before the next cause begins anew.
            retry_after: How long the server wants to be left alone, in seconds.
        """
        failures = self.failures + 1
        delay = retry_delay(failures, draw)
        not_before = self.not_before
        if retry_after is not None:
            # All those that were sent away at the same moment would come back at the same moment.
            asked = min(max(retry_after, 0.0), MAX_RETRY_AFTER)
            not_before = boot + asked
            delay = max(delay, asked + delay - _shortest(failures))
        if failures > limit:
            return replace(
                self, failures=0, retry_at=boot, not_before=not_before, failed_at=boot, given_up=boot
            )
        return replace(
            self,
            failures=failures,
            retry_at=boot + delay,
            not_before=not_before,
            failed_at=boot,
            given_up=None,
        )

    def session_over(self) -> Self:
        """Forget all failures: a session has ended cleanly."""
        return type(self)()


def may_kick(kicks: Sequence[float], boot: float, per_hour: int) -> bool:
    """Say whether Kicked may be called once more (D.4).

    Args:
        kicks: When it was called, in seconds since the boot.
        boot: Now.
        per_hour: How often it may be called in any hour.
    """
    return sum(boot - KICK_PERIOD < kick for kick in kicks) < per_hour
