"""How many requests a client may make: a bucket for each, which fills at the allowed rate."""

from collections.abc import Callable

__all__ = ["RateLimits"]


class RateLimits:
    """Buckets of one process; each holds what is allowed in one second.

    Args:
        rate: Requests a second for each client.
        timer: Returns the time in seconds; it never jumps.
    """

    def __init__(self, rate: int, timer: Callable[[], float]) -> None:
        self._rate, self._timer = float(rate), timer
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> float:
        """Count a request of a client; return 0, or after how many seconds it may try again."""
        now = self._timer()
        left, since = self._buckets.get(name, (self._rate, now))
        left = min(self._rate, left + (now - since) * self._rate)
        if left >= 1:
            self._buckets[name] = left - 1, now
            return 0
        self._buckets[name] = left, now
        return (1 - left) / self._rate
