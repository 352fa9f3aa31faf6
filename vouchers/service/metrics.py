"""What the service counts, for Prometheus; each process counts for itself."""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

__all__ = ["METRICS_TYPE", "ServiceMetrics"]

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds of the durations that are counted, in seconds."""


class ServiceMetrics:
    """Counters of one process.

    Args:
        dropped_lines: Returns how many lines of the log could not be written.
    """

    def __init__(self, dropped_lines: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "spkg_requests", "Requests.", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "spkg_request_seconds", "How long requests took.", ["route"], registry=registry, buckets=BOUNDS
        )
        self.in_flight = Gauge("spkg_requests_in_flight", "Requests being answered.", registry=registry)
        self.vouchers = Counter("spkg_vouchers_issued", "Vouchers issued.", registry=registry)
        self.replays = Counter(
            "spkg_answers_repeated", "Answers given again for an Idempotency-Key.", registry=registry
        )
        self.batches = Gauge("spkg_batches_running", "Batches being issued.", registry=registry)
        self.ledger_up = Gauge(
            "spkg_ledger_up", "Whether the ledger could be used when last tried.", registry=registry
        )
        lines = Gauge("spkg_log_lines_dropped", "Lines of the log that were not written.", registry=registry)
        lines.set_function(dropped_lines)

    def text(self) -> bytes:
        """Return everything in the format of Prometheus."""
        return bytes(generate_latest(self._registry))
