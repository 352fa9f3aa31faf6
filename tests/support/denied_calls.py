"""System calls that fail, as on file systems that lack what they are for."""

import ctypes
import os
import platform
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Final

__all__ = ["ACCESS_CALLS", "LINK_CALLS", "LOCK_CALLS", "without_calls"]

ACCESS_CALLS: Final = {"x86_64": (21, 269, 439), "aarch64": (48, 439)}
"""The numbers of access, faccessat and faccessat2."""
LINK_CALLS: Final = {"x86_64": (86, 265), "aarch64": (37,)}
"""The numbers of link and linkat in Linux."""
LOCK_CALLS: Final = {"x86_64": (73,), "aarch64": (32,)}
"""The number of flock."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _forbid(calls: Mapping[str, tuple[int, ...]], error: int) -> None:
    """Have the kernel answer some calls of this thread with an error (seccomp)."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    load, equal, answer = 0x20, 0x15, 0x06
    steps = [(load, 0, 0, 0)]  # the number of the call
    for number in calls[platform.machine()]:
        steps += [(equal, 0, 1, number), (answer, 0, 0, 0x00050000 | error)]
    steps.append((answer, 0, 0, 0x7FFF0000))  # allow all others
    instructions = (_Instruction * len(steps))(*(_Instruction(*one) for one in steps))
    program = _Program(len(steps), instructions)
    assert prctl(38, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_NO_NEW_PRIVS
    assert prctl(22, 2, ctypes.byref(program)) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP


def without_calls(
    calls: Mapping[str, tuple[int, ...]], error: int, work: Callable[[], None]
) -> BaseException | None:
    """Run *work* in a thread of its own where some system calls fail; return what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            _forbid(calls, error)
            work()
        except BaseException as exc:  # noqa: BLE001 - handed on to the thread of the test
            raised.append(exc)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None
