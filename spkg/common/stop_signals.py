"""The signals that ask a program to stop, and how to hold them off where nothing may be stopped half-way."""

import signal
from typing import Final

__all__ = ["STOP_SIGNALS", "hold_stop_signals", "ignore"]

STOP_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
)
"""Those that there are here: SIGHUP is not everywhere."""


def ignore(_number: int, _frame: object) -> None:
    """Do nothing; unlike SIG_IGN this is safe to set while a signal arrives, and no program inherits it."""


def hold_stop_signals() -> None:
    """Ignore them from now on, in this process."""
    for number in STOP_SIGNALS:
        signal.signal(number, ignore)
