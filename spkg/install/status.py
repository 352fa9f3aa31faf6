"""The status of a root: what is installed there, and what is unfinished."""

from enum import Enum
from pathlib import Path
from typing import Final

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.install.checkpoint import Checkpoint, checkpoint_warnings, load_checkpoint
from spkg.install.events import RolledBackPackage, RootEvent
from spkg.install.found_journal import aside_warnings, journal_warnings
from spkg.install.history import (
    InstalledPackage,
    events,
    installed_packages,
    record_warnings,
    rolled_back_packages,
)
from spkg.install.kept import kept_octets
from spkg.install.leftovers import leftover_warnings, leftovers
from spkg.install.own_files import ASIDE_TREE
from spkg.install.root import Root
from spkg.install.staging import is_staging, staged
from spkg.install.transaction import is_pending
from spkg.install.tree_path import Parts, shown
from spkg.install.trial import Trial, load_trial, trial_warnings
from spkg.install.unreported import unreported_warnings

__all__ = [
    "RootState",
    "RootStatus",
    "StagedPackage",
    "root_events",
    "root_state",
    "root_status",
    "set_aside_paths",
    "staged_package",
]

NAMED_ASIDE: Final = 100
"""How many entries that are set aside are named, at most."""


class RootState(Enum):
    """The state of a root."""

    CLEAN = "clean"
    PENDING = "pending"
    """An installation was interrupted: finish or undo it, or resume the same package in place."""
    TRIAL = "trial"
    """The last package is on trial: it can be confirmed or rolled back."""
    PARTIAL = "partial"
    """An installation in place failed; the root is usable."""
    UNSAFE = "unsafe"
    """An installation in place stopped in the unrecoverable state, or what stopped has a damaged journal."""


@dataclass(frozen=True, kw_only=True)
class StagedPackage:
    """A package whose download was interrupted and can be resumed."""

    package: str
    """SHA-256 of the signed bytes, in hex."""
    octets: int
    """How many bytes are staged."""


@dataclass(frozen=True, kw_only=True)
class RootStatus:
    """The status of a root."""

    state: RootState
    in_place: Checkpoint | None
    """Where an installation in place stopped."""
    staged: StagedPackage | None
    trial: Trial | None
    """The trial of the last package."""
    octets_kept: int
    """How much room the files take that are kept for going back, in bytes."""
    rolled_back: tuple[RolledBackPackage, ...]
    """The packages that were rolled back since another one was installed: they are refused."""
    set_aside: tuple[str, ...]
    """What was in the way of going back: paths as they lie now below the root."""
    installed: tuple[InstalledPackage, ...]
    """The installed packages, the last one first."""
    leftovers: tuple[str, ...]
    """What earlier installations left over: paths below the root, in the installer's own directory."""
    warnings: tuple[Finding, ...]


def root_status(root: Path) -> RootStatus:
    """Return the status of a root.

    Raises:
        FailedError: The record of installed packages can't be read.
        OSError: The root can't be read.
    """
    with Root(root) as opened:
        state, stopped = root_state(opened)
        trial = load_trial(opened)
        return RootStatus(
            state=state,
            in_place=stopped,
            staged=staged_package(opened),
            trial=trial,
            octets_kept=0 if trial is None else kept_octets(opened),
            rolled_back=rolled_back_packages(opened),
            set_aside=set_aside_paths(opened),
            installed=installed_packages(opened),
            leftovers=tuple(map(shown, leftovers(opened))),
            warnings=(
                *record_warnings(opened),
                *journal_warnings(opened),
                *checkpoint_warnings(opened),
                *trial_warnings(opened),
                *aside_warnings(opened),
                *unreported_warnings(opened),
                *leftover_warnings(opened),
            ),
        )


def root_events(root: Path) -> tuple[RootEvent, ...]:
    """Return what happened in a root, the oldest first.

    Raises:
        FailedError: The record can't be read.
        OSError: The root can't be read.
    """
    with Root(root) as opened:
        return events(opened)


def staged_package(root: Root) -> StagedPackage | None:
    """Return the package whose download was interrupted, if there is one.

    Raises:
        OSError: The root can't be read.
    """
    package = is_staging(root)
    return None if package is None else StagedPackage(package=package, octets=sum(staged(root).values()))


def root_state(root: Root) -> tuple[RootState, Checkpoint | None]:
    """Return the state of a root, and where an installation in place stopped.

    Raises:
        OSError: It can't be read.
    """
    found = load_checkpoint(root)
    if found is not None and found.unsafe:
        return RootState.UNSAFE, found
    if is_pending(root):
        return (RootState.UNSAFE if journal_warnings(root) else RootState.PENDING), found
    if found is None:
        return (RootState.CLEAN if load_trial(root) is None else RootState.TRIAL), None
    return (RootState.PARTIAL if found.failed else RootState.PENDING), found


def set_aside_paths(root: Root) -> tuple[str, ...]:
    """Return what is set aside: the entries that stood in the tree, not the directories made for them.

    Raises:
        OSError: It can't be read.
    """
    found: list[Parts] = []
    waiting = [] if root.status(ASIDE_TREE) is None else [ASIDE_TREE]
    while waiting and len(found) < NAMED_ASIDE:
        path = waiting.pop()
        try:
            below = root.names(path)
        except OSError:  # not a directory
            below = []
        if not below:
            found.append(path)
        waiting += [(*path, name) for name in reversed(below)]
    return tuple(map(shown, found))
