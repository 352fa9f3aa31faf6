"""The state of an agent on a real file system whose power is cut: what is found then.

    python -m tests.support.state_power_cuts REQUEST      inside a mount namespace of its own

The process that writes the state is alive when the power is cut, or was killed at a system call before.
"""

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spkg.agent import state_file
from spkg.agent.records import Transfer
from spkg.agent.state import AgentState
from spkg.cwmp.events import Event
from tests.support.interruptions import (
    DROPPED,
    FILE_SYSTEMS,
    SHUTDOWN,
    Call,
    _attach,
    _mount,
    _unmount,
    calls,
)

CHANGES: Final = 14
"""How often the state is changed."""
AT_ONCE: Final = 4
"""After how many changes the log is copied into the file."""
CALLS: Final = ("openat", "pwrite64", "ftruncate", "unlink", "fsync", "fdatasync")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where an image is made, mounted and used."""

    path: Path
    kind: str

    @property
    def place(self) -> Path:
        return self.path / "mount"

    @property
    def state(self) -> Path:
        return self.place / "agent" / "state.db"

    def furnish(self) -> None:
        """Make an image with a state of before the first change."""
        size, make, _ = FILE_SYSTEMS[self.kind]
        self.place.mkdir()
        with (self.path / "fresh").open("wb") as file:
            file.truncate(size << 20)
        subprocess.run([*make, self.path / "fresh"], check=True, stdout=subprocess.DEVNULL)
        _mount(self.kind, self.path / "fresh", self.place)
        AgentState(self.state).close()
        _unmount(self.place)

    def begin(self) -> None:
        """Mount a fresh image."""
        command = ("cp", "--sparse=always", self.path / "fresh", self.path / "image")
        subprocess.run(command, check=True)
        _mount(self.kind, self.path / "image", self.place)

    def cut(self) -> None:
        """Let nothing more come to the device."""
        descriptor = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(descriptor, SHUTDOWN, DROPPED.to_bytes(4, sys.byteorder))
        os.close(descriptor)

    def restore(self) -> None:
        """Mount what came to the device."""
        _unmount(self.place)
        _mount(self.kind, self.path / "image", self.place)


def change(state: AgentState, number: int) -> None:
    """Change several tables at once."""
    with state.change() as change:
        change.fact("one", str(number))
        change.fact("other", str(number))
        change.add_event(Event("X 00D09E Some", str(number)))
        change.tell(f"D.{number % 3}", "x" * (number * 700))
        change.put_transfer(Transfer(direction="Download", arguments={"CommandKey": str(number)}))


def found_in(path: Path) -> Any:
    """Return how often a state was changed; what it is where that can't be said."""
    with AgentState(path) as state:
        if state.set_aside is not None:
            return "set aside"
        count = int(state.fact("one") or "0")
        told = {f"D.{number % 3}": "x" * (number * 700) for number in range(1, count + 1)}
        keys = [str(number) for number in range(1, count + 1)]
        whole = (
            (state.fact("other") or "0") == str(count)
            and [one.command_key for one in state.events()] == keys
            and [one.arguments["CommandKey"] for one in state.transfers()] == keys
            and state.told() == told
        )
        return count if whole else "mixed"


class Writer:
    """A process that changes the state.

    Args:
        desk: Where.
        inject: What strace does to it; None without strace.
        most: After how many changes it waits to be killed.
    """

    def __init__(self, desk: Desk, inject: str | None = None, most: int = CHANGES) -> None:
        self._told, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._told)
            try:
                if inject is not None:
                    os.chdir(desk.path)
                    _attach(",".join(CALLS), inject or None)
                _write(desk.state, writing, most)
            finally:
                os._exit(1)
        os.close(writing)

    def told(self, most: int) -> int:
        """Return how many changes it has said were made, at most so many."""
        count = 0
        while count < most and os.read(self._told, 1):
            count += 1
        return count

    def kill(self) -> None:
        """End it."""
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._told)


def _write(path: Path, told: int, most: int) -> None:
    state = AgentState(path)
    for number in range(1, most + 1):
        change(state, number)
        os.write(told, b".")
        state.tidy()
    if most == CHANGES:
        state.close()
        os._exit(0)
    os.read(os.pipe()[0], 1)


def sweep(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut the power, each time anew; give what was said before, and what is found then."""
    state_file.COMMITS_AT_ONCE = AT_ONCE  # type: ignore[misc] # so that the log begins anew several times
    if request["seed"]:
        sqlite3.connect = _careless
    desk = Desk(path=Path(request["desk"]), kind=request["kind"])
    desk.furnish()
    if request["killed"]:
        every: list[Call | int] = [*_points(desk)]
    else:
        every = [*range(CHANGES)]
    for point in every[request["first"] :: request["step"]]:
        desk.begin()
        if isinstance(point, int):
            writer = Writer(desk, most=point)
            told = writer.told(point)
        else:
            writer = Writer(desk, point.inject("signal=KILL"))
            told = writer.told(CHANGES)
        try:
            desk.cut()
        finally:
            writer.kill()
        desk.restore()
        found = found_in(desk.state)
        again = None
        if isinstance(found, int):
            with AgentState(desk.state) as state:
                change(state, found + 1)
            again = found_in(desk.state)
        yield {"at": str(point), "told": told, "found": found, "again": again}
        _unmount(desk.place)


def _points(desk: Desk) -> list[Call]:
    """Return the calls of a process that nobody kills."""
    desk.begin()
    writer = Writer(desk, "")
    assert writer.told(CHANGES) == CHANGES
    os.waitpid(writer._pid, 0)
    _unmount(desk.place)
    return calls((desk.path / "log").read_text(), desk.state.parent, CALLS)


class _Careless(sqlite3.Connection):
    """Syncs less than what was asked for."""

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = EXTRA", "synchronous = NORMAL"), *more)


def _careless(*given: Any, connect: Any = sqlite3.connect, **more: Any) -> Any:
    return connect(*given, factory=_Careless, **more)


def main() -> None:
    """Do what is asked; what is found is a JSON object a line."""
    for found in sweep(json.loads(sys.argv[1])):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
