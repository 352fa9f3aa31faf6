"""The commands of an arriving package: each is processed in order, once its data is checked (E.4.7)."""

from collections import deque
from collections.abc import Callable

from spkg.format.package import Command, Package
from spkg.format.ranges import Range

__all__ = ["Sequencer"]


class Sequencer:
    """Processes commands as far as their data has arrived.

    Args:
        package: The package with the commands.
        process: Called with each command.
        start: The index of the first command.
    """

    def __init__(self, package: Package, process: Callable[[Command], object], start: int = 0) -> None:
        self._waiting = deque(package.commands[start:])
        self._needs = {file.command: file.range for file in package.files}
        self._there: set[Range] = set()
        self._process = process

    def arrived(self, wanted: Range) -> None:
        """Record that a range of the payload has arrived and is what was signed."""
        self._there.add(wanted)
        self.advance()

    def advance(self) -> None:
        """Process all commands that are ready."""
        while self._waiting:
            needed = self._needs.get(self._waiting[0].index)
            if needed is not None and needed not in self._there:
                break
            self._process(self._waiting.popleft())
