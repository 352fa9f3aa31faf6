"""What is due, once: a session, then transfers; what these bring is reported by the next call."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from spkg.agent.clock import Outside
from spkg.agent.engine import Engine
from spkg.errors import TransferError

__all__ = ["Handed", "run_once"]

TICK_OF_ONCE: Final = 0.1
"""How often to see whether a transfer has ended, in seconds."""


class Handed:
    """What other threads, such as those that hear providers, want done in the thread that decides."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def call(self, work: Callable[[], object]) -> None:
        """Hand something over; from any thread."""
        self._waiting.put(work)

    def do(self) -> None:
        """Do what was handed over."""
        while True:
            try:
                work = self._waiting.get_nowait()
            except Empty:
                return
            work()


def run_once(
    engine: Engine,
    outside: Outside,
    *,
    handed: Handed,
    force: bool,
    wait: float,
    sleep: Callable[[float], object],
) -> None:
    """Do what is due.

    Args:
        engine: What decides.
        outside: The clocks.
        handed: What other threads want done in this one.
        force: Whether a session is begun even if nothing is due.
        wait: How long something may take to become due, in seconds.
        sleep: Waits so many seconds.

    Raises:
        TransferError: The session did not come through.
    """
    until = outside.boot().seconds + wait
    engine.start()
    if force:
        engine.force()
    while engine.last is None and not engine.is_rebooting:
        handed.do()
        due = engine.due()
        if not due.session and due.wake is not None and due.wake > until:
            break
        wake = engine.step()
        if wake is None or wake > until:
            break
        sleep(max(0.0, min(wake - outside.boot().seconds, TICK_OF_ONCE)))
    while not engine.is_rebooting and not engine.must_begin_anew:
        handed.do()
        wake = engine.step(sessions=False)
        if wake is None or wake > outside.boot().seconds:  # nothing was done
            if not engine.works:
                break
            sleep(TICK_OF_ONCE)
    handed.do()  # an event that came last is kept for the next session
    if engine.last is not None and engine.last.reason is not None:
        raise TransferError(engine.last.reason, hint=engine.last.hint)
