"""The agent's log: what happened, an object a line, bounded in memory and on disk.

What an operator asks for after a reboot is written to the state directory; what every session says is kept in
memory alone, since a session without news must not wear out the flash.  Passwords are masked before a line is
kept anywhere.
"""

import errno
import json
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from spkg.common.printable import printable
from spkg.common.times import write_time

__all__ = ["LOG_FILE", "Journal", "LogEntry", "read_log"]

LogEntry = dict[str, Any]
"""A line of the log: ``time``, ``kind``, ``text``, and what belongs to its kind."""
LONGEST_TEXT: Final = 1024
"""The longest text of an entry, in characters."""
LONGEST_TRACE: Final = 1 << 16
"""The longest envelope that a trace keeps, in characters."""
REMEMBERED_ENTRIES: Final = 1024
"""How many entries are kept in memory."""
LOG_FILE: Final = "log.ndjson"
"""The name of the log in the state directory."""
OLDER: Final = ".1"
"""The ending of the file with the older half."""


class Journal:
    """Writes the log; from any thread.

    Args:
        path: The file of the lasting entries; None to keep all in memory.
        size: The most that the log may take on disk, in bytes.
        clock: Returns the time; None if there is no clock.
        listener: Called with each entry, such as one that prints it.
    """

    def __init__(
        self,
        path: Path | None,
        size: int,
        clock: Callable[[], datetime | None],
        listener: Callable[[LogEntry], object] = lambda _entry: None,
    ) -> None:
        self._path = path
        self._half = size // 2
        self._clock = clock
        self._listener = listener
        self._entries: deque[LogEntry] = deque(maxlen=REMEMBERED_ENTRIES)
        if path is not None:
            with suppress(OSError):  # the agent runs without it, too
                self._entries.extend(read_log(path, size))
        self._last: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self.traces = False
        """Whether envelopes are kept, too."""

    def note(self, kind: str, text: str, *, lasting: bool = False, **fields: Any) -> None:
        """Add an entry.

        Args:
            kind: One word, such as ``session``.
            text: What happened, for people.
            lasting: Whether it is written to disk; the same kind and text twice in a row is written once.
            fields: What belongs to it, as JSON has it.
        """
        self._add({"kind": kind, "text": printable(text)[:LONGEST_TEXT], **fields}, lasting=lasting)

    def trace(self, direction: str, envelope: str) -> None:
        """Add an envelope, whose passwords are masked already, where that is asked for."""
        if self.traces:
            self._add(
                {"kind": "trace", "direction": direction, "text": envelope[:LONGEST_TRACE]}, lasting=True
            )

    def last(self, count: int) -> list[LogEntry]:
        """Return the last entries, the oldest first; of earlier runs those that were written."""
        with self._lock:
            return [*self._entries][-count:] if count else []

    def _add(self, entry: LogEntry, *, lasting: bool) -> None:
        now = self._clock()
        entry = {"time": None if now is None else write_time(now), **entry}
        name = (entry["kind"], entry["text"])
        with self._lock:
            self._entries.append(entry)
            if lasting and name != self._last:
                self._write(entry)
                self._last = name
        self._listener(entry)

    def _write(self, entry: LogEntry) -> None:
        """Append a line; a log that can't be written is no reason to stop."""
        if self._path is None:
            return
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with suppress(OSError):
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                length = os.fstat(descriptor).st_size
                if length and os.pread(descriptor, 1, length - 1) != b"\n":
                    line = b"\n" + line  # a full disk, or a power cut, has cut off the one before
                if length + len(line) > self._half:
                    self._path.replace(f"{self._path}{OLDER}")
                    os.close(descriptor)
                    descriptor = os.open(
                        self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
                    )
                os.write(descriptor, line[: self._half])
            finally:
                os.close(descriptor)


def read_log(path: Path, most: int) -> Iterator[LogEntry]:
    """Yield the entries on disk, the oldest first; lines that are cut off or damaged are left out.

    Args:
        path: The file of the log.
        most: The most bytes that are read of each of its two files.
    """
    for file in (Path(f"{path}{OLDER}"), path):
        for line in _read_file(file, most).split(b"\n"):
            if line:
                with suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and _is_entry(entry):
                        yield entry


def _is_entry(found: dict[str, Any]) -> bool:
    """Whether an object has what each entry has."""
    if not {"time", "kind", "text"} <= found.keys():
        return False
    texts = (found["kind"], found["text"], "" if found["time"] is None else found["time"])
    return all(isinstance(one, str) for one in texts)


def _read_file(path: Path, most: int) -> bytes:
    """Return the contents of a file of the log; nothing if it is missing, or a link or pipe is in its place.

    The reader may be root, and the user who writes the log is not.

    Raises:
        OSError: It can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            return b""
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
