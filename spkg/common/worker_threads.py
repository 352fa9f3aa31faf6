"""Work in threads, while a signal may interrupt the main thread at any moment.

The standard library's executors take locks in the thread that submits work; an exception raised there by a
signal handler can leave a lock held forever.  Here the main thread only uses two queues, whose operations
are atomic.
"""

import errno
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Self

__all__ = ["Crew", "NoThreadError"]

Task = Callable[[], object]

JOIN_TIMEOUT: Final = 10.0
"""How long, in seconds, the end of a crew waits for its threads: their tasks may hang in a file system."""


class NoThreadError(OSError):
    """No thread can be started: a limit of the system is reached."""


class Crew:
    """A few threads that run the tasks they are given, in order.

    Args:
        size: How many threads.
        abandon: Whether the end of the crew leaves threads behind if their tasks hang.  It must not if tasks
            write: the files are closed afterwards, and others may get their descriptors.
    """

    def __init__(self, size: int, *, abandon: bool = True) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self._gone: SimpleQueue[None] = SimpleQueue()
        self._abandon = abandon
        self._started = 0
        # A thread that never ends must not keep the process alive.
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(size)]
        self.leaving = False
        """Whether running tasks should stop, as their results are not needed; long tasks check it."""

    def __enter__(self) -> Self:
        """Start the threads, or as many as possible.

        Raises:
            NoThreadError: None can be started.
        """
        for number, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError as exc:
                if not number:
                    raise NoThreadError(errno.EAGAIN, "no thread can be started") from exc
                break
            self._started += 1
        return self

    def __exit__(self, *_exc: object) -> None:
        """End the threads, whatever tasks are left."""
        self.leaving = True
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        if not self._abandon:
            self._outlast()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_TIMEOUT / len(self._threads))

    def hand(self, task: Task) -> None:
        """Queue a task to run as soon as a thread is free."""
        self._tasks.put(task)

    def wait(self) -> None:
        """Wait until one more task is done, and raise what it raised."""
        outcome = self._outcomes.get()
        if outcome is not None:
            raise outcome

    def _outlast(self) -> None:
        """Wait until no thread does anything any more, whatever is raised meanwhile.

        ``Thread.join()`` can't be relied on for that: once a signal has interrupted it, Python 3.11 takes the
        thread for ended.
        """
        interruption: BaseException | None = None
        while self._started:
            try:
                self._gone.get()
            except BaseException as exc:  # noqa: BLE001 - raised again once all have ended
                interruption = exc
            else:
                self._started -= 1
        if interruption is not None:
            raise interruption

    def _work(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                try:
                    task()
                except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
                    self._outcomes.put(exc)
                else:
                    self._outcomes.put(None)
        finally:
            self._gone.put(None)
