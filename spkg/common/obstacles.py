"""Everything that is wrong with an input, found before anything is raised: one run shows it all."""

from typing import Final

from spkg.errors import FormatError, HostError, SpkgError

__all__ = ["MOST_OBSTACLES", "Obstacles"]

MOST_OBSTACLES: Final = 50
"""How many are shown; the others are counted."""


class Obstacles:
    """Errors that are collected, and raised together as one."""

    def __init__(self) -> None:
        self._found: list[SpkgError] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, error: SpkgError) -> None:
        """Add an error, and those that were found with it."""
        self._count += error.unlisted
        for one in (error, *error.others):
            self._count += 1
            if len(self._found) < MOST_OBSTACLES:
                # There may be many, and each would keep its stack frames.
                one.__traceback__ = one.__cause__ = one.__context__ = None
                one.others, one.unlisted = (), 0
                self._found.append(one)

    def collecting(self) -> "_Collecting":
        """Return a block that adds what it raises for an input, and goes on behind it."""
        return _Collecting(self)

    def raise_all(self) -> None:
        """Raise the first error with all others, if there are any, in the order of their lines.

        Raises:
            SpkgError: The first one.
        """
        if not self._found:
            return
        first, *others = sorted(self._found, key=lambda error: error.line or 0)
        first.others, first.unlisted = tuple(others), self._count - len(self._found)
        raise first


class _Collecting:
    """A block whose errors do not end the work."""

    def __init__(self, obstacles: Obstacles) -> None:
        self._obstacles = obstacles

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, raised: object, _trace: object) -> bool:
        """Take an error of the input, and let any other pass."""
        if not isinstance(raised, FormatError | HostError):
            return False
        self._obstacles.add(raised)
        return True
