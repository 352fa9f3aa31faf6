"""The log of the service: one JSON object a line, never a secret, and never in the way of a request.

A thread writes; if nobody reads its output, lines are dropped and counted, and the service goes on.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, Final

from spkg.common.documents import json_text

__all__ = ["LibraryLogs", "ServiceLog"]

LINES_KEPT: Final = 10_000
"""How many lines wait at most."""
LAST_SECONDS: Final = 2.0
"""How long the end of the service waits for its last lines."""


class ServiceLog:
    """Writes lines to a file descriptor.

    Args:
        descriptor: Where to.
        clock: Returns the time as text.
    """

    def __init__(self, descriptor: int, clock: Callable[[], str]) -> None:
        self._descriptor, self._clock = descriptor, clock
        self._lines: Queue[bytes | None] = Queue(LINES_KEPT)
        self.dropped = 0
        """How many lines could not be written."""
        self._thread = Thread(target=self._write, daemon=True)
        self._thread.start()

    def note(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Add a line."""
        line = json_text({"time": self._clock(), "level": level, "event": event, **fields})
        try:
            self._lines.put_nowait(line.encode() + b"\n")
        except Full:
            self.dropped += 1

    def close(self) -> None:
        """Write the last lines, within limits."""
        with suppress(Full):
            self._lines.put(None, timeout=LAST_SECONDS)
            self._thread.join(LAST_SECONDS)

    def _write(self) -> None:
        line: bytes | None
        while (line := self._lines.get()) is not None:
            whole = bytearray(line)
            with suppress(Empty):
                while len(whole) < 1 << 16 and (line := self._lines.get_nowait()) is not None:
                    whole += line
            try:
                while whole:
                    del whole[: os.write(self._descriptor, whole)]
            except OSError:  # nobody reads any more
                self.dropped += 1
            if line is None:
                return


class LibraryLogs(logging.Handler):
    """Takes what uvicorn has to say; of an exception only its kind, since its text may hold anything."""

    def __init__(self, log: ServiceLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Add a line for a record."""
        fields = {}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        self._log.note(
            "server", level=record.levelname.lower(), message=record.getMessage().strip()[:200], **fields
        )
