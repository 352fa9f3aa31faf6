"""The signals that ask a program to stop, and how to ignore them while nothing may be interrupted."""

import signal
import threading
from typing import Final, NoReturn

__all__ = ["STOP_SIGNALS", "StopSignal", "hold_stop_signals", "ignore", "raise_stop_signals"]

STOP_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
)
"""The ones that this system has: some have no SIGHUP."""


def ignore(_number: int, _frame: object) -> None:
    """Do nothing; unlike SIG_IGN it is safe to set while a signal arrives, and programs do not inherit it."""


class StopSignal(BaseException):
    """A signal asked a child process to stop; it passes through everything that cleans up."""


def raise_stop_signals() -> None:
    """Raise :class:`StopSignal` for those that would end this process at once."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _raise)


def _raise(_number: int, _frame: object) -> NoReturn:
    raise StopSignal


def hold_stop_signals() -> None:
    """Ignore them from now on, in this process; only its main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in STOP_SIGNALS:
        signal.signal(number, ignore)
