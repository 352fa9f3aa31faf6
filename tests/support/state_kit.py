"""The state of an agent as it lies on the disk while the agent has it open."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from spkg.agent.state import AgentState

__all__ = ["on_disk"]


@contextmanager
def on_disk(path: Path) -> Iterator[AgentState]:
    """Give what another agent would find if this one were killed now."""
    with TemporaryDirectory() as place:
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", f"{place}/state{ending}")
        with AgentState(Path(place, "state")) as state:
            yield state
