"""What is due, once: a session, then transfers; what these bring is reported by the next call."""

from collections.abc import Callable
from typing import Final

from spkg.agent.clock import Outside
from spkg.agent.engine import Engine
from spkg.errors import TransferError

__all__ = ["run_once"]

TICK_OF_ONCE: Final = 0.1
"""How often to see whether a transfer has ended, in seconds."""


def run_once(
    engine: Engine, outside: Outside, *, force: bool, wait: float, sleep: Callable[[float], object]
) -> None:
    """Do what is due.

    Args:
        engine: What decides.
        outside: The clocks.
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
        due = engine.due()
        if not due.session and due.wake is not None and due.wake > until:
            break
        wake = engine.step()
        if wake is None or wake > until:
            break
        sleep(max(0.0, min(wake - outside.boot().seconds, TICK_OF_ONCE)))
    while not engine.is_rebooting and not engine.must_begin_anew:
        wake = engine.step(sessions=False)
        if wake is None or wake > outside.boot().seconds:  # nothing was done
            if not engine.works:
                break
            sleep(TICK_OF_ONCE)
    if engine.last is not None and engine.last.reason is not None:
        raise TransferError(engine.last.reason)
