"""What hinders a simulated installation: a fault that kills it, or lets primitives of it fail."""

import errno
import os
from typing import Any, Final

from spkg.install.tree_path import Parts, shown

__all__ = ["KINDS", "READS", "SYNCS", "Fault", "Killed", "nothing"]


class Killed(BaseException):
    """The process is no more."""


def nothing(_name: str, _path: Parts = ()) -> None:
    """Let everything be done."""


READS: Final = frozenset({"status", "names", "target", "read"})
SYNCS: Final = frozenset({"fsync", "syncfs"})

KINDS: Final[dict[str, dict[str, Any]]] = {
    "one failure": {"once": True},
    "failures from then on": {},
    "one thing that never works": {"same": True},
    "nothing is written any more": {"but": READS},
    "nothing is changed any more": {"but": READS | SYNCS},
}
"""The ways in which a fault hinders more than once, or not."""


class Fault:
    """Lets some primitives be done, and hinders others.

    Args:
        first: The number of the first one that is hindered.
        error: How it fails; None kills the process.
        once: Whether the others are done again.
        same: Whether of the others just the same primitive on the same path is hindered.
        but: Names of primitives that are neither hindered nor counted.
    """

    def __init__(
        self,
        first: int,
        error: int | None = None,
        *,
        once: bool = False,
        same: bool = False,
        but: frozenset[str] = frozenset(),
    ) -> None:
        self._first, self._error, self._once, self._same, self._but = first, error, once, same, but
        self.count = 0
        self.hindered: list[tuple[str, Parts]] = []

    @property
    def killed(self) -> bool:
        return self._error is None and bool(self.hindered)

    def __call__(self, name: str, path: Parts = ()) -> None:
        if name in self._but:
            return
        self.count += 1
        if self.count <= self._first or (self._once and self.hindered):
            return
        if self._same and self.hindered and (name, path) != self.hindered[0]:
            return
        self.hindered.append((name, path))
        if self._error is None:
            raise Killed
        raise OSError(self._error, os.strerror(self._error))

    def __str__(self) -> str:
        how = "kill" if self._error is None else errno.errorcode[self._error]
        name, path = self.hindered[0] if self.hindered else ("nothing", ())
        return f"{how} at {self._first}, {name} {shown(path)}, {len(self.hindered)} in all"
