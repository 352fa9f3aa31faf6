"""What going back changes: a kept transaction reversed, planned against the tree as it is now.

What the package touched becomes as before.  A file that it placed goes, edited or not.  What others have made
meanwhile stays where it is; where it is in the way, it is set aside below ``.spkg/aside``, under its path.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from spkg.common.documents import Document
from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.errors import FailedError, RefusedError
from spkg.install.effects import MakeDirectory
from spkg.install.fixed_entries import check_fixed
from spkg.install.heritage import NO_HERITAGE
from spkg.install.journal import Before, JournalStep, Verb
from spkg.install.kept import old_place, second_name
from spkg.install.own_files import ASIDE_TREE
from spkg.install.root import Root
from spkg.install.root_tree import OWN, EntryKind, RootTree, TreeEntry
from spkg.install.transaction_places import KEPT_TXN
from spkg.install.tree_path import Parts, shown

__all__ = ["RollbackPlan", "plan_rollback"]

NUMBERED_NAME: Final = 240
"""How much of a name is left before a number is added to it, in bytes."""


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """What going back changes."""

    steps: tuple[JournalStep, ...]
    """Those in the tree, trees before what is placed in them."""
    directories: tuple[MakeDirectory, ...]
    changes: tuple[Document, ...]
    """The same for people and programs: an action and a path each."""
    set_aside: tuple[Parts, ...]
    """Where it stood what is set aside."""
    warnings: tuple[Finding, ...]


def plan_rollback(root: Root, kept: Sequence[JournalStep]) -> RollbackPlan:
    """Return how to go back.

    Args:
        root: The root.
        kept: The steps of the kept transaction.

    Raises:
        RefusedError: A mount, a link or an immutable entry is in the way.
        FailedError: Something that was kept is missing.
        OSError: The tree can't be read.
    """
    run = _Run(root, [step for step in kept if step.path[:1] != OWN])
    with root.staying():
        for path in run.touched:
            run.settle(path)
    check_fixed(run.gone, run.tree)
    return RollbackPlan(
        steps=tuple(run.steps),
        directories=tuple(run.directories),
        changes=tuple(run.changes),
        set_aside=tuple(run.set_aside),
        warnings=tuple(run.warnings),
    )


class _Run:
    """The paths that a transaction touched, settled one by one.

    Args:
        root: The root.
        kept: The steps of the kept transaction in the tree.
    """

    def __init__(self, root: Root, kept: Sequence[JournalStep]) -> None:
        self._root = root
        self.tree = RootTree(root)
        self._placed = {step.path for step in kept if step.verb is Verb.PUT}
        self._moved = {step.path: step for step in kept if step.source is not None}
        self._made = {step.path for step in kept if step.verb is Verb.DIRECTORY}
        self._wanted = {
            step.path: old_place(step) for step in kept if step.before not in {Before.NOTHING, Before.LOST}
        }
        self.steps: list[JournalStep] = []
        self.directories: list[MakeDirectory] = []
        self.changes: list[Document] = []
        self.set_aside: list[Parts] = []
        self.warnings: list[Finding] = []
        self.gone: list[tuple[Parts, EntryKind | None]] = []
        """The paths at which something changes, and what has to go from there."""
        self._taken: set[Parts] = set()
        """The moved files that go back themselves, as they have no second name."""
        for step in self._moved.values():
            self._want_source(step)
        self.touched = sorted({*self._placed, *self._moved, *self._made, *self._wanted, *self._sources(kept)})
        self._above = {path[:depth] for path in self.touched for depth in range(1, len(path))}
        """The directories that the package made, or put something into."""
        self._settled: set[Parts] = set()
        self._new: set[Parts] = set()
        """The directories and set-aside entries that there will be."""

    def settle(self, path: Parts) -> None:
        """Let a path become as before.

        Raises:
            RefusedError: Something in the way can't be set aside.
        """
        place = self._wanted.get(path)
        if any(path[:depth] in self._settled for depth in range(1, len(path))):
            # The tree above it is removed, or comes back as a whole: what was moved out of it follows.
            if place is not None:
                self._bring_back(path, place, Before.NOTHING)
            return
        if not self._reach(path, wanted=place is not None):
            return
        self._settled.add(path)
        found = self._entry(path)
        if place is not None and place not in self._taken and self._are_one(path, found, place):
            return  # somebody has given it its name back
        before = Before.NOTHING
        if found is not None and path not in self._taken:
            self._check_mounts(path)
            if not self._is_ours(path, found):
                self._set_aside(path, found)
            else:
                self.gone.append((path, found.kind))
                if found.kind is EntryKind.DIRECTORY:
                    self._spare_others(path)
                before = Before.AWAY
                if found.kind is EntryKind.FILE and place is not None and not self._is_directory(place):
                    before = Before.KEPT
        if place is not None:
            self._bring_back(path, place, before)
        elif before is not Before.NOTHING:
            self._step(Verb.DELETE, path, before)
            self.changes.append({"action": "delete", "path": shown(path)})

    def _want_source(self, step: JournalStep) -> None:
        """Find the file that has to come back to where it was moved from."""
        assert step.source is not None  # it is a move
        if self._root.status(second_name(step)) is not None:
            self._wanted.setdefault(step.source, second_name(step))
            return
        found = self.tree.entry(step.path)
        if found is not None and found.kind is not EntryKind.DIRECTORY:
            self._wanted.setdefault(step.source, step.path)
            self._taken.add(step.path)
            return
        problem = f"can't come back: it was moved to {shown(step.path)}, which somebody removed"
        self.warnings.append(Finding(code="not-restored", message=problem, path=shown(step.source)))

    @staticmethod
    def _sources(kept: Sequence[JournalStep]) -> Iterator[Parts]:
        yield from (step.source for step in kept if step.source is not None)

    def _is_ours(self, path: Parts, found: TreeEntry) -> bool:
        """Whether an entry is what the package left there, possibly edited."""
        if path in self._made:
            return found.kind is EntryKind.DIRECTORY
        if path in self._placed:
            return found.kind is EntryKind.FILE
        step = self._moved.get(path)
        if step is None:
            return False
        return path in self._taken or self._are_one(path, found, second_name(step))

    def _are_one(self, path: Parts, found: TreeEntry | None, kept: Parts) -> bool:
        """Whether an entry and one that was kept are two names of one file."""
        if found is None or found.kind is EntryKind.DIRECTORY or found.links == 1:
            return False
        there, other = self._root.status(path), self._root.status(kept)
        if there is None or other is None:
            return False
        return (there.st_dev, there.st_ino) == (other.st_dev, other.st_ino)

    def _entry(self, path: Parts) -> TreeEntry | None:
        """Return the entry at a path; None below a directory that is yet to be made."""
        return None if path[:-1] in self._new else self.tree.entry(path)

    def _spare_others(self, top: Parts) -> None:
        """Set aside what others have put into a directory that goes."""
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            for name in self.tree.names(directory):
                path = (*directory, name)
                found = self.tree.entry(path)
                if found is None or path in self._taken or self._is_ours(path, found):
                    continue
                if path in self._above and found.kind is EntryKind.DIRECTORY:
                    waiting.append(path)
                else:
                    self._set_aside(path, found)

    def _reach(self, path: Parts, *, wanted: bool) -> bool:
        """Whether the directory of a path exists, or will: it is made if something has to come back there.

        Raises:
            RefusedError: A mount or a link is among the directories above.
        """
        for depth in range(1, len(path)):
            above = path[:depth]
            if above in self._new:
                continue
            found = self._entry(above)
            if found is not None and found.kind is EntryKind.DIRECTORY:
                if above in self.tree.mounts or found.elsewhere:
                    raise RefusedError(f"{shown(above)} is a mount now, and {shown(path)} is below it")
                continue
            if found is not None and found.kind is EntryKind.LINK and self._leads_on(above):
                raise RefusedError(
                    f"{shown(above)} is a symbolic link to a directory now, and {shown(path)} is below it",
                    hint="put the directory back in the place of the link",
                )
            if not wanted:
                return False
            if found is not None:
                self._check_mounts(above)
                self._set_aside(above, found)
            self._make(above)
            self.changes.append({"action": "make-directory", "path": shown(above)})
        return True

    def _leads_on(self, path: Parts) -> bool:
        """Whether a link leads to a directory, or to another link: what is there would be cut off."""
        target = self.tree.target(path)
        parts: list[bytes] = [] if target.startswith(b"/") else [*path[:-1]]
        for part in target.split(b"/"):
            if part == b"..":
                parts = parts[:-1]
            elif part not in {b"", b"."}:
                parts.append(part)
        for depth in range(1, len(parts) + 1):
            found = self.tree.entry(tuple(parts[:depth]))
            if found is None or found.kind is not EntryKind.DIRECTORY:
                return found is not None and found.kind is EntryKind.LINK
        return True

    def _check_mounts(self, path: Parts) -> None:
        if any(mount[: len(path)] == path for mount in self.tree.mounts):
            raise RefusedError(
                f"{shown(path)} is a mount point now, or has one below it", hint="unmount it, and try again"
            )

    def _set_aside(self, path: Parts, found: TreeEntry) -> None:
        layered = self._root.layered and found.kind is EntryKind.DIRECTORY
        if layered and not self._root.can_move(path, KEPT_TXN):
            raise RefusedError(f"{shown(path)} is in the way, and this overlayfs can't move a directory")
        place = self._place_for(path)
        self._step(Verb.MOVE, place, Before.NOTHING, source=path)
        self.gone.append((path, found.kind))
        self.set_aside.append(path)
        self.changes.append({"action": "set-aside", "path": shown(path), "place": shown(place)})

    def _place_for(self, path: Parts) -> Parts:
        """Return where an entry is set aside, below directories that are made if they are missing."""
        place = ASIDE_TREE
        if not self._exists(place):
            self._make(place)
        if not self._is_directory(place):
            problem = f"{shown(path)} is in the way, and {shown(place)} is not a directory"
            raise RefusedError(problem, hint="delete it with 'spkg recover --discard-aside'")
        for name in path[:-1]:
            place = self._free(place, name, directory=True)
            if not self._exists(place):
                self._make(place)
        place = self._free(place, path[-1], directory=False)
        self._new.add(place)
        return place

    def _free(self, above: Parts, name: bytes, *, directory: bool) -> Parts:
        """Return a name that is free; with a number where something else was set aside before."""
        for number in range(1 << 16):
            path = (*above, name if not number else b"%s.%d" % (name[:NUMBERED_NAME], number))
            if not self._exists(path) or (directory and self._is_directory(path)):
                return path
        raise RefusedError(f"too much has been set aside under {shown((*above, name))}")

    def _exists(self, path: Parts) -> bool:
        if path in self._new:
            return True
        # Below a directory that is yet to be made there is nothing.
        return path[:-1] not in self._new and self._root.status(path) is not None

    def _is_directory(self, path: Parts) -> bool:
        if any(one.path == path for one in self.directories):
            return True
        found = None if path in self._new else self.tree.entry(path)
        return found is not None and found.kind is EntryKind.DIRECTORY

    def _make(self, path: Parts) -> None:
        """Make a directory; one within another new one is part of that step."""
        above = path[:-1]
        heritage = NO_HERITAGE if above in self._new or path[:1] == OWN else self.tree.heritage(above)
        self.directories.append(MakeDirectory(path=path, replaces=None, heritage=heritage))
        if above not in self._new:
            self._step(Verb.DIRECTORY, path, Before.NOTHING)
            if path[:1] != OWN:
                self.gone.append((path, None))
        self._new.add(path)

    def _bring_back(self, path: Parts, place: Parts, before: Before) -> None:
        if self._root.status(place) is None:
            problem = f"{shown(place)} is missing, so that {shown(path)} can't come back"
            raise FailedError(problem, hint="run 'spkg confirm': the package stays")
        self._step(Verb.MOVE, path, before, source=place)
        if before is Before.NOTHING:
            self.gone.append((path, None))
        self.changes.append({"action": "restore", "path": shown(path)})

    def _step(self, verb: Verb, path: Parts, before: Before, source: Parts | None = None) -> None:
        number = len(self.steps)
        self.steps.append(JournalStep(number=number, verb=verb, path=path, before=before, source=source))
