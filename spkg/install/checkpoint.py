"""The progress of an installation in place, written to disk before each command takes effect.

A checkpoint never understates the danger: its state is the one that the command leads to.
"""

import json
from typing import Any, Final, Self

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.format.installation_state import InstallationState
from spkg.install.leftovers import vacant
from spkg.install.own_files import read_own, values_of, write_whole
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts, shown

__all__ = [
    "ARRIVED",
    "CHECKPOINT",
    "MADE",
    "PART",
    "WORST",
    "Checkpoint",
    "checkpoint_warnings",
    "load_checkpoint",
    "remove_checkpoint",
    "remove_spare",
    "save_checkpoint",
]

CHECKPOINT: Final[Parts] = (*OWN, b"checkpoint")
CHECKPOINT_DRAFT: Final[Parts] = (*OWN, b"checkpoint.new")
"""Where the first one is written."""
CHECKPOINT_SPARE: Final[Parts] = (*OWN, b"checkpoint.spare")
"""Where each other one is written."""
PART: Final[Parts] = (*OWN, b"part")
"""The file of the current command."""
MADE: Final[Parts] = (*OWN, b"made")
"""The directory that is being made."""
ARRIVED: Final[Parts] = (*OWN, b"arrived")
"""The files received so far whose commands are still to come."""
MAX_CHECKPOINT: Final = 4096
STATE_WORDS: Final = frozenset(state.value for state in InstallationState)
TYPES: Final[dict[str, type]] = {"package": str, "command": int, "state": str, "failed": bool}
"""The keys of a checkpoint, with the types of their values."""
WAY_OUT: Final = "apply a package with the role software-recovery (docs/installing.md)"
"""The way out of a state that is not known."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far an installation in place has come."""

    package: str
    """SHA-256 of the signed bytes, in hex."""
    command: int
    """The index of the command that may have begun."""
    state: InstallationState
    failed: bool = False
    """Whether it failed there, other than by a crash."""

    @property
    def unsafe(self) -> bool:
        """Whether the root needs recovery."""
        return self.state is InstallationState.UNRECOVERABLE

    def encode(self) -> bytes:
        """Return the contents of the file."""
        document = {
            "package": self.package,
            "command": self.command,
            "state": self.state.value,
            "failed": self.failed,
        }
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Read the contents of the file.

        Raises:
            ValueError: They are not a checkpoint.
        """
        try:
            document: dict[str, Any] = values_of(octets)
            sound = {name: type(document[name]) for name in TYPES} == TYPES
        except (KeyError, TypeError):
            sound = False
        if not sound or document["state"] not in STATE_WORDS:
            raise ValueError("a value is missing or has the wrong type")
        state = InstallationState(document["state"])
        found = cls(
            package=document["package"],
            command=document["command"],
            state=state,
            failed=document["failed"],
        )
        if found.command < 0:
            raise ValueError(f"expected the index of a command, got {found.command}")
        if state is InstallationState.INSTALLED:
            raise ValueError("an installation never stops in the installed state")
        return found


WORST: Final = Checkpoint(package="unknown", command=0, state=InstallationState.UNRECOVERABLE, failed=True)
"""What is assumed if it is not known how far an installation has come: the worst."""


def load_checkpoint(root: Root) -> Checkpoint | None:
    """Return where an installation in place stopped; None if none did.

    If the checkpoint is damaged, the worst is assumed: that it failed in the unrecoverable state.

    Raises:
        OSError: It can't be read.
    """
    try:
        return Checkpoint.decode(read_own(root, CHECKPOINT, MAX_CHECKPOINT))
    except FileNotFoundError:
        return None
    except ValueError:
        return WORST


def checkpoint_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about a damaged checkpoint; none if it is sound.

    Raises:
        OSError: It can't be read.
    """
    try:
        Checkpoint.decode(read_own(root, CHECKPOINT, MAX_CHECKPOINT))
    except FileNotFoundError:
        return ()
    except ValueError as exc:
        problem = f"the checkpoint is damaged ({exc}), so that the root counts as unsafe: {WAY_OUT}"
        return (Finding(code="damaged-checkpoint", message=problem, path=shown(CHECKPOINT)),)
    return ()


def save_checkpoint(root: Root, checkpoint: Checkpoint) -> None:
    """Write a checkpoint durably.

    Raises:
        OSError: It can't be written; the previous one is still valid.
    """
    written = _rewritten(root, CHECKPOINT_SPARE, checkpoint.encode())
    if not written:
        written = vacant(root, CHECKPOINT_DRAFT)
        write_whole(root, written, checkpoint.encode())
    # What was the checkpoint is the next spare: in the middle of the work there may be no inode left.
    swaps = written == CHECKPOINT_SPARE and root.status(CHECKPOINT) is not None
    if not swaps or not root.exchange(CHECKPOINT_SPARE, CHECKPOINT):
        try:
            root.rename(written, CHECKPOINT)
        except IsADirectoryError:  # nothing that the installer has made
            if not root.exchange(written, CHECKPOINT):
                raise
            root.sweep(written)
        if root.status(CHECKPOINT_SPARE) is None:
            # It has contents from the start: later, the disk may be full.
            write_whole(root, CHECKPOINT_SPARE, checkpoint.encode())
    root.sync_directory(OWN)


def remove_checkpoint(root: Root) -> None:
    """Remove the checkpoint: the installation is complete.

    Raises:
        OSError: It can't be removed.
    """
    root.unlink(CHECKPOINT)
    root.sync_directory(OWN)
    remove_spare(root)


def remove_spare(root: Root) -> None:
    """Remove the file for the next checkpoint, if there is no checkpoint.

    Raises:
        OSError: The root can't be read.
    """
    if root.status(CHECKPOINT) is None and root.status(CHECKPOINT_SPARE) is not None:
        root.sweep(CHECKPOINT_SPARE)


def _rewritten(root: Root, path: Parts, octets: bytes) -> Parts:
    """Replace the contents of a file that nothing relies on, and return its path, or nothing."""
    if root.status(path) is None:
        return ()
    try:
        file = root.reopen(path)
    except OSError:
        return ()
    try:
        file.rewrite(octets)
        file.sync()
    except OSError:  # it is immutable or append-only, or on a bad sector
        return ()
    finally:
        file.close()
    return path
