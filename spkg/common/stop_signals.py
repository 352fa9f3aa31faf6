"""The signals that ask a program to stop, and how to ignore them while nothing may be interrupted."""

import signal
from typing import Final

__all__ = ["STOP_SIGNALS", "hold_stop_signals", "ignore"]

STOP_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
)
"""The ones that this system has: some have no SIGHUP."""


def ignore(_number: int, _frame: object) -> None:
    """Do nothing; unlike SIG_IGN it is safe to set while a signal arrives, and programs do not inherit it."""


def hold_stop_signals() -> None:
    """Ignore the stop signals from now on, in this process."""
    for number in STOP_SIGNALS:
        signal.signal(number, ignore)
