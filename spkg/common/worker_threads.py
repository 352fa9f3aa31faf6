"""Work beside the main thread, which a signal may interrupt at any moment.

An executor of the standard library takes locks in the thread that hands work out; an exception that a signal
handler raises there can leave one taken for good.  Here the main thread only ever touches two queues, each
operation of which either happens or does not.
"""

import errno
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Self

__all__ = ["Crew"]

Task = Callable[[], object]

JOIN_TIMEOUT: Final = 10.0
"""How long, in seconds, the end of a crew waits for its threads: what they do may hang in a file system."""


class Crew:
    """A few threads that do the tasks handed to them, in order."""

    def __init__(self, size: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        # A thread that never ends must not keep the process.
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(size)]
        self.leaving = False
        """Whether what is still under way is wanted no more; long tasks look at it."""

    def __enter__(self) -> Self:
        """Start the threads, or as many as there may be.

        Raises:
            OSError: Not one can be started.
        """
        for number, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError as exc:
                if not number:
                    raise OSError(errno.EAGAIN, "no thread can be started") from exc
                break
        return self

    def __exit__(self, *_exc: object) -> None:
        """End the threads, whatever is left to do."""
        self.leaving = True
        with suppress(Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_TIMEOUT / len(self._threads))

    def hand(self, task: Task) -> None:
        """Have a task done as soon as a thread is free."""
        self._tasks.put(task)

    def wait(self) -> None:
        """Wait until one more of the tasks is done, and raise what it raised."""
        outcome = self._outcomes.get()
        if outcome is not None:
            raise outcome

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
                self._outcomes.put(exc)
            else:
                self._outcomes.put(None)
